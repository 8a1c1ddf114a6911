//! Which socket has a port: a table of two levels, so that a packet is given to its socket without a search.

use super::SocketId;

const PAGE: usize = 256;

/// For each port the first of the sockets that are bound to it; each socket has the next one.
pub(super) struct Ports {
    pages: Vec<Option<Box<[Option<SocketId>; PAGE]>>>,
}

impl Ports {
    pub(super) fn new() -> Self {
        Self { pages: Vec::new() }
    }

    #[inline]
    pub(super) fn first(&self, port: u16) -> Option<SocketId> {
        let [page, at] = port.to_be_bytes().map(usize::from);
        self.pages.get(page)?.as_ref()?[at]
    }

    pub(super) fn set_first(&mut self, port: u16, socket: Option<SocketId>) {
        let [page, at] = port.to_be_bytes().map(usize::from);
        if self.pages.is_empty() {
            self.pages.resize_with(PAGE, || None);
        }
        self.pages[page].get_or_insert_with(|| Box::new([None; PAGE]))[at] = socket;
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.pages.clear();
    }
}
