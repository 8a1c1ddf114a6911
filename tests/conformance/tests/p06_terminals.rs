//! P6: a command may have a terminal of its own: it is one, it has a size, what is typed is what a terminal makes of it,
//! and whatever goes wrong goes wrong as without one. (A07: the seven cases of testbus)

use conformance::{could_not_start, load};
use netsplit::model::NotStartedKind;
use netsplit::prelude::*;

#[netsplit::test(hosts = 1, needs = ["pty"])]
async fn it_is_a_terminal_and_its_own_session(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let name = a.run("tty").pty().read().await?;
    assert!(name.starts_with("/dev/pts/"), "{name}");
    a.run("tty").exits(1).await?.expect_stdout("not a tty")?;
    a.run(sh("test -t 0 && test -t 1 && test -t 2 && : </dev/tty && echo all"))
        .pty()
        .await?
        .expect_stdout("all\r\n")?;
    // pid, group, session, foreground group: all its own.
    let ids = a.run(sh("set -- $(cat /proc/$$/stat); echo $1 $5 $6 $8")).pty().read().await?;
    let ids: Vec<_> = ids.split(' ').collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert!(!a.run(sh("echo $TERM")).pty().read().await?.is_empty());
    Ok(())
}

#[netsplit::test(hosts = 1, needs = ["pty"])]
async fn it_has_a_size_that_can_be_changed(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    a.run("stty size").pty().await?.expect_stdout("24 80\r\n")?;
    a.run("stty size").pty_size(50, 132).await?.expect_stdout("50 132\r\n")?;
    let script = "set +e; trap 'stty size' WINCH; echo up; while :; do sleep 0.02; done";
    let process = a.start(sh(script)).pty().ready("up").await?;
    process.resize(10, 20).await?;
    process.wait_for("^10 20$").await.map(drop)
}

#[netsplit::test(hosts = 1, needs = ["pty"])]
async fn what_is_typed_is_echoed_and_interrupts(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let process = a.start(sh("echo up; cat")).pty().stdin_open().ready("up").await?;
    process.write("hello\n").await?;
    // Once by the terminal, once by cat.
    process.wait_for("^hello$").await?;
    process.wait_for("^hello$").await?;
    process.write("\x03").await?;
    assert_eq!(process.wait().await?, Outcome::Signalled { signal: 2, core: false });
    assert_eq!(process.stdout()?, b"up\r\nhello\r\nhello\r\n^C");
    assert!(process.stderr()?.is_empty(), "a terminal is one stream");
    Ok(())
}

#[netsplit::test(hosts = 1, needs = ["pty"])]
async fn ctrl_d_and_a_closed_input_end_it(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let process = a.start("cat").pty().stdin_open().await?;
    process.write("x\n\x04").await?;
    assert!(process.wait().await?.is_success());
    let process = a.start("cat").pty().stdin_open().await?;
    process.write("y\n").await?;
    process.close_stdin().await?;
    assert!(process.wait().await?.is_success());
    let output = a.run(sh("stty -echo; echo go; wc -c")).pty().stdin("four\n").await?;
    assert!(output.stdout().ends_with("5\r\n"), "{:?}", output.stdout());
    // Nothing to read at all.
    a.run(sh("echo done")).pty().stdin("").await.map(drop)
}

/// At a terminal the first ^D behind a line that has begun only hands the line over.
#[netsplit::test(hosts = 1, needs = ["pty"])]
async fn an_input_without_a_last_newline_ends_too(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    for input in ["abc", "one\nabc", "abc\x04"] {
        let output = a.run(sh("stty -echo; echo go; cat")).pty().stdin(input).within(secs(10)).await?;
        let said = output.stdout();
        assert!(said.ends_with("abc"), "{said:?}");
    }
    let process = a.start(sh("stty -echo; echo up; cat; cat")).pty().stdin_open().ready("up").await?;
    process.write("ab").await?;
    process.write("c").await?;
    process.close_stdin().await?;
    // One end of file, and not two: the second `cat` still waits.
    process.wait_for("abc").await?;
    a.run(sh("[ $(pgrep -xc cat) -eq 1 ]")).eventually(secs(5)).await?;
    assert_eq!(process.outcome(), None);
    process.kill().await.map(drop)
}

/// In raw mode nothing is made of anything.
#[netsplit::test(hosts = 1, needs = ["pty"])]
async fn control_characters_are_byte_exact(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let all: Vec<u8> = (0..=255).collect();
    let process = a.start(sh("stty raw -echo; echo up; head -c 256")).pty().stdin_open().ready("up").await?;
    process.write(all.clone()).await?;
    assert!(process.wait().await?.is_success());
    load::assert_same(&process.stdout()?[3..], &all, "all bytes, there and back");
    // Without raw mode a newline becomes two characters, and nothing else changes.
    let output = a.run(sh(r"printf 'a\nb\tc\033[1m\001\177'")).pty().await?;
    assert_eq!(output.stdout_bytes()?, b"a\r\nb\tc\x1b[1m\x01\x7f");
    Ok(())
}

/// What was written right before the end is there, although the terminal goes with its last process.
#[netsplit::test(hosts = 1, needs = ["pty"])]
async fn its_last_output_is_there(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    for length in [1, 4095, 4096, 20_000, 300_000] {
        let script = format!("head -c {length} /dev/zero | tr '\\0' z");
        let output = a.run(sh(script)).pty().await?;
        assert_eq!(output.stdout_bytes()?.len(), length);
    }
    Ok(())
}

#[netsplit::test(hosts = 1, needs = ["pty"])]
async fn it_ends_as_without_one(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    for code in [0, 3, 255] {
        assert_eq!(a.run(sh(format!("exit {code}"))).pty().exits(Exit::Any).await?.code(), Some(code));
    }
    for signal in [9, 13, 15] {
        a.run(sh(format!("kill -{signal} $$"))).pty().exits(Exit::Signal(signal)).await?;
    }
    let error = conformance::error_of(a.run("sleep 1000").pty().within(millis(100)).await);
    assert!(matches!(error.outcome(), Some(Outcome::TimedOut { .. })), "{error}");
    let process = a.start(sh("setsid --fork sleep 1000; sleep 1000")).pty().await?;
    assert_eq!(process.kill().await?, Outcome::Signalled { signal: 9, core: false });
    a.run(sh("! pgrep -x sleep")).eventually(secs(5)).await.map(drop)
}

/// The message is the same with and without: the way to the program is another, what is wrong with it is not.
#[netsplit::test(hosts = 1, needs = ["pty"])]
async fn what_cannot_start_says_the_same(bed: Testbed) -> netsplit::Result {
    use NotStartedKind::{NoSuchFile, NoSuchProgram, NotExecutable, Other};
    let a = bed.host("a")?;
    a.write("/tmp/plain", "no first line\n").mode(0o755).await?;
    a.write("/tmp/orphan", "#!/no/interpreter\n").mode(0o755).await?;
    let long = "x".repeat(200 << 10);
    let all = [
        (vec!["no-such-program"], NoSuchProgram),
        (vec!["/no/such"], NoSuchFile),
        (vec!["/etc"], NotExecutable),
        (vec!["/tmp/plain"], NotExecutable),
        (vec!["/tmp/orphan"], NotExecutable),
        (vec!["true", &long], Other),
    ];
    for (words, kind) in all {
        let first_line = |text: String| text.lines().next().unwrap_or_default().to_owned();
        let plain = first_line(could_not_start(a.run(&words[..]).await, kind));
        let on_terminal = first_line(could_not_start(a.run(&words[..]).pty().await, kind));
        assert_eq!(plain, on_terminal);
    }
    Ok(())
}

#[netsplit::test(hosts = 1, needs = ["pty", "users"])]
async fn another_user_has_the_terminal(bed: Testbed) -> netsplit::Result {
    let script = "id -un; : </dev/tty && echo opened";
    bed.host("a")?.run(sh(script)).pty().user("nobody").await?.expect_stdout("nobody\r\nopened\r\n")
}
