//! Work on many threads by rayon, and what tracing tells of it.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rayon::prelude::*;
use tracing::Instrument;

fn fibonacci(number: u64) -> u64 {
    if number < 2 {
        return number;
    }
    if number < 18 {
        return fibonacci(number - 1) + fibonacci(number - 2);
    }
    let (left, right) = rayon::join(|| fibonacci(number - 1), || fibonacci(number - 2));
    left + right
}

pub(crate) fn rayon() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
    pool.install(|| {
        println!("threads {}", rayon::current_num_threads());
        let sum: u64 = (0..10_000_u64).into_par_iter().map(|number| number * number).sum();
        println!("sum {sum}");
        let mut numbers: Vec<u32> =
            (0..20_000).map(|number: u32| number.wrapping_mul(2_654_435_761)).collect();
        numbers.par_sort_unstable();
        println!("sorted {}", numbers.is_sorted());
        println!("joined {}", fibonacci(30));
    });
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn work(id: u64) {
    let waited = id + 1;
    tokio::time::sleep(Duration::from_secs(waited)).await;
    tracing::info!(waited, "done");
}

#[tokio::main(flavor = "multi_thread", worker_threads = 4)]
pub(crate) async fn tracing() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().with_writer(move || writer.clone()).with_target(false).init();
    let tasks: Vec<_> =
        (0..3).map(|id| tokio::spawn(work(id).instrument(tracing::info_span!("worker", id)))).collect();
    let count = tasks.len();
    for task in tasks {
        task.await.unwrap();
    }
    tracing::warn!(count, "all are done");
    for line in String::from_utf8(log.0.lock().unwrap().clone()).unwrap().lines() {
        // Stamps without their parts of a second.
        let (stamp, rest) = line.split_once('Z').unwrap();
        println!("{}Z{rest}", &stamp[..19]);
    }
}
