//! What holds for every packet, whatever the kind, the traffic and the time.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use netsplit_netmodel::nat::{Checksum, Nat, NatBehaviour, NatKind, Side};
use proptest::prelude::*;

use crate::packets::{End, ICMP, TCP, UDP, echo, read, tcp, udp, unreachable};
use crate::{OUTSIDE, SECOND};

const MAPPINGS_MAX: usize = 20;
const SESSIONS_MAX: usize = 30;

#[derive(Clone, Debug)]
struct Step {
    wait: Duration,
    protocol: u8,
    inside: End,
    remote: End,
    flags: u8,
    payload: Vec<u8>,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    Out,
    /// To a port that may have no mapping.
    Unasked,
}

fn address(network: [u8; 3]) -> impl Strategy<Value = IpAddr> {
    (1..5u8).prop_map(move |host| Ipv4Addr::new(network[0], network[1], network[2], host).into())
}

fn step() -> impl Strategy<Value = Step> {
    let end = |network| (address(network), prop_oneof![1..9u16, 1024..1030u16, 65530..=65535u16]);
    (
        prop_oneof![Just(0), 0..400u64].prop_map(Duration::from_secs),
        prop::sample::select(vec![TCP, UDP, ICMP]),
        end([10, 0, 0]),
        end([203, 0, 113]),
        0..32u8,
        prop::collection::vec(any::<u8>(), 0..20),
        prop::sample::select(vec![What::Out, What::Out, What::Unasked]),
    )
        .prop_map(|(wait, protocol, inside, remote, flags, payload, what)| {
            let flags = if what == What::Out { flags & !4 } else { flags };
            Step { wait, protocol, inside, remote, flags, payload, what }
        })
}

fn kind() -> impl Strategy<Value = NatKind> {
    prop::sample::select(NatKind::ALL.to_vec())
}

fn packet(step: &Step, from: End, to: End, is_reply: bool) -> Vec<u8> {
    match step.protocol {
        TCP => tcp(from, to, step.flags, &step.payload),
        UDP => udp(from, to, &step.payload),
        _ => echo(from, to, is_reply),
    }
}

/// A query has its identifier at one end.
fn remote(step: &Step) -> End {
    (step.remote.0, if step.protocol == ICMP { 0 } else { step.remote.1 })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// What goes out is changed at its sender's end only, its answer comes back to that end, and so does an error about it.
    #[test]
    fn what_goes_out_can_be_answered(kind in kind(), steps in prop::collection::vec(step(), 1..80)) {
        let behaviour = NatBehaviour { mappings_max: MAPPINGS_MAX, sessions_max: SESSIONS_MAX, ..kind.behaviour() };
        let mut nat = Nat::new(3, "n", Some(OUTSIDE), behaviour);
        let mut now = SECOND;
        for step in &steps {
            now += step.wait;
            let remote = remote(step);
            if step.what == What::Unasked {
                let mut unasked = packet(step, remote, (OUTSIDE.into(), step.inside.1), true);
                if nat.pass(now, Side::Outside, &mut unasked, Checksum::Finished).is_ok() {
                    read(&unasked);
                }
                continue;
            }
            let sent = packet(step, step.inside, remote, false);
            let mut come = sent.clone();
            let passed = nat.pass(now, Side::Inside, &mut come, Checksum::Finished);
            prop_assert!(nat.mappings() <= MAPPINGS_MAX && nat.sessions() <= SESSIONS_MAX);
            prop_assert!(nat.mappings() <= nat.sessions());
            let Ok(to) = passed else { continue };
            prop_assert_eq!(to, Side::Outside);
            let seen = read(&come);
            let before = read(&sent);
            prop_assert_eq!((seen.to, &seen.payload), (before.to, &before.payload));

            let mut answer = packet(step, seen.to, seen.from, true);
            let expected = packet(step, before.to, before.from, true);
            prop_assert_eq!(nat.pass(now, Side::Outside, &mut answer, Checksum::Finished), Ok(Side::Inside));
            prop_assert_eq!(answer, expected);

            let mut error = unreachable(seen.to.0, seen.from.0, &come, 1000);
            prop_assert_eq!(nat.pass(now, Side::Outside, &mut error, Checksum::Finished), Ok(Side::Inside));
            prop_assert_eq!(read(&error).payload, sent);
        }
    }

    /// Whatever comes, nothing panics, and what is behind a packet's end stays.
    #[test]
    fn nothing_is_trusted(
        kind in kind(),
        steps in prop::collection::vec((step(), any::<bool>(), any::<bool>(), 0..80usize, any::<u8>(), 0..80usize), 1..40),
    ) {
        let mut nat = Nat::new(3, "n", Some(OUTSIDE), kind.behaviour());
        for (step, is_error, is_inside, at, value, end) in steps {
            let inside = packet(&step, step.inside, remote(&step), false);
            let outside = packet(&step, remote(&step), (OUTSIDE.into(), step.inside.1), true);
            let mut wrong = if is_inside { inside } else { outside };
            if is_error {
                wrong = unreachable(step.remote.0, OUTSIDE.into(), &wrong, 1000);
            }
            if let Some(byte) = wrong.get_mut(at) {
                *byte = value;
            }
            for end in [end.min(wrong.len()), wrong.len()] {
                for checksum in [Checksum::Finished, Checksum::Unfinished] {
                    let from = if is_inside { Side::Inside } else { Side::Outside };
                    let _refused = nat.pass(SECOND, from, &mut wrong[..end], checksum);
                }
            }
        }
    }
}
