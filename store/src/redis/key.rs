//! Buckets: the keys of a user or a conversation have one of 1,024 hash tags,
//! so that a script in a Cluster touches only one slot.

use std::sync::LazyLock;

use xxhash_rust::xxh3::xxh3_64;

/// The number of buckets. Invariant: it never changes, or stored data is not
/// found again.
pub(super) const BUCKETS: u16 = 1024;

/// The hash tag of keys that belong to no user and no conversation.
pub(super) const COMMON_TAG: &str = "{sb}";

/// The number in the hash tag of a user's or a conversation's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Bucket(pub(super) u16);

impl Bucket {
    /// The bucket of a user or a conversation.
    pub(super) fn of(id: &str) -> Self {
        Self((xxh3_64(id.as_bytes()) % u64::from(BUCKETS)) as u16)
    }

    /// The key that a script declares, so that it runs where the bucket is.
    pub(super) fn tag(self) -> String {
        format!("{{{}}}p", self.0)
    }

    /// The beginning of all keys of the bucket.
    pub(super) fn braced(self) -> &'static str {
        static BRACED: LazyLock<Vec<String>> =
            LazyLock::new(|| (0..BUCKETS).map(|number| format!("{{{number}}}")).collect());
        &BRACED[usize::from(self.0)]
    }

    /// The hash slot in a Redis Cluster.
    pub(super) fn slot(self) -> u16 {
        static SLOTS: LazyLock<Vec<u16>> = LazyLock::new(|| {
            (0..BUCKETS).map(|number| fred::util::redis_keyslot(number.to_string().as_bytes())).collect()
        });
        SLOTS[usize::from(self.0)]
    }
}
