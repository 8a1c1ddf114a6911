//! How the fabric's thread gets its turn on a machine whose cores are busy.

use crate::sys;

/// Which turn the fabric's thread gets.
///
/// It is real-time only while a link takes time. Without one its packets have no instant to be late for, and a thread that
/// runs at once takes frames one by one: on two quiet cores a TCP stream over TAP devices was 0.41 to 0.60 of one over
/// veth, with the short slice 0.64 to 0.83. On busy ones neither was the better.
///
/// It does not busy-wait before deadlines: for 0.06 ms of a core a packet the median was 0.03 ms more exact, the 99th
/// percentile not visibly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduling {
    /// Before all ordinary threads (SCHED_FIFO): while compilers ran on both cores 99 of 100 packets were 0.5 ms late at
    /// most, with the short slice 4 ms. Root only, and only while a link takes time.
    Fifo,
    /// Soon: a short slice of the ordinary policy (EEVDF, Linux 6.12 on). Anybody may have it.
    ShortSlice,
    /// As everybody else.
    Ordinary,
}

/// In the middle of 1 to 99: above what is made real-time carelessly, below the kernel's own threads.
const FIFO_PRIORITY: u32 = 50;
/// The shortest that the kernel allows is 0.1 ms.
const SLICE_NS: u64 = 100_000;

/// Gives this thread the best that it may have for links of which one takes time, or none does.
pub(crate) fn hasten(takes_time: bool) -> Scheduling {
    if takes_time && sys::become_fifo(FIFO_PRIORITY).is_ok() {
        Scheduling::Fifo
    } else if sys::become_short(SLICE_NS).is_ok_and(|is_taken| is_taken) {
        Scheduling::ShortSlice
    } else {
        Scheduling::Ordinary
    }
}
