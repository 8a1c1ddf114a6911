//! Reads pcapng as strictly as the draft allows: what these tests cannot name is a mistake.

/// What stands in a file.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    pub(crate) interfaces: Vec<String>,
    pub(crate) packets: Vec<Seen>,
    /// By interface: how many packets it had, and how many of them are missing.
    pub(crate) statistics: Vec<[u64; 2]>,
}

/// A packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) interface: String,
    /// What it begins with.
    pub(crate) link: u16,
    pub(crate) at_ns: u64,
    pub(crate) is_inbound: bool,
    pub(crate) bytes: Vec<u8>,
    pub(crate) length: usize,
    pub(crate) lost_before: u64,
    pub(crate) comment: String,
}

/// Ethernet's, and IP's.
const ETHERNET: u16 = 1;
const RAW: u16 = 101;

impl Seen {
    /// The IP packet, if it is one.
    pub(crate) fn ip(&self) -> Option<&[u8]> {
        if self.link == RAW {
            return Some(&self.bytes);
        }
        let (header, packet) = self.bytes.split_at_checked(14)?;
        matches!(header[12..], [0x08, 0] | [0x86, 0xdd]).then_some(packet)
    }
}

/// What is known of an interface while its packets are read.
struct Interface {
    link: u16,
    snap: usize,
}

struct Cursor<'b>(&'b [u8]);

impl<'b> Cursor<'b> {
    fn take(&mut self, length: usize) -> &'b [u8] {
        let (taken, rest) = self.0.split_at_checked(length).expect("a block holds what it says");
        self.0 = rest;
        taken
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take(2).try_into().unwrap())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take(4).try_into().unwrap())
    }

    fn padded(&mut self, length: usize) -> &'b [u8] {
        let value = self.take(length);
        assert!(self.take(length.next_multiple_of(4) - length).iter().all(|byte| *byte == 0));
        value
    }

    fn time(&mut self) -> u64 {
        u64::from(self.u32()) << 32 | u64::from(self.u32())
    }

    /// The rest of a block: options up to their end, each once.
    fn options(&mut self) -> Options<'b> {
        let mut options = Vec::new();
        loop {
            let (code, length) = (self.u16(), self.u16());
            let value = self.padded(usize::from(length));
            if code == 0 {
                assert!(length == 0 && self.0.is_empty(), "an end");
                return Options(options);
            }
            assert!(options.iter().all(|(other, _)| *other != code), "option {code} once");
            options.push((code, value));
        }
    }
}

struct Options<'b>(Vec<(u16, &'b [u8])>);

impl<'b> Options<'b> {
    fn take(&mut self, code: u16) -> Option<&'b [u8]> {
        let at = self.0.iter().position(|(other, _)| *other == code)?;
        Some(self.0.remove(at).1)
    }

    fn text(&mut self, code: u16) -> Option<&'b str> {
        self.take(code).map(|value| str::from_utf8(value).unwrap())
    }

    fn u64(&mut self, code: u16) -> Option<u64> {
        self.take(code).map(|value| u64::from_le_bytes(value.try_into().unwrap()))
    }

    fn done(self) {
        assert!(self.0.is_empty(), "unknown options: {:?}", self.0);
    }
}

/// A whole file.
pub(crate) fn parse(file: &[u8]) -> Parsed {
    let mut rest = Cursor(file);
    let mut parsed = Parsed::default();
    let mut interfaces = Vec::new();
    let mut is_first = true;
    while !rest.0.is_empty() {
        let (kind, length) = (rest.u32(), rest.u32());
        assert!(length % 4 == 0 && length >= 12, "a block of {length} bytes");
        let mut block = Cursor(rest.take(length as usize - 12));
        assert_eq!(rest.u32(), length, "the length stands at both ends");
        assert_eq!(kind == 0x0a0d_0d0a, is_first, "one section, at the begin");
        is_first = false;
        match kind {
            0x0a0d_0d0a => section(&mut block),
            1 => interfaces.push(interface(&mut block, &mut parsed)),
            5 => statistics(&mut block, &mut parsed),
            6 => packet(&mut block, &mut parsed, &interfaces),
            kind => panic!("a block of type {kind}"),
        }
    }
    assert!(parsed.packets.is_sorted_by_key(|packet| packet.at_ns), "in the order of time");
    parsed
}

fn section(block: &mut Cursor<'_>) {
    assert_eq!((block.u32(), block.u16(), block.u16()), (0x1a2b_3c4d, 1, 0));
    assert_eq!(block.take(8), [0xff; 8]);
    let mut options = block.options();
    assert!(options.text(2).is_some_and(|hardware| !hardware.is_empty()));
    assert!(options.text(3).is_some_and(|os| os.starts_with("Linux ")));
    assert_eq!(options.text(4), Some("netsplit"));
    options.done();
}

fn interface(block: &mut Cursor<'_>, parsed: &mut Parsed) -> Interface {
    let (link, reserved) = (block.u16(), block.u16());
    assert!([ETHERNET, RAW].contains(&link) && reserved == 0, "link type {link}");
    let snap = block.u32();
    let mut options = block.options();
    let name = options.text(2).expect("a name").to_owned();
    assert!(!parsed.interfaces.contains(&name), "one interface a port");
    parsed.interfaces.push(name);
    assert_eq!(options.take(9), Some(&[9][..]), "nanoseconds");
    options.done();
    Interface { link, snap: if snap == 0 { usize::MAX } else { snap as usize } }
}

fn packet(block: &mut Cursor<'_>, parsed: &mut Parsed, interfaces: &[Interface]) {
    let interface = block.u32() as usize;
    let at_ns = block.time();
    let (captured, length) = (block.u32() as usize, block.u32() as usize);
    assert_eq!(captured, length.min(interfaces[interface].snap));
    let bytes = block.padded(captured).to_vec();
    let mut options = block.options();
    let comment = options.text(1).inspect(|comment| assert!(!comment.is_empty()));
    let is_inbound = match options.take(2) {
        Some([1, 0, 0, 0]) => true,
        Some([2, 0, 0, 0]) => false,
        flags => panic!("flags {flags:?}"),
    };
    let lost_before = options.u64(4).unwrap_or_default();
    options.done();
    parsed.packets.push(Seen {
        interface: parsed.interfaces[interface].clone(),
        link: interfaces[interface].link,
        at_ns,
        is_inbound,
        bytes,
        length,
        lost_before,
        comment: comment.unwrap_or_default().to_owned(),
    });
}

fn statistics(block: &mut Cursor<'_>, parsed: &mut Parsed) {
    assert_eq!(block.u32() as usize, parsed.statistics.len(), "one an interface, in order");
    let at_ns = block.time();
    assert!(parsed.packets.last().is_none_or(|packet| packet.at_ns <= at_ns));
    let mut options = block.options();
    let [received, lost] = [4, 5].map(|code| options.u64(code).expect("a count"));
    assert_eq!(options.text(1).is_some(), lost > 0, "words where some are missing");
    options.done();
    parsed.statistics.push([received, lost]);
}
