//! The newest marks that this node has recently heard or read. Announcements of
//! a mark may overtake each other, and a page may be newer than both: a late
//! one would take clients back, and is dropped here.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use daemon::lock::{LEAF, Lock};
use proto::wire::receipt::Kind;
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use crate::protocol::mark::Mark;

/// How long a mark is remembered at least, unless there are too many: longer
/// than an announcement is under way, also where a process between the store and
/// this node stood still.
const MEMORY: Duration = Duration::from_secs(60);
/// The most marks of one such period. Beyond it the older half is dropped
/// early, and so only the protection against very late ones is lost.
const CAPACITY: usize = 16_384;

/// Keyed by the hash of (conversation, user, kind): a collision (one in 2⁶⁴)
/// may drop a repeat.
type Marks = FxHashMap<u64, u64>;

/// The newest marks that this node knows; at most 512 KiB.
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
    /// Knows no mark yet.
    pub fn new() -> Self {
        let recent = Recent { since: Instant::now(), marks: Marks::default(), before: Marks::default() };
        Self { hasher: RandomState::new(), recent: Lock::new(recent) }
    }

    /// Notes a mark. Returns false when a higher one is known, or one that
    /// implies it.
    pub(crate) fn admits(&self, mark: &Mark<'_>) -> bool {
        self.admits_at(mark, Instant::now())
    }

    fn admits_at(&self, mark: &Mark<'_>, now: Instant) -> bool {
        let key = self.key(mark, mark.kind);
        // What has been read has been delivered.
        let read = (mark.kind != Kind::Read).then(|| self.key(mark, Kind::Read));
        let mut recent = self.recent.lock();
        recent.rotate(now);
        let is_said = read.and_then(|read| recent.known(read)).is_some_and(|known| known >= mark.seq);
        if is_said || recent.known(key).is_some_and(|known| known > mark.seq) {
            return false;
        }
        recent.marks.insert(key, mark.seq);
        true
    }

    /// Whether no higher one is known; notes nothing.
    pub(crate) fn is_newest(&self, mark: &Mark<'_>) -> bool {
        let key = self.key(mark, mark.kind);
        self.recent.lock().known(key).is_none_or(|known| known <= mark.seq)
    }

    fn key(&self, mark: &Mark<'_>, kind: Kind) -> u64 {
        self.hasher.hash_one((mark.conversation, mark.user, kind as i32))
    }

    /// Forgets all marks. For a store whose history was rewritten, so that a
    /// client was told `reset`: its conversations may begin again at a lower
    /// `seq`. (That the store's primaries changed is no reason: clients without
    /// a `reset` are never told a lower mark.)
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
    fn known(&self, key: u64) -> Option<u64> {
        self.marks.get(&key).max(self.before.get(&key)).copied()
    }

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

    fn mark(user: &str, seq: u64) -> Mark<'_> {
        Mark { conversation: "a~b", user, kind: Kind::Delivered, seq }
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
    fn what_has_been_read_need_not_be_said_to_be_delivered() {
        let newest = Newest::new();
        let read = |seq| Mark { kind: Kind::Read, ..mark("a", seq) };
        assert!(newest.admits(&mark("a", 7)) && newest.admits(&read(5)));
        assert!(newest.admits(&read(8)) && !newest.admits(&mark("a", 8)));
        assert!(newest.admits(&mark("a", 9)));
        assert!(newest.is_newest(&read(8)) && !newest.is_newest(&read(7)));
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
