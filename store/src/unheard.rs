//! What both stores have in common in keeping unheard messages.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use proto::{ConversationId, Seq, UserId};
use tokio::time::Instant;

use crate::model::Unheard;

/// Between two log lines that say that messages were dropped.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Of all stores of this process.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Unheard messages that this process has dropped because the queue was full.
pub fn unheard_dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Counts what had to go because the queue was full, and says so now and then.
#[derive(Default)]
pub(crate) struct Dropping(Mutex<Dropped>);

#[derive(Default)]
struct Dropped {
    count: u64,
    said: Option<Instant>,
}

impl Dropping {
    pub(crate) fn dropped(&self, count: u64) {
        if count == 0 {
            return;
        }
        DROPPED.fetch_add(count, Ordering::Relaxed);
        // A panic between two lines leaves nothing half done here.
        let mut dropped = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        dropped.count += count;
        if dropped.said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
            tracing::warn!(
                messages = dropped.count,
                "the queue of unheard messages is full: the oldest went"
            );
            *dropped = Dropped { count: 0, said: Some(Instant::now()) };
        }
    }
}

impl Unheard {
    /// Of this user; the id says which message.
    pub(crate) fn new(user: UserId, conversation: ConversationId, seq: Seq) -> Self {
        // With zeros in front, so that ids of a conversation sort by seq.
        Self { id: format!("{user} {conversation} {:016}", seq.0), user, conversation, seq }
    }

    /// The one that this id names.
    pub(crate) fn of_id(id: String) -> Option<Self> {
        let mut words = id.split(' ');
        let user = UserId::parse(words.next()?).ok()?;
        let conversation = ConversationId::parse(words.next()?).ok()?;
        let seq = Seq(words.next()?.parse().ok()?);
        Some(Self { id, user, conversation, seq })
    }
}
