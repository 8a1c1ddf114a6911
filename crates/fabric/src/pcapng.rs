//! Writes pcapng, the format of Wireshark's files (draft-ietf-opsawg-pcapng), little-endian. Pure: blocks are appended to
//! bytes.
//!
//! A block is its type, its length, a body, options, and its length once more; all of it counts in fours of bytes. An
//! option is a code, the length of its value, and the value, padded.

/// Which way a packet went, seen from whoever captures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Inbound = 1,
    Outbound = 2,
}

/// A packet at an interface.
#[derive(Debug)]
pub(crate) struct Packet<'p> {
    /// Interfaces are numbered from 0 in the order in which they were described.
    pub(crate) interface: u32,
    /// Since 1970.
    pub(crate) at_ns: u64,
    pub(crate) direction: Direction,
    /// What is captured of it: an Ethernet frame without its checksum sequence.
    pub(crate) bytes: &'p [u8],
    /// How long it was.
    pub(crate) length: usize,
    /// How many the capture lost before it, since the last one of this interface.
    pub(crate) lost_before: u64,
    /// Nothing is written of an empty one.
    pub(crate) comment: &'p str,
}

/// What a capture says of an interface when it ends.
#[derive(Debug)]
pub(crate) struct Statistics<'s> {
    pub(crate) interface: u32,
    /// Since 1970.
    pub(crate) at_ns: u64,
    /// Packets that were to be captured, and those of them that are missing.
    pub(crate) received: u64,
    pub(crate) lost: u64,
    /// Nothing is written of an empty one.
    pub(crate) comment: &'s str,
}

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;

const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const VERSION: [u16; 2] = [1, 0];
const LENGTH_UNKNOWN: u64 = u64::MAX;
const LINK_ETHERNET: u16 = 1;
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

/// Begins a file: on what machine, under what system and by what program it was made.
pub(crate) fn section(out: &mut Vec<u8>, hardware: &str, os: &str, application: &str) {
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

/// Describes the next interface: Ethernet, with times in nanoseconds. Packets are cut to `snap_bytes`; 0: they are not.
pub(crate) fn interface(out: &mut Vec<u8>, name: &str, snap_bytes: u32) {
    block(out, INTERFACE_DESCRIPTION, |out| {
        out.extend(LINK_ETHERNET.to_le_bytes());
        out.extend([0; 2]);
        out.extend(snap_bytes.to_le_bytes());
        text(out, INTERFACE_NAME, name);
        option(out, INTERFACE_RESOLUTION, &[NANOSECONDS]);
        option(out, OPTION_END, &[]);
    });
}

/// Adds a packet.
pub(crate) fn packet(out: &mut Vec<u8>, packet: &Packet<'_>) {
    block(out, ENHANCED_PACKET, |out| {
        out.extend(packet.interface.to_le_bytes());
        time(out, packet.at_ns);
        out.extend(length(packet.bytes.len()).to_le_bytes());
        out.extend(length(packet.length).to_le_bytes());
        out.extend(packet.bytes);
        pad(out, packet.bytes.len());
        text(out, OPTION_COMMENT, packet.comment);
        option(out, PACKET_FLAGS, &(packet.direction as u32).to_le_bytes());
        if packet.lost_before > 0 {
            option(out, PACKET_LOST, &packet.lost_before.to_le_bytes());
        }
        option(out, OPTION_END, &[]);
    });
}

/// Adds what is known of an interface in the end.
pub(crate) fn statistics(out: &mut Vec<u8>, statistics: &Statistics<'_>) {
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
        bytes: b"abcde",
        length: 9,
        lost_before: 7,
        comment: "held",
    };

    #[test]
    fn blocks_are_those_of_the_draft() {
        assert_eq!(written(|out| section(out, "x86_64", "Linux", "netsplit")), SECTION);
        assert_eq!(written(|out| interface(out, "b", 1 << 16)), INTERFACE);
        assert_eq!(written(|out| packet(out, &HELD)), PACKET);
        let end = Statistics { interface: 0, at_ns: 5, received: 9, lost: 2, comment: "no" };
        assert_eq!(written(|out| statistics(out, &end)), STATISTICS);
    }

    #[test]
    fn a_block_of_any_length_counts_in_fours() {
        let bytes = [7; 9];
        for cut in 0..bytes.len() {
            for comment in ["", "c", "cd", "cde", "cdef"] {
                let one = Packet { bytes: &bytes[..cut], comment, lost_before: 0, ..HELD };
                let block = written(|out| packet(out, &one));
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
        let block = written(|out| packet(out, &Packet { bytes: &[], comment: &comment, ..HELD }));
        assert_eq!(block[28..32], [1, 0, 0xfe, 0xff], "between two characters");
    }
}
