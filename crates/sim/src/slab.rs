//! A vector with holes: things that come and go, by a number that stays.

use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

/// Things by number. The numbers of what is removed are used again, the newest first.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    entries: Vec<Option<T>>,
    free: Vec<u32>,
}

/// The number of a `T` in its slab.
pub(crate) struct Id<T>(u32, PhantomData<fn() -> T>);

impl<T> Id<T> {
    pub(crate) fn number(self) -> u32 {
        self.0
    }
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Id<T> {}

impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for Id<T> {}

impl<T> std::fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// # Panics
    /// At 2^32 things.
    pub(crate) fn insert(&mut self, value: T) -> Id<T> {
        if let Some(number) = self.free.pop() {
            self.entries[number as usize] = Some(value);
            return Id(number, PhantomData);
        }
        let number = u32::try_from(self.entries.len()).expect("fewer than 2^32 things");
        self.entries.push(Some(value));
        Id(number, PhantomData)
    }

    pub(crate) fn remove(&mut self, id: Id<T>) -> Option<T> {
        let removed = self.entries.get_mut(id.0 as usize)?.take()?;
        self.free.push(id.0);
        Some(removed)
    }

    #[inline]
    pub(crate) fn get(&self, id: Id<T>) -> Option<&T> {
        self.entries.get(id.0 as usize)?.as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: Id<T>) -> Option<&mut T> {
        self.entries.get_mut(id.0 as usize)?.as_mut()
    }
}

impl<T> Index<Id<T>> for Slab<T> {
    type Output = T;

    #[inline]
    fn index(&self, id: Id<T>) -> &T {
        self.get(id).expect("what is referred to is there")
    }
}

impl<T> IndexMut<Id<T>> for Slab<T> {
    #[inline]
    fn index_mut(&mut self, id: Id<T>) -> &mut T {
        self.get_mut(id).expect("what is referred to is there")
    }
}
