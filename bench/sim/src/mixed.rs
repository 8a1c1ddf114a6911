//! A bit of everything that could differ from run to run: threads that contend, hash maps, files, connections that are lost
//! and made again, datagrams. As a user would write it: it knows of no simulation.

use std::collections::HashMap;
use std::net::UdpSocket;
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

const MS: Duration = Duration::from_millis(1);

/// Keeps each line that it is sent in a file, synced, and answers with all that it has of this sort, in the order of a hash
/// map.
#[tokio::main(worker_threads = 2)]
pub(crate) async fn store() -> Result<()> {
    let listener = TcpListener::bind("0.0.0.0:80").await?;
    let counts = Arc::new(Mutex::new(HashMap::<String, u32>::new()));
    loop {
        let (stream, _peer) = listener.accept().await?;
        tokio::spawn(serve(stream, counts.clone()));
    }
}

async fn serve(stream: TcpStream, counts: Arc<Mutex<HashMap<String, u32>>>) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        let mut file = tokio::fs::OpenOptions::new().create(true).append(true).open("/var/lines").await?;
        file.write_all(line.as_bytes()).await?;
        file.sync_all().await?;
        let answer = {
            let mut counts = counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            *counts.entry(line.trim().to_owned()).or_default() += 1;
            format!("{counts:?}\n")
        };
        stream.write_all(answer.as_bytes()).await?;
        line.clear();
    }
    Ok(())
}

/// Writes to the store, whatever happens to it.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn writer() -> Result<()> {
    loop {
        // What it is about does not matter: both sides give up now and then.
        let _lost = timeout(40 * MS, write()).await;
        sleep(5 * MS).await;
    }
}

async fn write() -> Result<()> {
    let mut stream = BufReader::new(TcpStream::connect("host0:80").await?);
    let mut answer = String::new();
    loop {
        let pause: u8 = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0).to_be_bytes()[0];
        sleep(MS * u32::from(pause) / 40).await;
        stream.write_all(format!("{}\n", answer.len() % 7).as_bytes()).await?;
        answer.clear();
        stream.read_line(&mut answer).await?;
    }
}

/// Threads that hand work to each other by locks and channels; the result goes to the next host.
pub(crate) fn threads() -> Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:7000")?;
    socket.set_read_timeout(Some(3 * MS))?;
    let sum = Arc::new((Mutex::new(0_u64), Condvar::new()));
    let (sender, results) = mpsc::channel();
    for worker in 0..3 {
        let (sum, sender) = (sum.clone(), sender.clone());
        std::thread::spawn(move || work(worker, &sum, &sender));
    }
    let mut buffer = [0; 8];
    for (worker, sum) in results {
        socket.send_to(&u64::to_be_bytes(sum ^ worker), "host2:7000")?;
        let _none = socket.recv_from(&mut buffer);
    }
    Ok(())
}

fn work(worker: u64, sum: &(Mutex<u64>, Condvar), results: &mpsc::Sender<(u64, u64)>) -> Result<()> {
    for round in 0.. {
        std::thread::sleep(MS / 10 * u32::try_from(worker + 1)?);
        let mut guard = sum.0.lock().ok().context("a thread panicked")?;
        *guard = guard.rotate_left(3) ^ (worker + round);
        sum.1.notify_one();
        let patience = sum.1.wait_timeout(guard, MS / 3).ok().context("a thread panicked")?;
        results.send((worker, *patience.0))?;
    }
    Ok(())
}
