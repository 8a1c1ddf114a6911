//! What programs keep in statics: each process has its own, as if it had been executed. All processes live at the same
//! addresses, so whoever gets the turn finds its own bytes there, and those of the process before it are put away.
//!
//! Only what differs between processes is moved: [`BLOCK`]s in which some process once wrote something else than the
//! executable began with. What is the simulator's own lies in a section that is never moved ([`shared`]).
#![expect(unsafe_code, reason = "statics are read and written as the bytes that they are")]

use std::alloc::Layout;
use std::ffi::OsString;
use std::ops::Range;
use std::os::raw::{c_char, c_void};
use std::os::unix::ffi::OsStringExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::kernel::Pid;
use crate::switch;

/// A static of the simulator: one for all processes.
macro_rules! shared {
    ($($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty = $value:expr;)+) => {$(
        $(#[$attribute])*
        // SAFETY: the section is an ordinary one for data; nothing else has this name.
        #[unsafe(link_section = "netsplit_shared")]
        $visibility static $name: $type = $value;
    )+};
}
pub(crate) use shared;

/// What is compared and moved at once, in bytes: most statics that programs write are words.
const BLOCK: usize = size_of::<Block>();
const PAGE: usize = 4096;
/// Beyond the largest block that the C library takes from its heap rather than from the kernel.
const LARGE: usize = 64 << 20;

/// Bytes as they lie there.
type Block = u128;

/// Statics as they were at some moment: stretch after stretch.
#[derive(Clone, Debug, Default)]
struct Image {
    stretches: Vec<Range<usize>>,
    bytes: Vec<u8>,
}

/// Where a block is, and its place in an image; the last one of a stretch is shorter than the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spot {
    address: usize,
    place: usize,
    length: usize,
}

shared! {
    /// What processes begin with: the executable's statics before anything of it has run.
    static BEGIN: Mutex<Option<Image>> = Mutex::new(None);
    /// The addresses between which processes have their own; none while statics are everybody's.
    static FIRST: AtomicUsize = AtomicUsize::new(usize::MAX);
    static LAST: AtomicUsize = AtomicUsize::new(0);
}

// As early as may be: behind the standard library's, which notes arguments, and before all of libraries. What they build is
// memory, which each process must have for itself.
#[used]
// SAFETY: the section holds pointers to functions that the loader calls before `main`; this is one.
#[unsafe(link_section = ".init_array.00100")]
static KEEP: extern "C" fn() = keep;

/// Notes what processes begin with.
extern "C" fn keep() {
    if switch::me().is_none() {
        *BEGIN.lock().unwrap_or_else(PoisonError::into_inner) = Some(Image::take());
    }
}

/// Whether each process has one of its own at this address.
#[inline]
pub(crate) fn are_at(address: usize) -> bool {
    (FIRST.load(Ordering::Relaxed)..LAST.load(Ordering::Relaxed)).contains(&address)
}

/// The statics of all processes.
#[derive(Debug, Default)]
pub(crate) struct Statics {
    /// What a process begins with.
    begin: Image,
    /// What lay there when the running process got its turn.
    given: Image,
    spots: Vec<Spot>,
    /// The blocks that are not the same in all processes, in the order in which that was seen.
    own: Vec<Spot>,
    is_own: Vec<bool>,
    /// Theirs, by process. One that has fewer has not been there since others were seen: those are as in `begin`.
    images: Vec<Vec<Block>>,
}

impl Statics {
    /// Those of the process that runs, and what others will begin with. None at all if memory comes from an allocator of the
    /// executable's own: its statics are everybody's.
    pub(crate) fn new() -> Self {
        if !is_memory_of_c() {
            return Self::default();
        }
        let kept = BEGIN.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(begin) = kept else { return Self::default() };
        let spots = begin.spots();
        FIRST.store(spots.first().map_or(usize::MAX, |spot| spot.address), Ordering::Relaxed);
        LAST.store(spots.last().map_or(0, |spot| spot.address + spot.length), Ordering::Relaxed);
        Self { given: begin.clone(), begin, is_own: vec![false; spots.len()], spots, ..Self::default() }
    }

    /// Whether each process has its own.
    pub(crate) fn are_own(&self) -> bool {
        !self.spots.is_empty()
    }

    /// Puts away what is `from`'s, and lays out `to`'s in its place.
    pub(crate) fn change(&mut self, from: Pid, to: Pid) {
        let count = from.index().max(to.index()) + 1;
        if self.images.len() < count {
            self.images.resize_with(count, Vec::new);
        }
        if !self.given.is_there() {
            self.put_away(from);
        }
        self.lay_out(to);
    }

    /// Lets go those of a process that has ended.
    pub(crate) fn forget(&mut self, pid: Pid) {
        if let Some(image) = self.images.get_mut(pid.index()) {
            *image = Vec::new();
        }
    }

    fn put_away(&mut self, pid: Pid) {
        for (spot, is_own) in self.spots.iter().zip(&mut self.is_own) {
            let now = spot.read();
            if now != self.given.block(*spot) {
                self.given.note(*spot, now);
                if !std::mem::replace(is_own, true) {
                    self.own.push(*spot);
                }
            }
        }
        let image = &mut self.images[pid.index()];
        image.clear();
        image.extend(self.own.iter().map(|spot| self.given.block(*spot)));
    }

    fn lay_out(&mut self, pid: Pid) {
        let image = &self.images[pid.index()];
        for (spot, block) in self.own.iter().zip(image) {
            spot.write(*block);
            self.given.note(*spot, *block);
        }
        for spot in self.own.iter().skip(image.len()) {
            let block = self.begin.block(*spot);
            spot.write(block);
            self.given.note(*spot, block);
        }
    }
}

impl Image {
    fn take() -> Self {
        let stretches = stretches();
        let length = stretches.iter().map(ExactSizeIterator::len).sum();
        let mut image = Self { stretches, bytes: vec![0; length] };
        for spot in image.spots() {
            image.note(spot, spot.read());
        }
        image
    }

    /// Whether it is what lies there now.
    fn is_there(&self) -> bool {
        let mut bytes = &self.bytes[..];
        self.stretches.iter().all(|stretch| {
            let (these, rest) = bytes.split_at(stretch.len());
            bytes = rest;
            let there = std::ptr::with_exposed_provenance::<c_void>(stretch.start);
            // SAFETY: both have this many bytes, and nobody else of the simulation runs.
            unsafe { libc::memcmp(there, these.as_ptr().cast(), these.len()) == 0 }
        })
    }

    fn spots(&self) -> Vec<Spot> {
        let mut spots = Vec::new();
        let mut place = 0;
        for stretch in &self.stretches {
            for address in stretch.clone().step_by(BLOCK) {
                let length = BLOCK.min(stretch.end - address);
                spots.push(Spot { address, place, length });
                place += length;
            }
        }
        spots
    }

    /// What it has there; behind the end of a short block zeros.
    #[inline]
    fn block(&self, spot: Spot) -> Block {
        block_of(&self.bytes[spot.place..spot.place + spot.length])
    }

    #[inline]
    fn note(&mut self, spot: Spot, block: Block) {
        set(&mut self.bytes[spot.place..spot.place + spot.length], block);
    }
}

/// As a number, which is moved in a register: short blocks are rare.
#[inline]
fn block_of(bytes: &[u8]) -> Block {
    match bytes.try_into() {
        Ok(bytes) => Block::from_ne_bytes(bytes),
        Err(_) => {
            let mut block = [0; BLOCK];
            block[..bytes.len()].copy_from_slice(bytes);
            Block::from_ne_bytes(block)
        }
    }
}

#[inline]
fn set(bytes: &mut [u8], block: Block) {
    match <&mut [u8; BLOCK]>::try_from(&mut *bytes) {
        Ok(bytes) => *bytes = block.to_ne_bytes(),
        Err(_) => bytes.copy_from_slice(&block.to_ne_bytes()[..bytes.len()]),
    }
}

impl Spot {
    /// What lies there.
    #[inline]
    fn read(self) -> Block {
        let from = std::ptr::with_exposed_provenance(self.address);
        // SAFETY: the executable's data is there for ever, has this length, and nobody else of the simulation runs.
        block_of(unsafe { std::slice::from_raw_parts(from, self.length) })
    }

    #[inline]
    fn write(self, block: Block) {
        let into = std::ptr::with_exposed_provenance_mut(self.address);
        // SAFETY: as above, and it is writable. What lay there belongs to a process that will find it there again.
        set(unsafe { std::slice::from_raw_parts_mut(into, self.length) }, block);
    }
}

/// The executable's writable data, without what the loader has protected since, and without what is [`shared`].
fn stretches() -> Vec<Range<usize>> {
    unsafe extern "C" {
        static __start_netsplit_shared: u8;
        static __stop_netsplit_shared: u8;
    }
    let shared = (&raw const __start_netsplit_shared).addr()..(&raw const __stop_netsplit_shared).addr();
    let environ = switch::environ().addr();
    let holes = [shared, environ..environ + size_of::<usize>()];
    let mut stretches = writable();
    for hole in holes {
        stretches = stretches.into_iter().flat_map(|stretch| without(stretch, &hole)).collect();
    }
    stretches.retain(|stretch| !stretch.is_empty());
    stretches.sort_by_key(|stretch| stretch.start);
    stretches
}

fn without(stretch: Range<usize>, hole: &Range<usize>) -> [Range<usize>; 2] {
    let before = stretch.start..stretch.end.min(hole.start).max(stretch.start);
    let after = stretch.start.max(hole.end).min(stretch.end)..stretch.end;
    if stretch.end <= hole.start || stretch.start >= hole.end { [stretch, 0..0] } else { [before, after] }
}

/// Where the executable's writable data is.
fn writable() -> Vec<Range<usize>> {
    let mut found = Vec::new();
    // SAFETY: the function takes what is passed on as what it is.
    unsafe { libc::dl_iterate_phdr(Some(note_object), (&raw mut found).cast()) };
    found
}

/// Called for each loaded object; the first one is the executable.
unsafe extern "C" fn note_object(info: *mut libc::dl_phdr_info, _size: usize, found: *mut c_void) -> i32 {
    // SAFETY: the loader's description of an object, and what `writable` handed over.
    let (info, found) = unsafe { (&*info, &mut *found.cast::<Vec<Range<usize>>>()) };
    // SAFETY: the loader tells where the headers are, and how many.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let range = |header: &libc::Elf64_Phdr| {
        let start = (info.dlpi_addr + header.p_vaddr) as usize;
        start..start + header.p_memsz as usize
    };
    let of_kind = |kind| headers.iter().filter(move |header| header.p_type == kind);
    let is_writable = |header: &&libc::Elf64_Phdr| header.p_flags & libc::PF_W != 0;
    *found = of_kind(libc::PT_LOAD).filter(is_writable).map(range).collect();
    for header in of_kind(libc::PT_GNU_RELRO) {
        // The loader protects whole pages.
        let Range { start, end } = range(header);
        let hole = start & !(PAGE - 1)..end & !(PAGE - 1);
        *found = found.drain(..).flat_map(|stretch| without(stretch, &hole)).collect();
    }
    1
}

/// Whether Rust's memory comes from the C library: it counts what it gives out.
fn is_memory_of_c() -> bool {
    let layout = Layout::from_size_align(LARGE, 16).expect("a layout");
    // SAFETY: the layout has a size; what was allocated is freed, and nothing is read or written.
    unsafe {
        let before = libc::mallinfo().hblkhd;
        let large = std::hint::black_box(std::alloc::alloc(layout));
        let after = libc::mallinfo().hblkhd;
        if !large.is_null() {
            std::alloc::dealloc(large, layout);
        }
        after != before
    }
}

type Constructor = unsafe extern "C" fn(i32, *const *mut c_char, *const *mut c_char);

/// The executable's constructors, in their order.
fn constructors() -> Vec<usize> {
    unsafe extern "C" {
        static __init_array_start: [usize; 0];
        static __init_array_end: [usize; 0];
    }
    let (first, last) = ((&raw const __init_array_start).addr(), (&raw const __init_array_end).addr());
    // SAFETY: the linker says that addresses of functions are there.
    let read = |place| unsafe { std::ptr::with_exposed_provenance::<usize>(place).read() };
    (first..last).step_by(size_of::<usize>()).map(read).collect()
}

/// Runs a constructor with these arguments, the last one null.
fn call(constructor: usize, arguments: &[*mut c_char]) {
    let count = i32::try_from(arguments.len() - 1).unwrap_or(i32::MAX);
    // SAFETY: constructors are functions of this type, and the loader calls them so.
    unsafe {
        let constructor = std::mem::transmute::<usize, Constructor>(constructor);
        constructor(count, arguments.as_ptr(), (*switch::environ()).cast());
    }
}

/// Runs those constructors of the executable that come after `hook`, with no arguments.
pub(crate) fn construct_rest(hook: extern "C" fn()) {
    for constructor in constructors().into_iter().skip_while(|found| *found != hook as usize).skip(1) {
        call(constructor, &[std::ptr::null_mut()]);
    }
}

/// Begins the calling process as the loader would: runs its constructors with its arguments, which the standard library's
/// own notes.
pub(crate) fn construct(arguments: Vec<OsString>) {
    if FIRST.load(Ordering::Relaxed) == usize::MAX {
        return;
    }
    let arguments = super::c_strings(arguments.into_iter().map(OsString::into_vec));
    for constructor in constructors() {
        call(constructor, arguments);
    }
}
