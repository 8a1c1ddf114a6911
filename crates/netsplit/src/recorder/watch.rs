//! Waits for lines: in what was written already, from where the wait looks, and in what comes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::time::Duration;

use netsplit_model::{HostName, ProcessName, Stream};
use regex::bytes::Regex;
use tokio::sync::oneshot;

use super::lines::{complete, without_return};
use super::{Inner, Moment, QUIET, Recorder, STILL};

/// Bytes of old output looked at while the recorder is held; more is looked at before.
const HELD_MAX: u64 = 1 << 20;
/// Looks at old output before the recorder is held. Each finds what came during the one before: only a process
/// that writes faster than it can be looked at needs more.
const LOOKS_MAX: u32 = 16;

/// Whose output is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    All,
    Hosts(BTreeSet<HostName>),
    Process(ProcessName),
}

/// From where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// All that happened then, and what came later.
    Moment(Moment),
    /// An offset for each stream of one process; absent: the first byte.
    Cursor(BTreeMap<Stream, u64>),
    /// A line: what came behind it, on its own stream and on all others.
    Line(Behind),
}

/// The end of a line, as a place in all that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Behind {
    pub(crate) process: ProcessName,
    pub(crate) stream: Stream,
    /// Where the next line begins in its stream.
    pub(crate) end: u64,
    /// When it came.
    pub(crate) at: Moment,
}

impl Since {
    /// Up to where a stream was passed that is looked at by bytes.
    fn passed(&self, process: &ProcessName, stream: Stream) -> Option<u64> {
        match self {
            Self::Moment(_) => None,
            Self::Cursor(cursor) => cursor.get(&stream).copied(),
            Self::Line(line) => (line.process == *process && line.stream == stream).then_some(line.end),
        }
    }

    /// The first moment at which another stream's bytes count.
    fn moment(&self) -> Moment {
        match self {
            Self::Moment(moment) => *moment,
            Self::Cursor(_) => Moment::default(),
            Self::Line(line) => line.at.next(),
        }
    }
}

/// What is waited for.
#[derive(Clone, Debug)]
pub(crate) struct WatchSpec {
    pub(crate) pattern: Regex,
    pub(crate) scope: Scope,
    pub(crate) since: Since,
    /// Of several lines that are there already, the newest rather than the oldest.
    pub(crate) newest: bool,
    /// It must not come: what only may become such a line is none.
    pub(crate) never: bool,
}

/// How long nothing has followed a line without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pause {
    /// [`QUIET`]: perhaps its program has only filled its buffer.
    Short,
    /// [`STILL`]: somebody is waited for.
    Long,
    /// At a terminal, where programs write what they have to say, or behind a process's end.
    End,
}

impl WatchSpec {
    /// The part of a line that a process's wait has not moved past: a prompt that was matched is not matched again
    /// when its line gets an end. `None`: all of it was passed.
    fn unseen_part<'l>(
        &self,
        process: &ProcessName,
        stream: Stream,
        offset: u64,
        line: &'l [u8],
    ) -> Option<&'l [u8]> {
        let passed = self.since.passed(process, stream).map_or(0, |passed| passed.saturating_sub(offset));
        if passed == 0 {
            return Some(line);
        }
        line.get(usize::try_from(passed).unwrap_or(usize::MAX)..).filter(|rest| !rest.is_empty())
    }

    /// Whether `line`, which has no end yet and may go on, counts as one that matches.
    fn matches_unfinished(&self, line: &[u8], pause: Pause) -> bool {
        let is_settled = match pause {
            Pause::Short => false,
            Pause::Long => !self.never,
            Pause::End => true,
        };
        self.pattern.is_match(line) && (is_settled || self.matches_however_it_goes_on(line))
    }

    /// Whether `line` matches with the same groups whatever may follow.
    fn matches_however_it_goes_on(&self, line: &[u8]) -> bool {
        // A letter and what is none: between them they go on with every kind of word, and neither ends a line.
        [b'a', 0].into_iter().all(|next| {
            let longer = [line, &[next]].concat();
            let found = self.pattern.find(&longer);
            found.is_some_and(|found| self.pattern.captures_len() == 1 || found.end() < line.len())
        })
    }
}

/// A line that matched.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) process: ProcessName,
    pub(crate) stream: Stream,
    /// Where the line begins in its stream, and where the next one does.
    pub(crate) offset: u64,
    pub(crate) end: u64,
    pub(crate) at: Moment,
    pub(crate) line: Vec<u8>,
}

/// How a wait ended by itself.
#[derive(Clone, Debug)]
pub(crate) enum WatchEnd {
    Found(Box<Found>),
    /// The process ended, and all it wrote was looked at.
    ProcessEnded,
}

/// A wait that goes on; dropping it ends it.
pub(crate) struct WatchHandle {
    recorder: Recorder,
    id: u64,
    pub(crate) end: oneshot::Receiver<WatchEnd>,
}

impl WatchHandle {
    /// Lines looked at so far.
    pub(crate) fn searched(&self) -> u64 {
        self.recorder.lock().watches.get(&self.id).map_or(0, |watch| watch.searched)
    }
}

impl Drop for WatchHandle {
    fn drop(&mut self) {
        self.recorder.lock().watches.remove(&self.id);
    }
}

pub(super) struct Watch {
    spec: WatchSpec,
    searched: u64,
    told: Option<oneshot::Sender<WatchEnd>>,
}

impl Watch {
    fn covers(&self, process: &ProcessName) -> bool {
        self.told.is_some() && self.spec.scope.covers(process)
    }

    fn tell(&mut self, end: WatchEnd) {
        if let Some(told) = self.told.take() {
            // Whoever waited may have stopped waiting at this very moment.
            let _gone = told.send(end);
        }
    }
}

impl Recorder {
    /// Begins a wait.
    pub(crate) fn watch(&self, spec: WatchSpec) -> WatchHandle {
        let (told, end) = oneshot::channel();
        let mut past = Past { spec: &spec, looked: BTreeMap::new(), found: None, searched: 0 };
        // Most of what is old is looked at without holding up those who write.
        for _ in 0..LOOKS_MAX {
            let todo = self.lock().unseen(&past);
            if todo.iter().map(|piece| piece.to - piece.from).sum::<u64>() <= HELD_MAX {
                break;
            }
            past.look(self, todo);
        }
        let mut inner = self.lock();
        let todo = inner.unseen(&past);
        for piece in todo {
            past.look_at(&inner, piece);
        }
        let id = inner.next_watch;
        inner.next_watch += 1;
        let Past { found, searched, .. } = past;
        let mut watch = Watch { spec, searched, told: Some(told) };
        if let Some(found) = found {
            watch.tell(WatchEnd::Found(Box::new(found)));
        }
        let scope = watch.spec.scope.clone();
        inner.watches.insert(id, watch);
        if let Scope::Process(process) = scope
            && inner.ended.contains(&process)
        {
            // Its last line may have no end, and gets none any more.
            for stream in Stream::ALL {
                inner.match_unfinished(&process, stream, Pause::End);
            }
            inner.end_watches_of(&process);
        }
        drop(inner);
        // A prompt that stands there since long becomes a line as well.
        self.unfinished.notify_one();
        WatchHandle { recorder: self.clone(), id, end }
    }
}

/// Bytes of one stream that a new wait has not looked at.
struct Piece {
    process: ProcessName,
    stream: Stream,
    from: u64,
    to: u64,
}

/// A wait's look at what was written before it.
struct Past<'a> {
    spec: &'a WatchSpec,
    /// Up to where each stream was looked at.
    looked: BTreeMap<(ProcessName, Stream), u64>,
    found: Option<Found>,
    searched: u64,
}

impl Past<'_> {
    fn look(&mut self, recorder: &Recorder, pieces: Vec<Piece>) {
        for piece in pieces {
            let whole = self.read(&recorder.dir(), &piece);
            let inner = recorder.lock();
            self.search(&inner, &piece, &whole);
        }
    }

    fn look_at(&mut self, inner: &Inner, piece: Piece) {
        let whole = self.read(&inner.dir, &piece);
        self.search(inner, &piece, &whole);
    }

    fn read(&self, dir: &netsplit_report::RunDir, piece: &Piece) -> Vec<u8> {
        let mut bytes = Vec::new();
        let read = File::open(dir.stream(&piece.process, piece.stream)).and_then(|mut file| {
            file.seek(SeekFrom::Start(piece.from))?;
            file.take(piece.to - piece.from).read_to_end(&mut bytes)
        });
        // A stream whose file cannot be read was reported as broken when it was written.
        let _reported = read;
        bytes
    }

    fn search(&mut self, inner: &Inner, piece: &Piece, bytes: &[u8]) {
        let key = (piece.process.clone(), piece.stream);
        let Some(log) = inner.streams.get(&key) else { return };
        let (mut searched, mut found) = (0, self.found.take());
        let mut look = |offset: u64, line: &[u8]| {
            searched += 1;
            let offset = piece.from + offset;
            let at = log.moment_of(offset + line.len() as u64);
            let is_better = found
                .as_ref()
                .is_none_or(|found| if self.spec.newest { at >= found.at } else { at < found.at });
            if is_better && self.spec.pattern.is_match(line) {
                let end = offset + line.len() as u64 + 1;
                let (process, stream) = key.clone();
                found = Some(Found { process, stream, offset, end, at, line: line.to_vec() });
            }
        };
        let mut tail = Vec::new();
        complete(&mut tail, bytes, &mut look);
        // A line that is too long is cut, and the piece ends there.
        if !tail.is_empty() {
            look((bytes.len() - tail.len()) as u64, &tail);
        }
        (self.searched, self.found) = (self.searched + searched, found);
        // What could not be read was not kept, and is not looked for again.
        self.looked.insert(key, piece.to);
    }
}

impl Inner {
    /// What `past` has not looked at, up to the last whole line of each stream.
    fn unseen(&self, past: &Past<'_>) -> Vec<Piece> {
        let wanted = self.streams.iter().filter(|((process, _), _)| past.spec.scope.covers(process));
        wanted
            .filter_map(|(key, log)| {
                let (process, stream) = key;
                let since = &past.spec.since;
                let first = since.passed(process, *stream).unwrap_or_else(|| {
                    let from = log.offset_at(since.moment());
                    // A line that was begun before and ended after counts as after.
                    if from == 0 { 0 } else { line_start(&self.dir, process, *stream, from) }
                });
                let from = past.looked.get(key).copied().unwrap_or(first);
                let to = log.length() - log.tail.len() as u64;
                (from < to).then(|| Piece { process: process.clone(), stream: *stream, from, to })
            })
            .collect()
    }

    /// Shows new output to whoever waits. Returns whether a line without its end is left that somebody may wait for.
    pub(super) fn match_output(&mut self, key: &(ProcessName, Stream), bytes: &[u8], at: Moment) -> bool {
        let Some(log) = self.streams.get_mut(key) else { return false };
        let (process, stream) = key;
        let start = log.length() - bytes.len() as u64 - log.tail.len() as u64;
        let mut watches: Vec<_> = self.watches.values_mut().filter(|watch| watch.covers(process)).collect();
        complete(&mut log.tail, bytes, |offset, line| {
            for watch in &mut watches {
                watch.searched += 1;
                let offset = start + offset;
                let seen = watch.spec.unseen_part(process, *stream, offset, line);
                if watch.told.is_some() && seen.is_some_and(|line| watch.spec.pattern.is_match(line)) {
                    watch.tell(WatchEnd::Found(Box::new(Found {
                        process: process.clone(),
                        stream: *stream,
                        offset,
                        end: offset + line.len() as u64 + 1,
                        at,
                        line: line.to_vec(),
                    })));
                }
            }
        });
        !watches.is_empty() && !log.tail.is_empty()
    }

    /// Shows a line without its end to whoever waits, as it is after `pause`.
    pub(super) fn match_unfinished(&mut self, process: &ProcessName, stream: Stream, pause: Pause) {
        let key = (process.clone(), stream);
        let Some(log) = self.streams.get_mut(&key) else { return };
        if log.tail.is_empty() {
            return;
        }
        let offset = log.length() - log.tail.len() as u64;
        let line = without_return(&log.tail);
        for watch in self.watches.values_mut().filter(|watch| watch.covers(process)) {
            let since = &watch.spec.since;
            let is_before = since.passed(process, stream).is_none() && log.last_at() < since.moment();
            let seen = watch.spec.unseen_part(process, stream, offset, line).filter(|line| !line.is_empty());
            if !is_before && seen.is_some_and(|line| watch.spec.matches_unfinished(line, pause)) {
                watch.tell(WatchEnd::Found(Box::new(Found {
                    process: process.clone(),
                    stream,
                    offset,
                    end: log.length(),
                    at: log.last_at(),
                    line: line.to_vec(),
                })));
            }
        }
    }

    pub(super) fn match_quiet(&mut self) -> bool {
        if self.watches.is_empty() {
            return false;
        }
        let now = self.now();
        let unfinished = self.streams.iter().filter(|(_, log)| !log.tail.is_empty());
        let unfinished: Vec<_> = unfinished
            .map(|((process, stream), log)| {
                let silent = Duration::from_nanos(now.saturating_sub(log.last_at().t));
                let pause = match silent {
                    _ if silent < QUIET => None,
                    _ if self.terminals.contains(process) => Some(Pause::End),
                    _ if silent < STILL => Some(Pause::Short),
                    _ => Some(Pause::Long),
                };
                (process.clone(), *stream, pause)
            })
            .collect();
        let mut again = false;
        for (process, stream, pause) in unfinished {
            if let Some(pause) = pause {
                self.match_unfinished(&process, stream, pause);
            }
            again |= pause.is_none_or(|pause| pause < Pause::Long);
        }
        again
    }

    /// Ends the waits on a process that has ended: nothing that it wrote is still to come.
    pub(super) fn end_watches_of(&mut self, process: &ProcessName) {
        for watch in self.watches.values_mut() {
            if matches!(&watch.spec.scope, Scope::Process(own) if own == process) {
                watch.tell(WatchEnd::ProcessEnded);
            }
        }
    }
}

/// Where the line begins that the byte before `offset` belongs to, or `offset` when that byte ends a line.
fn line_start(dir: &netsplit_report::RunDir, process: &ProcessName, stream: Stream, offset: u64) -> u64 {
    let from = offset.saturating_sub(4096);
    let mut before = Vec::new();
    let read = File::open(dir.stream(process, stream)).and_then(|mut file| {
        file.seek(SeekFrom::Start(from))?;
        file.take(offset - from).read_to_end(&mut before)
    });
    match (read, memchr::memrchr(b'\n', &before)) {
        (Ok(_), Some(end)) => from + end as u64 + 1,
        (Ok(_), None) if from == 0 => 0,
        // A very long line: what follows is looked at as a line of its own.
        _ => offset,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use netsplit_model::{Event, FORMAT, Outcome};
    use netsplit_report::RunDir;

    use super::super::streams::LINE_MAX;
    use super::*;

    /// A recorder in a folder of its own, and a process that writes.
    fn recorder() -> (tempfile::TempDir, Recorder, ProcessName) {
        let folder = tempfile::tempdir().unwrap();
        let first = Event::RunBegan {
            format: FORMAT,
            run: "0000".into(),
            test: "t".into(),
            provider: "none".into(),
            seed: 1,
        };
        let recorder = Recorder::begin(RunDir::new(folder.path()), first).unwrap();
        let process = ProcessName::new(HostName::new("a").unwrap(), "p", 1);
        (folder, recorder, process)
    }

    fn spec(process: &ProcessName, pattern: &str, from: u64) -> WatchSpec {
        WatchSpec {
            pattern: Regex::new(pattern).unwrap(),
            scope: Scope::Process(process.clone()),
            since: Since::Cursor(Stream::ALL.map(|stream| (stream, from)).into()),
            newest: false,
            never: false,
        }
    }

    /// What a wait has seen when it begins; a wait that does not even begin fails.
    fn begin(recorder: &Recorder, spec: WatchSpec) -> Option<WatchEnd> {
        let (told, tells) = mpsc::channel();
        let recorder = recorder.clone();
        thread::spawn(move || told.send(recorder.watch(spec).end.try_recv().ok()));
        tells.recv_timeout(Duration::from_secs(20)).expect("a wait begins")
    }

    #[test]
    fn a_wait_knows_of_a_process_that_ended_before_it() {
        let (_folder, recorder, process) = recorder();
        recorder.output(&process, Stream::Stdout, b"first\nlast");
        assert!(begin(&recorder, spec(&process, "last", 0)).is_none(), "its line may go on");
        recorder.process_ended(&process, |stdout, stderr| Event::ProcessEnded {
            process: process.clone(),
            outcome: Outcome::Exited { code: 0 },
            stdout,
            stderr,
        });
        assert!(matches!(begin(&recorder, spec(&process, "more", 0)), Some(WatchEnd::ProcessEnded)));
        assert!(matches!(begin(&recorder, spec(&process, "last", 0)), Some(WatchEnd::Found(_))));
    }

    #[test]
    fn half_a_line_counts_only_for_what_holds_of_the_whole() {
        let (_folder, _recorder, process) = recorder();
        let counts = |pattern: &str, line: &str, never: bool| {
            let spec = WatchSpec { never, ..spec(&process, pattern, 0) };
            [Pause::Short, Pause::Long, Pause::End]
                .map(|pause| spec.matches_unfinished(line.as_bytes(), pause))
        };
        // Whatever follows, it has come.
        assert_eq!(counts("panic", "thread panic", false), [true; 3]);
        assert_eq!(counts("panic", "thread panic", true), [true; 3]);
        // It may go on, and be something else.
        assert_eq!(counts("port [0-9]+$", "port 80", false), [false, true, true]);
        assert_eq!(counts("error$", "error", true), [false, false, true]);
        assert_eq!(counts(r"\berror\b", "error", true), [false, false, true]);
        assert_eq!(counts("password: $", "password: ", false), [false, true, true]);
        // What is caught may be half of it.
        assert_eq!(counts("port ([0-9]+)", "port 80", false), [false, true, true]);
        assert_eq!(counts("port ([0-9]+) of", "port 80 of a", false), [true; 3]);
        assert_eq!(counts("port", "por", false), [false; 3]);
    }

    #[test]
    fn a_wait_begins_although_what_it_looks_for_was_not_kept() {
        let (folder, recorder, process) = recorder();
        // In the place of its host's folder.
        std::fs::create_dir(folder.path().join("hosts")).unwrap();
        std::fs::write(folder.path().join("hosts/a"), "").unwrap();
        for _ in 0..4 {
            recorder.output(&process, Stream::Stdout, &b"0123456\n".repeat(LINE_MAX / 8));
        }
        assert!(recorder.broken().is_some());
        assert!(begin(&recorder, spec(&process, "x", 0)).is_none());
    }

    #[test]
    fn a_wait_begins_within_lines_without_end() {
        let (_folder, recorder, process) = recorder();
        for stream in Stream::ALL {
            recorder.output(&process, stream, &vec![b'x'; 3 * LINE_MAX - 1]);
            recorder.output(&process, stream, b"y and so on");
        }
        assert!(begin(&recorder, spec(&process, "z", 100)).is_none());
        // Where a line is cut, it counts as one.
        let Some(WatchEnd::Found(found)) = begin(&recorder, spec(&process, "y", 100)) else { panic!("none") };
        assert_eq!(found.line.last(), Some(&b'y'));
    }

    #[test]
    fn many_streams_are_kept_by_few_open_files() {
        let (folder, recorder, process) = recorder();
        let processes: Vec<_> =
            (1..=600).map(|number| ProcessName::new(process.host().clone(), "p", number)).collect();
        for line in ["one\n", "two\n"] {
            for process in &processes {
                recorder.output(process, Stream::Stdout, line.as_bytes());
            }
        }
        let open = recorder.lock().streams.values().filter(|log| log.is_open()).count();
        assert!((1..=256).contains(&open), "{open}");
        for process in &processes {
            let file = RunDir::new(folder.path()).stream(process, Stream::Stdout);
            assert_eq!(std::fs::read(file).unwrap(), b"one\ntwo\n", "{process}");
        }
        assert!(recorder.broken().is_none());
    }
}
