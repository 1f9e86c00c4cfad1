//! Damaged entries: entries of logs and inboxes that cannot be decoded. Readers
//! skip them, since one such entry must not stop a reader for ever. The log and
//! a metric tell the operator.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use proto::wire::Entry;
use tokio::time::Instant;

use crate::{Error, Result};

/// The time between two log lines about skipped entries.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Counts for all stores of this process.
static SKIPPED: AtomicU64 = AtomicU64::new(0);
static LOGGED_AT: Mutex<Option<Instant>> = Mutex::new(None);

/// How many damaged entries readers of this process have skipped.
pub fn damaged_skipped() -> u64 {
    SKIPPED.load(Ordering::Relaxed)
}

/// Turns the error of a damaged entry into `None`, counted and logged with
/// `location` (where the entry is; never its content). Other errors stay
/// errors.
pub(crate) fn unless_damaged<T>(read: Result<T>, location: impl fmt::Display) -> Result<Option<T>> {
    match read {
        Ok(entry) => Ok(Some(entry)),
        Err(Error::Corrupt(why)) => {
            skipped(&location, &why);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn skipped(location: &dyn fmt::Display, why: &str) {
    let count = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
    let mut said = LOGGED_AT.lock().unwrap_or_else(PoisonError::into_inner);
    if said.is_none_or(|said| said.elapsed() >= LOG_EVERY) {
        *said = Some(Instant::now());
        tracing::error!(%location, why, count, "a stored entry cannot be read: readers skip it");
    }
}

/// The entry, unless it is of a kind that this release does not know: nobody here can
/// show it. It stays where it is, for a release that knows it.
pub(crate) fn known(entry: Entry) -> Result<Entry> {
    match entry.what {
        Some(_) => Ok(entry),
        None => Err(Error::Corrupt("it is of a kind that this release does not know".into())),
    }
}

/// An entry without content. A page of an inbox has it in place of a damaged
/// event, so that positions stay without holes.
pub(crate) fn nothing(fingerprint: u32) -> Entry {
    Entry { fingerprint, ..Entry::default() }
}
