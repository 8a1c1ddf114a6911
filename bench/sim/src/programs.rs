//! The programs of the benches, as a user would write them: they know of no simulation. With the feature `turmoil` sockets
//! are turmoil's, as its users have it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;

#[cfg(not(feature = "turmoil"))]
use tokio::net::UdpSocket;
#[cfg(feature = "turmoil")]
use turmoil::net::UdpSocket;

/// Where members of the ring listen.
pub(crate) const PORT: u16 = 7000;
/// How often each of them sends.
pub(crate) const EVERY: Duration = Duration::from_millis(10);

/// A member of a ring: sends 100 bytes to the next one, again and again, and reads what the one before sends.
pub(crate) async fn ring(next: SocketAddr, time: Duration) -> Result<()> {
    let socket = UdpSocket::bind(("0.0.0.0", PORT)).await?;
    let mut every = tokio::time::interval(EVERY);
    let mut buffer = [0; 200];
    let end = Instant::now() + time;
    while Instant::now() < end {
        tokio::select! {
            _ = every.tick() => {
                socket.send_to(&[7; 100], next).await?;
            }
            received = socket.recv_from(&mut buffer) => {
                received?;
            }
        }
    }
    Ok(())
}
