//! Options of sockets: what they are called, what values they take, and what they are at first.

use crate::errno::{Errno, Result};

/// An option of a socket that is a number. Truth is 1 and 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opt {
    /// `SO_REUSEADDR`.
    ReuseAddr,
    /// `SO_REUSEPORT`.
    ReusePort,
    /// `TCP_NODELAY`.
    NoDelay,
    /// `TCP_QUICKACK`.
    QuickAck,
    /// `SO_KEEPALIVE`.
    KeepAlive,
    /// `TCP_KEEPIDLE`, in seconds.
    KeepIdle,
    /// `TCP_KEEPINTVL`, in seconds.
    KeepInterval,
    /// `TCP_KEEPCNT`.
    KeepCount,
    /// `TCP_USER_TIMEOUT`, in milliseconds; 0: as long as retransmissions take.
    UserTimeout,
    /// `SO_LINGER` in seconds; -1: off. A close does not wait whatever it is, but with 0 it resets.
    Linger,
    /// `SO_RCVBUF`. As on Linux, what is read is twice what was set.
    ReceiveBuffer,
    /// `SO_SNDBUF`. As on Linux, what is read is twice what was set.
    SendBuffer,
    /// `IPV6_V6ONLY`.
    V6Only,
    /// `SO_BROADCAST`.
    Broadcast,
    /// `IP_MULTICAST_LOOP` and `IPV6_MULTICAST_LOOP`.
    MulticastLoop,
    /// `IP_MULTICAST_TTL` and `IPV6_MULTICAST_HOPS`.
    MulticastHops,
    /// `IP_TTL` and `IPV6_UNICAST_HOPS`; -1: the default.
    Hops,
    /// `IP_TOS` and `IPV6_TCLASS`, whose two lowest bits are ECN.
    Tos,
    /// `IP_RECVTOS` and `IPV6_RECVTCLASS`: what is received tells it in any case; this is kept for who asks.
    ReceiveTos,
    /// `IP_PKTINFO` and `IPV6_RECVPKTINFO`, likewise.
    PacketInfo,
    /// `IP_MTU_DISCOVER` and `IPV6_MTU_DISCOVER`: 0 and 1 let datagrams be sent in parts, 2 and 3 do not.
    MtuDiscover,
}

/// The options of one socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub(super) reuse_addr: bool,
    pub(super) reuse_port: bool,
    pub(super) no_delay: bool,
    pub(super) keep_alive: bool,
    pub(super) keep_idle_s: u32,
    pub(super) keep_interval_s: u32,
    pub(super) keep_count: u32,
    pub(super) user_timeout_ms: u32,
    pub(super) linger_s: Option<u32>,
    /// As it is read; `None` while nobody has set it.
    pub(super) receive_buffer: Option<usize>,
    pub(super) send_buffer: Option<usize>,
    pub(super) v6_only: bool,
    pub(super) broadcast: bool,
    pub(super) multicast_loop: bool,
    pub(super) multicast_hops: u8,
    pub(super) hops: Option<u8>,
    pub(super) tos: u8,
    pub(super) receive_tos: bool,
    pub(super) packet_info: bool,
    pub(super) mtu_discover: i32,
}

impl Default for Options {
    /// Linux'.
    fn default() -> Self {
        Self {
            reuse_addr: false,
            reuse_port: false,
            no_delay: false,
            keep_alive: false,
            keep_idle_s: 7200,
            keep_interval_s: 75,
            keep_count: 9,
            user_timeout_ms: 0,
            linger_s: None,
            receive_buffer: None,
            send_buffer: None,
            v6_only: false,
            broadcast: false,
            multicast_loop: true,
            multicast_hops: 1,
            hops: None,
            tos: 0,
            receive_tos: false,
            packet_info: false,
            mtu_discover: 1,
        }
    }
}

/// What a datagram socket may have received and not yet read, and the most that may be asked for
/// (`net.core.rmem_default`, `rmem_max`).
pub(super) const BUFFER_DEFAULT: usize = 212_992;
/// What Linux grants at least.
const RECEIVE_BUFFER_MIN: usize = 2304;
const SEND_BUFFER_MIN: usize = 4608;
const DAY_AND_MORE_S: i32 = 32_767;

impl Options {
    /// # Errors
    /// EINVAL for a value that cannot be.
    pub(super) fn set(&mut self, option: Opt, value: i32) -> Result<()> {
        let is_on = value != 0;
        match option {
            Opt::ReuseAddr => self.reuse_addr = is_on,
            Opt::ReusePort => self.reuse_port = is_on,
            Opt::NoDelay => self.no_delay = is_on,
            // It is of a connection, not kept.
            Opt::QuickAck => {}
            Opt::KeepAlive => self.keep_alive = is_on,
            Opt::KeepIdle => self.keep_idle_s = within(value, 1, DAY_AND_MORE_S)?,
            Opt::KeepInterval => self.keep_interval_s = within(value, 1, DAY_AND_MORE_S)?,
            Opt::KeepCount => self.keep_count = within(value, 1, 127)?,
            Opt::UserTimeout => self.user_timeout_ms = within(value, 0, i32::MAX)?,
            Opt::Linger => self.linger_s = u32::try_from(value).ok(),
            Opt::ReceiveBuffer => self.receive_buffer = Some(doubled(value, RECEIVE_BUFFER_MIN)),
            Opt::SendBuffer => self.send_buffer = Some(doubled(value, SEND_BUFFER_MIN)),
            Opt::V6Only => self.v6_only = is_on,
            Opt::Broadcast => self.broadcast = is_on,
            Opt::MulticastLoop => self.multicast_loop = is_on,
            Opt::MulticastHops if value == -1 => self.multicast_hops = 1,
            Opt::MulticastHops => self.multicast_hops = byte(value, 0)?,
            Opt::Hops if value == -1 => self.hops = None,
            Opt::Hops => self.hops = Some(byte(value, 1)?),
            Opt::Tos => self.tos = byte(value.max(0), 0)?,
            Opt::ReceiveTos => self.receive_tos = is_on,
            Opt::PacketInfo => self.packet_info = is_on,
            Opt::MtuDiscover => self.mtu_discover = i32::from(byte(value, 0).and_then(up_to_5)?),
        }
        Ok(())
    }

    pub(super) fn get(&self, option: Opt, is_stream: bool) -> i32 {
        let number = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
        let size = |value: usize| i32::try_from(value).unwrap_or(i32::MAX);
        match option {
            Opt::ReuseAddr => self.reuse_addr.into(),
            Opt::ReusePort => self.reuse_port.into(),
            Opt::NoDelay => self.no_delay.into(),
            Opt::QuickAck => 1,
            Opt::KeepAlive => self.keep_alive.into(),
            Opt::KeepIdle => number(self.keep_idle_s),
            Opt::KeepInterval => number(self.keep_interval_s),
            Opt::KeepCount => number(self.keep_count),
            Opt::UserTimeout => number(self.user_timeout_ms),
            Opt::Linger => self.linger_s.map_or(-1, number),
            // `net.ipv4.tcp_rmem` and `tcp_wmem`.
            Opt::ReceiveBuffer => {
                size(self.receive_buffer.unwrap_or(if is_stream { 131_072 } else { BUFFER_DEFAULT }))
            }
            Opt::SendBuffer => {
                size(self.send_buffer.unwrap_or(if is_stream { 16_384 } else { BUFFER_DEFAULT }))
            }
            Opt::V6Only => self.v6_only.into(),
            Opt::Broadcast => self.broadcast.into(),
            Opt::MulticastLoop => self.multicast_loop.into(),
            Opt::MulticastHops => self.multicast_hops.into(),
            Opt::Hops => self.hops.unwrap_or(super::packet::HOPS).into(),
            Opt::Tos => self.tos.into(),
            Opt::ReceiveTos => self.receive_tos.into(),
            Opt::PacketInfo => self.packet_info.into(),
            Opt::MtuDiscover => self.mtu_discover,
        }
    }
}

fn within(value: i32, least: i32, most: i32) -> Result<u32> {
    if !(least..=most).contains(&value) {
        return Err(Errno::EINVAL);
    }
    u32::try_from(value).map_err(|_| Errno::EINVAL)
}

fn byte(value: i32, least: u8) -> Result<u8> {
    u8::try_from(value).ok().filter(|value| *value >= least).ok_or(Errno::EINVAL)
}

fn up_to_5(value: u8) -> Result<u8> {
    if value <= 5 { Ok(value) } else { Err(Errno::EINVAL) }
}

/// Buffers are granted twice: Linux counts what it needs to manage them.
fn doubled(value: i32, least: usize) -> usize {
    let asked = usize::try_from(value).unwrap_or(usize::MAX).min(BUFFER_DEFAULT);
    (asked * 2).max(least)
}
