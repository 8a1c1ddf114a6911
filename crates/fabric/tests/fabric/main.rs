//! Promises of the fabric, each with real sockets in network namespaces and with both kinds of ports. No test rests on how
//! quick the machine is: bounds on time are lower bounds, or generous.

mod boxes;
mod capture;
#[path = "../../../provider/src/namespace/net.rs"]
#[expect(dead_code, reason = "the provider's requests, of which hosts of these tests need some")]
mod net;
#[path = "../../../netmodel/tests/capture/parse.rs"]
#[expect(dead_code, reason = "the readers of captures, of which the fabric needs all but those of IP")]
mod parse;
mod world;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use netsplit_fabric::{Change, FabricError, PortKind};
use netsplit_netmodel::{Behaviour, Cause, Condition, Count};
use world::{Host, PATIENCE, World, each, eventually};

const MS: Duration = Duration::from_millis(1);
/// How long something must not come until it is taken not to come.
const SILENCE: Duration = Duration::from_millis(300);

/// A UDP socket of a host. Until they are read it takes some 250 datagrams.
fn socket(host: &Host, ip: IpAddr) -> UdpSocket {
    let socket = host.run(|| UdpSocket::bind((ip, 0))).unwrap();
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    socket
}

/// Both families: a socket at each end.
fn sockets(from: &Host, to: &Host) -> [(UdpSocket, UdpSocket); 2] {
    [(from.v4, to.v4), (from.v6, to.v6)].map(|(near, far)| (socket(from, near), socket(to, far)))
}

fn send(near: &UdpSocket, far: &UdpSocket) -> std::io::Result<()> {
    near.send_to(b"there", far.local_addr()?).map(drop)
}

/// Whether a datagram gets from one host to another: over IPv4, over IPv6.
fn reaches(from: &Host, to: &Host) -> [bool; 2] {
    sockets(from, to).map(|(near, far)| send(&near, &far).is_ok() && far.recv(&mut [0; 64]).is_ok())
}

/// Waits until datagrams get from one host to another.
#[track_caller]
fn reach(from: &Host, to: &Host) {
    eventually(|| match reaches(from, to) {
        [true, true] => Ok(()),
        [v4, v6] => Err(format!("{} reaches {}: {v4} over IPv4, {v6} over IPv6", from.name, to.name)),
    });
}

/// Waits until hosts know each other's addresses and datagrams pass both ways.
#[track_caller]
fn meet(one: &Host, other: &Host) {
    reach(one, other);
    reach(other, one);
}

/// Waits until this many datagrams came; no more do. Their first bytes.
fn exactly(far: &UdpSocket, number: usize) -> Vec<u8> {
    let mut byte = [0];
    far.set_read_timeout(Some(PATIENCE)).unwrap();
    let receive = || far.recv(&mut byte).map(|_length| byte[0]).unwrap();
    let come = std::iter::repeat_with(receive).take(number).collect();
    far.set_read_timeout(Some(SILENCE)).unwrap();
    assert_eq!(count(far), 0, "more than {number}");
    come
}

/// How many datagrams come before silence.
fn count(far: &UdpSocket) -> usize {
    std::iter::from_fn(|| far.recv(&mut [0; 64]).ok()).count()
}

/// How many of `sent` datagrams come, with no more than 100 of them anywhere at once: the rest of the way drops none.
fn delivered(world: &World, from: &Host, to: &Host, sent: usize) -> usize {
    let (near, far) = (socket(from, from.v4), socket(to, to.v4));
    let offered = || world.link(&from.name, &to.name).counters.offered.packets;
    let mut come = 0;
    for _batch in 0..sent / 100 {
        let before = offered();
        (0..100).for_each(|_| send(&near, &far).unwrap());
        eventually(|| if offered() >= before + 100 { Ok(()) } else { Err("not all were offered") });
        far.set_read_timeout(Some(10 * MS)).unwrap();
        come += count(&far);
    }
    far.set_read_timeout(Some(SILENCE)).unwrap();
    come + count(&far)
}

/// A TCP connection from one host to another: its ends.
fn connect(from: &Host, to: &Host) -> (TcpStream, TcpStream) {
    let listener = to.run(|| TcpListener::bind((to.v4, 0))).unwrap();
    let near = from.run(|| TcpStream::connect_timeout(&listener.local_addr().unwrap(), PATIENCE)).unwrap();
    let (far, _) = listener.accept().unwrap();
    for end in [&near, &far] {
        end.set_read_timeout(Some(PATIENCE)).unwrap();
        end.set_write_timeout(Some(PATIENCE)).unwrap();
    }
    (near, far)
}

/// Bytes of which each prefix differs from each other part.
fn pattern(length: usize) -> Vec<u8> {
    (0..length as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// Sends bytes over a connection, with `meanwhile` once some of them have come. They are the same at the other end.
fn transfer((mut near, mut far): (TcpStream, TcpStream), length: usize, meanwhile: impl FnOnce()) {
    let bytes = pattern(length);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            near.write_all(&bytes).unwrap();
            near.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let mut come = vec![0; length / 10];
        far.read_exact(&mut come).unwrap();
        meanwhile();
        far.read_to_end(&mut come).unwrap();
        assert!(come == bytes, "{} of {length} bytes, or others", come.len());
    });
}

#[test]
fn every_host_reaches_every_other() {
    each("every_host_reaches_every_other", 3, |world| {
        for from in &world.hosts {
            for to in world.hosts.iter().filter(|to| to.name != from.name) {
                meet(from, to);
            }
        }
        let report = world.report();
        assert_eq!(report.links.len(), 6);
        assert!(report.ports.iter().all(|port| port.kind == Some(world.kind)));
        assert!(report.links.iter().all(|link| link.counters.dropped() == Count::default()));
    });
}

#[test]
fn the_program_ping_is_answered() {
    each("the_program_ping_is_answered", 2, |world| {
        let [a, b] = &world.hosts[..] else { unreachable!("two were asked for") };
        for to in [b.v4, b.v6] {
            let mut ping = Command::new("ping");
            ping.args(["-c", "2", "-i", "0.2", "-W", "20", &to.to_string()]);
            match a.run(|| ping.output()) {
                Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
                Err(error) => println!("skipped: `ping` is not installed ({error})"),
            }
        }
    });
}

#[test]
fn a_cut_is_one_way_or_both_and_heals() {
    each("a_cut_is_one_way_or_both_and_heals", 3, |world| {
        let [a, b, c] = &world.hosts[..] else { unreachable!("three were asked for") };
        for (one, other) in [(a, b), (b, c), (a, c)] {
            meet(one, other);
        }
        world.set("a", "b", Condition::new().cut());
        assert_eq!(reaches(a, b), [false; 2]);
        reach(b, a);
        assert!(world.link("a", "b").counters.dropped_by(Cause::Cut).packets >= 2);
        world.set("b", "a", Condition::new().cut());
        assert_eq!((reaches(a, b), reaches(b, a)), ([false; 2], [false; 2]));
        reach(a, c);
        reach(c, b);
        world.set_all(&[("a", "b"), ("b", "a")], Condition::new());
        meet(a, b);
        assert_eq!(world.link("b", "c").counters.dropped(), Count::default());
    });
}

#[test]
fn a_connection_outlives_a_short_cut() {
    each("a_connection_outlives_a_short_cut", 2, |world| {
        let [a, b] = &world.hosts[..] else { unreachable!("two were asked for") };
        transfer(connect(a, b), 64 << 20, || {
            world.set_all(&[("a", "b"), ("b", "a")], Condition::new().cut());
            // What the sender sends again, or asks a closed window, is dropped, too.
            let dropped = || world.link("a", "b").counters.dropped_by(Cause::Cut).packets;
            eventually(|| if dropped() > 0 { Ok(()) } else { Err("nothing was cut") });
            world.set_all(&[("a", "b"), ("b", "a")], Condition::new());
        });
    });
}

#[test]
fn a_delay_is_at_least_what_was_asked() {
    each("a_delay_is_at_least_what_was_asked", 2, |world| {
        let [a, b] = &world.hosts[..] else { unreachable!("two were asked for") };
        meet(a, b);
        world.set("a", "b", Condition::new().delay(40 * MS));
        for (near, far) in sockets(a, b) {
            far.set_read_timeout(Some(PATIENCE)).unwrap();
            let begun = Instant::now();
            send(&near, &far).unwrap();
            far.recv(&mut [0; 64]).unwrap();
            assert!(begun.elapsed() >= 40 * MS, "{:?}", begun.elapsed());
        }
        let lateness = world.report().lateness;
        assert!(lateness.count() >= 2 && lateness.max() < PATIENCE, "{lateness:?}");
        assert!(lateness.quantile(0.5) <= lateness.max());
    });
}

#[test]
fn loss_is_what_was_asked_in_its_direction_only() {
    each("loss_is_what_was_asked_in_its_direction_only", 2, |world| {
        let [a, b] = &world.hosts[..] else { unreachable!("two were asked for") };
        meet(a, b);
        for (from, to, lost_from, share) in
            [(a, b, "a", 0.3), (b, a, "a", 0.0), (b, a, "b", 0.3), (a, b, "b", 0.0)]
        {
            world.set_all(&[("a", "b"), ("b", "a")], Condition::new());
            let lost_to = if lost_from == "a" { "b" } else { "a" };
            world.set(lost_from, lost_to, Condition::new().loss(0.3));
            let lost = 2000 - delivered(&world, from, to, 2000);
            // The standard deviation of 0.3 of 2000 is 20.5; further away than four of it is one run in 16,000.
            let range = if share == 0.0 { 0..=0 } else { 518..=682 };
            assert!(range.contains(&lost), "{lost} of 2000 from {} to {}", from.name, to.name);
        }
    });
}

#[test]
fn what_is_rejected_fails_at_once() {
    each("what_is_rejected_fails_at_once", 2, |world| {
        let [a, b] = &world.hosts[..] else { unreachable!("two were asked for") };
        // Hosts that have not met: their neighbour discovery must pass.
        world.set("a", "b", Condition::new().reject());
        for address in b.at(4000) {
            let begun = Instant::now();
            let error = a.run(|| TcpStream::connect_timeout(&address, PATIENCE)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{address}: {error}");
            assert!(begun.elapsed() < PATIENCE);
        }
        for (near, far) in sockets(a, b) {
            near.connect(far.local_addr().unwrap()).unwrap();
            near.set_read_timeout(Some(PATIENCE)).unwrap();
            near.send(b"there").unwrap();
            let error = near.recv(&mut [0; 64]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
        }
        for to in [b.v4, b.v6] {
            let mut ping = Command::new("ping");
            ping.args(["-c", "1", "-W", "20", &to.to_string()]).env("LC_ALL", "C");
            match a.run(|| ping.output()) {
                Ok(output) => {
                    let text = String::from_utf8_lossy(&output.stdout).into_owned();
                    assert!(text.contains("nreachable"), "{text}");
                }
                Err(error) => println!("skipped: `ping` is not installed ({error})"),
            }
        }
        assert!(world.link("a", "b").counters.dropped_by(Cause::Reject).packets >= 4);
        world.set("a", "b", Condition::new());
        let (near, far) = connect(a, b);
        world.set("a", "b", Condition::new().reject());
        (&near).write_all(b"there").unwrap();
        let error = (&near).read(&mut [0; 64]).unwrap_err();
        assert!(
            [ErrorKind::ConnectionReset, ErrorKind::ConnectionRefused].contains(&error.kind()),
            "{error}"
        );
        drop(far);
    });
}

#[test]
fn a_flipped_bit_is_found_by_the_receiver() {
    each("a_flipped_bit_is_found_by_the_receiver", 2, |world| {
        let [a, b] = &world.hosts[..] else { unreachable!("two were asked for") };
        meet(a, b);
        world.set("a", "b", Condition::new().corrupt(1.0));
        let (near, far) = (socket(a, a.v4), socket(b, b.v4));
        (0..200).for_each(|_| send(&near, &far).unwrap());
        // Checksums of IP and UDP cover every bit.
        assert_eq!(count(&far), 0);
        assert!(world.link("a", "b").counters.corrupted.packets >= 200);
        world.set("a", "b", Condition::new().corrupt(0.05));
        transfer(connect(a, b), 1 << 20, || ());
    });
}

#[test]
fn duplicates_come_twice_and_what_is_held_comes_in_order() {
    each("duplicates_come_twice_and_what_is_held_comes_in_order", 2, |world| {
        let [a, b] = &world.hosts[..] else { unreachable!("two were asked for") };
        meet(a, b);
        let (near, far) = (socket(a, a.v6), socket(b, b.v6));
        world.set("a", "b", Condition::new().duplicate(1.0));
        (0..100).for_each(|_| send(&near, &far).unwrap());
        exactly(&far, 200);
        world.set("a", "b", Condition::new().hold());
        for number in 0..100 {
            near.send_to(&[number], far.local_addr().unwrap()).unwrap();
        }
        assert_eq!(count(&far), 0);
        assert!(world.report().held.packets >= 100);
        world.set("a", "b", Condition::new());
        assert_eq!(exactly(&far, 100), (0..100).collect::<Vec<u8>>());
        assert_eq!(world.report().held, Count::default());
    });
}

/// The mean length of packets that `a` sent and that `b` was given while bytes were transferred.
fn lengths(world: &World) -> [u64; 2] {
    let counts = || {
        let report = world.report();
        [report.port("a").unwrap().received, report.port("b").unwrap().sent]
    };
    let before = counts();
    transfer(connect(&world.hosts[0], &world.hosts[1]), 16 << 20, || ());
    let after = counts();
    std::array::from_fn(|at| (after[at].bytes - before[at].bytes) / (after[at].packets - before[at].packets))
}

#[test]
fn super_frames_pass_plain_links_only() {
    each("super_frames_pass_plain_links_only", 2, |world| {
        let [sent, given] = lengths(&world);
        assert!(sent > 3000 && given > 3000, "{sent} and {given} bytes a frame");
        world.set("a", "b", Condition::new().loss(0.0001));
        let [sent, given] = lengths(&world);
        assert!(given <= 1500, "{given} bytes a frame");
        assert!(sent <= 1500 || world.kind == PortKind::Packet, "{sent} bytes a frame");
        world.set("a", "b", Condition::new().delay(MS));
        let [sent, given] = lengths(&world);
        assert!(sent > 3000 && given > 3000, "{sent} and {given} bytes a frame");
    });
}

#[test]
fn a_link_changes_between_super_frames_under_way() {
    each("a_link_changes_between_super_frames_under_way", 2, |world| {
        let [a, b] = &world.hosts[..] else { unreachable!("two were asked for") };
        world.set("a", "b", Condition::new().delay(5 * MS));
        transfer(connect(a, b), 16 << 20, || {
            for _change in 0..10 {
                for condition in [
                    Condition::new().hold(),
                    Condition::new().rate(2_000_000_000),
                    Condition::new().mtu(1500),
                ] {
                    world.set("a", "b", condition);
                    std::thread::sleep(5 * MS);
                    world.set("a", "b", Condition::new().delay(5 * MS));
                }
            }
        });
        assert_eq!(world.link("a", "b").counters.dropped_by(Cause::Mtu), Count::default());
    });
}

#[test]
fn a_host_comes_up_again_with_its_links() {
    each("a_host_comes_up_again_with_its_links", 2, |mut world| {
        meet(&world.hosts[0], &world.hosts[1]);
        world.set("a", "b", Condition::new().cut());
        world.replace(1);
        let [a, b] = &world.hosts[..] else { unreachable!("two were asked for") };
        let dropped = || world.link("a", "b").counters.dropped_by(Cause::Cut).packets;
        let before = dropped();
        // It asks for the address of `a` and hears no answer.
        assert_eq!(reaches(b, a), [false; 2]);
        assert!(dropped() > before);
        world.set("a", "b", Condition::new());
        meet(a, b);
        assert_eq!(world.report().ports.len(), 2);
    });
}

#[test]
fn a_wrong_batch_changes_nothing() {
    each("a_wrong_batch_changes_nothing", 2, |world| {
        let cut = Behaviour::of([&Condition::new().cut()]).unwrap();
        let change = |from: &str, to: &str| Change { from: from.into(), to: to.into(), behaviour: cut };
        let error = world.fabric.set(vec![change("a", "b"), change("a", "nobody")]).unwrap_err();
        assert_eq!(error.to_string(), "there is no port `nobody`\ntry: one of a, b");
        let error = world.fabric.set(vec![change("a", "b"), change("b", "b")]).unwrap_err();
        assert!(matches!(error, FabricError::Loop { .. }));
        assert!(world.report().link("a", "b").is_none_or(|link| link.behaviour == Behaviour::default()));
        world.fabric.set(vec![change("a", "b")]).unwrap();
        assert_eq!(world.link("a", "b").behaviour, cut);
        world.fabric.detach("b").unwrap();
        assert_eq!(world.report().port("b").unwrap().kind, None);
        assert_eq!(world.fabric.stop().unwrap().link("a", "b").unwrap().behaviour, cut);
    });
}
