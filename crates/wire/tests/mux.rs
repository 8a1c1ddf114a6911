//! The mux as its users see it: two ends, a transport between them, and what may happen to it.

use std::time::Duration;

use netsplit_wire::testing::{Op, Pair};
use netsplit_wire::{Event, Incoming, Mux, Outbox, Priority, ProtocolError, SendError, limits};
use proptest::prelude::*;

fn any_op() -> impl Strategy<Value = Op> {
    prop::collection::vec(any::<u8>(), 6)
        .prop_filter_map("bytes that are no operation", |bytes| Op::from_bytes(&mut &bytes[..]))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_nothing_is_lost_doubled_or_invented(ops in prop::collection::vec(any_op(), 1..120)) {
        let mut pair = Pair::new();
        for op in ops {
            pair.apply(op).unwrap();
            pair.check(false);
        }
        pair.settle().unwrap();
        pair.check(true);
    }
}

/// A pair that has greeted.
fn met() -> Pair {
    let mut pair = Pair::new();
    pair.settle().unwrap();
    pair
}

fn mux(pair: &mut Pair, side: usize) -> &mut Mux {
    pair.ends[side].mux.as_mut().unwrap()
}

#[test]
fn control_overtakes_bulk() {
    let mut pair = met();
    let now = pair.now;
    let client = mux(&mut pair, 0);
    let bulk = client.open(Priority::Bulk).unwrap();
    let control = client.open(Priority::Control).unwrap();
    client.send(bulk, 4, vec![0; 200_000].into()).unwrap();
    client.send(control, 0, b"now"[..].into()).unwrap();
    let mut out = Outbox::new();
    client.transmit(now, &mut out, 100);
    let first = bytes::Buf::copy_to_bytes(&mut out, 20);
    assert!(first.windows(3).any(|part| part == b"now"), "{first:?}");
}

#[test]
fn bulk_is_not_starved_by_output() {
    let mut pair = met();
    let client = mux(&mut pair, 0);
    let (output, bulk) = (client.open(Priority::Output).unwrap(), client.open(Priority::Bulk).unwrap());
    for channel in [output, bulk] {
        for _ in 0..40 {
            client.send(channel, 2, vec![0; 100].into()).unwrap();
        }
    }
    pair.carry(false, 16 * 110 + 220).unwrap();
    assert!(mux(&mut pair, 1).receive_from(bulk).is_some(), "one frame of bulk for sixteen of output");
}

#[test]
fn a_full_queue_refuses_and_says_when_there_is_room() {
    let mut pair = met();
    let client = mux(&mut pair, 0);
    let channel = client.open(Priority::Output).unwrap();
    let mut accepted = 0;
    while client.send(channel, 2, vec![0; 10_000].into()).is_ok() {
        accepted += 10_000;
    }
    assert!(accepted < limits::QUEUE_MAX + 10_000);
    assert_eq!(client.send(channel, 2, vec![1].into()), Err(SendError::Full));
    // Nobody reads: the peer's window stops the sender.
    for _ in 0..10 {
        pair.carry(false, 1 << 20).unwrap();
        pair.carry(true, 1 << 20).unwrap();
    }
    let mut read = 0;
    let agent = mux(&mut pair, 1);
    while let Some(Incoming::Data { payload, .. }) = agent.receive_from(channel) {
        read += payload.len();
    }
    assert!(read as u64 <= limits::WINDOW, "{read} bytes came, the window has {}", limits::WINDOW);
    for _ in 0..10 {
        pair.carry(true, 1 << 20).unwrap();
        let client = mux(&mut pair, 0);
        client.transmit(std::time::Instant::now(), &mut Outbox::new(), 1 << 20);
    }
    assert_eq!(mux(&mut pair, 0).send(channel, 2, vec![1].into()), Ok(()));
}

#[test]
fn a_peer_that_sends_more_than_its_credit_is_thrown_out() {
    let mut pair = met();
    let now = pair.now;
    let agent = mux(&mut pair, 1);
    // DATA on channel 1 with 20,000 bytes, twice: the window has 32 KiB.
    let frame = |out: &mut bytes::BytesMut| {
        out.extend_from_slice(&[0xa3, 0x9c, 0x01, 1, 1, 4]);
        out.extend_from_slice(&vec![0; 20_000]);
    };
    let mut bytes = bytes::BytesMut::from(&[2, 8, 1][..]);
    frame(&mut bytes);
    assert_eq!(agent.receive(now, &mut bytes), Ok(()));
    frame(&mut bytes);
    assert_eq!(agent.receive(now, &mut bytes), Err(ProtocolError::CreditExceeded(1)));
}

#[test]
fn a_silent_peer_is_asked_and_then_given_up() {
    let mut pair = met();
    let now = pair.now;
    let client = mux(&mut pair, 0);
    let ask = client.deadline().unwrap();
    assert!(ask <= now + Duration::from_secs(1));
    client.timeout(ask).unwrap();
    let mut out = Outbox::new();
    assert!(client.transmit(ask, &mut out, 100), "a ping goes out");
    let give_up = client.deadline().unwrap();
    assert!(give_up > now + Duration::from_secs(28), "{:?}", give_up - now);
    assert!(matches!(client.timeout(give_up), Err(ProtocolError::Silent(_))));
}

/// It was stopped within a frame: what came of it is looked at again whenever there is something to do.
#[test]
fn a_peer_that_falls_silent_within_a_frame_is_given_up() {
    let mut pair = met();
    let begun = pair.now;
    let client = mux(&mut pair, 0);
    let mut input = bytes::BytesMut::from(&[0xa3, 0x9c, 0x01, 1, 1, 4, 0, 0][..]);
    let mut now = begun;
    let mut out = Outbox::new();
    let error = loop {
        client.receive(now, &mut input).unwrap();
        if let Err(error) = client.timeout(now) {
            break error;
        }
        client.transmit(now, &mut out, 100);
        now = client.deadline().unwrap();
        assert!(now <= begun + Duration::from_secs(30), "never given up");
    };
    assert!(matches!(error, ProtocolError::Silent(_)), "{error}");
    assert_eq!(now, begun + Duration::from_secs(30));
}

/// One that is only slow adds to its frame, if only a byte at a time.
#[test]
fn a_peer_that_is_slow_within_a_frame_is_not_given_up() {
    let mut pair = met();
    let mut now = pair.now;
    let client = mux(&mut pair, 0);
    let mut input = bytes::BytesMut::from(&[0xa3, 0x9c, 0x01, 1, 1, 4][..]);
    for _ in 0..100 {
        now += Duration::from_secs(1);
        input.extend_from_slice(&[0]);
        client.receive(now, &mut input).unwrap();
        client.timeout(now).unwrap();
    }
}

#[test]
fn a_peer_that_answers_is_not_given_up() {
    let mut pair = met();
    for _ in 0..100 {
        pair.pass(Duration::from_secs(1)).unwrap();
        pair.carry(false, 100).unwrap();
        pair.carry(true, 100).unwrap();
    }
    let now = pair.now;
    assert!(mux(&mut pair, 0).deadline().unwrap() >= now);
}

#[test]
fn a_peer_without_the_session_is_an_error_not_a_silent_restart() {
    let mut pair = met();
    pair.reconnect();
    pair.ends[1] = Pair::new().ends.into_iter().nth(1).unwrap();
    pair.carry(false, 1 << 16).unwrap();
    assert_eq!(pair.carry(true, 1 << 16), Err(ProtocolError::SessionLost));
}

#[test]
fn a_stranger_is_told_apart_from_another_version() {
    let now = std::time::Instant::now();
    let mut client = Mux::initiator(Default::default(), netsplit_wire::SessionId([1; 16]));
    client.attach(now);
    let mut http = bytes::BytesMut::from(&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..]);
    assert!(client.receive(now, &mut http).is_err());
    // A hello of version 9 only.
    let mut newer =
        bytes::BytesMut::from(&[0, 0, 0x0d, 0x6c, 0x70, 0x73, 0x6e, 0x10, 9, 0x18, 9, 0x22, 16][..]);
    newer.extend_from_slice(&[1; 16]);
    newer.extend_from_slice(&[0x38, 64]);
    newer[0] = u8::try_from(newer.len() - 1).unwrap();
    let error = netsplit_wire::read_hello(&mut newer.clone()).unwrap_err();
    assert_eq!(error.to_string(), "the peer speaks versions 9 to 9, we speak 1 to 1");
}

#[test]
fn events_are_told_once() {
    let mut pair = met();
    let client = mux(&mut pair, 0);
    let channel = client.open(Priority::Control).unwrap();
    client.send(channel, 0, b"a"[..].into()).unwrap();
    client.send(channel, 0, b"b"[..].into()).unwrap();
    let now = pair.now;
    let mut out = Outbox::new();
    mux(&mut pair, 0).transmit(now, &mut out, 1000);
    let waiting = out.len();
    let mut bytes = bytes::BytesMut::from(&bytes::Buf::copy_to_bytes(&mut out, waiting)[..]);
    let agent = mux(&mut pair, 1);
    agent.receive(now, &mut bytes).unwrap();
    let events: Vec<_> = std::iter::from_fn(|| agent.poll_event()).collect();
    assert_eq!(events, [Event::Opened(channel), Event::Readable(channel)]);
}
