//! What a program over tokio and std sees of a kernel, as text: sockets, timers, threads, files.
//!
//! A case is an ordinary piece of a program. It knows nothing of where it runs, and what it notes is the same on every kernel
//! that keeps its word: kinds and numbers of errors, contents, orders, amounts that no buffer's size decides. So one text,
//! `expected.txt`, is compared with the real kernel, and with any kernel that claims to be like it.
//!
//! [`cases::CASES`] is the list, [`run_all`] runs it, [`Seen`] takes the notes, [`differences`] compares two texts.

pub mod cases;
mod run;
mod seen;
mod tcp;

pub use run::{DEADLINE, Place, differences, run_all, run_one};
pub use seen::Seen;
