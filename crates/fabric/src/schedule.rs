//! How the fabric's thread gets its turn on a machine whose cores are busy.

use crate::sys;

/// Which turn the fabric's thread gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduling {
    /// Before all ordinary threads (SCHED_FIFO): a delay of 10 ms was 0.2 ms late at most with every core busy. Root only.
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

/// Gives this thread the best that it may have.
pub(crate) fn hasten() -> Scheduling {
    if sys::become_fifo(FIFO_PRIORITY).is_ok() {
        Scheduling::Fifo
    } else if sys::become_short(SLICE_NS).is_ok_and(|is_taken| is_taken) {
        Scheduling::ShortSlice
    } else {
        Scheduling::Ordinary
    }
}
