//! Locks with a rank. The rank is part of the lock's type, and a thread that
//! holds a lock may only take locks of a higher rank. If all threads do so,
//! they cannot deadlock. Builds with debug assertions (tests, `cargo run`)
//! check it each time and panic with the names of both locks; release builds
//! check nothing.
//!
//! A crate that nests locks lists its ranks in one file. A lock that is never
//! held while another one is taken has the rank [`LEAF`].

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The rank of locks under which no other lock is taken, except by logging and
/// counting.
pub const LEAF: u8 = INNERMOST - 1;

/// The rank of the locks of logging and of instruments, which are used
/// everywhere.
pub(crate) const INNERMOST: u8 = u8::MAX;

const NO_PANIC: &str = "no code that holds this lock panics";

/// A mutex with a rank.
pub struct Lock<const RANK: u8, T>(Mutex<T>);

/// A read-write lock with a rank. A thread takes it only once at a time, for
/// reading, too: a writer that waits between two reads would block the second
/// read for ever.
pub struct SharedLock<const RANK: u8, T>(RwLock<T>);

/// Holds a lock until it is dropped. Never keep one across an await.
pub struct Guard<G> {
    // Fields are dropped in this order: the lock is released first, then
    // `_held` notes it.
    inner: G,
    _held: HeldRank,
}

/// The guard of a [`Lock`].
pub type LockGuard<'a, T> = Guard<MutexGuard<'a, T>>;

impl<const RANK: u8, T> Lock<RANK, T> {
    /// A lock that is free.
    pub const fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// Waits until the lock is free, and takes it.
    pub fn lock(&self) -> LockGuard<'_, T> {
        let _held = HeldRank::new::<T>(RANK);
        Guard { inner: self.0.lock().expect(NO_PANIC), _held }
    }
}

impl<const RANK: u8, T> SharedLock<RANK, T> {
    /// A lock that is free.
    pub const fn new(value: T) -> Self {
        Self(RwLock::new(value))
    }

    /// Waits until nobody writes, and takes the lock for reading.
    pub fn read(&self) -> Guard<RwLockReadGuard<'_, T>> {
        let _held = HeldRank::new::<T>(RANK);
        Guard { inner: self.0.read().expect(NO_PANIC), _held }
    }

    /// Waits until nobody reads or writes, and takes the lock for writing.
    pub fn write(&self) -> Guard<RwLockWriteGuard<'_, T>> {
        let _held = HeldRank::new::<T>(RANK);
        Guard { inner: self.0.write().expect(NO_PANIC), _held }
    }
}

impl<G: Deref> Deref for Guard<G> {
    type Target = G::Target;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}

impl<G: DerefMut> DerefMut for Guard<G> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.inner
    }
}

impl<const RANK: u8, T: Default> Default for Lock<RANK, T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<const RANK: u8, T: Default> Default for SharedLock<RANK, T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<const RANK: u8, T: fmt::Debug> fmt::Debug for Lock<RANK, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<const RANK: u8, T: fmt::Debug> fmt::Debug for SharedLock<RANK, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(debug_assertions)]
use checked::HeldRank;
#[cfg(not(debug_assertions))]
use unchecked::HeldRank;

#[cfg(debug_assertions)]
mod checked {
    use std::any::type_name;
    use std::cell::RefCell;

    thread_local! {
        /// The locks that this thread holds, in the order of taking: rank and
        /// name.
        static HELD: RefCell<Vec<(u8, &'static str)>> = const { RefCell::new(Vec::new()) };
    }

    /// A lock that this thread holds or waits for.
    pub(super) struct HeldRank(u8);

    impl HeldRank {
        pub(super) fn new<T>(rank: u8) -> Self {
            HELD.with_borrow_mut(|held| {
                let name = type_name::<T>();
                if let Some((other, of)) = held.iter().max().filter(|(other, _)| *other >= rank) {
                    panic!(
                        "the lock of {name} (rank {rank}) is taken while that of {of} (rank {other}) is held"
                    );
                }
                held.push((rank, name));
            });
            Self(rank)
        }
    }

    impl Drop for HeldRank {
        fn drop(&mut self) {
            // While the thread ends, the list is gone already.
            let _ = HELD.try_with(|held| {
                let mut held = held.borrow_mut();
                let at = held.iter().rposition(|(rank, _)| *rank == self.0);
                at.map(|at| held.remove(at));
            });
        }
    }
}

#[cfg(not(debug_assertions))]
mod unchecked {
    pub(super) struct HeldRank;

    impl HeldRank {
        #[inline]
        pub(super) fn new<T>(_rank: u8) -> Self {
            Self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_are_taken_in_the_order_of_their_ranks_and_given_back_in_any() {
        let (one, two, leaf) = (Lock::<1, _>::new(1), SharedLock::<2, _>::new(2), Lock::<LEAF, _>::new(3));
        for _ in 0..2 {
            let first = one.lock();
            let second = two.read();
            drop(first);
            let mut third = leaf.lock();
            *third += *second;
            drop(second);
            drop(third);
            *two.write() += 1;
        }
        assert_eq!(*leaf.lock(), 8);
    }

    #[test]
    #[should_panic(
        expected = "the lock of u8 (rank 1) is taken while that of alloc::string::String (rank 2) is held"
    )]
    fn a_lower_rank_after_a_higher_one_is_a_panic_that_names_both() {
        let (low, high) = (Lock::<1, u8>::default(), Lock::<2, String>::default());
        let _high = high.lock();
        let _low = low.lock();
    }

    #[test]
    #[should_panic(expected = "(rank 2) is held")]
    fn a_lock_for_readers_is_not_taken_twice_by_one_thread() {
        let shared = SharedLock::<2, u8>::default();
        let _one = shared.read();
        let _two = shared.read();
    }
}
