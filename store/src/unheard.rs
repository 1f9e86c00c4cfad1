//! What both stores share for unheard messages: messages for members who had no
//! session.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use proto::{ConversationId, Seq, UserId};
use tokio::time::Instant;

use crate::model::UnheardMessage;

/// The time between two log lines about dropped messages.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Counts for all stores of this process.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// How many unheard messages this process has dropped because the queue was
/// full.
pub fn unheard_dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Counts messages that were dropped because the queue was full, and logs that
/// now and then.
#[derive(Default)]
pub(crate) struct DropCounter(Mutex<DropCount>);

#[derive(Default)]
struct DropCount {
    count: u64,
    said: Option<Instant>,
}

impl DropCounter {
    pub(crate) fn dropped(&self, count: u64) {
        if count == 0 {
            return;
        }
        DROPPED.fetch_add(count, Ordering::Relaxed);
        // A panic between two lines leaves the value consistent.
        let mut dropped = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        dropped.count += count;
        if dropped.said.is_none_or(|said| said.elapsed() >= LOG_EVERY) {
            tracing::warn!(
                messages = dropped.count,
                "the queue of unheard messages is full: the oldest went"
            );
            *dropped = DropCount { count: 0, said: Some(Instant::now()) };
        }
    }
}

impl UnheardMessage {
    /// The id names user, conversation and seq.
    pub(crate) fn new(user: UserId, conversation: ConversationId, seq: Seq) -> Self {
        // Leading zeros, so that ids of one conversation sort by seq.
        Self { id: format!("{user} {conversation} {:016}", seq.0), user, conversation, seq }
    }

    /// Reads an id; `None` when it is malformed.
    pub(crate) fn of_id(id: String) -> Option<Self> {
        let mut words = id.split(' ');
        let user = UserId::parse(words.next()?).ok()?;
        let conversation = ConversationId::parse(words.next()?).ok()?;
        let seq = Seq(words.next()?.parse().ok()?);
        Some(Self { id, user, conversation, seq })
    }
}
