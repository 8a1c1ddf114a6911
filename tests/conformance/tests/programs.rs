//! `#[netsplit::program]`: an async function of the test is a command like any other.

use std::io::BufRead as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration as StdDuration;

use conformance::error_of;
use netsplit::prelude::*;
use netsplit::{Reason, machine};

#[netsplit::program]
async fn nothing() {}

#[netsplit::program]
async fn code(arguments: Vec<String>) -> u8 {
    arguments[0].parse().expect("a code")
}

#[netsplit::program]
async fn fallible(arguments: Vec<String>) -> Result<(), String> {
    if arguments.is_empty() { Ok(()) } else { Err(format!("no {}", arguments.join(", "))) }
}

#[netsplit::program]
async fn fallible_code() -> std::io::Result<u8> {
    Ok(7)
}

#[netsplit::program]
async fn panics() {
    panic!("the disk is on fire");
}

#[netsplit::program]
async fn describes(machine: Machine, arguments: Vec<String>) {
    conformance::programs::say(&format!("{} {arguments:?} {}", machine.name(), machine.address()));
}

#[netsplit::program]
async fn knows(known: Machine) {
    assert_eq!(machine().map(|machine| machine.name().to_owned()).as_deref(), Some(known.name()));
}

#[netsplit::program]
async fn introduces(machine: Machine) {
    for peer in machine.peers() {
        machine.log(format!("peer {} {}", peer.name(), peer.address()));
    }
    let draws: Vec<_> = ["one", "one", "two"].map(|purpose| machine.random(purpose).below(1 << 40)).into();
    conformance::programs::say(&format!("draws {draws:?}"));
}

/// Threads of its own, each blocked while the others go on.
#[netsplit::program(flavor = "multi_thread")]
async fn threads() {
    let meet = std::sync::Arc::new(std::sync::Barrier::new(2));
    let other = std::sync::Arc::clone(&meet);
    let waits = tokio::spawn(async move { other.wait() });
    meet.wait();
    waits.await.expect("no panic");
    tokio::task::spawn_blocking(|| std::thread::sleep(StdDuration::from_millis(1))).await.expect("no panic");
    tokio::time::sleep(StdDuration::from_millis(1)).await;
    conformance::programs::say("met");
}

/// Leaves a task behind that blocks for ever.
#[netsplit::program]
async fn leaves_a_thread() {
    tokio::task::spawn_blocking(|| std::thread::sleep(StdDuration::from_secs(1000)));
}

/// Reads its standard input as any program does.
#[netsplit::program]
async fn shouts() -> std::io::Result<()> {
    for line in std::io::BufReader::new(std::io::stdin()).lines() {
        conformance::programs::say(&line?.to_uppercase());
    }
    Ok(())
}

#[netsplit::test(hosts = 1)]
async fn its_exit_code_is_what_it_returns(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    a.run(nothing).await?;
    for number in [0, 1, 42, 255] {
        a.run(code).arg(number.to_string()).exits(number).await?;
    }
    a.run(fallible).await?;
    let failed = a.run(fallible).args(["milk", "bread"]).exits(1).await?;
    failed.expect_stderr("Error: \"no milk, bread\"")?;
    a.run(fallible_code).exits(7).await?;
    a.run(leaves_a_thread).within(secs(20)).await.map(drop)
}

mod one {
    #[netsplit::program]
    pub(crate) async fn server() {
        conformance::programs::say("one");
    }
}

mod other {
    #[netsplit::program]
    pub(crate) async fn server() {
        conformance::programs::say("other");
    }
}

#[netsplit::test(hosts = 1)]
async fn each_module_has_its_own(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    a.run(one::server).await?.expect_stdout("one")?;
    a.run(other::server).await?.expect_stdout("other")?;
    assert_eq!(a.start(one::server).await?.name().to_string(), "a/server.3");
    Ok(())
}

/// `first_word`: prints what the arguments of its process begin with.
#[netsplit::program]
async fn first_word() {
    conformance::programs::say(&std::env::args().next().unwrap_or_default());
}

#[netsplit::test(hosts = 1)]
async fn its_process_has_its_name(bed: Testbed) -> netsplit::Result {
    bed.host("a")?.run(first_word).await?.expect_stdout("first_word")
}

/// How often something was counted in this process.
static COUNT: AtomicU32 = AtomicU32::new(0);
/// What a process is called, set once.
static NAME: OnceLock<String> = OnceLock::new();

/// Counts for as long as it is told words, each in a line, and keeps the first one for its name.
#[netsplit::program]
async fn counts() -> std::io::Result<()> {
    for line in std::io::stdin().lock().lines() {
        let name = NAME.get_or_init(|| format!("it is {}", line.expect("a line")));
        let count = COUNT.fetch_add(1, Ordering::SeqCst) + 1;
        conformance::programs::say(&format!("{name}, {count}"));
    }
    Ok(())
}

/// As with any process: neither other hosts, nor programs before it on its own, nor the test see what it keeps.
#[netsplit::test(hosts = 2)]
async fn its_statics_are_its_own(bed: Testbed) -> netsplit::Result {
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    assert_eq!(COUNT.fetch_add(100, Ordering::SeqCst), 0);
    let processes = [
        ("first", a.start(counts).stdin_open().await?),
        ("second", a.start(counts).stdin_open().await?),
        ("third", b.start(counts).stdin_open().await?),
    ];
    for round in 1..=3 {
        for (name, process) in &processes {
            process.write(format!("{name}\n")).await?;
            process.wait_for(format!("^it is {name}, {round}$")).await?;
        }
    }
    b.kill().await?;
    b.restart().await?;
    let after = b.start(counts).stdin_open().await?;
    after.write("fourth\n").await?;
    after.wait_for("^it is fourth, 1$").await?;
    assert_eq!(COUNT.load(Ordering::SeqCst), 100);
    assert!(NAME.set("the test's".to_owned()).is_ok());
    Ok(())
}

/// What a constructor made before `main`, in memory: so do those of C++ libraries.
static MADE: Mutex<Vec<String>> = Mutex::new(Vec::new());

extern "C" fn make() {
    MADE.lock().expect("nobody panicked").push("made".to_owned());
}

#[used]
#[expect(unsafe_code, reason = "a constructor is placed by link section")]
// SAFETY: the section holds pointers to functions that the loader calls before `main`; this is one.
#[unsafe(link_section = ".init_array")]
static MAKE: extern "C" fn() = make;

/// Adds words to what was made before it, and prints all.
#[netsplit::program]
async fn adds(words: Vec<String>) {
    let mut made = MADE.lock().expect("nobody panicked");
    made.extend(words);
    conformance::programs::say(&made.join(" "));
}

#[netsplit::test(hosts = 2)]
async fn its_constructors_run_before_it(bed: Testbed) -> netsplit::Result {
    for host in bed.hosts() {
        for word in ["one", "two"] {
            host.run(adds).arg(word).await?.expect_stdout(&format!("made {word}"))?;
        }
    }
    assert_eq!(*MADE.lock().expect("nobody panicked"), ["made"]);
    Ok(())
}

/// Functions within functions have the module of these, so that nothing tells the two apart.
#[netsplit::test(hosts = 1)]
async fn two_that_cannot_be_told_apart_are_refused(bed: Testbed) -> netsplit::Result {
    let first = {
        #[netsplit::program]
        async fn twin() {}
        bed.host("a")?.run(twin)
    };
    let second = {
        #[netsplit::program]
        async fn twin() {}
        bed.host("a")?.run(twin)
    };
    for run in [first, second] {
        let error = error_of(run.await).to_string();
        assert!(error.contains("two programs `programs/twin` in one module"), "{error}");
    }
    Ok(())
}

#[netsplit::test(hosts = 1)]
async fn a_panic_is_an_exit_of_101_with_its_message(bed: Testbed) -> netsplit::Result {
    let error = error_of(bed.host("a")?.run(panics).await);
    assert_eq!(error.outcome(), Some(&Outcome::Exited { code: 101 }));
    assert_eq!(error.name(), Reason::UnexpectedExit);
    assert!(error.to_string().contains("the disk is on fire"), "{error}");
    Ok(())
}

#[netsplit::test(hosts = 2)]
async fn it_has_words_and_knows_its_machine(bed: Testbed) -> netsplit::Result {
    let b = bed.host("b")?;
    let words = ["two words", "", "--flag=%{host}", "ü"];
    let wanted = format!("b [\"two words\", \"\", \"--flag=b\", \"ü\"] {}", b.address());
    b.run(describes).args(words).await?.expect_stdout(&wanted)?;
    b.run(knows).await?;
    b.run(describes)
        .env("NETSPLIT_HOST", "other")
        .await?
        .expect_stdout(&format!("other [] {}", b.address()))?;
    assert!(machine().is_none(), "a test runs on no host");
    Ok(())
}

#[netsplit::test(hosts = 3)]
async fn it_knows_its_peers_its_time_and_its_chance(bed: Testbed) -> netsplit::Result {
    let [a, b, c] = &bed.hosts()[..] else { unreachable!("three hosts") };
    let before = bed.now();
    let said = b.run(introduces).read().await?;
    let lines: Vec<_> = said.lines().collect();
    for (line, peer) in lines.iter().zip([a, c]) {
        let (at, text) = line.split_once(' ').expect("a time");
        assert_eq!(text, format!("peer {peer} {}", peer.address()));
        let at: f64 = at.trim_end_matches('s').parse().expect("seconds");
        let (from, to) = (before.as_secs_f64() - 0.001, bed.now().as_secs_f64() + 0.001);
        assert!((from..to).contains(&at), "{at} is not from {from} to {to}");
    }
    let draws = lines[2];
    assert_eq!(b.run(introduces).read().await?.lines().last(), Some(draws), "the same at each start");
    assert_ne!(a.run(introduces).read().await?.lines().last(), Some(draws), "another on each host");
    let [one, again, two] = &draws["draws [".len()..draws.len() - 1].split(", ").collect::<Vec<_>>()[..]
    else {
        panic!("{draws}");
    };
    assert!(one == again && one != two, "{draws}");
    Ok(())
}

#[netsplit::test(hosts = 1)]
async fn it_may_have_threads_and_input(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    a.run(threads).await?.expect_stdout("met")?;
    a.run(shouts).stdin("one\ntwo\n").await?.expect_stdout("ONE\nTWO")
}

#[netsplit::test(hosts = 1, needs = ["pty"])]
async fn it_may_have_a_terminal(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let process = a.start(shouts).pty().stdin_open().await?;
    process.write("hello\n").await?;
    process.wait_for("HELLO").await?;
    process.close_stdin().await?;
    assert!(process.wait().await?.is_success());
    assert_eq!(process.name().to_string(), "a/shouts");
    Ok(())
}

#[netsplit::test(hosts = 1)]
async fn it_ends_as_any_process_does(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let process = a.start(shouts).stdin_open().await?;
    process.signal("TERM").await?;
    assert_eq!(process.wait().await?, Outcome::Signalled { signal: 15, core: false });
    let error =
        error_of(a.run(shouts).stdin_stream(tokio::io::empty().chain(Never)).within(millis(100)).await);
    assert_eq!(error.name(), Reason::CommandTimedOut);
    Ok(())
}

use tokio::io::AsyncReadExt;

/// A stream that never says anything.
struct Never;

impl tokio::io::AsyncRead for Never {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Pending
    }
}
