//! What holds for many packets: shares, runs and distributions, each within four standard deviations of what was asked.
//! Seeds are fixed, so that a test that passes once passes always.

use std::time::Duration;

use netsplit_netmodel::{Cause, Condition, Distribution, Jitter, Loss, PRESETS};

use crate::driver::Driver;

const PACKETS: usize = 100_000;
const SIGMAS: f64 = 4.0;

/// Offers many packets, one each millisecond.
fn run(condition: Condition) -> Driver {
    let mut driver = Driver::under(condition);
    for _ in 0..PACKETS {
        driver.offer(100);
        driver.wait(Duration::from_millis(1));
    }
    driver.finish();
    driver
}

#[track_caller]
fn near(measured: f64, wanted: f64, deviation: f64) {
    assert!(
        (measured - wanted).abs() <= SIGMAS * deviation,
        "{measured} is not {wanted} ± {}",
        SIGMAS * deviation
    );
}

/// The share `count` is of `all`, of independent events of this probability.
#[track_caller]
fn near_share(count: usize, all: usize, probability: f64) {
    let deviation = (probability * (1.0 - probability) / all as f64).sqrt();
    near(count as f64 / all as f64, probability, deviation);
}

/// Lengths of runs of numbers that follow one another.
fn runs(numbers: &[usize]) -> Vec<f64> {
    numbers.chunk_by(|left, right| left + 1 == *right).map(|run| run.len() as f64).collect()
}

#[test]
fn independent_losses() {
    for share in [0.001, 0.1, 0.5] {
        let lost = run(Condition::new().loss(share)).dropped_by(Cause::Loss);
        near_share(lost.len(), PACKETS, share);
        // A run goes on with the same probability.
        let runs = runs(&lost);
        let mean = runs.iter().sum::<f64>() / runs.len() as f64;
        near(mean, 1.0 / (1.0 - share), share.sqrt() / (1.0 - share) / (runs.len() as f64).sqrt());
    }
    assert_eq!(run(Condition::new().loss(0.0)).order().len(), PACKETS);
    assert_eq!(run(Condition::new().loss(1.0)).order().len(), 0);
}

#[test]
fn losses_in_bursts() {
    for (share, packets) in [(0.02, 4.0), (0.1, 10.0), (0.3, 1.5)] {
        let lost = run(Condition::new().losing(Loss::Bursts { share, packets })).dropped_by(Cause::Loss);
        let runs = runs(&lost);
        let mean = runs.iter().sum::<f64>() / runs.len() as f64;
        // Lengths are geometric with parameter r = 1/packets.
        near(mean, packets, (packets * (packets - 1.0) / runs.len() as f64).sqrt());
        near(lost.len() as f64 / PACKETS as f64, share, chain_deviation(share, 1.0 / packets));
    }
}

/// The standard deviation of the share of bad packets in a chain: as of independent ones, wider by √((1 + λ)/(1 − λ)) with
/// λ = 1 − p − r, which is how much one packet's state tells of the next one's.
fn chain_deviation(bad_share: f64, bad_to_good: f64) -> f64 {
    let good_to_bad = bad_to_good * bad_share / (1.0 - bad_share);
    let lambda = 1.0 - good_to_bad - bad_to_good;
    (bad_share * (1.0 - bad_share) * (1.0 + lambda) / (1.0 - lambda) / PACKETS as f64).sqrt()
}

#[test]
fn losses_of_gilbert_and_elliott() {
    let (good_to_bad, bad_to_good, loss_in_bad, loss_in_good) = (0.01, 0.05, 0.6, 0.02);
    let loss = Loss::GilbertElliott { good_to_bad, bad_to_good, loss_in_bad, loss_in_good };
    let lost = run(Condition::new().losing(loss)).dropped_by(Cause::Loss);
    let bad_share = good_to_bad / (good_to_bad + bad_to_good);
    let mean = bad_share * loss_in_bad + (1.0 - bad_share) * loss_in_good;
    let of_states = (loss_in_bad - loss_in_good) * chain_deviation(bad_share, bad_to_good);
    let of_packets = (mean * (1.0 - mean) / PACKETS as f64).sqrt();
    near(lost.len() as f64 / PACKETS as f64, mean, of_states.hypot(of_packets));
    // How often two in a row are lost: both bad, both good, or one of each, in steady state.
    let [bad, good] = [bad_share, 1.0 - bad_share];
    let both = bad * (1.0 - bad_to_good) * loss_in_bad.powi(2)
        + good * (1.0 - good_to_bad) * loss_in_good.powi(2)
        + 2.0 * good * good_to_bad * loss_in_bad * loss_in_good;
    let pairs = lost.windows(2).filter(|pair| pair[0] + 1 == pair[1]).count();
    let deviation = 2.0 * chain_deviation(bad_share, bad_to_good) * loss_in_bad.powi(2);
    near(pairs as f64 / PACKETS as f64, both, deviation);
}

#[test]
fn duplicates_and_corruption() {
    let driver = run(Condition::new().duplicate(0.2).corrupt(0.05));
    let doubled = driver.arrived.iter().filter(|arrival| arrival.is_duplicate).count();
    near_share(doubled, PACKETS, 0.2);
    let counters = driver.link.counters();
    assert_eq!(counters.duplicated.packets, doubled as u64);
    let bits: Vec<_> = driver.arrived.iter().filter_map(|arrival| arrival.flipped_bit).collect();
    assert_eq!(counters.corrupted.packets, bits.len() as u64);
    near_share(bits.len(), driver.arrived.len(), 0.05);
    near_share(bits.iter().filter(|bit| **bit < 400).count(), bits.len(), 0.5);
    near_share(bits.iter().filter(|bit| **bit % 8 == 0).count(), bits.len(), 0.125);
}

#[test]
fn reordering() {
    // Each that is held back for 1.5 ms is passed by the next one, unless that is held back, too.
    let driver = run(Condition::new().reorder(0.1, Duration::from_micros(1500)));
    let late = driver.arrived.iter().filter(|arrival| arrival.at > driver.offered[arrival.packet].at).count();
    near_share(late, PACKETS, 0.1);
    let counted = driver.link.counters().reordered.packets;
    near_share(usize::try_from(counted).unwrap(), PACKETS, 0.09);
    assert!(!driver.order().is_sorted());
}

#[test]
fn jitter_has_its_mean_and_width() {
    let delay = Duration::from_millis(50);
    let spread = Duration::from_micros(100);
    // Mean and standard deviation in spreads; those of Pareto shapes are of NIST Net's tables, which end at four.
    let shapes = [
        (Distribution::Uniform, 0.0, 1.0 / 3f64.sqrt()),
        (Distribution::Normal, 0.0, 1.0),
        (Distribution::Pareto, -0.0335, 0.82),
        (Distribution::ParetoNormal, -0.0253, 0.834),
    ];
    for (distribution, mean_wanted, width_wanted) in shapes {
        let driver = run(Condition::new().delay(delay).jitter(Jitter { spread, distribution }));
        let shift =
            |at: Duration, from: Duration| (at.as_secs_f64() - from.as_secs_f64()) / spread.as_secs_f64();
        let shifts =
            driver.arrived.iter().map(|arrival| shift(arrival.at, driver.offered[arrival.packet].at + delay));
        let shifts: Vec<_> = shifts.collect();
        let mean = shifts.iter().sum::<f64>() / PACKETS as f64;
        let width = (shifts.iter().map(|shift| (shift - mean).powi(2)).sum::<f64>() / PACKETS as f64).sqrt();
        near(mean, mean_wanted, width_wanted / (PACKETS as f64).sqrt());
        near(width, width_wanted, 0.005);
    }
}

#[test]
fn presets_let_packets_through() {
    for preset in PRESETS {
        let mut driver = Driver::under(preset.condition);
        for _ in 0..500 {
            driver.offer(1000);
            driver.wait(Duration::from_millis(20));
        }
        driver.finish();
        assert!(driver.order().len() >= 450, "{}: {}", preset.name, driver.order().len());
    }
}
