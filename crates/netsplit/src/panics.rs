//! Where panics happened: who catches one is not told, and one in a task may be caught by nobody.

use std::any::Any;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::panic::{self, PanicHookInfo};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread::{self, ThreadId};

use netsplit_model::{Event, Outcome, Place, Reason, Record, Stream, Trouble};
use rustix::process::Signal;

use crate::core::Core;

/// Panics kept: a task that is begun again and again may panic as often, and the first of them say why.
const KEPT_MAX: usize = 64;

/// How much of what a process wrote is searched for a panic: many runs end in a second, and few write as much.
const SEARCHED_MAX: u64 = 1 << 20;

const TAKEN_ALONG: &str =
    "a task or thread takes its panic along, unless it is joined and its result is looked at";

/// Panics of this process that nobody asked for yet, in their order.
static PANICS: Mutex<Vec<Panic>> = Mutex::new(Vec::new());

#[derive(Debug)]
struct Panic {
    thread: ThreadId,
    text: String,
    place: Option<Place>,
}

/// Notes each panic from now on; what stood there before is still called. Those of a test before are forgotten.
pub(crate) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            note(info);
            before(info);
        }));
    });
    let _of_a_test_before = of_this_test();
}

fn lock() -> MutexGuard<'static, Vec<Panic>> {
    PANICS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn note(info: &PanicHookInfo<'_>) {
    let text = text(info.payload()).to_owned();
    let place = info.location().and_then(crate::place::of);
    let mut panics = lock();
    if panics.len() == KEPT_MAX {
        // The first of a test say why; what other threads are for, nobody may ever ask.
        let own = thread::current().id();
        let other = panics.iter().position(|panic| panic.thread != own);
        panics.remove(other.unwrap_or(KEPT_MAX - 1));
    }
    panics.push(Panic { thread: thread::current().id(), text, place });
}

/// Where the panic of `payload` happened, if that was on this thread: panics can be passed on.
pub(crate) fn place(payload: &(dyn Any + Send)) -> Option<Place> {
    let (mut panics, thread, text) = (lock(), thread::current().id(), text(payload));
    let index = panics.iter().rposition(|panic| panic.thread == thread && panic.text == text)?;
    panics.remove(index).place
}

/// Takes the panics of the test that this thread runs: its own, as other threads are other tests'; in a simulation, which is
/// one test, those of all.
fn of_this_test() -> Vec<Panic> {
    let (thread, is_alone) = (thread::current().id(), netsplit_sim::is_simulated());
    lock().extract_if(.., |panic| is_alone || panic.thread == thread).collect()
}

/// What is said of panics that a test passed with. Nobody knows whether it looked at them: whoever joins a task is given
/// its panic as an error.
pub(crate) fn survived() -> Vec<Trouble> {
    let survived = |Panic { text, place, .. }| {
        let at = place.as_ref().map(|place| format!(" at {place}")).unwrap_or_default();
        let text = format!("a panic{at} did not fail the test: {text}");
        let trouble = Trouble::new(Reason::TestError, text).at(place);
        trouble.because(TAKEN_ALONG)
    };
    of_this_test().into_iter().map(survived).collect()
}

/// What a panic says.
pub(crate) fn text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a text")
}

impl Core {
    /// Warns of processes in which something panicked and that went on: what a task of theirs was for did not happen.
    pub(crate) fn warn_of_panics(&self) {
        let dir = self.recorder.dir();
        let first = |process| Some((first_panic(&dir.stream(&process, Stream::Stderr))?, process));
        let writers = self.recorder.writers(Stream::Stderr).into_iter();
        let mut panicked: Vec<_> = writers.filter_map(first).collect();
        if panicked.is_empty() {
            return;
        }
        let events = dir.read_events().unwrap_or_default();
        panicked.retain(|(_, process)| {
            let is_its_end = |record: &Record| {
                matches!(&record.event, Event::ProcessEnded { process: ended, outcome, .. }
                    if ended == process && ends_by_panic(outcome))
            };
            !events.iter().any(is_its_end)
        });
        let mut alike = BTreeMap::<_, Vec<_>>::new();
        for ((place, text), process) in panicked {
            let hosts = alike.entry((process.name().to_owned(), place, text)).or_default();
            hosts.push(process.host().to_string());
        }
        for ((name, place, text), mut hosts) in alike {
            hosts.dedup();
            let text = format!("`{name}` on {} panicked at {place} and went on: {text}", hosts.join(", "));
            self.warn(Trouble::new(Reason::TestError, text).because(TAKEN_ALONG));
        }
    }
}

/// Whether a process that panicked ended as one does whose panic nobody caught, or that tells of it.
fn ends_by_panic(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Exited { code } => *code != 0,
        Outcome::Signalled { signal, .. } => *signal == Signal::ABORT.as_raw(),
        _ => false,
    }
}

/// The place and the first line of the first panic that a program in Rust tells of in the file `path`.
fn first_panic(path: &Path) -> Option<(String, String)> {
    let bytes = BufReader::new(File::open(path).ok()?.take(SEARCHED_MAX)).split(b'\n').map_while(Result::ok);
    let mut lines = bytes.map(|line| String::from_utf8_lossy(&line).into_owned());
    let place = lines.find_map(|line| {
        let (thread, place) = line.split_once(" panicked at ")?;
        thread.starts_with("thread '").then(|| place.trim_end_matches(':').to_owned())
    })?;
    Some((place, lines.next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_of_other_threads_are_those_of_other_tests() {
        watch();
        let _theirs = thread::spawn(|| panic!("theirs")).join();
        let line = line!() + 1;
        let _ours = panic::catch_unwind(|| panic!("ours"));
        let told = panic::catch_unwind(|| panic!("told")).unwrap_err();
        assert!(place(&*told).is_some());
        let [panic] = &survived()[..] else { panic!("one panic is ours") };
        assert!(panic.text.ends_with(" did not fail the test: ours"), "{panic}");
        assert_eq!(panic.place.as_ref().map(|place| place.line), Some(line));
        assert_eq!(survived(), []);
    }
}
