//! What a host's clock and disk do to programs, where a provider can change them: time as programs read it, calls that fail or
//! take long, and what is left after a loss of power. (A21)

use std::fs::File;
use std::io::{self, BufRead, Write};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use conformance::error_of;
use conformance::programs::say;
use netsplit::prelude::*;
use netsplit::{Reason, Result};
use tokio::time::sleep;

/// For each line that comes, prints the time of day, and how long it has run by its monotonic clock, in milliseconds.
#[netsplit::program]
async fn clock() -> io::Result<()> {
    let begun = Instant::now();
    say("up");
    for line in io::stdin().lock().lines() {
        let day = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
        say(&format!("{}: {} {}", line?, day.as_millis(), begun.elapsed().as_millis()));
    }
    Ok(())
}

/// `saves PATH WORD`: writes the word into the file and syncs it; prints what failed, and how long it took.
#[netsplit::program]
async fn saves(words: Vec<String>) {
    let begun = Instant::now();
    let done = File::create(&words[0]).and_then(|mut file| {
        file.write_all(words[1].as_bytes())?;
        file.sync_all()
    });
    let told = done.map_or_else(|error| format!("{:?}", error.kind()), |()| "saved".to_owned());
    say(&format!("{told} after {} ms", begun.elapsed().as_millis()));
}

/// What a clock shows, in milliseconds: the time of day, and of its own.
async fn times(process: &Process, question: &str) -> Result<[i64; 2]> {
    process.write(format!("{question}\n")).await?;
    let line = process.wait_for(format!("^{question}: ")).await?;
    let mut numbers = line.text().rsplit(' ').map(|number| number.parse().expect("a number"));
    let (own, day) = (numbers.next().expect("two"), numbers.next().expect("two"));
    Ok([day, own])
}

/// Two clocks differ by this, give or take what a machine needs to look at both.
fn is_about(found: i64, wanted: i64) -> bool {
    (found - wanted).abs() < 2000
}

#[netsplit::test(hosts = 2, needs = ["clock"])]
async fn a_clock_shows_what_it_was_told(bed: Testbed) -> Result {
    let a = bed.host("a")?;
    let ours = a.start(clock).stdin_open().ready("up").await?;
    let theirs = bed.host("b")?.start(clock).stdin_open().ready("up").await?;
    let ahead = async |question: &str| -> Result<[i64; 2]> {
        let ([day, own], [their_day, their_own]) =
            (times(&ours, question).await?, times(&theirs, question).await?);
        Ok([day - their_day, own - their_own])
    };
    assert!(ahead("before").await?.into_iter().all(|apart| is_about(apart, 0)));
    a.clock().jump(secs(3600)).await?;
    let [day, own] = ahead("jumped").await?;
    assert!(is_about(day, 3_600_000) && is_about(own, 0), "{day} {own}");
    a.clock().jump_back(secs(60)).await?;
    assert!(is_about(ahead("back").await?[0], 3_540_000));
    a.clock().skew_back(secs(10)).await?;
    assert!(is_about(ahead("skewed").await?[0], -10_000), "a skew is from the true time");
    a.clock().skew(secs(0)).await?;
    assert!(is_about(ahead("true").await?[0], 0));
    a.clock().drift_ppm(500_000).await?;
    sleep(secs(20)).await;
    let [day, own] = ahead("fast").await?;
    assert!(is_about(day, 10_000) && is_about(own, 10_000), "{day} {own}");
    Ok(())
}

#[netsplit::test(hosts = 2, needs = ["disk"])]
async fn a_disk_fails_its_own_host_and_until_it_is_healed(bed: Testbed) -> Result {
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    let save = async |host: &Host| host.run(saves).args(["/var/lib/x", "words"]).read().await;
    assert_eq!(save(&a).await?, "saved after 0 ms");
    let full = a.disk().full().await?;
    assert_eq!(save(&a).await?, "StorageFull after 0 ms");
    assert_eq!(save(&b).await?, "saved after 0 ms");
    full.heal().await?;
    assert_eq!(save(&a).await?, "saved after 0 ms");
    let errors = a.disk().errors(1.0).await?;
    assert!(!save(&a).await?.starts_with("saved"));
    assert_eq!(save(&b).await?, "saved after 0 ms");
    errors.heal().await?;
    let slow = a.disk().slow(millis(200)).await?;
    let said = save(&a).await?;
    let took: u64 = said.split(' ').nth(2).and_then(|took| took.parse().ok()).expect("a time");
    assert!(said.starts_with("saved") && took >= 200, "{said}");
    slow.heal().await?;
    let stuck = a.disk().stuck().await?;
    let error = error_of(a.run(saves).args(["/var/lib/x", "words"]).within(secs(60)).await);
    assert_eq!(error.name(), Reason::CommandTimedOut);
    let waits = a.start(saves).args(["/var/lib/x", "words"]).await?;
    sleep(secs(5)).await;
    assert_eq!(waits.outcome(), None);
    stuck.heal().await?;
    waits.wait_for("^saved after").await?;
    Ok(())
}
