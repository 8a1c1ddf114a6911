//! Sockets: connecting by name, and the listener with one thread per connection. What is said is not decided
//! here.

mod link;

use std::io;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

pub(crate) use self::link::spawn_link;

use crate::members::Address;

/// Connections at once: some per member, the rest for clients. Each has a thread.
const CONNECTIONS_MAX: usize = 256;
/// How long a connection may stay silent or stuck before its thread is taken back.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// How long the listener waits after an error such as too many open files, which would come back at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Connects to `address`, whose host is looked up now. `timeout` holds for connecting to each of the host's
/// numbers, and for each read and write afterwards.
///
/// # Errors
/// When the host has no number or none of them answers.
pub(crate) fn connect(address: &Address, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::other("the host has no address");
    for number in (address.host.as_str(), address.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&number, timeout) {
            Ok(stream) => return prepare(stream, timeout),
            Err(err) => last = err,
        }
    }
    Err(last)
}

fn prepare(stream: TcpStream, timeout: Duration) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    Ok(stream)
}

/// Accepts connections for ever, and gives each to `serve` on a thread of its own.
pub(crate) fn spawn_listener<F>(listener: TcpListener, serve: F) -> io::Result<()>
where
    F: Fn(TcpStream) + Send + Sync + 'static,
{
    let serve = Arc::new(serve);
    let open = Arc::new(AtomicUsize::new(0));
    let accept = move || {
        for stream in listener.incoming() {
            let slot = Slot::take(&open);
            match (stream.and_then(|stream| prepare(stream, IDLE_MAX)), slot) {
                (Ok(stream), Some(slot)) => {
                    let serve = Arc::clone(&serve);
                    let work = move || {
                        let _slot = slot;
                        serve(stream);
                    };
                    // When there is no thread to be had, the connection is closed, as when there is no slot.
                    let _ = thread::Builder::new().name("connection".into()).spawn(work);
                }
                (Ok(_), None) => {}
                (Err(_), _) => thread::sleep(ACCEPT_PAUSE),
            }
        }
    };
    thread::Builder::new().name("listener".into()).spawn(accept).map(|_| ())
}

/// One of the connections that may be open, until dropped.
struct Slot(Arc<AtomicUsize>);

impl Slot {
    fn take(open: &Arc<AtomicUsize>) -> Option<Self> {
        let slot = Self(Arc::clone(open));
        (open.fetch_add(1, Ordering::Relaxed) < CONNECTIONS_MAX).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_given_back() {
        let open = Arc::new(AtomicUsize::new(CONNECTIONS_MAX - 1));
        let last = Slot::take(&open);
        assert!(last.is_some());
        assert!(Slot::take(&open).is_none());
        drop(last);
        assert!(Slot::take(&open).is_some());
        assert_eq!(open.load(Ordering::Relaxed), CONNECTIONS_MAX - 1);
    }
}
