//! P2: standard input, output and error are byte-exact at every size at which a buffer has its edge, and up to 100 MiB.
//! (A01, A09, and defect 4 of testbus: output over 1 MiB was cut, and only a log told)

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use conformance::script::script;
use conformance::{MIB, SIZES, fails, load, scratch};
use netsplit::prelude::*;
use netsplit::{Reason, Stream};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};

#[netsplit::test(hosts = 1)]
async fn what_goes_in_comes_out(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    for size in SIZES.into_iter().chain(SIZES.into_iter().rev()) {
        let bytes = load::noise(size);
        let output = a.run(script("cat")).stdin(bytes.clone()).await?;
        load::assert_same(&output.stdout_bytes()?, &bytes, &format!("{size} on stdout"));
        let output = a.run(script("cat >&2")).stdin(bytes.clone()).await?;
        load::assert_same(&output.stderr_bytes()?, &bytes, &format!("{size} on stderr"));
        assert!(output.stdout().is_empty());
    }
    Ok(())
}

#[netsplit::test(hosts = 1)]
async fn a_hundred_mebibytes_come_out_as_they_went_in(bed: Testbed) -> netsplit::Result {
    let bytes = load::noise(100 * MIB);
    let output = bed.host("a")?.run(script("cat")).stdin(bytes.clone()).await?;
    load::assert_same(&output.stdout_bytes()?, &bytes, "100 MiB");
    Ok(())
}

#[netsplit::test(hosts = 1)]
async fn a_hundred_mebibytes_on_one_line(bed: Testbed) -> netsplit::Result {
    let output = bed.host("a")?.run(script(format!("repeat {} x", 100 * MIB))).await?;
    let bytes = output.stdout_bytes()?;
    assert!(bytes.len() == 100 * MIB && bytes.iter().all(|byte| *byte == b'x'), "{} bytes", bytes.len());
    Ok(())
}

#[netsplit::program]
async fn speaks_twice() -> io::Result<()> {
    for n in 1..=5000 {
        writeln!(io::stdout(), "out {n}")?;
        writeln!(io::stderr(), "err {n}")?;
    }
    write!(io::stdout(), "no newline")
}

#[netsplit::test(hosts = 1)]
async fn the_two_streams_are_kept_apart(bed: Testbed) -> netsplit::Result {
    let output = bed.host("a")?.run(speaks_twice).await?;
    let lines = |word: &str| (1..=5000).map(|n| format!("{word} {n}\n")).collect::<String>();
    load::assert_same(&output.stdout_bytes()?, format!("{}no newline", lines("out")).as_bytes(), "stdout");
    load::assert_same(&output.stderr_bytes()?, lines("err").as_bytes(), "stderr");
    Ok(())
}

/// A thread for each stream.
#[netsplit::program]
async fn floods_both() -> io::Result<()> {
    let flood = |mut stream: std::fs::File| {
        std::thread::spawn(move || (0..64).try_for_each(|_| stream.write_all(&vec![0; MIB])))
    };
    let out = flood(io::stdout().as_fd().try_clone_to_owned()?.into());
    let err = flood(io::stderr().as_fd().try_clone_to_owned()?.into());
    out.join().expect("no panic")?;
    err.join().expect("no panic")
}

/// Both streams share one way to the test, and neither gets stuck behind the other.
#[netsplit::test(hosts = 1)]
async fn much_on_both_streams_at_once(bed: Testbed) -> netsplit::Result {
    let output = bed.host("a")?.run(floods_both).within(secs(60)).await?;
    assert_eq!((output.stdout_bytes()?.len(), output.stderr_bytes()?.len()), (64 * MIB, 64 * MIB));
    Ok(())
}

#[netsplit::test(hosts = 1)]
async fn stdin_from_a_file(bed: Testbed) -> netsplit::Result {
    let (a, folder) = (bed.host("a")?, scratch());
    let (bytes, file) = (load::noise(3 * MIB + 1), folder.path().join("input"));
    std::fs::write(&file, &bytes).expect("a file");
    let output = a.run(script("cat")).stdin_file(&file).await?;
    load::assert_same(&output.stdout_bytes()?, &bytes, "a file");
    let missing = a.run(script("cat")).stdin_file(folder.path().join("missing")).await;
    assert!(fails(missing, Reason::NoSuchFile).contains("missing"));
    for no_file in [folder.path(), Path::new("/dev/zero")] {
        let text = fails(a.run(script("cat")).stdin_file(no_file).await, Reason::FileRefused);
        assert!(text.contains("is not a file"), "{text}");
    }
    Ok(())
}

#[netsplit::test(hosts = 1)]
async fn stdin_from_a_stream(bed: Testbed) -> netsplit::Result {
    let (mut write, read) = tokio::io::duplex(1000);
    let bytes = load::noise(MIB + 1);
    let copy = bytes.clone();
    let writer = tokio::spawn(async move { write.write_all(&copy).await });
    let output = bed.host("a")?.run(script("cat")).stdin_stream(read).await?;
    writer.await.expect("no panic").expect("all was read");
    load::assert_same(&output.stdout_bytes()?, &bytes, "a stream");
    Ok(())
}

/// What has come so far, and then an error.
struct BreaksOff(bool);

impl AsyncRead for BreaksOff {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(Err(io::Error::other("the tap ran dry")));
        }
        out.put_slice(b"half\n");
        Poll::Ready(Ok(()))
    }
}

#[netsplit::test(hosts = 1)]
async fn stdin_that_breaks_off_is_an_error(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let run = a.run(script("cat")).stdin_stream(BreaksOff(false)).exits(Exit::Any).await;
    let started = a.start(script("cat")).stdin_stream(BreaksOff(false)).await?;
    // It can be opened, and not read.
    let file = a.run(script("cat")).stdin_file("/proc/self/mem").exits(Exit::Any).await;
    for text in [fails(run, Reason::FileRefused), fails(started.wait().await, Reason::FileRefused)] {
        assert!(
            text.contains("standard input of `shell cat` on a: the stream broke off: the tap ran dry"),
            "{text}"
        );
    }
    let text = fails(file, Reason::FileRefused);
    assert!(text.contains("`/proc/self/mem` broke off"), "{text}");
    fails(started.wait_for("more").await, Reason::FileRefused);
    Ok(())
}

#[netsplit::test(hosts = 1)]
async fn stdin_that_stays_open_takes_more_until_it_is_closed(bed: Testbed) -> netsplit::Result {
    let process = bed.host("a")?.start(script("cat")).stdin_open().await?;
    let mut all = Vec::new();
    for size in SIZES {
        let bytes = load::noise(size);
        process.write(bytes.clone()).await?;
        all.extend(bytes);
    }
    assert_eq!(process.outcome(), None);
    process.close_stdin().await?;
    assert!(process.wait().await?.is_success());
    load::assert_same(&process.stdout()?, &all, "all writes");
    assert!(process.write("more").await.is_err(), "nobody reads it any more");
    Ok(())
}

#[netsplit::test(hosts = 1)]
async fn without_stdin_there_is_nothing_to_read(bed: Testbed) -> netsplit::Result {
    bed.host("a")?.run(script("cat; echo end")).await?.expect_stdout("end")
}

#[netsplit::test(hosts = 1, needs = ["programs"])]
async fn nothing_is_dev_null(bed: Testbed) -> netsplit::Result {
    bed.host("a")?.run("readlink /proc/self/fd/0").await?.expect_stdout("/dev/null")
}

#[netsplit::program]
async fn closes_its_input() -> io::Result<()> {
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    tokio::time::sleep(millis(200)).await;
    writeln!(io::stdout(), "done")
}

#[netsplit::test(hosts = 1)]
async fn a_process_that_does_not_read_its_input_is_not_held_up(bed: Testbed) -> netsplit::Result {
    let (a, much) = (bed.host("a")?, load::noise(10 * MIB));
    a.run(script("true")).stdin(much.clone()).await?;
    a.run(script("sleep 0.2")).stdin(much.clone()).await?;
    let output = a.run(script("head -c 10")).stdin(much.clone()).await?;
    load::assert_same(&output.stdout_bytes()?, &much[..10], "ten bytes");
    // It closes its input early and goes on: what is written is dropped, and its own end is seen.
    a.run(closes_its_input).stdin(much).await?.expect_stdout("done")
}

/// A host's other work goes on while a process leaves 10 MiB unread.
#[netsplit::test(hosts = 1)]
async fn unread_input_blocks_nobody_else(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let idle = a.start(script("sleep 1000")).stdin(load::noise(10 * MIB)).await?;
    for size in [0, 65_537, MIB + 1] {
        let bytes = load::noise(size);
        let output = a.run(script("cat")).stdin(bytes.clone()).await?;
        load::assert_same(&output.stdout_bytes()?, &bytes, "beside it");
    }
    // Nor the process itself: what is told to it does not wait behind what it does not read.
    let killed = tokio::time::timeout(secs(10), idle.kill()).await.expect("a kill that gets through")?;
    assert_eq!(killed, Outcome::Signalled { signal: 9, core: false });
    let late = a.run(script("sleep 1000")).stdin(load::noise(10 * MIB)).within(millis(200));
    let late = tokio::time::timeout(secs(5), late).await.expect("a deadline that is obeyed");
    fails(late, Reason::CommandTimedOut);
    Ok(())
}

#[netsplit::test(hosts = 1)]
async fn lines_know_their_stream(bed: Testbed) -> netsplit::Result {
    let process = bed.host("a")?.start(script("echo one; echo two >&2")).await?;
    assert_eq!(process.wait_for("one").await?.stream(), Stream::Stdout);
    assert_eq!(process.wait_for("two").await?.stream(), Stream::Stderr);
    Ok(())
}

#[netsplit::test(hosts = 1)]
async fn what_was_not_left_open_takes_nothing(bed: Testbed) -> netsplit::Result {
    let process = bed.host("a")?.start(script("sleep 1000")).await?;
    for refused in [process.write("hello").await, process.close_stdin().await] {
        let text = fails(refused, Reason::BadValue);
        assert!(text.contains("standard input of a/shell was not left open"), "{text}");
        assert!(text.contains("fix: start it with `.stdin_open()`"), "{text}");
        assert!(text.contains("p02_streams.rs:"), "{text}");
    }
    let text = fails(process.resize(3, 4).await, Reason::BadValue);
    assert!(text.contains("`.pty()`") && text.contains("p02_streams.rs:"), "{text}");
    Ok(())
}
