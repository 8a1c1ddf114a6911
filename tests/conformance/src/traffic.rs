//! What hosts send each other to be counted: programs that send, hear and answer. What tests do with them, `measure` has.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::{Duration, Instant};
use std::{fs, thread};

use netsplit::Machine;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::{ClockId, clock_gettime};

use crate::load::noise;
use crate::programs::{PORT, say};

/// The shortest datagram of [`udp_send`], without its headers.
pub const DATAGRAM_MIN: usize = NAME + 4 + 8;
/// Where a sender's name ends in a datagram.
const NAME: usize = 16;
/// How long a question waits for its answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Monotonic time, which all hosts of one machine share, in nanoseconds.
fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let [seconds, nanos] = [time.tv_sec, time.tv_nsec].map(|part| u64::try_from(part).unwrap_or_default());
    seconds * 1_000_000_000 + nanos
}

fn wrong(text: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, text)
}

fn number<T: std::str::FromStr>(words: &[String], at: usize) -> io::Result<T> {
    words.get(at).and_then(|word| word.parse().ok()).ok_or_else(|| wrong("a number is missing"))
}

/// The address of `host` in a family, `4` or `6`, at [`PORT`].
fn address(host: &str, family: &str) -> io::Result<SocketAddr> {
    let mut all = (host, PORT).to_socket_addrs()?;
    all.find(|address| address.is_ipv4() == (family == "4")).ok_or_else(|| wrong("no such address"))
}

// ── datagrams ──

/// `udp_send FAMILY COUNT BYTES PACE_US TARGET…`: sends numbered datagrams of so many bytes to each target in turn, and
/// rests for `PACE_US` on average behind each number.
///
/// # Errors
/// When a target has no address, or a datagram cannot be sent.
#[netsplit::program]
pub async fn udp_send(machine: Machine, words: Vec<String>) -> io::Result<()> {
    let (count, bytes, pace_us): (u32, usize, u64) =
        (number(&words, 1)?, number(&words, 2)?, number(&words, 3)?);
    let targets: Vec<_> =
        words[4..].iter().map(|host| address(host, &words[0])).collect::<io::Result<_>>()?;
    let any =
        if words[0] == "4" { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_broadcast(true)?;
    let mut datagram = noise(bytes.max(DATAGRAM_MIN));
    datagram[..NAME].fill(0);
    datagram[..machine.name().len()].copy_from_slice(machine.name().as_bytes());
    // A sleep is no shorter than some 60 us, and one behind each would make thousands slow.
    let batch = u32::try_from((1000 / pace_us.max(1)).clamp(1, 100)).unwrap_or(1);
    for index in 0..count {
        for target in &targets {
            datagram[NAME..NAME + 4].copy_from_slice(&index.to_le_bytes());
            datagram[NAME + 4..DATAGRAM_MIN].copy_from_slice(&now_ns().to_le_bytes());
            socket.send_to(&datagram, target)?;
        }
        if pace_us > 0 && (index + 1) % batch == 0 {
            thread::sleep(Duration::from_micros(pace_us * u64::from(batch)));
        }
    }
    say(&format!("sent {count}"));
    Ok(())
}

/// What came from one sender: numbers in the order in which they came, and how long each was under way.
type Arrivals = Vec<(u32, u64)>;

/// `udp_hear`: hears datagrams of [`udp_send`], and answers on its input's lines. `heard`: `heard a,b`, the senders.
/// `count NAME SENT`: `count KEY=VALUE…`, what came of so many from that sender. Each answer forgets what came before.
///
/// # Errors
/// When the port is taken.
#[netsplit::program]
pub async fn udp_hear() -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, PORT))?;
    socket.set_nonblocking(true)?;
    // As much as it may have: twice of what it has by itself, for who comes late.
    rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 1 << 20)?;
    let mut input = io::stdin().lock();
    let mut asked = Vec::new();
    let mut heard = BTreeMap::<String, Arrivals>::new();
    let mut kernel = Kernel::read()?;
    say("hearing");
    loop {
        let mut ready = [PollFd::new(&input, PollFlags::IN), PollFd::new(&socket, PollFlags::IN)];
        poll(&mut ready, None)?;
        let is_asked = !ready[0].revents().is_empty();
        // What came before a question was asked is part of its answer.
        hear(&socket, &mut heard)?;
        if !is_asked {
            continue;
        }
        let mut piece = [0; 256];
        let length = input.read(&mut piece)?;
        if length == 0 {
            return Ok(());
        }
        asked.extend_from_slice(&piece[..length]);
        while let Some(end) = asked.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = asked.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            say(&answer(line.trim(), &std::mem::take(&mut heard), &mut kernel)?);
        }
    }
}

fn hear(socket: &UdpSocket, heard: &mut BTreeMap<String, Arrivals>) -> io::Result<()> {
    let mut datagram = [0; 65_536];
    loop {
        let length = match socket.recv(&mut datagram) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let now = now_ns();
        if length < DATAGRAM_MIN {
            continue;
        }
        let name = String::from_utf8_lossy(&datagram[..NAME]);
        let index = datagram[NAME..NAME + 4].try_into().map(u32::from_le_bytes).unwrap_or_default();
        let sent = datagram[NAME + 4..DATAGRAM_MIN].try_into().map(u64::from_le_bytes).unwrap_or_default();
        let name = name.trim_end_matches('\0').to_owned();
        heard.entry(name).or_default().push((index, now.saturating_sub(sent)));
    }
}

fn answer(line: &str, heard: &BTreeMap<String, Arrivals>, kernel: &mut Kernel) -> io::Result<String> {
    let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let before = std::mem::replace(kernel, Kernel::read()?);
    match words[0].as_str() {
        "heard" => {
            let names: Vec<_> = heard.keys().map(String::as_str).collect();
            Ok(format!("heard {}", names.join(",")))
        }
        "count" => {
            let nothing = Arrivals::new();
            let mut text = counted(heard.get(&words[1]).unwrap_or(&nothing), number(&words, 2)?);
            let _infallible = write!(
                text,
                " overflow={} checksum={}",
                kernel.overflow - before.overflow,
                kernel.checksum - before.checksum
            );
            Ok(text)
        }
        _ => Err(wrong(line)),
    }
}

fn counted(arrivals: &Arrivals, sent: u32) -> String {
    let mut came = BTreeSet::new();
    let (mut late, mut highest) = (0, None);
    for (index, _) in arrivals {
        // RFC 4737, section 3.3; a second copy is no packet of its own.
        if came.insert(*index) {
            late += u32::from(highest.is_some_and(|highest| *index < highest));
            highest = highest.max(Some(*index));
        }
    }
    let is_lost = |index: u32| !came.contains(&index);
    let begins = |index: &u32| is_lost(*index) && (*index == 0 || !is_lost(*index - 1));
    let runs = (0..sent).filter(begins).count();
    let mut times: Vec<u64> = arrivals.iter().map(|(_, time)| *time).collect();
    times.sort_unstable();
    let at = |share: usize| times.get((times.len() * share / 100).min(times.len().saturating_sub(1)));
    let us = |share: usize| at(share).copied().unwrap_or_default() / 1000;
    format!(
        "count got={} distinct={} late={late} runs={runs} min_us={} p10_us={} p50_us={} p90_us={} max_us={}",
        arrivals.len(),
        came.len(),
        us(0),
        us(10),
        us(50),
        us(90),
        us(100)
    )
}

/// What the host's kernel threw away itself, where it counts that: a simulated one does not.
#[derive(Default)]
struct Kernel {
    /// For want of room in the socket.
    overflow: u64,
    /// For a wrong checksum.
    checksum: u64,
}

impl Kernel {
    fn read() -> io::Result<Self> {
        let snmp = match fs::read_to_string("/proc/net/snmp") {
            Ok(snmp) => snmp,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let mut udp = snmp.lines().filter(|line| line.starts_with("Udp: ")).map(|line| line.split(' '));
        let (names, values) = (udp.next(), udp.next());
        let four: BTreeMap<_, _> = names.into_iter().flatten().zip(values.into_iter().flatten()).collect();
        let snmp6 = fs::read_to_string("/proc/net/snmp6").unwrap_or_default();
        let six: BTreeMap<_, _> = snmp6.lines().filter_map(|line| line.split_once(' ')).collect();
        let value = |text: Option<&&str>| text.and_then(|text| text.trim().parse().ok()).unwrap_or(0_u64);
        Ok(Self {
            overflow: value(four.get("RcvbufErrors")) + value(six.get("Udp6RcvbufErrors")),
            checksum: value(four.get("InCsumErrors")) + value(six.get("Udp6InCsumErrors")),
        })
    }
}

/// `udp_ask FAMILY HOST`: sends one datagram from a connected socket, and says what comes of it: `refused`, `silence`.
///
/// # Errors
/// When there is no socket.
#[netsplit::program]
pub async fn udp_ask(words: Vec<String>) -> io::Result<()> {
    let [family, host] = &words[..] else { return Err(wrong("FAMILY HOST")) };
    let to = address(host, family)?;
    let any = if to.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(ANSWER_MAX))?;
    socket.send(b"?")?;
    say(&outcome(socket.recv(&mut [0; 64])));
    Ok(())
}

// ── connections ──

/// `tcp_ask FAMILY HOST`: connects, and says what comes of it: `ok`, `refused`, `silence`.
///
/// # Errors
/// When the host has no address.
#[netsplit::program]
pub async fn tcp_ask(words: Vec<String>) -> io::Result<()> {
    let [family, host] = &words[..] else { return Err(wrong("FAMILY HOST")) };
    say(&outcome(TcpStream::connect_timeout(&address(host, family)?, ANSWER_MAX)));
    Ok(())
}

fn outcome<T>(done: io::Result<T>) -> String {
    match done {
        Ok(_) => "ok".to_owned(),
        Err(error) => match error.kind() {
            ErrorKind::ConnectionRefused => "refused".to_owned(),
            ErrorKind::ConnectionReset => "reset".to_owned(),
            ErrorKind::TimedOut | ErrorKind::WouldBlock => "silence".to_owned(),
            other => other.to_string(),
        },
    }
}

/// `talk_server`: takes one connection; lines of its input go out, and lines that come are printed as `hears LINE`.
///
/// # Errors
/// When the port is taken.
#[netsplit::program]
pub async fn talk_server() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT))?;
    say("listening");
    talk(listener.accept()?.0)
}

/// `talk_client FAMILY HOST`: as [`talk_server`], for who connects.
///
/// # Errors
/// When nobody listens there.
#[netsplit::program]
pub async fn talk_client(words: Vec<String>) -> io::Result<()> {
    let [family, host] = &words[..] else { return Err(wrong("FAMILY HOST")) };
    talk(TcpStream::connect(address(host, family)?)?)
}

fn talk(stream: TcpStream) -> io::Result<()> {
    let mut to = stream.try_clone()?;
    to.set_nodelay(true)?;
    say("connected");
    let hearing = thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            match line {
                Ok(line) => say(&format!("hears {line}")),
                Err(error) => return say(&format!("broken {}", outcome::<()>(Err(error)))),
            }
        }
        say("ended");
    });
    for line in io::stdin().lock().lines() {
        if to.write_all(format!("{}\n", line?).as_bytes()).is_err() {
            break;
        }
    }
    let _has_said = hearing.join();
    Ok(())
}

/// `noise_server`: takes connections, and says of each whether it was noise and nothing else: `whole N`.
///
/// # Errors
/// When the port is taken.
#[netsplit::program]
pub async fn noise_server() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT))?;
    say("listening");
    loop {
        let mut bytes = Vec::new();
        listener.accept()?.0.read_to_end(&mut bytes)?;
        let is_whole = bytes == noise(bytes.len());
        say(&format!("{} {}", if is_whole { "whole" } else { "damaged" }, bytes.len()));
    }
}

/// `noise_client FAMILY HOST BYTES`: sends so much noise.
///
/// # Errors
/// When the connection breaks.
#[netsplit::program]
pub async fn noise_client(words: Vec<String>) -> io::Result<()> {
    let bytes = number(&words, 2)?;
    let mut stream = TcpStream::connect(address(&words[1], &words[0])?)?;
    say("connected");
    stream.write_all(&noise(bytes))
}

/// `drain HOST MILLIS BYTES`: takes what a `flood_server` sends for so long, or so much of it, and says how quickly it came:
/// `bits_per_s N`.
///
/// # Errors
/// When nobody listens there.
#[netsplit::program]
pub async fn drain(words: Vec<String>) -> io::Result<()> {
    let time = Duration::from_millis(number(&words, 1)?);
    let most: u64 = number(&words, 2)?;
    let mut stream = TcpStream::connect(address(&words[0], "4")?)?;
    let begun = Instant::now();
    let (mut total, mut buffer) = (0_u64, vec![0; 1 << 16]);
    while begun.elapsed() < time && total < most {
        total += stream.read(&mut buffer)? as u64;
    }
    say(&format!("bits_per_s {}", u128::from(total) * 8_000_000 / begun.elapsed().as_micros()));
    Ok(())
}
