//! How figures are told, and what they are made of.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};

/// What is measured against what it must be.
pub(crate) enum Bar {
    /// Less than this.
    Below(f64),
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
    /// Only told.
    None,
}

/// Tells a figure.
pub(crate) fn figure(key: &str, value: f64, unit: &str, bar: &Bar) {
    println!("figure {key} {} {unit}", short(value));
    let (word, limit, met) = match *bar {
        Bar::Below(limit) => ("<", limit, value < limit),
        Bar::AtMost(limit) => ("≤", limit, value <= limit),
        Bar::AtLeast(limit) => ("≥", limit, value >= limit),
        Bar::None => return,
    };
    println!("# bar {word} {limit} {unit}: {}", if met { "met" } else { "MISSED" });
}

/// Says that a figure cannot be had here.
pub(crate) fn skipped(key: &str, reason: &str) {
    println!("figure {key} skipped {reason}");
}

/// Tells the single measurements behind a figure.
pub(crate) fn raw(what: &str, values: &[f64], unit: &str) {
    let values: Vec<_> = values.iter().map(|value| short(*value)).collect();
    println!("# {what}, {unit}: {}", values.join(" "));
}

fn short(value: f64) -> String {
    let text = if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// The value below which `share` of them are.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index of a list in memory"
    )]
    let at = ((sorted.len() as f64 - 1.0) * share).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

/// The middle one.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// In seconds.
pub(crate) fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

/// A value of /proc/meminfo, in KiB.
pub(crate) fn memory(name: &str) -> f64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
}

/// Fails unless there is so much memory, and so much room below `folder`, in GiB.
pub(crate) fn need(memory_gib: u32, folder: &Path, room_gib: u32) -> Result<()> {
    const GIB: f64 = 1_048_576.0; // KiB
    let stat = rustix::fs::statvfs(folder)?;
    let room = (stat.f_bavail * stat.f_frsize) as f64 / 1024.0 / GIB;
    let memory = memory("MemAvailable") / GIB;
    println!(
        "# needs {memory_gib} GiB of memory, {room_gib} GiB in {}; there is {memory:.1}, {room:.1}",
        folder.display()
    );
    if memory < f64::from(memory_gib) || room < f64::from(room_gib) {
        bail!("too little memory or room");
    }
    Ok(())
}

/// Where this is measured: a figure alone says little.
pub(crate) fn machine() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').take(3).collect::<Vec<_>>().join(" ");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let user = rustix::process::geteuid().as_raw();
    let kernel = rustix::system::uname();
    format!("{cores} cores, load {load}, kernel {}, user {user}", kernel.release().to_string_lossy())
}
