//! Memory of simulated threads. Where a block lies follows from what its heap gave out before, and from nothing else: not from
//! paths and variables of this machine, its cores, or the executable's size. Some locks choose by their address who comes
//! next (parking_lot's, and so tokio's with that feature), so that a seed would go other ways elsewhere.
//!
//! There are two heaps, at addresses that are always the same: the programs', and that of the test and its runner, who deal
//! with this machine's paths. A block that was freed is the next one of its class. The simulator's own memory, and all that
//! is outside of a simulation, is the C library's; whose a block is, its address says.
//!
//! The C names are weak: an executable may bring an allocator that has them. What is larger than a heap's largest block, or is
//! aligned to more than [`SLOT`], is the C library's as well.
#![expect(unsafe_code, reason = "blocks of memory are what is given out")]

use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::os::raw::c_void;
use std::ptr::{null_mut, with_exposed_provenance_mut};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::next_symbol;
use super::statics::shared;
use crate::switch;

/// Where the first heap begins: far from what the kernel and the loader choose by themselves.
const BASE: usize = 0x2000_0000_0000;
/// Addresses of a heap. What is not used costs nothing.
const SPAN: usize = 1 << 38;
const HEAPS: usize = 2;
/// What a heap takes at once for small blocks, and the smallest of large ones.
const SLOT: usize = 1 << SLOT_BITS;
const SLOT_BITS: u32 = 16;
/// A byte for each slot, at the begin of a heap: 1 and the class of what lies there.
const TABLE: usize = SPAN / SLOT;
/// What is made usable at once.
const STEP: usize = 4 << 20;
/// From this size on, a freed block gives its pages back.
const DROPPED: usize = 1 << 20;
const PAGE: usize = 4096;

/// Up to here blocks have multiples of [`ALIGN`]: 64 classes.
const FINE_MAX: usize = 1024;
const ALIGN: usize = 16;
/// Up to here four classes to each doubling; above, one.
const SMALL_MAX: usize = 32 << 10;
const FIRST_COARSE: usize = FINE_MAX / ALIGN;
const FIRST_LARGE: usize = FIRST_COARSE + 4 * 5;
const LARGEST_BITS: u32 = 36;
const CLASSES: usize = FIRST_LARGE + (LARGEST_BITS - SLOT_BITS) as usize + 1;

/// The class of blocks that hold `size` bytes; `None`: that is too large for a heap.
const fn class_of(size: usize) -> Option<usize> {
    if size <= FINE_MAX {
        return Some(size.saturating_sub(1) / ALIGN);
    }
    let bits = (size - 1).ilog2();
    if size <= SMALL_MAX {
        let quarter = (size - 1 - (1 << bits)) >> (bits - 2);
        return Some(FIRST_COARSE + 4 * (bits - FINE_MAX.ilog2()) as usize + quarter);
    }
    if bits < LARGEST_BITS { Some(FIRST_LARGE + (bits + 1 - SLOT_BITS) as usize) } else { None }
}

/// How much blocks of a class hold.
const fn size_of_class(class: usize) -> usize {
    if class < FIRST_COARSE {
        return (class + 1) * ALIGN;
    }
    if class < FIRST_LARGE {
        let (doubling, quarter) = ((class - FIRST_COARSE) / 4, (class - FIRST_COARSE) % 4);
        return (FINE_MAX << doubling) + (quarter + 1) * ((FINE_MAX / 4) << doubling);
    }
    SLOT << (class - FIRST_LARGE)
}

/// A block that was given out, and whether it is of zeros.
type Given = (usize, bool);

/// Blocks from [`SPAN`] bytes of addresses.
struct Heap {
    /// Where it begins; 0 as long as it has no addresses.
    base: usize,
    /// Bytes that are usable, and those that were taken, from the base on.
    open: usize,
    taken: usize,
    /// The block of each class that was freed last; within it stands the one before. 0: none.
    free: [usize; CLASSES],
    /// What is left of the slot from which a class was last served: where, and to where.
    rest: [(usize, usize); CLASSES],
}

impl Heap {
    const fn new() -> Self {
        Self { base: 0, open: 0, taken: 0, free: [0; CLASSES], rest: [(0, 0); CLASSES] }
    }

    /// Reserves addresses from `base` on, unless it has some or somebody else has these.
    fn reserve(&mut self, base: usize) {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE;
        let wanted = [base as i64, SPAN as i64, libc::PROT_NONE.into(), flags.into(), -1, 0];
        // SAFETY: addresses that nobody has are reserved, and those of nobody else are touched.
        if self.base == 0 && unsafe { switch::call(libc::SYS_mmap, wanted) } == base as i64 {
            self.base = base;
            self.taken = TABLE;
        }
    }

    /// Takes so many bytes from what was never used; they are of zeros.
    fn take(&mut self, bytes: usize) -> Option<usize> {
        let end = self.taken.checked_add(bytes).filter(|end| *end <= SPAN)?;
        if end > self.open {
            let more = (end - self.open).next_multiple_of(STEP).min(SPAN - self.open);
            let usable = i64::from(libc::PROT_READ | libc::PROT_WRITE);
            let wanted = [(self.base + self.open) as i64, more as i64, usable, 0, 0, 0];
            // SAFETY: these are addresses of this heap which nobody uses yet.
            if unsafe { switch::call(libc::SYS_mprotect, wanted) } != 0 {
                return None;
            }
            self.open += more;
        }
        let begin = self.base + self.taken;
        self.taken = end;
        Some(begin)
    }

    /// Takes slots for blocks of a class.
    fn take_for(&mut self, class: usize) -> Option<usize> {
        let begin = self.take(size_of_class(class).max(SLOT))?;
        let entry = with_exposed_provenance_mut::<u8>(self.entry(begin));
        // SAFETY: the table is usable as soon as anything behind it is.
        unsafe { entry.write(class as u8 + 1) };
        Some(begin)
    }

    /// Where the table says what lies in the slot of this address.
    fn entry(&self, address: usize) -> usize {
        self.base + (address - self.base) / SLOT
    }

    fn class_at(&self, block: usize) -> usize {
        // SAFETY: the table is usable, as this heap gave the block out.
        let entry = unsafe { with_exposed_provenance_mut::<u8>(self.entry(block)).read() };
        usize::from(entry.saturating_sub(1))
    }

    fn give(&mut self, class: usize) -> Option<Given> {
        let freed = self.free[class];
        if freed != 0 {
            // SAFETY: a freed block of this heap, in which the one before it stands.
            self.free[class] = unsafe { with_exposed_provenance_mut::<usize>(freed).read() };
            return Some((freed, false));
        }
        let size = size_of_class(class);
        let (mut next, mut end) = self.rest[class];
        if end - next < size {
            next = self.take_for(class)?;
            end = next + size.max(SLOT);
        }
        self.rest[class] = (next + size, end);
        Some((next, true))
    }

    fn free(&mut self, block: usize) {
        let class = self.class_at(block);
        let size = size_of_class(class);
        // SAFETY: whoever frees a block has no use for it.
        unsafe {
            if size >= DROPPED {
                let wanted = [block as i64, size as i64, libc::MADV_DONTNEED.into(), 0, 0, 0];
                if switch::call(libc::SYS_madvise, wanted) != 0 {
                    // The kernel keeps pages that a program has locked.
                    with_exposed_provenance_mut::<u8>(block).write_bytes(0, size);
                }
            }
            with_exposed_provenance_mut::<usize>(block).write(self.free[class]);
        }
        self.free[class] = block;
    }

    /// How many bytes of a block of this class that was freed are not zeros.
    fn dirty(class: usize) -> usize {
        let size = size_of_class(class);
        if size >= DROPPED { PAGE } else { size }
    }
}

/// Simulated threads have turns, but somebody outside may free what is theirs.
struct Locked {
    is_held: AtomicBool,
    heap: UnsafeCell<Heap>,
}

// SAFETY: only `with` reaches the heap, whose flag one thread at a time holds.
unsafe impl Sync for Locked {}

impl Locked {
    const fn new() -> Self {
        Self { is_held: AtomicBool::new(false), heap: UnsafeCell::new(Heap::new()) }
    }

    #[inline]
    fn with<T>(&self, f: impl FnOnce(&mut Heap) -> T) -> T {
        while self.is_held.swap(true, Ordering::Acquire) {
            spin_loop();
        }
        // SAFETY: the flag is ours until it is given back. Nothing within panics, or calls anybody.
        let done = f(unsafe { &mut *self.heap.get() });
        self.is_held.store(false, Ordering::Release);
        done
    }
}

shared! {
    static TEST: Locked = Locked::new();
    static PROGRAMS: Locked = Locked::new();
}

fn heaps() -> [&'static Locked; HEAPS] {
    [&TEST, &PROGRAMS]
}

/// From now on simulated threads have heaps of their own, if their addresses can be had.
pub(crate) fn reserve() {
    for (number, heap) in heaps().into_iter().enumerate() {
        heap.with(|heap| heap.reserve(BASE + number * SPAN));
    }
}

/// The heap of the calling thread.
#[inline]
fn own() -> Option<&'static Locked> {
    let me = switch::me()?;
    Some(if me.is_of_test() { &TEST } else { &PROGRAMS })
}

/// Whose block it is.
#[inline]
fn owner(block: *mut c_void) -> Option<&'static Locked> {
    let number = block.addr().wrapping_sub(BASE) / SPAN;
    heaps().get(number).copied()
}

/// A block that holds `size` bytes, aligned as all are; `None`: the C library is to give it.
#[inline]
fn give(size: usize) -> Option<Given> {
    let (heap, class) = (own()?, class_of(size)?);
    heap.with(|heap| if heap.base == 0 { None } else { heap.give(class) })
}

/// Blocks of as many bytes as a power of two are aligned to it, up to a slot.
#[inline]
fn give_aligned(align: usize, size: usize) -> Option<*mut c_void> {
    if !align.is_power_of_two() || align > SLOT {
        return None;
    }
    let size = if align > ALIGN { size.max(align).checked_next_power_of_two()? } else { size };
    give(size).map(|(block, _)| with_exposed_provenance_mut(block))
}

unsafe extern "C" {
    fn __libc_malloc(size: usize) -> *mut c_void;
    fn __libc_calloc(count: usize, size: usize) -> *mut c_void;
    fn __libc_realloc(block: *mut c_void, size: usize) -> *mut c_void;
    fn __libc_free(block: *mut c_void);
    fn __libc_memalign(align: usize, size: usize) -> *mut c_void;
}

core::arch::global_asm!(
    ".macro netsplit_weak name",
    ".weak \\name; .type \\name, @function; \\name: jmp netsplit_sim_\\name@PLT",
    ".endm",
    "netsplit_weak malloc; netsplit_weak calloc; netsplit_weak realloc; netsplit_weak free",
    "netsplit_weak memalign; netsplit_weak aligned_alloc; netsplit_weak posix_memalign",
    "netsplit_weak malloc_usable_size",
    ".purgem netsplit_weak",
);

#[unsafe(no_mangle)]
unsafe extern "C" fn netsplit_sim_malloc(size: usize) -> *mut c_void {
    match give(size) {
        Some((block, _)) => with_exposed_provenance_mut(block),
        None => __libc_malloc(size),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn netsplit_sim_calloc(count: usize, size: usize) -> *mut c_void {
    let given = count.checked_mul(size).and_then(|size| Some((size, give(size)?)));
    let Some((size, (block, is_zero))) = given else { return __libc_calloc(count, size) };
    let block = with_exposed_provenance_mut::<u8>(block);
    if !is_zero {
        let dirty = class_of(size).map_or(size, Heap::dirty);
        block.write_bytes(0, size.min(dirty));
    }
    block.cast()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn netsplit_sim_realloc(block: *mut c_void, size: usize) -> *mut c_void {
    let Some(heap) = owner(block) else {
        return if block.is_null() { netsplit_sim_malloc(size) } else { __libc_realloc(block, size) };
    };
    if size == 0 {
        netsplit_sim_free(block);
        return null_mut();
    }
    let held = size_of_class(heap.with(|heap| heap.class_at(block.addr())));
    if size <= held && (size > held / 2 || held <= ALIGN) {
        return block;
    }
    let moved = netsplit_sim_malloc(size);
    if !moved.is_null() {
        moved.cast::<u8>().copy_from_nonoverlapping(block.cast(), size.min(held));
        netsplit_sim_free(block);
    }
    moved
}

#[unsafe(no_mangle)]
unsafe extern "C" fn netsplit_sim_free(block: *mut c_void) {
    match owner(block) {
        Some(heap) => heap.with(|heap| heap.free(block.addr())),
        None => __libc_free(block),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn netsplit_sim_memalign(align: usize, size: usize) -> *mut c_void {
    give_aligned(align, size).unwrap_or_else(|| __libc_memalign(align, size))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn netsplit_sim_aligned_alloc(align: usize, size: usize) -> *mut c_void {
    netsplit_sim_memalign(align, size)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn netsplit_sim_posix_memalign(into: *mut *mut c_void, align: usize, size: usize) -> i32 {
    if !align.is_power_of_two() || align < size_of::<usize>() {
        return libc::EINVAL;
    }
    let block = netsplit_sim_memalign(align, size);
    if block.is_null() {
        return libc::ENOMEM;
    }
    into.write(block);
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn netsplit_sim_malloc_usable_size(block: *mut c_void) -> usize {
    type Function = unsafe extern "C" fn(*mut c_void) -> usize;
    shared! { static FOUND: AtomicUsize = AtomicUsize::new(0); }
    match owner(block) {
        Some(heap) => size_of_class(heap.with(|heap| heap.class_at(block.addr()))),
        None => std::mem::transmute::<usize, Function>(next_symbol(&FOUND, c"malloc_usable_size"))(block),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn a_class_holds_what_is_of_it_and_no_smaller_one_does() {
        for size in (1..70_000).chain((17..36).flat_map(|bits| [(1 << bits) - 1, 1 << bits, (1 << bits) + 1]))
        {
            let class = class_of(size).unwrap();
            assert!(size_of_class(class) >= size, "{size}");
            assert!(class == 0 || size_of_class(class - 1) < size, "{size}");
        }
        assert_eq!(class_of(0), Some(0));
        assert_eq!(class_of(1 << LARGEST_BITS), Some(CLASSES - 1));
        assert_eq!(class_of((1 << LARGEST_BITS) + 1), None);
    }

    fn bytes(block: usize, size: usize) -> &'static mut [u8] {
        // SAFETY: a block of the heap below, of this size, that nobody else looks at.
        unsafe { std::slice::from_raw_parts_mut(with_exposed_provenance_mut(block), size) }
    }

    /// Where blocks lay that were given out for a while, in this order.
    fn lay(base: usize) -> Vec<usize> {
        let mut heap = Heap::new();
        heap.reserve(base);
        assert_eq!(heap.base, base);
        let (mut random, mut live, mut lay) = (Random::new(7, "blocks"), Vec::new(), Vec::new());
        for mark in 0..5_000_u32 {
            let wanted = 1 + random.draw() as usize % (1 << (4 + random.draw() % 18));
            let class = class_of(wanted).unwrap();
            let (block, is_zero) = heap.give(class).unwrap();
            assert_eq!(block % if wanted.is_power_of_two() { wanted.min(SLOT) } else { ALIGN }, 0);
            let dirty = if is_zero { 0 } else { Heap::dirty(class).min(wanted) };
            assert!(bytes(block, wanted)[dirty..].iter().all(|byte| *byte == 0));
            bytes(block, wanted).fill(mark as u8);
            live.push((block, wanted, mark));
            lay.push(block - base);
            while live.len() > 100 {
                let (block, size, mark) = live.swap_remove(random.draw() as usize % live.len());
                assert!(bytes(block, size).iter().all(|byte| *byte == mark as u8), "two have the same bytes");
                heap.free(block);
            }
        }
        lay
    }

    #[test]
    fn blocks_are_their_owners_and_lie_where_they_lay() {
        assert_eq!(lay(BASE + 8 * SPAN), lay(BASE + 9 * SPAN));
    }
}
