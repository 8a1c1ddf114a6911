//! P15: output and events that were written before an exit are there when the exit is seen; what a child writes after it
//! is still kept. The log has no gaps, and agrees with the streams beside it. (A08: testbus's syslog case)

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::process::Command;
use std::{env, fs};

use conformance::{MIB, load, log};
use netsplit::Stream;
use netsplit::model::{Event, ProcessName, Verdict};
use netsplit::prelude::*;

/// `much TEXT BYTES`: writes so many bytes of the text, again and again, and a last line.
#[netsplit::program]
async fn much(words: Vec<String>) -> io::Result<()> {
    let count = words[1].parse().map_err(io::Error::other)?;
    let piece = words[0].repeat(65_536 / words[0].len());
    let mut left = count;
    let mut to = io::stdout();
    while left > 0 {
        let length = piece.len().min(left);
        to.write_all(&piece.as_bytes()[..length])?;
        left -= length;
    }
    to.write_all(b"\nlast\n")
}

/// `chatter`: says much on both streams, and ends with what is no line.
#[netsplit::program]
async fn chatter() -> io::Result<()> {
    for number in 1..=200 {
        writeln!(io::stdout(), "out {number}")?;
        writeln!(io::stderr(), "err {number}")?;
    }
    io::stdout().write_all(&[0; 300_000])
}

/// `dies_at_once`: says a word on both streams and kills itself.
#[netsplit::program]
async fn dies_at_once() -> io::Result<()> {
    writeln!(io::stdout(), "out")?;
    writeln!(io::stderr(), "err")?;
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)?;
    Ok(())
}

/// Evidence of this run that this process has open, beside what is one file a run.
fn open_streams(bed: &Testbed) -> usize {
    let is_stream = |entry: io::Result<fs::DirEntry>| {
        let open = entry.and_then(|entry| fs::read_link(entry.path())).unwrap_or_default();
        open.starts_with(bed.evidence()) && open.extension().is_some_and(|ending| ending == "stdout")
    };
    fs::read_dir("/proc/self/fd").into_iter().flatten().map(is_stream).filter(|is| *is).count()
}

/// A system gives a process 1,024 files or so: commands that have ended take none of them.
#[netsplit::test(hosts = 1, needs = ["programs"])]
async fn streams_that_have_ended_are_no_open_files(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let lasting = a.start(sh("echo ready; read line; echo $line")).stdin_open().ready("ready").await?;
    for number in 0..20 {
        a.run(["echo", &number.to_string()]).await?;
    }
    let only_that = || if open_streams(&bed) == 1 { Ok(()) } else { Err("they are open") };
    eventually(secs(10), async || only_that()).await.expect("one is open");
    lasting.write("more\n").await?;
    lasting.wait().await?;
    eventually(secs(10), async || if open_streams(&bed) == 0 { Ok(()) } else { Err("one is open") })
        .await
        .expect("none is open");
    assert_eq!(lasting.stdout()?, b"ready\nmore\n");
    Ok(())
}

#[netsplit::test(hosts = 1)]
async fn what_was_written_before_an_exit_is_there_with_it(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    for size in [1, 4096, 65_536, 65_537, MIB + 1] {
        // Ends in the very moment of its last write, and its own death does not wait for a reader.
        let process = a.start("cat").stdin(load::noise(size)).await?;
        process.wait().await?;
        load::assert_same(&process.stdout()?, &load::noise(size), "at the exit");
    }
    // A last write that is a whole pipe, of several processes at once: the reader is far behind at the exit.
    for _ in 0..5 {
        let zeros = || a.start(much).args(["x", "4194304"]);
        let all = [zeros().await?, zeros().await?, zeros().await?, zeros().await?];
        for process in &all {
            process.wait().await?;
            assert_eq!(process.stdout()?.len(), 4 * MIB + "\nlast\n".len());
        }
    }
    for _ in 0..50 {
        let process = a.start(dies_at_once).await?;
        process.wait().await?;
        assert_eq!((process.stdout()?, process.stderr()?), (b"out\n".to_vec(), b"err\n".to_vec()));
    }
    Ok(())
}

/// A daemon that holds the pipe neither delays the exit nor is it cut off by it.
#[netsplit::test(hosts = 1, needs = ["programs"])]
async fn what_a_child_writes_after_the_exit_is_kept(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let script = "setsid --fork sh -c 'read go < /srv/go; echo late; echo late >&2; read go < /srv/more; echo later'; echo early";
    a.run("mkfifo /srv/go /srv/more").await?;
    let process = a.start(sh(script)).await?;
    assert!(process.wait().await?.is_success());
    assert_eq!(process.stdout()?, b"early\n");
    a.run(sh("echo go > /srv/go")).await?;
    a.wait_for("^late$").await?;
    a.run(sh("echo go > /srv/more")).await?;
    a.wait_for("^later$").await?;
    assert_eq!(
        (process.stdout()?, process.stderr()?),
        (b"early\nlate\nlater\n".to_vec(), b"late\n".to_vec())
    );
    assert_eq!(process.outcome(), Some(Outcome::Exited { code: 0 }));
    Ok(())
}

/// And it can still be ended.
#[netsplit::test(hosts = 1, needs = ["programs"])]
async fn what_a_process_left_can_be_ended_by_it(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let script = "setsid --fork sh -c 'while :; do echo tick; sleep 0.01; done'; echo gone";
    let process = a.start(sh(script)).await?;
    process.wait().await?;
    a.wait_for("tick").await?;
    process.kill().await?;
    a.run(sh("! pgrep -f '[e]cho tick' >/dev/null")).eventually(secs(5)).await.map(drop)
}

#[netsplit::test(hosts = 3, needs = ["kill", "pause"])]
async fn the_log_is_whole_and_agrees_with_the_streams(bed: Testbed) -> netsplit::Result {
    let (a, b, c) = (bed.host("a")?, bed.host("b")?, bed.host("c")?);
    let mut all = Vec::new();
    for host in [&a, &b, &c] {
        for _ in 0..5 {
            all.push(host.start(chatter).await?);
        }
    }
    wait_all(&all).await?;
    a.write("/srv/x", "x").await?;
    a.get("/srv/x").await?;
    b.kill().await?;
    b.restart().await?;
    c.pause().await?;
    c.resume().await?;
    bed.never("no such line").await?;
    let events = log::events(&bed);
    let numbers: Vec<_> = events.iter().map(|record| record.n).collect();
    assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>(), "numbers without a gap");
    assert!(events.is_sorted_by_key(|record| record.t), "time goes on");
    assert!(matches!(events[0].event, Event::RunBegan { .. }));
    let mut lengths: BTreeMap<(ProcessName, Stream), u64> = BTreeMap::new();
    let mut ended = 0;
    for record in &events {
        match &record.event {
            Event::Output { process, stream, offset, bytes } => {
                let length = lengths.entry((process.clone(), *stream)).or_default();
                assert_eq!(*offset, *length, "{process} {stream}");
                *length += bytes;
            }
            Event::ProcessEnded { process, stdout, stderr, .. } => {
                let length = |stream| lengths.get(&(process.clone(), stream)).copied().unwrap_or(0);
                assert_eq!((*stdout, *stderr), (length(Stream::Stdout), length(Stream::Stderr)), "{process}");
                ended += 1;
            }
            _ => {}
        }
    }
    assert_eq!(ended, all.len());
    for ((process, stream), length) in lengths {
        let path = bed.evidence().join("hosts").join(process.host().as_str());
        let file = path.join(format!("{}.{stream}", process.file_stem()));
        assert_eq!(fs::metadata(&file).expect("a stream").len(), length, "{}", file.display());
    }
    Ok(())
}

/// More than the disk below holds.
#[netsplit::test(hosts = 1)]
async fn much_is_written(bed: Testbed) -> netsplit::Result {
    let line = format!("{}\n", "x".repeat(1000));
    let process = bed.host("a")?.start(much).args([&line, "16777216"]).await?;
    process.wait().await?;
    process.wait_for("last").await?;
    process.never("x").await
}

/// A disk that is full here ends no run later than another, and is the reason whether the test passed or not.
#[test]
fn a_full_disk_here_is_named() {
    if !Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|status| status.success()) {
        return conformance::programs::say("skipped: no disk of its own can be mounted");
    }
    let folder = conformance::scratch();
    let script = r#"mount -t tmpfs -o size=4m none "$0" && exec timeout 60 "$@""#;
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .arg(folder.path())
        .arg(env::current_exe().expect("this binary"))
        .args(["much_is_written::namespace", "--exact"])
        .env("NETSPLIT_DIR", folder.path())
        .output()
        .expect("a child");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(101), "{shown}");
    assert!(shown.contains("infra") && shown.contains("[disk-full]"), "{shown}");
}

/// The verdict is written before the teardown, and completed after it.
#[test]
fn a_run_leaves_its_verdict() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let finished = runtime.block_on(async {
        let mut run = conformance::run::begin("verdict").expect("a run");
        let bed = run.make_hosts(conformance::run::plans(1, None)).await.expect("a host");
        let failed = bed.host("a").expect("a").run("false").await;
        conformance::run::end(run, failed.map(drop)).await
    });
    assert_eq!(finished.verdict.verdict, Verdict::Failed);
    let text = fs::read_to_string(finished.dir.path().join("events.jsonl")).expect("a log");
    let kinds: Vec<_> = text.lines().rev().take(2).map(|line| line.contains("verdict.given")).collect();
    assert_eq!(kinds, [false, true], "the verdict, then the teardown");
    let verdict = fs::read_to_string(finished.dir.verdict_json()).expect("a verdict");
    assert!(verdict.contains("unexpected-exit") && verdict.contains("\"teardown\""), "{verdict}");
}
