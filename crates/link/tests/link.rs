//! Links over real and broken transports.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use netsplit_link::{Channel, Config, Link, LinkError, Priority, Received, SessionId, read_peer};
use netsplit_wire::limits;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::UnixStream;
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(20);

/// A link in both directions over a socket pair, with echo on every channel that the client opens.
async fn pair(resume_within: Option<Duration>) -> (Link, Link) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let client = Link::dial(Config::default(), SessionId([1; 16]), resume_within, ours);
    let peer = read_peer(&mut theirs).await.unwrap();
    let agent = Link::answer(Config { name: "a".into(), ..Config::default() }, peer, resume_within, theirs);
    assert_eq!(client.connected().await, Ok("a".into()));
    (client, agent)
}

fn serve_echo(agent: &Link) {
    let agent = agent.clone();
    tokio::spawn(async move {
        while let Some(channel) = agent.accept().await {
            tokio::spawn(echo(channel));
        }
    });
}

async fn echo(mut channel: Channel) {
    loop {
        let (tag, bytes) = match channel.receiver.receive().await {
            Received::Message(bytes) => (0, bytes),
            Received::Data(tag, bytes) => (tag, bytes),
            Received::Finished => return channel.sender.finish(),
            Received::Reset | Received::Lost(_) => return,
        };
        if channel.sender.send(tag, bytes).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn messages_of_any_size_come_back() {
    let (client, agent) = pair(None).await;
    serve_echo(&agent);
    let mut channel = client.open(Priority::Control).await.unwrap();
    for size in [0, 1, 4095, 65_536, 65_537, 3 << 20] {
        let body = Bytes::from(vec![7; size]);
        let (sent, received) = tokio::join!(channel.sender.send(0, body.clone()), channel.receiver.receive());
        assert_eq!(sent, Ok(()));
        assert_eq!(received, Received::Message(body), "{size} bytes");
    }
    channel.sender.finish();
    assert_eq!(channel.receiver.receive().await, Received::Finished);
}

#[tokio::test]
async fn a_slow_channel_does_not_hold_up_another() {
    let (client, agent) = pair(None).await;
    let slow = client.open(Priority::Control).await.unwrap();
    let mut queued = 0;
    while timeout(Duration::from_millis(200), slow.sender.send(4, vec![0; 60_000].into())).await.is_ok() {
        queued += 60_000;
        assert!(queued < 10 << 20, "a channel that nobody reads takes no end of bytes");
    }
    let mut other = client.open(Priority::Bulk).await.unwrap();
    other.sender.send(0, "hello".into()).await.unwrap();
    let _unread = agent.accept().await.unwrap();
    let theirs = agent.accept().await.unwrap();
    tokio::spawn(echo(theirs));
    assert_eq!(timeout(LONG, other.receiver.receive()).await, Ok(Received::Message("hello".into())));
}

/// Whatever future is dropped after whatever time, the link goes on.
#[tokio::test]
async fn dropping_any_future_leaves_the_link_usable() {
    let (client, agent) = pair(None).await;
    serve_echo(&agent);
    for round in 0..200u64 {
        let work = async {
            let mut channel = client.open(Priority::Bulk).await.unwrap();
            for _ in 0..20 {
                channel.sender.send(4, vec![1; 50_000].into()).await.unwrap();
                channel.receiver.receive().await;
            }
        };
        let _cut = timeout(Duration::from_micros(round * 37), work).await;
    }
    let mut channel = client.open(Priority::Control).await.unwrap();
    channel.sender.send(0, "still here".into()).await.unwrap();
    assert_eq!(timeout(LONG, channel.receiver.receive()).await, Ok(Received::Message("still here".into())));
}

#[tokio::test]
async fn a_new_transport_goes_on_where_the_last_broke_off() {
    let (client, agent) = pair(Some(LONG)).await;
    serve_echo(&agent);
    let mut channel = client.open(Priority::Bulk).await.unwrap();
    let total = 4 << 20;
    let sender = channel.sender.clone();
    let sending = tokio::spawn(async move {
        for number in 0..total / 40_000 {
            let byte = u8::try_from(number % 251).unwrap();
            sender.send(4, vec![byte; 40_000].into()).await.unwrap();
        }
        sender.finish();
    });
    let mut received = Vec::new();
    loop {
        match timeout(LONG, channel.receiver.receive()).await.unwrap() {
            Received::Data(4, bytes) => received.extend_from_slice(&bytes),
            Received::Finished => break,
            other => panic!("{other:?} after {} bytes", received.len()),
        }
        if received.len() % 7 == 0 {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            client.attach(ours);
            let peer = read_peer(&mut theirs).await.unwrap();
            assert_eq!(peer.session(), SessionId([1; 16]));
            agent.resume(peer, theirs).unwrap();
        }
    }
    sending.await.unwrap();
    let expect: Vec<u8> =
        (0..total / 40_000).flat_map(|number| vec![u8::try_from(number % 251).unwrap(); 40_000]).collect();
    assert!(received == expect, "{} of {} bytes", received.len(), expect.len());
}

#[tokio::test]
async fn without_resume_the_end_of_the_transport_is_the_end() {
    let (client, agent) = pair(None).await;
    let mut channel = client.open(Priority::Control).await.unwrap();
    agent.close();
    assert_eq!(timeout(LONG, channel.receiver.receive()).await, Ok(Received::Lost(LinkError::Ended)));
    assert_eq!(client.ended().await, LinkError::Ended);
    assert_eq!(client.open(Priority::Control).await.err(), Some(LinkError::Ended));
    assert!(agent.accept().await.is_none());
}

#[tokio::test]
async fn a_transport_that_does_not_come_back_ends_the_link() {
    let lease = Duration::from_millis(30);
    let (client, agent) = pair(Some(lease)).await;
    agent.close();
    assert_eq!(timeout(LONG, client.ended()).await, Ok(LinkError::NotResumed(lease)));
}

#[tokio::test]
async fn a_stopped_peer_is_reported_within_the_limit() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let config = Config {
        heartbeat: Some(Duration::from_millis(10)),
        dead_after: Duration::from_millis(50),
        ..Config::default()
    };
    let client = Link::dial(config, SessionId([1; 16]), None, ours);
    let error = timeout(LONG, client.connected()).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "no answer for 50ms");
}

#[tokio::test]
async fn a_stranger_is_refused() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let client = Link::dial(Config::default(), SessionId([1; 16]), None, ours);
    tokio::io::AsyncWriteExt::write_all(&mut theirs, b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    let error = timeout(LONG, client.connected()).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the peer does not speak netsplit's protocol");
}

#[tokio::test]
async fn a_thousand_channels_at_once() {
    let (client, agent) = pair(None).await;
    serve_echo(&agent);
    let calls = (0..1000u32).map(|number| {
        let client = client.clone();
        tokio::spawn(async move {
            let mut channel = client.open(Priority::Control).await.unwrap();
            channel.sender.send(0, number.to_le_bytes().to_vec().into()).await.unwrap();
            assert_eq!(
                channel.receiver.receive().await,
                Received::Message(number.to_le_bytes().to_vec().into())
            );
        })
    });
    for call in calls.collect::<Vec<_>>() {
        timeout(LONG, call).await.unwrap().unwrap();
    }
}

/// A channel's clones fill its queue together: when there is room again, each of them learns so.
#[tokio::test]
async fn all_who_wait_for_room_are_woken() {
    let (client, agent) = pair(None).await;
    let channel = client.open(Priority::Output).await.unwrap();
    let senders: Vec<_> = (0..4u8)
        .map(|tag| {
            let sender = channel.sender.clone();
            tokio::spawn(async move {
                for _ in 0..100 {
                    sender.send(tag + 1, vec![tag; 30_000].into()).await.unwrap();
                }
            })
        })
        .collect();
    let mut theirs = agent.accept().await.unwrap();
    let reading = async {
        let mut left = 4 * 100 * 30_000;
        while left > 0 {
            let Received::Data(_, bytes) = theirs.receiver.receive().await else { panic!("{left} left") };
            left -= bytes.len();
        }
    };
    timeout(LONG, reading).await.unwrap();
    for sender in senders {
        sender.await.unwrap();
    }
}

/// The queue stays full: nothing but the end of the link can wake them.
#[tokio::test]
async fn all_who_wait_for_room_learn_of_the_end() {
    let (client, _agent) = pair(None).await;
    let channel = client.open(Priority::Output).await.unwrap();
    while timeout(Duration::from_millis(50), channel.sender.send(2, vec![0; 60_000].into())).await.is_ok() {}
    let senders: Vec<_> = (0..3)
        .map(|_| {
            let sender = channel.sender.clone();
            tokio::spawn(async move { sender.send(2, vec![0; 60_000].into()).await })
        })
        .collect();
    tokio::task::yield_now().await;
    client.close();
    for sender in senders {
        assert_eq!(timeout(LONG, sender).await.unwrap().unwrap(), Err(LinkError::Closed));
    }
}

#[tokio::test]
async fn all_who_accept_are_woken() {
    let (client, agent) = pair(None).await;
    let accepting: Vec<_> = (0..3)
        .map(|_| {
            let agent = agent.clone();
            tokio::spawn(async move { agent.accept().await.is_some() })
        })
        .collect();
    tokio::task::yield_now().await;
    let mut channels = Vec::new();
    for _ in 0..3 {
        channels.push(client.open(Priority::Control).await.unwrap());
    }
    for accepted in accepting {
        assert!(timeout(LONG, accepted).await.unwrap().unwrap());
    }
}

/// A channel counts until the peer has closed it as well: whoever waits for room learns of that moment.
#[tokio::test]
async fn who_waits_to_open_is_woken_by_the_peers_end() {
    let (client, agent) = pair(None).await;
    let mut channels = Vec::new();
    for _ in 0..limits::CHANNELS_MAX {
        channels.push(client.open(Priority::Control).await.unwrap());
    }
    let opening = {
        let client = client.clone();
        tokio::spawn(async move { client.open(Priority::Control).await.is_ok() })
    };
    tokio::task::yield_now().await;
    drop(channels.pop());
    let _theirs = agent.accept().await.unwrap();
    assert!(timeout(LONG, opening).await.unwrap().unwrap());
}

/// One end of a transport that can go deaf, and counts how often it is asked to read.
struct Watched {
    stream: DuplexStream,
    deaf: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.deaf.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// There is no room for an acknowledgement that is due: it waits for room, and the pump with it.
#[tokio::test]
async fn a_peer_that_reads_nothing_keeps_nobody_busy() {
    let (ours, theirs) = tokio::io::duplex(10_000);
    let (deaf, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let ours = Watched { stream: ours, deaf: Arc::clone(&deaf), asked: Arc::default() };
    let mut theirs = Watched { stream: theirs, deaf: Arc::default(), asked: Arc::clone(&asked) };
    let client = Link::dial(Config::default(), SessionId([1; 16]), None, ours);
    let peer = read_peer(&mut theirs).await.unwrap();
    let agent = Link::answer(Config::default(), peer, None, theirs);
    client.connected().await.unwrap();
    let mut channel = client.open(Priority::Control).await.unwrap();
    channel.receiver.widen();
    let much = agent.accept().await.unwrap();

    deaf.store(true, Ordering::Relaxed);
    while timeout(Duration::from_millis(50), much.sender.send(2, vec![0; 60_000].into())).await.is_ok() {}
    channel.sender.send(0, "to be acknowledged".into()).await.unwrap();
    tokio::time::sleep(limits::ACK_DELAY * 2).await;
    let before = asked.load(Ordering::Relaxed);
    tokio::time::sleep(limits::ACK_DELAY * 10).await;
    let times = asked.load(Ordering::Relaxed) - before;
    assert!(times < 10, "asked {times} times while nothing could be done");

    // As soon as it reads again all goes on. Its own sending wakes it here.
    deaf.store(false, Ordering::Relaxed);
    channel.sender.send(0, "again".into()).await.unwrap();
    assert!(matches!(timeout(LONG, channel.receiver.receive()).await, Ok(Received::Data(2, _))));
}

/// Also behind the peer's end, where nothing that could be received says so.
#[tokio::test]
async fn a_sender_learns_that_its_channel_was_given_up() {
    let (client, agent) = pair(None).await;
    let channel = client.open(Priority::Control).await.unwrap();
    channel.sender.finish();
    let mut theirs = agent.accept().await.unwrap();
    assert_eq!(theirs.receiver.receive().await, Received::Finished);
    let both = [theirs.sender.clone(), theirs.sender.clone()];
    let [mut first, mut second] = both.map(|sender| tokio::spawn(async move { sender.given_up().await }));
    assert!(timeout(Duration::from_millis(50), &mut first).await.is_err(), "it only finished");
    drop(channel);
    for told in [&mut first, &mut second] {
        timeout(LONG, told).await.unwrap().unwrap();
    }
}
