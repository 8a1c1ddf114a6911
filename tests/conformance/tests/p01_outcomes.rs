//! P1: exit codes, signals, nonstarters and timeouts each come back as themselves: in the outcome, in the error's name,
//! and in the exit code that a command line gives on. (A01, A09, A20)

use std::fs;
use std::os::unix::fs::PermissionsExt;

use conformance::script::script;
use conformance::{could_not_start, error_of, fails, from_here, log, scratch};
use netsplit::model::{NotStartedKind, Verdict};
use netsplit::prelude::*;
use netsplit::{Reason, wait_any};

#[netsplit::test(hosts = 1)]
async fn exit_codes(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    for code in [0, 1, 3, 255] {
        let output = a.run(script(format!("exit {code}"))).exits(Exit::Any).await?;
        assert_eq!(*output.outcome(), Outcome::Exited { code });
        assert_eq!((output.code(), i32::from(output.outcome().exit_code())), (Some(code), code));
    }
    Ok(())
}

#[netsplit::test(hosts = 1)]
async fn success_is_the_default_contract(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let error = error_of(a.run(script("echo out; echo err >&2; exit 3")).await);
    assert_eq!((error.name(), error.verdict()), (Reason::UnexpectedExit, Verdict::Failed));
    assert_eq!(error.outcome(), Some(&Outcome::Exited { code: 3 }));
    let text = error.to_string();
    assert!(text.contains("exited 3") && text.contains("err") && text.contains("out"), "{text}");

    a.run(script("exit 3")).exits(3).await?;
    a.run(script("exit 3")).exits([0, 3]).await?;
    a.run(script("exit 3")).exits(Exit::Nonzero).await?;
    let text = fails(a.run(script("true")).exits(3).await, Reason::UnexpectedExit);
    assert!(text.contains("expected was exit 3"), "{text}");
    fails(a.run(script("true")).exits(Exit::Nonzero).await, Reason::UnexpectedExit);
    fails(a.run(script("true")).exits(Exit::Signal(9)).await, Reason::UnexpectedExit);
    Ok(())
}

#[netsplit::test(hosts = 1)]
async fn signals(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    for (name, number) in
        [("HUP", 1), ("ABRT", 6), ("KILL", 9), ("USR1", 10), ("SEGV", 11), ("ALRM", 14), ("TERM", 15)]
    {
        let output = a.run(script(format!("ulimit -c 0; kill -{name} $$"))).exits(Exit::Any).await?;
        assert_eq!(*output.outcome(), Outcome::Signalled { signal: number, core: false }, "{name}");
        assert_eq!((output.code(), i32::from(output.outcome().exit_code())), (None, 128 + number));
        a.run(script(format!("kill -{name} $$"))).exits(Exit::Signal(number)).await?;
    }
    // A shell's 128 + n is a code of its own, and no signal.
    let output = a.run(script("exit 137")).exits(Exit::Any).await?;
    assert_eq!(*output.outcome(), Outcome::Exited { code: 137 });
    let error = error_of(a.run(script("kill -9 $$")).await);
    assert_eq!(error.outcome(), Some(&Outcome::Signalled { signal: 9, core: false }));
    assert!(error.to_string().contains("was ended by signal KILL"), "{error}");
    Ok(())
}

#[netsplit::test(hosts = 1, needs = ["programs"])]
async fn a_core_is_said_to_be_dumped(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let can = "ulimit -c unlimited && case $(cat /proc/sys/kernel/core_pattern) in core*) ;; *) exit 1; esac";
    if a.run(sh(can)).exits(Exit::Any).await?.code() != Some(0) {
        bed.note("no cores here: the flag cannot be asked for");
        return Ok(());
    }
    let dump = a.run(sh("ulimit -c unlimited; kill -SEGV $$")).cwd("/tmp").exits(Exit::Any).await?;
    let there = a.run(sh("test -s /tmp/core* && echo yes || echo no")).read().await?;
    assert_eq!(*dump.outcome(), Outcome::Signalled { signal: 11, core: there == "yes" });
    Ok(())
}

/// What no host can start, by the words that were tried, with what its message must say.
#[netsplit::test(hosts = 1)]
async fn what_is_no_program(bed: Testbed) -> netsplit::Result {
    use NotStartedKind::{NoSuchProgram, Other};
    let a = bed.host("a")?;
    let nonstarters = [
        ("no-such-program", NoSuchProgram, "no program `no-such-program`"),
        ("", Other, "the command is empty"),
    ];
    for (word, kind, says) in nonstarters {
        let run = could_not_start(a.run([word]).exits(Exit::Any).await, kind);
        let start = could_not_start(a.start([word]).await, kind);
        for text in [run, start] {
            assert!(text.contains(says), "{says}: {text}");
        }
    }
    let text = could_not_start(a.run(script("true")).arg("no\0word").await, Other);
    assert!(text.contains("nul byte"), "{text}");
    a.run(script("true")).await.map(drop)
}

/// Files that are no programs, on a terminal and without.
#[netsplit::test(hosts = 1, needs = ["programs"])]
async fn nonstarters(bed: Testbed) -> netsplit::Result {
    use NotStartedKind::{NoSuchFile, NoSuchProgram, NotExecutable, Other};
    let a = bed.host("a")?;
    a.write("/tmp/plain", "echo this has no first line\n").mode(0o755).await?;
    a.write("/tmp/orphan", "#!/no/such/interpreter -x\n").mode(0o755).await?;
    a.write("/tmp/locked", "#!/bin/sh\n").mode(0o644).await?;
    let long = "x".repeat(200 << 10);
    let nonstarters = [
        (vec!["no-such-program"], NoSuchProgram, "no program `no-such-program`"),
        (vec!["/no/such/file"], NoSuchFile, "no file `/no/such/file`"),
        (vec!["/etc/passwd/x"], NoSuchFile, "no file `/etc/passwd/x`"),
        (vec!["/etc"], NotExecutable, "is a directory"),
        (vec!["/tmp/locked"], NotExecutable, "not executable (mode 644)"),
        (vec!["/tmp/plain"], NotExecutable, "names no interpreter"),
        (vec!["/tmp/orphan"], NotExecutable, "wants `/no/such/interpreter`"),
        (vec![""], Other, "the command is empty"),
        (vec!["true", &long], Other, "too long arguments"),
        (vec!["echo", "no\0word"], Other, "nul byte"),
    ];
    for (words, kind, says) in nonstarters {
        for text in [
            could_not_start(a.run(&words[..]).exits(Exit::Any).await, kind),
            could_not_start(a.start(&words[..]).await, kind),
            could_not_start(a.run(&words[..]).user("root").pty().await, kind),
        ] {
            assert!(text.contains(says), "{says}: {text}");
            assert!(!text.contains("backtrace"), "{text}");
        }
    }
    a.run("true").await.map(drop)
}

#[netsplit::test(hosts = 1, needs = ["programs"])]
async fn a_missing_program_is_the_testbeds_fault_and_names_its_package(bed: Testbed) -> netsplit::Result {
    let error = error_of(bed.host("a")?.run("nats-server -js").env("PATH", "/nowhere").await);
    assert_eq!(error.verdict(), Verdict::Infra);
    let text = error.to_string();
    assert!(
        text.contains("(PATH=/nowhere)") && text.contains("fix: sudo apt-get install nats-server"),
        "{text}"
    );
    Ok(())
}

#[netsplit::test(hosts = 1)]
async fn a_working_directory_must_be_one(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    a.run(script("pwd")).await?.expect_stdout("/")?;
    a.write("/srv/folder/file", "").await?;
    a.run(script("pwd")).cwd("/srv/folder").await?.expect_stdout("/srv/folder")?;
    for cwd in ["/no/such/folder", "/srv/folder/file"] {
        let text = could_not_start(a.run(script("pwd")).cwd(cwd).await, NotStartedKind::Other);
        assert!(text.contains(&format!("`{cwd}` is not a directory")), "{text}");
    }
    Ok(())
}

#[netsplit::test(hosts = 1, needs = ["pty"])]
async fn a_working_directory_on_a_terminal_must_be_one(bed: Testbed) -> netsplit::Result {
    for cwd in ["/no/such/folder", "/etc/passwd"] {
        let text = could_not_start(bed.host("a")?.run("pwd").cwd(cwd).pty().await, NotStartedKind::Other);
        assert!(text.contains(&format!("`{cwd}` is not a directory")), "{text}");
    }
    Ok(())
}

#[netsplit::test(hosts = 1)]
async fn an_empty_command_is_refused(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    for result in [a.run("").await, a.run("   ").await, a.run(Vec::<String>::new()).await] {
        let text = fails(result, Reason::CouldNotStart);
        assert!(text.contains("the command is empty"), "{text}");
    }
    let text = fails(a.run("echo a | wc").await, Reason::ShellInCommand);
    assert!(text.contains("column 8"), "{text}");
    assert_eq!(log::processes(&bed), 0, "nothing was asked of the host");
    Ok(())
}

/// More words than the kernel takes, and more than a message of ours may hold.
#[netsplit::test(hosts = 1)]
async fn too_many_words_are_refused_as_such(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    for count in [30, 45] {
        let words = std::iter::repeat_n("x".repeat(100 << 10), count);
        let text = could_not_start(a.run(script("true")).args(words).await, NotStartedKind::Other);
        assert!(text.contains("too long arguments"), "{text}");
    }
    a.run(script("true")).args(std::iter::repeat_n("x".repeat(100 << 10), 10)).await.map(drop)
}

#[netsplit::test(hosts = 1, needs = ["users"])]
async fn an_unknown_user_is_named(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let text = could_not_start(a.run("true").user("no-such-user").await, NotStartedKind::Other);
    assert!(text.contains("no user `no-such-user` on a"), "{text}");
    a.run("id -un").user("nobody").await?.expect_stdout("nobody")?;
    a.run("id -u").user("4711").await?.expect_stdout("4711")
}

/// With a terminal and without: the groups, the input, and what is wrong with a program.
#[netsplit::test(hosts = 1, needs = ["users", "pty"])]
async fn a_user_has_all_its_groups(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let own = a.run("id -g nobody").read().await?;
    a.run(sh("echo team:x:4242:nobody >> /etc/group")).await?;
    assert_eq!(a.run("id -G").user("nobody").read().await?, format!("{own} 4242"));
    assert_eq!(a.run("id -G").user("nobody").pty().read().await?, format!("{own} 4242"));
    a.run(sh("cat; echo and this >&2; exit 3"))
        .user("nobody")
        .stdin("all")
        .exits(3)
        .await?
        .expect_stdout("all")?;
    // A group of its own, and the signals as a program expects them.
    a.run(sh("set -- $(cat /proc/$$/stat); test $1 = $5")).user("nobody").await?;
    let ignored = "grep SigIgn /proc/self/status";
    assert_eq!(a.run(ignored).user("nobody").read().await?, a.run(ignored).read().await?);
    a.write("/tmp/orphan", "#!/no/interpreter\n").mode(0o755).await?;
    could_not_start(a.run("/tmp/orphan").user("nobody").await, NotStartedKind::NotExecutable);
    let process = a.start("sleep 1000").user("nobody").await?;
    assert_eq!(process.kill().await?, Outcome::Signalled { signal: 9, core: false });
    Ok(())
}

#[netsplit::test(hosts = 1, needs = ["programs"])]
async fn a_relative_program_is_brought_from_here(bed: Testbed) -> netsplit::Result {
    let (a, folder) = (bed.host("a")?, scratch());
    let file = folder.path().join("hello.sh");
    fs::write(&file, "#!/bin/sh\necho \"$0 says $*\"\n").expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("a mode");
    let name = from_here(&file);
    let said = a.run([&name, "to", "you"]).read().await?;
    assert!(said.ends_with("/hello.sh says to you"), "{said}");
    a.run([&name]).pty().await?;
    assert_eq!(log::sent(&bed), [fs::metadata(&file).expect("a file").len(), 0], "brought once");

    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("a mode");
    let text = fails(a.run([&name]).await, Reason::CouldNotStart);
    assert!(text.contains("is not executable") && text.contains("fix: chmod +x"), "{text}");
    let text = fails(a.run("./no-such-file --flag").await, Reason::NoSuchFile);
    assert!(text.contains("no file `./no-such-file` here"), "{text}");
    fails(a.run([from_here(folder.path())]).await, Reason::CouldNotStart);
    Ok(())
}

#[netsplit::test(hosts = 1)]
async fn a_deadline_ends_a_command_as_timed_out(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let error = error_of(a.run(script("echo up; sleep 1000")).within(millis(300)).await);
    assert_eq!(error.name(), Reason::CommandTimedOut, "{error}");
    assert!(error.to_string().contains("up"), "{error}");
    let outcome = error.outcome().expect("an outcome");
    let after = 300.0 * patience();
    assert!(matches!(outcome, Outcome::TimedOut { after_ms } if *after_ms as f64 == after), "{outcome:?}");
    assert_eq!(outcome.exit_code(), 242);
    let process = a.start(script("sleep 1000")).within(millis(100)).await?;
    assert!(matches!(process.wait().await?, Outcome::TimedOut { .. }));
    Ok(())
}

#[netsplit::test(hosts = 1, needs = ["programs"])]
async fn a_deadline_ends_what_a_command_started(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    // With a child, with one that ignores TERM, and with one that ends politely.
    for script in [
        "sleep 1000 & wait",
        "trap '' TERM; while :; do sleep 0.1; done",
        "trap 'exit 0' TERM; sleep 1000 & wait",
    ] {
        let error = error_of(a.run(sh(script)).within(millis(300)).await);
        assert_eq!(error.name(), Reason::CommandTimedOut, "{script}: {error}");
        a.run(sh("! pgrep -x sleep")).eventually(secs(5)).await?;
    }
    Ok(())
}

/// As the settings have it.
fn patience() -> f64 {
    std::env::var("NETSPLIT_PATIENCE").ok().and_then(|text| text.parse().ok()).unwrap_or(1.0)
}

#[netsplit::test(hosts = 1)]
async fn a_wait_that_takes_too_long_ends_nothing(bed: Testbed) -> netsplit::Result {
    let process = bed.host("a")?.start(script("sleep 1000")).await?;
    fails(process.wait().within(millis(50)).await, Reason::CommandTimedOut);
    assert_eq!(process.outcome(), None);
    assert!(fails(wait_any(&[]).await, Reason::BadValue).contains("no process"));
    assert_eq!(process.kill().await?, Outcome::Signalled { signal: 9, core: false });
    Ok(())
}

/// The cause is often the last line of the one stream, and the noise is on the other.
#[netsplit::test(hosts = 1)]
async fn a_failure_shows_the_last_lines_of_both_streams(bed: Testbed) -> netsplit::Result {
    let warnings: String = (1..=5).map(|n| format!("echo warning {n} >&2\n")).collect();
    let steps: String = (1..=5).map(|n| format!("echo step {n}\n")).collect();
    let text = format!("{warnings}{steps}echo the cause; exit 1");
    let result = bed.host("a")?.run(script(text)).await;
    let text = fails(result, Reason::UnexpectedExit);
    for line in ["warning 1", "warning 5", "step 2", "step 5", "the cause"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    Ok(())
}

#[netsplit::test(hosts = 1)]
async fn a_wait_for_no_process_says_where(_bed: Testbed) -> netsplit::Result {
    let text = fails(wait_any(&[]).await, Reason::BadValue);
    assert!(text.contains("p01_outcomes.rs:"), "{text}");
    Ok(())
}
