//! The newest marks that this node has lately heard or read. Announcements of
//! one mark may overtake each other, and a page may be ahead of both: what
//! comes late would take clients back, and is dropped here.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use daemon::lock::{LEAF, Lock};
use proto::wire::Receipt;
use rustc_hash::FxHashMap;
use tokio::time::Instant;

/// For how long a mark is remembered at least, unless there are too many:
/// longer than an announcement is under way.
const MEMORY: Duration = Duration::from_secs(10);
/// Marks remembered of one such time; when there are more the older half goes
/// early, and with it only the protection from what is that late.
const CAPACITY: usize = 16_384;

/// By the hash of (conversation, user, kind): one marked wrong in 2⁶⁴ may lose
/// a repeat.
type Marks = FxHashMap<u64, u64>;

/// What this node knows of marks. At most 512 KiB.
pub struct Newest {
    hasher: RandomState,
    recent: Lock<LEAF, Recent>,
}

struct Recent {
    since: Instant,
    marks: Marks,
    before: Marks,
}

impl Newest {
    /// Nothing yet.
    pub fn new() -> Self {
        let recent = Recent { since: Instant::now(), marks: Marks::default(), before: Marks::default() };
        Self { hasher: RandomState::new(), recent: Lock::new(recent) }
    }

    /// Notes a mark; false when a higher one is known.
    pub(crate) fn admits(&self, mark: &Receipt) -> bool {
        self.admits_at(mark, Instant::now())
    }

    fn admits_at(&self, mark: &Receipt, now: Instant) -> bool {
        let key = self.hasher.hash_one((&mark.conversation, &mark.user, mark.kind));
        let mut recent = self.recent.lock();
        recent.rotate(now);
        let known = recent.marks.get(&key).max(recent.before.get(&key)).copied();
        if known.is_some_and(|known| known > mark.seq) {
            return false;
        }
        recent.marks.insert(key, mark.seq);
        true
    }

    /// Another history of the store: its marks may be lower.
    pub(crate) fn forget(&self) {
        let mut recent = self.recent.lock();
        (recent.marks, recent.before) = Default::default();
    }
}

impl Default for Newest {
    fn default() -> Self {
        Self::new()
    }
}

impl Recent {
    fn rotate(&mut self, now: Instant) {
        if self.marks.len() >= CAPACITY || now >= self.since + MEMORY {
            self.before = std::mem::take(&mut self.marks);
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(user: &str, seq: u64) -> Receipt {
        Receipt { conversation: "a~b".into(), user: user.into(), kind: 1, seq }
    }

    #[test]
    fn a_late_mark_is_dropped_and_a_repeat_is_not() {
        let newest = Newest::new();
        assert!(newest.admits(&mark("a", 5)));
        assert!(!newest.admits(&mark("a", 4)));
        assert!(newest.admits(&mark("a", 5)));
        assert!(newest.admits(&mark("b", 4)));
        assert!(!newest.admits_at(&mark("a", 4), Instant::now() + MEMORY));
    }

    #[test]
    fn memory_ends() {
        let newest = Newest::new();
        newest.admits(&mark("a", 5));
        for times in 1..=2 {
            newest.admits_at(&mark("b", 1), Instant::now() + MEMORY * times);
        }
        assert!(newest.admits(&mark("a", 4)));
        newest.forget();
        assert!(newest.admits(&mark("a", 3)));
        for user in 0..3 * CAPACITY {
            newest.admits(&mark(&user.to_string(), 1));
        }
        let recent = newest.recent.lock();
        assert!(recent.marks.len() + recent.before.len() <= 2 * CAPACITY);
    }
}
