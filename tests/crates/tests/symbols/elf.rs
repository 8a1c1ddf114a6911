//! Symbols of C in what a linker reads and writes: 64-bit little-endian ELF files, and archives of them. Names that Rust
//! mangled are left out.

use std::collections::BTreeSet;

#[derive(Debug, Default)]
pub(crate) struct Symbols {
    /// What it calls or reads, and has not.
    pub(crate) wanted: BTreeSet<String>,
    /// What it has, for others.
    pub(crate) defined: BTreeSet<String>,
}

/// Those of an object file, an archive or a program.
pub(crate) fn symbols(file: &[u8]) -> Symbols {
    let mut found = Symbols::default();
    match file.strip_prefix(b"!<arch>\n") {
        Some(archive) => members(archive).for_each(|member| add(&mut found, member)),
        None => add(&mut found, file),
    }
    found
}

/// The files of an archive: headers of 60 bytes, the size at 48 in decimal digits, each at an even place.
fn members(mut archive: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let digits = archive.get(48..58)?;
        let size: usize = std::str::from_utf8(digits).unwrap().trim().parse().unwrap();
        let member = &archive[60..60 + size];
        archive = archive.get(60 + size.next_multiple_of(2)..).unwrap_or_default();
        Some(member)
    })
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> usize {
    let mut number = [0; 8];
    number[..N].copy_from_slice(&bytes[at..at + N]);
    usize::try_from(u64::from_le_bytes(number)).unwrap()
}

/// A section of an ELF file.
struct Section<'f> {
    kind: usize,
    link: usize,
    bytes: &'f [u8],
}

fn sections(file: &[u8]) -> Vec<Section<'_>> {
    /// A section without bytes in the file.
    const NOBITS: usize = 8;
    let (start, size) = (number::<8>(file, 0x28), number::<2>(file, 0x3a));
    // More than fit are counted in the first one.
    let count = match number::<2>(file, 0x3c) {
        0 => number::<8>(file, start + 0x20),
        count => count,
    };
    let section = |index| {
        let at = start + index * size;
        let kind = number::<4>(file, at + 4);
        let (offset, size) = (number::<8>(file, at + 0x18), number::<8>(file, at + 0x20));
        let bytes = if kind == NOBITS { &[] } else { &file[offset..offset + size] };
        Section { kind, link: number::<4>(file, at + 0x28), bytes }
    };
    (0..count).map(section).collect()
}

/// Of an object file its symbols, of a program those that the loader looks up.
fn add(found: &mut Symbols, file: &[u8]) {
    const OBJECT: usize = 1;
    const SYMBOLS: usize = 2;
    const DYNAMIC_SYMBOLS: usize = 11;
    if !file.starts_with(b"\x7fELF\x02\x01") {
        return;
    }
    let wanted_kind = if number::<2>(file, 0x10) == OBJECT { SYMBOLS } else { DYNAMIC_SYMBOLS };
    let sections = sections(file);
    for table in sections.iter().filter(|section| section.kind == wanted_kind) {
        let names = sections[table.link].bytes;
        for symbol in table.bytes.chunks_exact(24) {
            let name = names[number::<4>(symbol, 0)..].split(|byte| *byte == 0).next().unwrap_or_default();
            let name = String::from_utf8_lossy(name).into_owned();
            let is_local = symbol[4] >> 4 == 0;
            if is_local || !is_of_c(&name) {
                continue;
            }
            let is_wanted = number::<2>(symbol, 6) == 0;
            if is_wanted { &mut found.wanted } else { &mut found.defined }.insert(name);
        }
    }
}

fn is_of_c(name: &str) -> bool {
    let is_of_rust =
        ["_ZN", "_R", "__rust", "rust_", "anon.", "DW.ref."].iter().any(|start| name.starts_with(start));
    !name.is_empty() && !is_of_rust
}
