//! Numbers, texts and log entries as bytes, for the wire and the disk alike. Big-endian, lengths first.
//!
//! Every length is checked against its limit and against what is there before anything is allocated.

use crate::kv::{Command, KEY_BYTES_MAX, Put, VALUE_BYTES_MAX};
use crate::raft::Entry;

/// The largest term, index or round. Far beyond use, and far enough below `u64::MAX` that adding cannot
/// overflow.
pub(crate) const NUMBER_MAX: u64 = 1 << 53;

/// Why bytes are not what they should be, as a phrase.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Bytes being written.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// What was written.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    pub(crate) fn number(&mut self, number: u64) {
        self.bytes.extend_from_slice(&number.to_be_bytes());
    }

    /// # Panics
    /// When `text` is longer than any text may be: the limits are checked where texts come in.
    pub(crate) fn text(&mut self, text: &str) {
        let length = u32::try_from(text.len()).expect("texts were checked against their limits");
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(text.as_bytes());
    }

    pub(crate) fn put(&mut self, put: &Put) {
        self.number(put.client);
        self.number(put.sequence);
        self.text(&put.key);
        self.text(&put.value);
    }

    pub(crate) fn entry(&mut self, entry: &Entry) {
        self.number(entry.term);
        match &entry.command {
            Command::Nothing => self.byte(0),
            Command::Put(put) => {
                self.byte(1);
                self.put(put);
            }
        }
    }
}

/// Bytes being read.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether all was read.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// `value`, when nothing is left to read.
    pub(crate) fn end<T>(&self, value: T) -> Result<T, Malformed> {
        if self.is_empty() { Ok(value) } else { Err(Malformed("it has bytes behind its end")) }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(Malformed("it ends early"))?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        self.array().map(|[byte]| byte)
    }

    /// A number of any size: a client's name for itself.
    pub(crate) fn any_number(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    /// A number up to [`NUMBER_MAX`].
    pub(crate) fn number(&mut self) -> Result<u64, Malformed> {
        let number = self.any_number()?;
        if number <= NUMBER_MAX { Ok(number) } else { Err(Malformed("a number in it is over the limit")) }
    }

    /// A text of up to `bytes_max` bytes.
    pub(crate) fn text(&mut self, bytes_max: usize) -> Result<String, Malformed> {
        let length = u32::from_be_bytes(self.array()?);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > bytes_max {
            return Err(Malformed("a text in it is over the limit"));
        }
        let (head, rest) = self.rest.split_at_checked(length).ok_or(Malformed("it ends early"))?;
        self.rest = rest;
        let text = std::str::from_utf8(head).map_err(|_| Malformed("a text in it is not UTF-8"))?;
        Ok(text.to_owned())
    }

    pub(crate) fn put(&mut self) -> Result<Put, Malformed> {
        let (client, sequence) = (self.any_number()?, self.number()?);
        if sequence == 0 {
            return Err(Malformed("writes are counted from 1"));
        }
        Ok(Put { client, sequence, key: self.text(KEY_BYTES_MAX)?, value: self.text(VALUE_BYTES_MAX)? })
    }

    pub(crate) fn entry(&mut self) -> Result<Entry, Malformed> {
        let term = self.number()?;
        let command = match self.byte()? {
            0 => Command::Nothing,
            1 => Command::Put(self.put()?),
            _ => return Err(Malformed("its command is unknown")),
        };
        Ok(Entry { term, command })
    }
}

/// The CRC-32 (IEEE 802.3, reflected) of `parts` one after another.
pub(crate) fn crc32(parts: &[&[u8]]) -> u32 {
    let step = |crc: u32, &byte: &u8| CRC_TABLE[usize::from(crc.to_le_bytes()[0] ^ byte)] ^ (crc >> 8);
    !parts.iter().flat_map(|part| part.iter()).fold(!0, step)
}

const CRC_TABLE: [u32; 256] = crc_table();

const fn crc_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut value = 0u32;
    while value < 256 {
        let (mut crc, mut bit) = (value, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[value as usize] = crc;
        value += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_matches_its_check_value() {
        assert_eq!(crc32(&[b"123456789"]), 0xcbf4_3926);
        assert_eq!(crc32(&[b"1234", b"", b"56789"]), 0xcbf4_3926);
    }

    #[test]
    fn entries_survive_the_round_trip() {
        let put = Put { client: u64::MAX, sequence: 1, key: "ключ".into(), value: String::new() };
        for command in [Command::Nothing, Command::Put(put)] {
            let entry = Entry { term: 7, command };
            let mut writer = Writer::default();
            writer.entry(&entry);
            let bytes = writer.into_bytes();
            let mut reader = Reader::new(&bytes);
            let read = reader.entry().unwrap();
            assert_eq!(reader.end(read), Ok(entry));
            assert!(Reader::new(&bytes[..bytes.len() - 1]).entry().is_err());
        }
    }

    #[test]
    fn a_length_is_checked_before_it_is_believed() {
        let huge = [0xff, 0xff, 0xff, 0xff, b'x'];
        assert_eq!(Reader::new(&huge).text(10), Err(Malformed("a text in it is over the limit")));
        let short = [0, 0, 0, 9, b'x'];
        assert_eq!(Reader::new(&short).text(10), Err(Malformed("it ends early")));
        assert_eq!(Reader::new(&[0xff; 8]).number(), Err(Malformed("a number in it is over the limit")));
        assert_eq!(Reader::new(&[0, 0, 0, 1, 0xff]).text(10), Err(Malformed("a text in it is not UTF-8")));
    }
}
