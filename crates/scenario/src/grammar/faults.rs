//! The verbs that change the network, and for each the words that may follow it.

use super::{FLAP, Key, Kind, Verb, key};

const AS: Key = key("as", Kind::Name, r#""cut""#, "What the fault is called, for `heal`.");
const FOR: Key =
    key("for", Kind::Duration, r#""5s""#, "It heals by itself so much later; the step does not wait.");
const AFTER: Key =
    key("after", Kind::Duration, r#""2s""#, "It begins so much later; the step does not wait.");
const FLAPS: Key = key(
    "flap",
    Kind::Table(&FLAP),
    r#"{ down = "1s", up = "3s" }"#,
    "It comes and goes: in force, then lifted, and so on.",
);
const CONTROL: Key = key(
    "control",
    Kind::Flag,
    "true",
    "netsplit's own way to the hosts named is cut too, as long as it is in force; otherwise it never is.",
);

/// What may follow each fault.
const FAULT: &[Key] = &[AS, FOR, AFTER, FLAPS, CONTROL];
const BRIDGE: &[Key] =
    &[key("middle", Kind::Hosts, r#""c""#, "Who hears both halves.").must(), AS, FOR, AFTER, FLAPS, CONTROL];
const LINK: &[Key] = &[
    key(
        "preset",
        Kind::Preset,
        r#""geo""#,
        "What usual links are like (`netsplit presets`); what is said beside it wins.",
    ),
    key("delay", Kind::Delay, r#""50ms""#, "How much later each packet arrives."),
    key("jitter", Kind::Delay, r#""5ms""#, "By how much delays differ."),
    key(
        "distribution",
        Kind::Distribution,
        r#""normal""#,
        "How delays are spread within the jitter; `uniform` when not said.",
    ),
    key("loss", Kind::Share, r#""10%""#, "The share of packets that is lost, each by itself."),
    key("burst", Kind::Packets, "4", "So many packets are lost in a row, on average."),
    key("duplicate", Kind::Share, r#""1%""#, "The share of packets that arrives twice."),
    key("reorder", Kind::Share, r#""5%""#, "The share of packets that those behind them overtake."),
    key("reorder_by", Kind::Delay, r#""20ms""#, "How much later the overtaken arrive."),
    key("corrupt", Kind::Share, r#""0.1%""#, "The share of packets that arrives with one bit flipped."),
    key("rate", Kind::Rate, r#""10mbit""#, "How much passes in a second."),
    key(
        "queue",
        Kind::Queue,
        r#""64KiB""#,
        "How much may wait for the line; what is more is dropped. When not said, what `rate` carries in 100ms, and \
         at least 64KiB.",
    ),
    key("mtu", Kind::Mtu, "1400", "Longer packets are dropped."),
    AS,
    FOR,
    AFTER,
    FLAPS,
    CONTROL,
];

/// The verbs that begin a fault.
pub(super) const ALL: &[Verb] = &[CUT, REJECT, HOLD, SHAPE, ISOLATE, PARTITION, RING, BRIDGED, REGIONS];

pub(super) const CUT: Verb = Verb {
    word: "cut",
    kind: Kind::Links,
    example: r#"{ cut = "a to b", as = "cut" }"#,
    about: "Drops every packet on these links, silently.",
    takes: FAULT,
};
pub(super) const REJECT: Verb = Verb {
    word: "reject",
    kind: Kind::Links,
    example: r#"{ reject = "a and b" }"#,
    about: "Refuses every packet on these links: the sender gets a TCP reset, or an ICMP message.",
    takes: FAULT,
};
pub(super) const HOLD: Verb = Verb {
    word: "hold",
    kind: Kind::Links,
    example: r#"{ hold = "members to leader" }"#,
    about: "Keeps packets back until the fault is healed; then they arrive, in order.",
    takes: FAULT,
};
pub(super) const SHAPE: Verb = Verb {
    word: "link",
    kind: Kind::Links,
    example: r#"{ link = "a to b", delay = "50ms", loss = "10%" }"#,
    about: "Shapes links: makes them slow, narrow or lossy.",
    takes: LINK,
};
pub(super) const ISOLATE: Verb = Verb {
    word: "isolate",
    kind: Kind::Hosts,
    example: r#"{ isolate = "leader", as = "cut" }"#,
    about: "Cuts each of these hosts off from all others, also from one another.",
    takes: FAULT,
};
pub(super) const PARTITION: Verb = Verb {
    word: "partition",
    kind: Kind::Groups,
    example: r#"{ partition = ["a,b", "c"] }"#,
    about: "Cuts groups off from one another; hosts in none see all.",
    takes: FAULT,
};
pub(super) const RING: Verb = Verb {
    word: "ring",
    kind: Kind::Hosts,
    example: r#"{ ring = "members" }"#,
    about: "Each of these hosts hears a majority of them, and no two the same one.",
    takes: FAULT,
};
pub(super) const BRIDGED: Verb = Verb {
    word: "bridge",
    kind: Kind::Hosts,
    example: r#"{ bridge = "members", middle = "c" }"#,
    about: "Two halves of these hosts do not hear each other, and the middle hears both.",
    takes: BRIDGE,
};
pub(super) const REGIONS: Verb = Verb {
    word: "regions",
    kind: Kind::Regions,
    example: r#"{ regions = { frankfurt = "a", tokyo = "b,c" } }"#,
    about: "Puts hosts into regions of a cloud: between and within them packets take as long as there (`netsplit presets --regions`).",
    takes: &[AS],
};
pub(super) const HEAL: Verb = Verb {
    word: "heal",
    kind: Kind::FaultName,
    example: r#"{ heal = "cut" }"#,
    about: "Ends a fault before its test does: the one that `as` named, or `all`.",
    takes: &[],
};
pub(super) const CAPTURE: Verb = Verb {
    word: "capture",
    kind: Kind::HostsOrLinks,
    example: r#"{ capture = "a to b" }"#,
    about: "Writes packets into the run's evidence, for Wireshark, until the test ends: a file for each host or link, or one for `all`.",
    takes: &[],
};
