//! Writes pcapng, the format of Wireshark's files (draft-ietf-opsawg-pcapng), little-endian. Pure: blocks are appended to
//! bytes.
//!
//! A block is its type, its length, a body, options, and its length once more; all of it counts in fours of bytes. An
//! option is a code, the length of its value, and the value, padded.

use super::Direction;

/// What the packets of a file begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkType {
    /// An Ethernet frame's header; they are without its checksum sequence.
    Ethernet = 1,
    /// That of IPv4 or IPv6.
    Ip = 101,
}

/// A packet at an interface.
#[derive(Debug)]
pub struct Packet<'p> {
    /// As [`Encoder::interface`] numbered it.
    pub interface: u32,
    /// Since 1970.
    pub at_ns: u64,
    /// Which way it went.
    pub direction: Direction,
    /// All of it.
    pub bytes: &'p [u8],
    /// How many the capture lost before it, since the last one of this interface.
    pub lost_before: u64,
    /// Nothing is written of an empty one.
    pub comment: &'p str,
}

/// Makes a file, block by block. What it has made is taken from it by who writes it.
#[derive(Debug)]
pub struct Encoder {
    link: LinkType,
    snap_bytes: u32,
    made: Vec<u8>,
    /// Packets that each interface had, and the latest time of any.
    had: Vec<u64>,
    at_ns_last: u64,
}

/// What a capture says of an interface when it ends.
#[derive(Debug)]
struct Statistics<'s> {
    interface: u32,
    /// Since 1970.
    at_ns: u64,
    /// Packets that were to be captured, and those of them that are missing.
    received: u64,
    lost: u64,
    /// Nothing is written of an empty one.
    comment: &'s str,
}

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;

const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const VERSION: [u16; 2] = [1, 0];
const LENGTH_UNKNOWN: u64 = u64::MAX;
/// Ten to the power of minus this many seconds.
const NANOSECONDS: u8 = 9;

const OPTION_END: u16 = 0;
const OPTION_COMMENT: u16 = 1;
const SECTION_HARDWARE: u16 = 2;
const SECTION_OS: u16 = 3;
const SECTION_APPLICATION: u16 = 4;
const INTERFACE_NAME: u16 = 2;
const INTERFACE_RESOLUTION: u16 = 9;
const PACKET_FLAGS: u16 = 2;
const PACKET_LOST: u16 = 4;
const STATISTICS_RECEIVED: u16 = 4;
const STATISTICS_LOST: u16 = 5;

impl Encoder {
    /// Begins a file: on what machine, under what system and by what program it is made. Of each packet `snap_bytes` are kept;
    /// 0: all.
    pub fn new(link: LinkType, snap_bytes: u32, [hardware, os, application]: [&str; 3]) -> Self {
        let mut made = Vec::new();
        section(&mut made, hardware, os, application);
        Self { link, snap_bytes, made, had: Vec::new(), at_ns_last: 0 }
    }

    /// Describes the next interface, and gives its number: they count from 0.
    pub fn interface(&mut self, name: &str) -> u32 {
        let number = u32::try_from(self.had.len()).expect("fewer ports than memory has bytes");
        self.had.push(0);
        interface(&mut self.made, self.link, name, self.snap_bytes);
        number
    }

    /// Adds a packet.
    ///
    /// # Panics
    /// When its interface was not described.
    pub fn packet(&mut self, packet: &Packet<'_>) {
        self.had[packet.interface as usize] += 1;
        self.at_ns_last = self.at_ns_last.max(packet.at_ns);
        let snap = if self.snap_bytes == 0 { usize::MAX } else { self.snap_bytes as usize };
        enhanced_packet(&mut self.made, packet, snap);
    }

    /// Ends a file at a time since 1970, with how many packets each interface had, and how many of it are missing: `lost`, by
    /// interface; where nothing is said, none.
    pub fn end(&mut self, at_ns: u64, lost: &[u64]) {
        let at_ns = at_ns.max(self.at_ns_last);
        for (interface, (had, lost)) in
            (0..).zip(self.had.iter().zip(lost.iter().chain(std::iter::repeat(&0))))
        {
            let comment = match lost {
                0 => String::new(),
                lost => format!("{lost} packets are missing: they came faster than this file was written"),
            };
            let end = Statistics { interface, at_ns, received: had + lost, lost: *lost, comment: &comment };
            statistics(&mut self.made, &end);
        }
    }

    /// What was made since this was last cleared.
    pub fn made(&self) -> &[u8] {
        &self.made
    }

    /// Forgets what was made: it is written.
    pub fn clear(&mut self) {
        self.made.clear();
    }
}

fn section(out: &mut Vec<u8>, hardware: &str, os: &str, application: &str) {
    block(out, SECTION_HEADER, |out| {
        out.extend(BYTE_ORDER.to_le_bytes());
        VERSION.iter().for_each(|number| out.extend(number.to_le_bytes()));
        out.extend(LENGTH_UNKNOWN.to_le_bytes());
        option(out, SECTION_HARDWARE, hardware.as_bytes());
        option(out, SECTION_OS, os.as_bytes());
        option(out, SECTION_APPLICATION, application.as_bytes());
        option(out, OPTION_END, &[]);
    });
}

/// Times are in nanoseconds. Packets are cut to `snap_bytes`; 0: they are not.
fn interface(out: &mut Vec<u8>, link: LinkType, name: &str, snap_bytes: u32) {
    block(out, INTERFACE_DESCRIPTION, |out| {
        out.extend((link as u16).to_le_bytes());
        out.extend([0; 2]);
        out.extend(snap_bytes.to_le_bytes());
        text(out, INTERFACE_NAME, name);
        option(out, INTERFACE_RESOLUTION, &[NANOSECONDS]);
        option(out, OPTION_END, &[]);
    });
}

fn enhanced_packet(out: &mut Vec<u8>, packet: &Packet<'_>, snap: usize) {
    let kept = &packet.bytes[..packet.bytes.len().min(snap)];
    block(out, ENHANCED_PACKET, |out| {
        out.extend(packet.interface.to_le_bytes());
        time(out, packet.at_ns);
        out.extend(length(kept.len()).to_le_bytes());
        out.extend(length(packet.bytes.len()).to_le_bytes());
        out.extend(kept);
        pad(out, kept.len());
        text(out, OPTION_COMMENT, packet.comment);
        option(out, PACKET_FLAGS, &(packet.direction as u32).to_le_bytes());
        if packet.lost_before > 0 {
            option(out, PACKET_LOST, &packet.lost_before.to_le_bytes());
        }
        option(out, OPTION_END, &[]);
    });
}

fn statistics(out: &mut Vec<u8>, statistics: &Statistics<'_>) {
    block(out, INTERFACE_STATISTICS, |out| {
        out.extend(statistics.interface.to_le_bytes());
        time(out, statistics.at_ns);
        text(out, OPTION_COMMENT, statistics.comment);
        option(out, STATISTICS_RECEIVED, &statistics.received.to_le_bytes());
        option(out, STATISTICS_LOST, &statistics.lost.to_le_bytes());
        option(out, OPTION_END, &[]);
    });
}

fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let begin = out.len();
    out.extend(kind.to_le_bytes());
    out.extend([0; 4]);
    body(out);
    let bytes = length(out.len() - begin + 4).to_le_bytes();
    out.extend(bytes);
    out[begin + 4..begin + 8].copy_from_slice(&bytes);
    debug_assert_eq!((out.len() - begin) % 4, 0, "a body counts in fours");
}

/// Two halves, the higher first, whatever the byte order.
#[expect(clippy::cast_possible_truncation, reason = "a half at a time")]
fn time(out: &mut Vec<u8>, at_ns: u64) {
    out.extend(((at_ns >> 32) as u32).to_le_bytes());
    out.extend((at_ns as u32).to_le_bytes());
}

/// An option that is left out when there is nothing to say, and cut to what an option holds.
fn text(out: &mut Vec<u8>, code: u16, text: &str) {
    if !text.is_empty() {
        let fits = |end: &usize| text.is_char_boundary(*end);
        let end = (0..=text.len().min(usize::from(u16::MAX))).rfind(fits).unwrap_or_default();
        option(out, code, &text.as_bytes()[..end]);
    }
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    out.extend(code.to_le_bytes());
    let length = u16::try_from(value.len()).expect("text is cut to what an option holds");
    out.extend(length.to_le_bytes());
    out.extend(value);
    pad(out, value.len());
}

fn pad(out: &mut Vec<u8>, length: usize) {
    out.resize(out.len() + length.next_multiple_of(4) - length, 0);
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("frames are far shorter than 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out
    }

    /// Made by hand, from the draft's figures.
    const SECTION: &[u8] = b"\
        \x0a\x0d\x0d\x0a\x44\0\0\0\x4d\x3c\x2b\x1a\x01\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\
        \x02\0\x06\0x86_64\0\0\x03\0\x05\0Linux\0\0\0\x04\0\x08\0netsplit\0\0\0\0\x44\0\0\0";
    const INTERFACE: &[u8] = b"\
        \x01\0\0\0\x28\0\0\0\x01\0\0\0\0\0\x01\0\x02\0\x01\0b\0\0\0\x09\0\x01\0\x09\0\0\0\0\0\0\0\x28\0\0\0";
    const PACKET: &[u8] = b"\
        \x06\0\0\0\x48\0\0\0\x01\0\0\0\x04\x03\x02\x01\x08\x07\x06\x05\x05\0\0\0\x09\0\0\0abcde\0\0\0\
        \x01\0\x04\0held\x02\0\x04\0\x02\0\0\0\x04\0\x08\0\x07\0\0\0\0\0\0\0\0\0\0\0\x48\0\0\0";
    const STATISTICS: &[u8] = b"\
        \x05\0\0\0\x3c\0\0\0\0\0\0\0\0\0\0\0\x05\0\0\0\x01\0\x02\0no\0\0\
        \x04\0\x08\0\x09\0\0\0\0\0\0\0\x05\0\x08\0\x02\0\0\0\0\0\0\0\0\0\0\0\x3c\0\0\0";

    const HELD: Packet<'_> = Packet {
        interface: 1,
        at_ns: 0x0102_0304_0506_0708,
        direction: Direction::Outbound,
        bytes: b"abcdefghi",
        lost_before: 7,
        comment: "held",
    };

    #[test]
    fn blocks_are_those_of_the_draft() {
        assert_eq!(written(|out| section(out, "x86_64", "Linux", "netsplit")), SECTION);
        assert_eq!(written(|out| interface(out, LinkType::Ethernet, "b", 1 << 16)), INTERFACE);
        assert_eq!(written(|out| enhanced_packet(out, &HELD, 5)), PACKET);
        let end = Statistics { interface: 0, at_ns: 5, received: 9, lost: 2, comment: "no" };
        assert_eq!(written(|out| statistics(out, &end)), STATISTICS);
    }

    #[test]
    fn a_block_of_any_length_counts_in_fours() {
        let bytes = [7; 9];
        for cut in 0..bytes.len() {
            for comment in ["", "c", "cd", "cde", "cdef"] {
                let one = Packet { bytes: &bytes, comment, lost_before: 0, ..HELD };
                let block = written(|out| enhanced_packet(out, &one, cut));
                let length = u32::try_from(block.len()).unwrap().to_le_bytes();
                assert_eq!((&block[4..8], &block[block.len() - 4..]), (&length[..], &length[..]));
                let words = cut.div_ceil(4) + if comment.is_empty() { 0 } else { 2 };
                assert_eq!(block.len(), 32 + words * 4 + 8 + 4, "{cut} bytes, `{comment}`");
            }
        }
    }

    #[test]
    fn what_is_too_long_for_an_option_is_cut() {
        let comment = "é".repeat(40_000);
        let block = written(|out| enhanced_packet(out, &Packet { bytes: &[], comment: &comment, ..HELD }, 0));
        assert_eq!(block[28..32], [1, 0, 0xfe, 0xff], "between two characters");
    }
}
