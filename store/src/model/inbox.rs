//! Pages of inboxes.

use std::time::Duration;

use prost::Message as _;
use proto::wire::Entry;
use proto::{ConversationId, Cursor, DeviceId, Position, ResetReason, Seq, SessionId, UserId};

use super::marks::Mark;

/// Asks for a page of an inbox.
#[derive(Debug, Clone)]
pub struct InboxQuery {
    /// The owner of the inbox.
    pub user: UserId,
    /// The last event that the reader has; compared with the log as in
    /// [`Attach`](super::Attach).
    pub after: Cursor,
    /// The most events. The store returns fewer where they would weigh more
    /// than a page may (less where many inboxes are read together), but at
    /// least one while there is one.
    pub limit: usize,
    /// The reading session, for [`InboxPage::standing`].
    pub session: Option<(SessionId, DeviceId)>,
    /// Which marks to return with the page that reaches the head.
    pub marks: Option<MarksQuery>,
}

/// Asks for the marks that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarksQuery {
    /// Marks that changed since then; a few older ones may come, too.
    pub since: MarksSince,
    /// `marks_next` of the page before; 0 at first.
    pub after: u64,
}

/// A time from which changes of marks are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarksSince {
    /// Since shortly before the event at this cursor was filed.
    Cursor(Cursor),
    /// Since this long ago. Whoever must miss none asks for [`NOTED_AHEAD`] more.
    Within(Duration),
}

/// A change of a mark may have been noted this long before it was made.
pub const NOTED_AHEAD: Duration = Duration::from_secs(10);

/// A page of an inbox.
#[derive(Debug, Clone, PartialEq)]
pub struct InboxPage {
    /// The events at the positions after `after`, without holes.
    pub events: Vec<InboxEvent>,
    /// The inbox's head when the page was read.
    pub head: Position,
    /// Set when `after` is not valid: why, and the cursor (the head) at which
    /// to go on. There are no events then.
    pub reset: Option<(ResetReason, Cursor)>,
    /// What the user's record says about the reading session.
    pub standing: Standing,
    /// The marks asked for, on the page that reaches the head. For each
    /// conversation whose marks have changed: the others' `delivered` and
    /// `read`, and the reader's own `read`.
    pub marks: Vec<Mark>,
    /// For [`MarksQuery::after`] of the next query; `None` when there are no
    /// more marks.
    pub marks_next: Option<u64>,
}

/// Whether a session is on its user's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is there, or no session was named.
    Registered,
    /// Another session of the same device is there instead.
    Superseded,
    /// Neither is there: it was removed with its node's lease.
    Missing,
}

/// An event in an inbox.
#[derive(Debug, Clone, PartialEq)]
pub struct InboxEvent {
    /// Its position in the inbox.
    pub position: Position,
    /// The event.
    pub event: LogEvent,
}

impl LogEvent {
    /// The bytes that it takes in an answer: an estimate that is never too low.
    pub fn weight(&self) -> usize {
        // The position, the seq, the times, and the tags around them.
        const REST: usize = 64;
        REST + self.conversation.as_str().len() + self.entry.encoded_len()
    }
}

/// An entry with its conversation and seq.
#[derive(Debug, Clone, PartialEq)]
pub struct LogEvent {
    /// The conversation.
    pub conversation: ConversationId,
    /// The seq of a message; 0 for a change.
    pub seq: Seq,
    /// The entry. In an inbox it may be without content (no `what`): then the
    /// stored entry is damaged, and readers skip it.
    pub entry: Entry,
}
