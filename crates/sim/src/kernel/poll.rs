//! poll(2): several descriptors at once.

use super::file::FileId;
use super::sched::{On, Wait};
use super::{
    Call, Kernel, Nanos,
    epoll::epoll_bits::{ERR, HUP},
};

/// A descriptor that is asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PollEntry {
    /// `None`: it is passed over.
    pub(crate) file: Option<FileId>,
    pub(crate) wanted: u32,
    pub(crate) found: u32,
}

impl Kernel {
    /// Fills in what holds of each; waits until something does or the time is up.
    pub(crate) fn poll(&mut self, entries: &mut [PollEntry], until: Option<Nanos>) -> Call<usize> {
        let mut count = 0;
        for entry in &mut *entries {
            entry.found =
                entry.file.map_or(entry.found, |file| self.readiness(file) & (entry.wanted | ERR | HUP));
            count += usize::from(entry.found != 0);
        }
        if count > 0 || until.is_some_and(|until| until <= self.now) {
            return Ok(count);
        }
        let files = entries.iter().filter_map(|entry| entry.file).collect();
        Err(Wait { on: On::Files(files), until, what: "poll" }.into())
    }
}
