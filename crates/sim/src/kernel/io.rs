//! read and write, of whatever a descriptor stands for.

use super::file::{Caller, Device, FileId, Kind, Timing};
use super::{Call, Kernel};
use crate::errno::Errno;

impl Kernel {
    /// Reads into `into`; 0: the end.
    pub(crate) fn read(
        &mut self,
        caller: Caller,
        id: FileId,
        into: &mut [u8],
        timing: Timing,
    ) -> Call<usize> {
        match &self.files[id].kind {
            Kind::Socket(socket) => {
                let socket = *socket;
                self.receive(id, socket, into, false, timing).map(|received| received.bytes)
            }
            Kind::Unix(_) => self.receive_unix(id, into, false, timing),
            Kind::PipeReader(buffer) => {
                let buffer = *buffer;
                self.read_buffer(id, buffer, into, false, timing)
            }
            Kind::Event { .. } => {
                let into = into.first_chunk_mut().ok_or(Errno::EINVAL)?;
                *into = self.read_event(id, timing)?.to_ne_bytes();
                Ok(8)
            }
            Kind::Timer(_) => {
                let into = into.first_chunk_mut().ok_or(Errno::EINVAL)?;
                *into = self.read_timer(id, timing)?.to_ne_bytes();
                Ok(8)
            }
            Kind::Device(Device::Null) => Ok(0),
            Kind::Device(Device::Zero | Device::Full) => {
                into.fill(0);
                Ok(into.len())
            }
            Kind::Device(Device::Random) => {
                self.random(caller.process).fill(into);
                Ok(into.len())
            }
            Kind::Disk(_) => self.read_disk(caller, id, into, None),
            Kind::PipeWriter(_) => Err(Errno::EBADF.into()),
            Kind::Epoll(_) | Kind::Process(_) => Err(Errno::EINVAL.into()),
        }
    }

    /// Writes some of `bytes`; how many.
    pub(crate) fn write(&mut self, caller: Caller, id: FileId, bytes: &[u8], timing: Timing) -> Call<usize> {
        match &self.files[id].kind {
            Kind::Socket(socket) => {
                let socket = *socket;
                self.send(id, socket, bytes, None, timing)
            }
            Kind::Unix(_) => self.send_unix(id, bytes, None, timing),
            Kind::PipeWriter(buffer) => {
                let buffer = *buffer;
                self.write_buffer(id, buffer, bytes, timing)
            }
            Kind::Event { .. } => {
                let value = bytes.first_chunk().ok_or(Errno::EINVAL)?;
                self.write_event(id, u64::from_ne_bytes(*value), timing)?;
                Ok(8)
            }
            Kind::Device(Device::Full) => Err(Errno::ENOSPC.into()),
            Kind::Device(Device::Null | Device::Zero | Device::Random) => Ok(bytes.len()),
            Kind::Disk(_) => self.write_disk(caller, id, bytes, None),
            Kind::PipeReader(_) => Err(Errno::EBADF.into()),
            Kind::Timer(_) | Kind::Epoll(_) | Kind::Process(_) => Err(Errno::EINVAL.into()),
        }
    }

    /// Bytes that wait to be read: FIONREAD.
    pub(crate) fn available(&self, id: FileId) -> usize {
        match &self.files[id].kind {
            Kind::Socket(socket) => self.net.available(*socket),
            Kind::Unix(_) => self.unix_available(id),
            Kind::PipeReader(buffer) => self.buffers[*buffer].length(),
            _ => 0,
        }
    }

    /// Whether a write that cannot be done whole goes on until it is: of streams that may block.
    pub(crate) fn writes_all(&self, id: FileId) -> bool {
        match &self.files[id].kind {
            Kind::Socket(_) => !self.is_datagram_socket(id),
            Kind::Unix(_) => !self.is_datagrams(id),
            Kind::PipeWriter(_) => true,
            _ => false,
        }
    }
}
