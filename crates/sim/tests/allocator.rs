//! An executable with an allocator of its own, whose statics are the memory of all processes: they share theirs.
#![expect(unsafe_code, reason = "an allocator is unsafe to write")]
#![expect(clippy::print_stdout, reason = "a program's own output")]

use std::alloc::{GlobalAlloc, Layout};
use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};

use netsplit_sim::{Config, End, Exit, Host, HostSpec, Spawn};

const SIZE: usize = 1 << 30;

/// Takes all from one map, and gives nothing back.
struct Bump;

static NEXT: AtomicUsize = AtomicUsize::new(0);
static BEGIN: AtomicUsize = AtomicUsize::new(0);

// SAFETY: what it gives out is within one map, aligned, and given out once.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if BEGIN.load(Ordering::Relaxed) == 0 {
            let (access, kind) =
                (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            // SAFETY: a new map, wherever there is room. The first to allocate is alone.
            let map =
                unsafe { libc::mmap(std::ptr::null_mut(), SIZE, access, kind | libc::MAP_NORESERVE, -1, 0) };
            BEGIN.store(map.expose_provenance(), Ordering::Relaxed);
        }
        let room = layout.size() + layout.align();
        let place = NEXT.fetch_add(room, Ordering::Relaxed);
        if place + room > SIZE {
            return std::ptr::null_mut();
        }
        let address = BEGIN.load(Ordering::Relaxed) + place;
        std::ptr::with_exposed_provenance_mut(address.next_multiple_of(layout.align()))
    }

    unsafe fn dealloc(&self, _memory: *mut u8, _layout: Layout) {}
}

#[global_allocator]
static ALLOCATOR: Bump = Bump;

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Counts, and prints the words.
fn count() -> i32 {
    let words: Vec<_> = (0..100).map(|word| format!("word {word}")).collect();
    println!("{} {}", words.join(" "), words.len());
    i32::try_from(COUNT.fetch_add(1, Ordering::SeqCst) + 1).unwrap()
}

#[test]
fn an_allocators_statics_are_everybodys() {
    let report = netsplit_sim::run(Config { seed: 3, ..Config::default() }, || {
        let host = Host::add(&HostSpec::new("a", [10, 0, 0, 1].into(), "fd6e:7370::1".parse().unwrap()));
        for round in 1..=3 {
            let (mut reader, writer) = std::io::pipe().unwrap();
            let stream = || writer.try_clone().unwrap().into();
            let streams = [stream(), stream(), stream()];
            let process = host.spawn(Spawn::new("counter", streams, count));
            drop(writer);
            let mut said = String::new();
            reader.read_to_string(&mut said).unwrap();
            assert!(said.ends_with("word 99 100\n"), "{said}");
            assert_eq!(process.unwrap().exit(), Some(Exit::Code(round)));
        }
    });
    assert_eq!(report.end, End::Ended(Exit::Code(0)));
}
