//! `kvctl`: asks the members one after another until one of them answers, or the time is up.

use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::{Failure, phrase};
use crate::flags::Flags;
use crate::kv::{KEY_BYTES_MAX, Page, Put, VALUE_BYTES_MAX};
use crate::members::{Address, Place, parse_places};
use crate::net::connect;
use crate::protocol::{Frame, Request, Response, Status, read_frame, write_frame};
use crate::rng::random_seed;

const USAGE: &str = "\
usage: kvctl [--servers a:7000,b:7000,c:7000] [--timeout 5s] put KEY VALUE | get KEY | list | status
  --servers  the members to ask; default: the environment's KVCTL_SERVERS
  --timeout  how long to try, as 5s or 500ms; default: 5s
exit: 0 done, 1 failed, 2 no such key";

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
/// Between two tries, so that an election is not disturbed by questions who leads.
const PAUSE: Duration = Duration::from_millis(30);

/// What was asked for, ready to be done.
struct Task {
    servers: Vec<Place>,
    timeout: Duration,
    request: Request,
}

/// How a task ended well.
#[derive(Debug, PartialEq, Eq)]
enum Done {
    /// Lines for the output.
    Lines(String),
    /// No line at all.
    Nothing,
    NoSuchKey,
}

/// How asking one member failed.
struct Miss {
    why: String,
    /// Whether the member may have acted on the request all the same.
    maybe_done: bool,
    /// Whether there was no answer at all.
    is_silent: bool,
    /// Whom to ask instead.
    leader: Option<Address>,
}

/// Runs `kvctl` with the command line `args`; `servers` is what the environment says about them.
pub fn kvctl(args: impl IntoIterator<Item = OsString>, servers: Option<String>) -> ExitCode {
    let done = match parse(args, servers) {
        Ok(Some(task)) => task.run(),
        Ok(None) => Ok(Done::Lines(USAGE.to_owned())),
        Err(failure) => Err(failure),
    };
    match done {
        Ok(Done::Lines(lines)) => match writeln!(io::stdout(), "{lines}") {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE, // the reader has gone and with it whoever could be told
        },
        Ok(Done::Nothing) => ExitCode::SUCCESS,
        Ok(Done::NoSuchKey) => {
            let _ = writeln!(io::stderr(), "no such key");
            ExitCode::from(2)
        }
        Err(failure) => {
            let _ = writeln!(io::stderr(), "kvctl: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn parse(args: impl IntoIterator<Item = OsString>, servers: Option<String>) -> Result<Option<Task>, Failure> {
    let flags = Flags::parse(args, &["servers", "timeout"], &["help"])?;
    if flags.has("help") {
        return Ok(None);
    }
    let words: Vec<&str> = flags.words.iter().map(String::as_str).collect();
    let request = match words[..] {
        ["put", key, value] => Request::Put(Put {
            client: random_seed(),
            sequence: 1,
            key: limited("key", key, KEY_BYTES_MAX)?,
            value: limited("value", value, VALUE_BYTES_MAX)?,
        }),
        ["get", key] => Request::Get { key: limited("key", key, KEY_BYTES_MAX)? },
        ["list"] => Request::List { after: String::new() },
        ["status"] => Request::Status,
        [] => return Err(Failure::new("nothing to do", "write put KEY VALUE, get KEY, list or status")),
        _ => {
            let what = format!("`{}` is not understood", words.join(" "));
            return Err(Failure::new(
                what,
                "write put KEY VALUE, get KEY, list or status, with flags before it",
            ));
        }
    };
    let servers = flags.value("servers").map(str::to_owned).or(servers).filter(|servers| !servers.is_empty());
    let Some(servers) = servers else {
        return Err(Failure::new(
            "no servers are known",
            "set --servers or KVCTL_SERVERS to a:7000,b:7000,c:7000",
        ));
    };
    let timeout = flags.time("timeout", TIMEOUT_DEFAULT)?;
    Ok(Some(Task { servers: parse_places(&servers)?, timeout, request }))
}

fn limited(what: &str, text: &str, bytes_max: usize) -> Result<String, Failure> {
    if text.len() <= bytes_max {
        return Ok(text.to_owned());
    }
    Err(Failure::new(format!("the {what} has {} bytes", text.len()), format!("keep it to {bytes_max}")))
}

impl Task {
    fn run(&self) -> Result<Done, Failure> {
        let deadline = Instant::now() + self.timeout;
        match &self.request {
            Request::Status => self.status(deadline),
            Request::List { .. } => self.list(deadline),
            Request::Put(_) | Request::Get { .. } => self.ask_until(deadline),
        }
    }

    /// Asks the servers in turn, and whom they name as the leader, until one has done it.
    fn ask_until(&self, deadline: Instant) -> Result<Done, Failure> {
        let mut servers = self.servers.iter().map(|server| &server.address).cycle();
        let mut maybe_done = false;
        let (mut leader, mut silent): (Option<Address>, Option<Address>) = (None, None);
        let mut last = String::new();
        while Instant::now() < deadline {
            let was_told = leader.is_some();
            // Whoever has just kept us waiting is not the one to ask next, if there is another.
            let mut next =
                || servers.next().filter(|&next| silent.as_ref() != Some(next)).or_else(|| servers.next());
            let Some(server) = leader.take().or_else(|| next().cloned()) else { break };
            match self.ask(&server, deadline) {
                Ok(done) => return Ok(done),
                Err(miss) => {
                    maybe_done |= miss.maybe_done;
                    leader = miss.leader.filter(|leader| silent.as_ref() != Some(leader));
                    last = format!("{server}: {}", miss.why);
                    silent = miss.is_silent.then_some(server);
                }
            }
            if was_told || leader.is_none() {
                thread::sleep(PAUSE.min(deadline.saturating_duration_since(Instant::now())));
            }
        }
        Err(self.gave_up(maybe_done, &last))
    }

    fn ask(&self, server: &Address, deadline: Instant) -> Result<Done, Miss> {
        let miss =
            |why: &str, maybe_done| Miss { why: why.to_owned(), maybe_done, is_silent: false, leader: None };
        match self.exchange(server, &self.request, deadline)? {
            Response::Written => Ok(Done::Lines("OK".into())),
            Response::Value(Some(value)) => Ok(Done::Lines(value)),
            Response::Value(None) => Ok(Done::NoSuchKey),
            Response::NotLeader(None) => Err(miss("it knows no leader", false)),
            Response::NotLeader(Some(leader)) => {
                let why = format!("it follows {leader}");
                Err(Miss { why, maybe_done: false, is_silent: false, leader: Address::parse(&leader).ok() })
            }
            Response::Lost => Err(miss("it lost its leadership", true)),
            Response::Listed(_) | Response::Status(_) => Err(miss("its answer fits no question", true)),
        }
    }

    /// One request and its response. From the first byte sent on, a failure leaves open whether it was acted
    /// on.
    fn exchange(&self, server: &Address, request: &Request, deadline: Instant) -> Result<Response, Miss> {
        let miss = |maybe_done, err: &io::Error| {
            let is_timeout = matches!(err.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            let why = if is_timeout { "no answer in time".to_owned() } else { phrase(err) };
            Miss { why, maybe_done, is_silent: true, leader: None }
        };
        // Shares of the time, so that one dead server leaves enough for the others.
        let left = |share: u32| {
            let left = deadline.saturating_duration_since(Instant::now());
            left.min(self.timeout / share).max(Duration::from_millis(1))
        };
        let mut stream = connect(server, left(5)).map_err(|err| miss(false, &err))?;
        stream.set_read_timeout(Some(left(2))).map_err(|err| miss(false, &err))?;
        let sent = write_frame(&mut stream, &Frame::Request(request.clone()));
        let received = sent.and_then(|()| read_frame(&mut stream));
        match received.map_err(|err| miss(true, &err))? {
            Some(Frame::Response(response)) => Ok(response),
            Some(_) => Err(miss(true, &io::Error::other("its answer is none"))),
            None => Err(miss(true, &io::Error::other("it closed the connection"))),
        }
    }

    fn gave_up(&self, maybe_done: bool, last: &str) -> Failure {
        let addresses: Vec<String> = self.servers.iter().map(|server| server.address.to_string()).collect();
        let (addresses, timeout) = (addresses.join(","), self.timeout);
        let last = if last.is_empty() { String::new() } else { format!(" (last: {last})") };
        match &self.request {
            Request::Put(put) if maybe_done => {
                let what = format!("put `{}`: no answer from {addresses} within {timeout:?}{last}", put.key);
                Failure::new(what, "it may or may not have happened: get the key before you put it again")
            }
            Request::Put(put) => {
                let what = format!(
                    "put `{}`: not done, no leader among {addresses} within {timeout:?}{last}",
                    put.key
                );
                Failure::new(what, "see kvctl status, or raise --timeout")
            }
            Request::Get { key } => {
                let what = format!("get `{key}`: no leader among {addresses} within {timeout:?}{last}");
                Failure::new(what, "see kvctl status, or raise --timeout")
            }
            Request::List { .. } => {
                let what = format!("list: none of {addresses} answered within {timeout:?}{last}");
                Failure::new(what, "start kvd there, or correct --servers")
            }
            Request::Status => {
                let what = format!("status: none of {addresses} answered within {timeout:?}");
                Failure::new(what, "start kvd there, or correct --servers")
            }
        }
    }

    /// All that the first server that answers has applied, though another may have more.
    fn list(&self, deadline: Instant) -> Result<Done, Failure> {
        let mut last = String::new();
        for Place { address, .. } in self.servers.iter().cycle() {
            match self.list_of(address, deadline) {
                Ok(lines) if lines.is_empty() => return Ok(Done::Nothing),
                Ok(lines) => return Ok(Done::Lines(lines.join("\n"))),
                Err(miss) => last = format!("{address}: {}", miss.why),
            }
            if Instant::now() >= deadline {
                break;
            }
            thread::sleep(PAUSE.min(deadline.saturating_duration_since(Instant::now())));
        }
        Err(self.gave_up(false, &last))
    }

    fn list_of(&self, server: &Address, deadline: Instant) -> Result<Vec<String>, Miss> {
        let (mut lines, mut after) = (Vec::new(), String::new());
        loop {
            let response = self.exchange(server, &Request::List { after }, deadline)?;
            let Response::Listed(Page { entries, more }) = response else {
                let why = "its answer fits no question".to_owned();
                return Err(Miss { why, maybe_done: false, is_silent: false, leader: None });
            };
            after = entries.last().map(|(key, _)| key.clone()).unwrap_or_default();
            lines.extend(entries.into_iter().map(|(key, value)| format!("{key}\t{value}")));
            if !more {
                return Ok(lines);
            }
        }
    }

    /// Asks all servers at once, and says what each of them says about itself.
    fn status(&self, deadline: Instant) -> Result<Done, Failure> {
        let statuses: Vec<Option<Status>> = thread::scope(|scope| {
            let ask = |server| scope.spawn(move || self.status_of(server, deadline));
            let threads: Vec<_> = self.servers.iter().map(ask).collect();
            threads.into_iter().map(|thread| thread.join().ok().flatten()).collect()
        });
        if statuses.iter().all(Option::is_none) {
            return Err(self.gave_up(false, ""));
        }
        let lines: Vec<String> = self.servers.iter().zip(statuses).map(status_line).collect();
        Ok(Done::Lines(lines.join("\n")))
    }

    fn status_of(&self, server: &Place, deadline: Instant) -> Option<Status> {
        match self.exchange(&server.address, &self.request, deadline) {
            Ok(Response::Status(status)) => Some(status),
            Ok(_) | Err(_) => None,
        }
    }
}

fn status_line((server, status): (&Place, Option<Status>)) -> String {
    match status {
        Some(Status { name, role, term, commit, last }) => {
            format!("{name}\t{role}\t{term}\t{commit}\t{last}")
        }
        None => format!("{}\tunreachable", server.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn task(line: &str) -> Result<Option<Task>, Failure> {
        parse(line.split(' ').filter(|word| !word.is_empty()).map(OsString::from), None)
    }

    /// A server that does `serve` with its first connection; its address.
    fn serve(serve: impl FnOnce(std::net::TcpStream) + Send + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || serve(listener.accept().unwrap().0));
        address
    }

    fn answer(mut stream: &std::net::TcpStream, response: Response) -> Frame {
        let frame = read_frame(&mut stream).unwrap().unwrap();
        write_frame(&mut stream, &Frame::Response(response)).unwrap();
        frame
    }

    #[test]
    fn mistakes_are_named() {
        for (line, part) in [
            ("", "nothing to do"),
            ("put x", "`put x` is not understood"),
            ("get x --timeout 5s", "with flags before it"),
            ("get x", "no servers are known"),
            ("--servers a status", "it has no port"),
        ] {
            let failure = task(line).err().unwrap().to_string();
            assert!(failure.contains(part), "{failure}");
        }
        let long = format!("--servers a:1 get {}", "k".repeat(KEY_BYTES_MAX + 1));
        assert!(task(&long).err().unwrap().to_string().contains("the key has 257 bytes"));
    }

    #[test]
    fn redirects_are_followed_with_the_same_request() {
        let (sender, requests) = std::sync::mpsc::channel();
        let to_first = sender.clone();
        let leader = serve(move |stream| sender.send(answer(&stream, Response::Written)).unwrap());
        let hint = Response::NotLeader(Some(leader));
        let follower = serve(move |stream| to_first.send(answer(&stream, hint)).unwrap());
        let task = task(&format!("--servers {follower} put x 1")).unwrap().unwrap();
        assert_eq!(task.run().unwrap(), Done::Lines("OK".into()));
        assert_eq!(requests.recv().unwrap(), requests.recv().unwrap(), "one client, one sequence number");
    }

    #[test]
    fn a_dead_leader_that_is_still_named_is_not_asked_over_and_over() {
        let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let hint = Response::NotLeader(Some(dead.to_string()));
        let follower = serve(move |stream| drop(answer(&stream, hint)));
        let leader = serve(|stream| drop(answer(&stream, Response::Written)));
        // The follower answers once; so after the dead leader it must be the turn of the third.
        let task = task(&format!("--servers {follower},{dead},{leader} put x 1")).unwrap().unwrap();
        assert_eq!(task.run().unwrap(), Done::Lines("OK".into()));
    }

    #[test]
    fn a_list_goes_on_until_its_last_page() {
        let (sender, requests) = std::sync::mpsc::channel();
        let page = |key: &str, more| Page { entries: vec![(key.into(), "1".into())], more };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for (page, stream) in [page("x", true), page("y", false)].into_iter().zip(listener.incoming()) {
                sender.send(answer(&stream.unwrap(), Response::Listed(page))).unwrap();
            }
        });
        let lines = task(&format!("--servers {address} list")).unwrap().unwrap().run().unwrap();
        assert_eq!(lines, Done::Lines("x\t1\ny\t1".into()));
        let asked = |after: &str| Frame::Request(Request::List { after: after.into() });
        assert_eq!(requests.iter().collect::<Vec<_>>(), [asked(""), asked("x")]);
    }

    #[test]
    fn a_put_that_was_sent_may_have_happened() {
        let silent = serve(|mut stream| drop(read_frame(&mut stream)));
        let failure = task(&format!("--servers {silent} --timeout 200ms put x 1")).unwrap().unwrap().run();
        let failure = failure.unwrap_err().to_string();
        assert!(failure.contains("it may or may not have happened"), "{failure}");
    }

    #[test]
    fn a_put_that_was_never_sent_did_not_happen() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let failure = task(&format!("--servers {closed} --timeout 100ms put x 1")).unwrap().unwrap().run();
        let failure = failure.unwrap_err().to_string();
        assert!(failure.contains("put `x`: not done") && failure.contains("connection refused"), "{failure}");
    }

    #[test]
    fn a_server_that_does_not_answer_is_shown_as_such() {
        let status = Status { name: "a".into(), role: "leader".into(), term: 3, commit: 7, last: 8 };
        let alive = serve(move |stream| drop(answer(&stream, Response::Status(status))));
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let line = format!("--servers {alive},b={closed} --timeout 2s status");
        let lines = task(&line).unwrap().unwrap().run().unwrap();
        assert_eq!(lines, Done::Lines("a\tleader\t3\t7\t8\nb\tunreachable".into()));
    }
}
