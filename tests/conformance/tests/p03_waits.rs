//! P3: a wait sees the first line ever written, a negative wait fails on it, a wait on a process that ends fails at once
//! with its last lines. Waits on processes look from the first byte or behind the last match; waits on hosts and on the
//! testbed from the last disturbance.

use std::io::BufRead;
use std::os::fd::AsFd;
use std::time::Instant;

use conformance::programs::{self, flood_server};
use conformance::script::script;
use conformance::{MIB, error_of, fails};
use netsplit::prelude::*;
use netsplit::{Reason, Stream};

/// Until what it wrote is in the evidence.
async fn has_written(process: &Process, bytes: usize) {
    while process.stdout().map_or(0, |all| all.len()) < bytes {
        tokio::time::sleep(millis(5)).await;
    }
}

#[netsplit::test(hosts = 1)]
async fn the_first_line_is_seen_however_late_the_wait(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let later: String = (1..=1000).map(|n| format!("echo later {n}\n")).collect();
    let running = a.start(script(format!("echo first\n{later} sleep 1000"))).await?;
    has_written(&running, 6 + 1000 * 7).await;
    assert_eq!(running.wait_for("^first$").await?.text(), "first");
    let ended = a.start(script("echo first; exit 3")).await?;
    ended.wait().await?;
    assert_eq!(ended.wait_for("^first$").await?.text(), "first");
    Ok(())
}

#[netsplit::test(hosts = 1)]
async fn a_process_cursor_moves_behind_each_match(bed: Testbed) -> netsplit::Result {
    let lines: String = (1..=3).map(|n| format!("echo x {n}; echo y {n} >&2\n")).collect();
    let process = bed.host("a")?.start(script(lines)).await?;
    process.wait().await?;
    for number in ["1", "2", "3"] {
        assert_eq!(process.wait_for(r"x (\d)").await?.get(1), Some(number));
    }
    // Each stream has its own: standard error was not passed.
    assert_eq!(process.wait_for(r"y (\d)").await?.get(1), Some("1"));
    fails(process.wait_for(r"x (\d)").await, Reason::EndedBeforeLine);
    process.never("x").await?;
    fails(process.never("y 2").await, Reason::ForbiddenLine);
    Ok(())
}

/// Also while the lines come.
#[netsplit::test(hosts = 1)]
async fn no_line_is_passed_over_between_two_waits(bed: Testbed) -> netsplit::Result {
    let lines: String = (1..=500).map(|n| format!("echo line {n}\n")).collect();
    let process = bed.host("a")?.start(script(lines)).await?;
    for number in 1..=500 {
        assert_eq!(process.wait_for(r"line (\d+)").await?.get(1), Some(&*number.to_string()));
    }
    Ok(())
}

#[netsplit::test(hosts = 2)]
async fn a_line_says_what_matched_and_whose_it_was(bed: Testbed) -> netsplit::Result {
    let b = bed.host("b")?;
    let process = b.start(script("echo 'term=7 leader=b (old)' >&2")).name("kvd").await?;
    let line = process.wait_for(r"term=(?<term>\d+) leader=(\w+)(?<gone> never)?").await?;
    assert_eq!((&line["term"], line.get(2), line.get(0)), ("7", Some("b"), Some("term=7 leader=b")));
    assert_eq!((line.name("gone"), line.name("nobody"), line.get(9)), (None, None, None));
    assert_eq!((line.text(), line.stream()), ("term=7 leader=b (old)", Stream::Stderr));
    assert_eq!((line.host(), line.process().to_string()), (&b, "b/kvd".to_owned()));
    assert!(line.at() <= bed.now());
    Ok(())
}

#[netsplit::test(hosts = 3)]
async fn a_line_may_be_wanted_of_several_hosts(bed: Testbed) -> netsplit::Result {
    let wait = || bed.wait_for("elected (.)");
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    a.start(script("echo elected a; echo elected again; sleep 1000")).await?;
    let late = b.start(script("sleep 0.1; echo elected b; sleep 1000")).await?;
    let lines = wait().at_least(2).await?;
    let said: Vec<_> =
        lines.iter().map(|line| (line.host().name().as_str(), line.get(1).unwrap_or_default())).collect();
    assert_eq!(said, [("a", "a"), ("b", "b")]);
    let missed = error_of(wait().within(millis(300)).at_least(3).await);
    assert_eq!(missed.name(), Reason::WaitTimedOut);
    assert!(missed.to_string().starts_with("no line like `elected (.)` on c within 300ms"), "{missed}");
    fails(wait().on_others(&a).at_least(3).await, Reason::BadValue);
    assert_eq!(wait().on(vec![&a, &b]).at_least(2).await?.len(), 2);
    assert_eq!(late.wait_for("elected").at_least(1).await?.len(), 1);
    Ok(())
}

#[netsplit::test(hosts = 1)]
async fn a_negative_wait_fails_on_a_line_that_is_there_and_on_one_that_comes(
    bed: Testbed,
) -> netsplit::Result {
    let a = bed.host("a")?;
    let process =
        a.start(script("echo panic: first; read go; echo panic: second; sleep 1000")).stdin_open().await?;
    has_written(&process, 13).await;
    let text = fails(process.never("panic").await, Reason::ForbiddenLine);
    assert!(text.contains("panic: first") && text.contains("which must not come"), "{text}");
    fails(a.never("panic").await, Reason::ForbiddenLine);
    fails(bed.never("panic").await, Reason::ForbiddenLine);
    process.never("other").await?;

    process.wait_for("first").await?;
    let (looked, told) = tokio::join!(process.never("panic").lasting(secs(30)), process.write("go\n"));
    told?;
    let text = fails(looked, Reason::ForbiddenLine);
    assert!(text.contains("panic: second"), "{text}");
    process.never("third").lasting(millis(100)).await
}

#[netsplit::test(hosts = 1)]
async fn a_wait_on_a_process_that_ends_fails_at_once_with_its_last_lines(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let begun = Instant::now();
    let fails_to_bind = script("echo starting; sleep 0.2; echo 'bind: address in use' >&2; exit 7");
    let error = error_of(a.start(fails_to_bind).ready("ready").await);
    assert_eq!(error.name(), Reason::EndedBeforeLine, "{error}");
    assert_eq!(error.outcome(), Some(&Outcome::Exited { code: 7 }));
    let text = error.to_string();
    assert!(text.contains("exited 7 before a line like `ready`"), "{text}");
    assert!(text.contains("bind: address in use") && text.contains("starting"), "{text}");
    // Far from the 30 s that a start may take.
    assert!(begun.elapsed() < secs(20), "it waited for its deadline");

    let silent = a.start(script("true")).await?;
    silent.wait().await?;
    let text = fails(silent.wait_for("anything").await, Reason::EndedBeforeLine);
    assert!(text.contains("it wrote nothing"), "{text}");
    // However the word of its end and its last line meet.
    for _ in 0..30 {
        let killed = a.start(script("echo up; sleep 1000")).ready("up").await?;
        let (waited, ended) = tokio::join!(killed.wait_for("down"), killed.kill());
        ended?;
        assert_eq!(error_of(waited).outcome(), Some(&Outcome::Signalled { signal: 9, core: false }));
    }
    Ok(())
}

#[netsplit::test(hosts = 1)]
async fn a_wait_that_times_out_says_what_it_saw(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    a.start(script("echo booting; sleep 1000")).ready("booting").await?;
    let text = fails(a.wait_for("became leader").within(millis(50)).await, Reason::WaitTimedOut);
    assert!(text.contains("no line like `became leader` on a within 50ms"), "{text}");
    assert!(text.contains("looked from the begin of the run") && text.contains("booting"), "{text}");
    let text = fails(a.wait_for("(").await, Reason::BadRegex);
    assert!(text.contains("`(` is no regular expression"), "{text}");
    Ok(())
}

#[netsplit::test(hosts = 3, needs = ["kill"])]
async fn waits_on_hosts_look_from_the_last_disturbance(bed: Testbed) -> netsplit::Result {
    let (a, c) = (bed.host("a")?, bed.host("c")?);
    let leads = script("echo became leader; read again; echo became leader; sleep 1000");
    let process = a.start(leads).stdin_open().ready("leader").await?;
    assert_eq!(bed.find("became leader").await?, a);
    // What came at an instant is not before it.
    tokio::time::sleep(millis(5)).await;
    let before = bed.now();
    c.kill().await?;
    for text in [
        fails(bed.wait_for("became leader").within(millis(50)).await, Reason::WaitTimedOut),
        fails(a.wait_for("became leader").within(millis(50)).await, Reason::WaitTimedOut),
        fails(bed.find("became leader").within(millis(50)).await, Reason::WaitTimedOut),
    ] {
        assert!(text.contains("because such a line came at ") && text.contains(" on a/"), "{text}");
        assert!(text.contains("when kill c began"), "{text}");
    }
    bed.never("became leader").await?;
    // What is older is found when it is asked for.
    assert_eq!(bed.wait_for("became leader").since_begin().await?.host(), &a);
    fails(bed.wait_for("became leader").since(before).within(millis(50)).await, Reason::WaitTimedOut);
    fails(bed.never("became leader").since_begin().await, Reason::ForbiddenLine);
    let (found, told) = tokio::join!(bed.find("became leader"), process.write("again\n"));
    told?;
    assert_eq!(found?, a);
    // A signal is a disturbance as well.
    process.signal("WINCH").await?;
    fails(bed.wait_for("became leader").within(millis(50)).await, Reason::WaitTimedOut);
    Ok(())
}

#[netsplit::test(hosts = 3)]
async fn find_gives_the_newest_and_a_wait_the_oldest(bed: Testbed) -> netsplit::Result {
    let [a, b, c] = &bed.hosts()[..] else { panic!("three hosts") };
    for (term, host) in [a, c, b].into_iter().enumerate() {
        host.start(script(format!("echo leader of term {term}; sleep 1000"))).ready("leader").await?;
        tokio::time::sleep(millis(5)).await;
    }
    assert_eq!(&bed.find("leader").await?, b);
    assert_eq!(&bed.find("leader").on_others(b).await?, c);
    assert_eq!(&bed.find("leader").on([a, c]).await?, c);
    assert_eq!(bed.wait_for("leader").await?.host(), a);
    assert_eq!(bed.wait_for("leader").on_others(a).await?.host(), c);
    assert_eq!(bed.find(r"term (\d)").line().await?.get(1), Some("2"));
    assert_eq!(bed.wait_for("leader").on(&bed.role("host")?).await?.host(), a);
    assert_eq!(bed.wait_for("leader").on(bed.role("host")?).await?.host(), a);
    fails(bed.wait_for("leader of term 2").on([a, c]).within(millis(50)).await, Reason::WaitTimedOut);
    Ok(())
}

#[netsplit::test(hosts = 1)]
async fn a_prompt_is_a_line_before_it_ends(bed: Testbed) -> netsplit::Result {
    let asks = "printf 'login: '; read name; printf 'password for %s: ' \"$name\"; read word; echo welcome";
    let process = bed.host("a")?.start(script(asks)).stdin_open().await?;
    process.wait_for("login: $").await?;
    process.write("anna\n").await?;
    assert_eq!(process.wait_for(r"password for (\w+): $").await?.get(1), Some("anna"));
    process.write("secret\n").await?;
    // A prompt that was answered is not seen again with what follows on its line.
    process.never("login|password").await?;
    process.wait_for("welcome").await.map(drop)
}

#[netsplit::test(hosts = 1)]
async fn lines_end_as_lines_do(bed: Testbed) -> netsplit::Result {
    let process = bed
        .host("a")?
        .start(script(r"printf 'one\r\n\ntwo\rtwo\nlast'; printf 'caf\303\251 \377\n' >&2"))
        .await?;
    process.wait().await?;
    for (pattern, text) in [("^one$", "one"), ("^$", ""), ("^two", "two\rtwo"), ("^last$", "last")] {
        assert_eq!(process.wait_for(pattern).await?.text(), text);
    }
    assert_eq!(process.wait_for("^café").await?.text(), "café \u{fffd}");
    Ok(())
}

/// Reads and frames are 64 KiB: what is looked for may lie across their edge.
#[netsplit::test(hosts = 1)]
async fn a_match_may_lie_across_any_buffers_edge(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    for before in [4090, 65_530, 65_536, 131_066, 200_000] {
        let text = format!("{}NEEDLE-in-the-hay{}\n", "x".repeat(before), "y".repeat(100_000));
        let process = a.start(script("cat")).stdin(text).await?;
        let line = process.wait_for("x{100}(NEEDLE.*hay)y{100}").await?;
        assert_eq!(line.get(1), Some("NEEDLE-in-the-hay"));
        // On a slow day its end is still to come: a line that nothing follows for a while counts as one.
        assert!(line.text().len() >= before + 117, "{}", line.text().len());
        // And as lines of their own.
        let lines = format!("{}NEEDLE {before}\n", "0123456\n".repeat(before / 8));
        a.start(script("cat")).stdin(lines).await?.wait_for(format!("^NEEDLE {before}$")).await?;
    }
    Ok(())
}

/// Says each line that it reads, twice.
#[netsplit::program]
async fn answers() -> std::io::Result<()> {
    // Not through `Stdin`, which is one for all processes of a simulation.
    let stdin = std::fs::File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    for line in std::io::BufReader::new(stdin).lines() {
        let line = line?;
        programs::say(&format!("got {line}\nagain {line}"));
    }
    Ok(())
}

/// A line is seen although a connection through the same agent is flooded and nobody reads it, and a process's input is
/// not read either (A11).
#[netsplit::test(hosts = 1, needs = ["connect"])]
async fn a_slow_channel_holds_up_no_wait(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    a.start(flood_server).ready("listening").await?;
    let unread = [a.connect(programs::PORT).await?, a.connect(programs::PORT).await?];
    a.start(script("sleep 1000")).stdin(vec![0; 4 * MIB]).await?;
    let process = a.start(answers).stdin_open().await?;
    for number in 0..50 {
        process.write(format!("{number}\n")).await?;
        process.wait_for(format!("^got {number}$")).within(secs(10)).await?;
    }
    drop(unread);
    Ok(())
}

#[netsplit::test(hosts = 4)]
async fn two_hundred_waits_at_once_each_get_their_line(bed: Testbed) -> netsplit::Result {
    let mut waits = tokio::task::JoinSet::new();
    for number in 0..200 {
        let wait = bed.wait_for(format!(r"^line {number} of (\w)$"));
        waits.spawn(async move { (number, wait.await) });
    }
    for host in bed.hosts() {
        let first = host.index();
        let lines = (first..200).step_by(4).map(|n| format!("echo line {n} of %{{host}}\n"));
        host.start(script(lines.collect::<String>() + "sleep 1000")).await?;
    }
    while let Some(ended) = waits.join_next().await {
        let (number, line) = ended.expect("no panic");
        let line = line?;
        assert_eq!((line.host().index(), line.get(1)), (number % 4, Some(line.host().name().as_str())));
    }
    Ok(())
}

#[netsplit::test(hosts = 2)]
async fn a_wait_after_a_line_looks_at_what_came_behind_it(bed: Testbed) -> netsplit::Result {
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    // Both hosts in turn, and several lines at once.
    let [on_a, on_b] = [a.start(answers).stdin_open(), b.start(answers).stdin_open()];
    let processes = [on_a.await?, on_b.await?];
    for n in 1..=6 {
        let process = &processes[(n + 1) % 2];
        process.write(format!("{n}\n")).await?;
        process.wait_for(format!("again {n}")).await?;
    }
    let mut line = bed.wait_for(r"got (\d)").await?;
    for n in 2..=6 {
        line = bed.wait_for(r"got (\d)").after(&line).await?;
        assert_eq!(line.get(1), Some(&*n.to_string()), "{line:?}");
    }
    bed.never("got").after(&line).await?;
    fails(bed.find("got").after(&line).within(millis(50)).await, Reason::WaitTimedOut);
    let text = fails(bed.wait_for("got").after(&line).within(millis(50)).await, Reason::WaitTimedOut);
    assert!(text.contains("looked behind a line of b/answers"), "{text}");
    assert_eq!(bed.find("again").after(&line).await?, b);
    // What is still to come, on either host.
    let (next, told) = tokio::join!(bed.wait_for("got").after(&line), processes[0].write("7\n"));
    told?;
    assert_eq!(next?.text(), "got 7");
    fails(bed.never("got 7").after(&line).await, Reason::ForbiddenLine);
    Ok(())
}
