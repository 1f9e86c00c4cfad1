//! Entries of logs and inboxes that cannot be read. Whoever reads goes on past
//! them, since one of them must not end a reader's day; an operator is told.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use proto::wire::Entry;
use tokio::time::Instant;

use crate::{Error, Result};

/// Between two log lines about entries that were skipped.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Of all stores of this process.
static SKIPPED: AtomicU64 = AtomicU64::new(0);
static SAID: Mutex<Option<Instant>> = Mutex::new(None);

/// How often a reader of this process has met an entry that cannot be read, and
/// has gone on past it.
pub fn damaged_skipped() -> u64 {
    SKIPPED.load(Ordering::Relaxed)
}

/// What was read; nothing for what is damaged, which is counted and said.
/// `place` says where it is, without what it holds. Other errors stay.
pub(crate) fn unless_damaged<T>(read: Result<T>, place: impl fmt::Display) -> Result<Option<T>> {
    match read {
        Ok(entry) => Ok(Some(entry)),
        Err(Error::Corrupt(why)) => {
            skipped(&place, &why);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn skipped(place: &dyn fmt::Display, why: &str) {
    let count = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
        *said = Some(Instant::now());
        tracing::error!(%place, why, count, "an entry that is stored cannot be read: readers go on past it");
    }
}

/// What stands in an inbox in the place of a damaged event, so that positions go
/// on one by one: an entry that is nothing.
pub(crate) fn nothing(fingerprint: u32) -> Entry {
    Entry { fingerprint, ..Entry::default() }
}
