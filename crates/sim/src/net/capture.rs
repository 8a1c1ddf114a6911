//! What captures are made of: packets as they are seen, with the bytes that a wire would have had. Which packet stands in which
//! file is netmodel's; files are written elsewhere.

mod bytes;

pub(super) use bytes::{mended, udp_checksum};

use std::time::Duration;

use netsplit_netmodel::capture::{Point, Remark, Sight};

use super::Nanos;
use super::packet::Packet;

/// Is shown every packet that passes between hosts at each point of its way, ports being by number, and what gives its
/// bytes from its IP header on, with right checksums. A bit that is flipped is flipped.
pub type Watcher = Box<dyn FnMut(&Sight<'_>, &dyn Fn() -> Vec<u8>) + Send>;

/// A packet at a point of its way from one port to another. `None`: its receivers were all seen.
pub(super) fn show(
    watcher: &mut Watcher,
    names: &[String],
    (at, packet): (Nanos, &Packet),
    (from, to): (usize, Option<usize>),
    point: Point,
    remark: Remark,
) {
    let sight =
        Sight { at: Duration::from_nanos(at), from, to, point, remark, is_shared: packet.is_shared, names };
    watcher(&sight, &|| {
        let mut bytes = bytes::of(packet);
        if let Remark::Arrived { flipped_bit: Some(bit), .. } = remark {
            let byte = usize::try_from(bit / 8).ok().and_then(|byte| bytes.get_mut(byte));
            byte.into_iter().for_each(|byte| *byte ^= 0x80 >> (bit % 8));
        }
        bytes
    });
}
