//! A stream socket of this machine, as frugal with wake-ups as its use allows.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe;

/// A connected stream socket. It asks to be told of room for writes only while it has none: tokio's own streams always
/// do, so that each read at the other end wakes the writer for nothing.
#[derive(Debug)]
pub struct Socket {
    /// The socket itself. Reads are the same as a pipe's, and so is their readiness.
    stream: pipe::Receiver,
    /// The same socket, as long as a write waits.
    blocked: Option<pipe::Sender>,
}

impl Socket {
    /// Must be called in a tokio runtime, which tells of the socket's readiness.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self { stream: pipe::Receiver::from_owned_fd_unchecked(socket)?, blocked: None })
    }

    fn write(&self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        loop {
            match rustix::io::writev(&self.stream, slices) {
                Err(Errno::INTR) => {}
                done => return Ok(done?),
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.blocked.is_none() {
            match self.write(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let same = self.stream.as_fd().try_clone_to_owned()?;
                    self.blocked = Some(pipe::Sender::from_owned_fd_unchecked(same)?);
                }
                done => return Poll::Ready(done),
            }
        }
        let Some(blocked) = &mut self.blocked else { return Poll::Pending };
        let written = ready!(Pin::new(blocked).poll_write_vectored(context, slices));
        self.blocked = None;
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match rustix::net::shutdown(&self.stream, rustix::net::Shutdown::Write) {
            Err(Errno::NOTCONN) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn pair() -> (Socket, Socket) {
        let (left, right) = UnixStream::pair().unwrap();
        (Socket::new(left.into()).unwrap(), Socket::new(right.into()).unwrap())
    }

    #[tokio::test]
    async fn all_that_is_written_arrives_however_often_there_is_no_room() {
        let (mut left, mut right) = pair();
        let bytes: Vec<u8> = (0_u32..4 << 20).map(|n| (n % 251) as u8).collect();
        let sent = bytes.clone();
        let sending = tokio::spawn(async move {
            left.write_all(&sent).await.unwrap();
            assert!(left.blocked.is_none(), "it still asks for room");
            left.shutdown().await.unwrap();
            left
        });
        let mut arrived = Vec::new();
        right.read_to_end(&mut arrived).await.unwrap();
        assert!(arrived == bytes);
        let mut left = sending.await.unwrap();
        right.write_all(b"back").await.unwrap();
        drop(right);
        let mut back = String::new();
        left.read_to_string(&mut back).await.unwrap();
        assert_eq!(back, "back");
    }

    #[tokio::test]
    async fn a_write_to_nobody_fails() {
        let (mut left, right) = pair();
        drop(right);
        assert_eq!(left.write_all(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
