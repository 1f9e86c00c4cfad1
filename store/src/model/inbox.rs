//! Pages of inboxes.

use std::time::Duration;

use prost::Message as _;
use proto::wire::Entry;
use proto::{ConversationId, Cursor, DeviceId, Position, ResetReason, Seq, SessionId, UserId};

use super::marks::Mark;

/// A page of an inbox to read.
#[derive(Debug, Clone)]
pub struct InboxQuery {
    /// Whose.
    pub user: UserId,
    /// The last event that the reader has; checked as in [`Attach`](super::Attach).
    pub after: Cursor,
    /// Events at most; the store gives fewer where they weigh more than a page
    /// may, less where many are read together, but never none while there are
    /// some.
    pub limit: usize,
    /// The reading session, whose standing is looked up.
    pub session: Option<(SessionId, DeviceId)>,
    /// The marks of others that are wanted, with the page that reaches the
    /// head.
    pub marks: Option<MarksQuery>,
}

/// Which marks a reader wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarksQuery {
    /// Those that changed since then, and perhaps some more.
    pub since: MarksSince,
    /// Where to go on: `marks_next` of the page before, else 0.
    pub after: u64,
}

/// Since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarksSince {
    /// Since shortly before the event at this place was made.
    Place(Cursor),
    /// For so long until now.
    Within(Duration),
}

/// A page of an inbox.
#[derive(Debug, Clone, PartialEq)]
pub struct InboxPage {
    /// Positions `after` + 1, + 2, … without holes.
    pub events: Vec<Filed>,
    /// The inbox's head when the page was read.
    pub head: Position,
    /// The place that was given does not hold: go on from this cursor (the
    /// head). There are no events then.
    pub reset: Option<(ResetReason, Cursor)>,
    /// What the record says of the reading session.
    pub standing: Standing,
    /// What was asked for, with the page that reaches the head: of each
    /// conversation whose marks have changed the others' `delivered` and
    /// `read`, and the reader's own `read`.
    pub marks: Vec<Mark>,
    /// There are more marks: ask again with this.
    pub marks_next: Option<u64>,
}

/// Whether a session is on its user's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is, or no session was named.
    Registered,
    /// Another session of the same device is.
    Superseded,
    /// Neither is: it was swept.
    Missing,
}

/// An event at its place in an inbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Filed {
    /// In the inbox.
    pub position: Position,
    /// The event.
    pub event: Logged,
}

impl Logged {
    /// Bytes that it takes in an answer, nearly and not less.
    pub fn weight(&self) -> usize {
        // A position, a seq, times, and the tags around them.
        const REST: usize = 64;
        REST + self.conversation.as_str().len() + self.entry.encoded_len()
    }
}

/// An entry at its place in its conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Logged {
    /// The conversation.
    pub conversation: ConversationId,
    /// Of a message; 0 of a change.
    pub seq: Seq,
    /// The entry. In an inbox it may be one that is nothing (no `what`): what
    /// stood there cannot be read, and its reader goes on past it.
    pub entry: Entry,
}
