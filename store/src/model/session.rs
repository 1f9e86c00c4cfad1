//! Sessions on their users' records, and what those say of presence.

use std::time::Duration;

use proto::{Cursor, DeviceId, NodeIncarnation, Position, ResetReason, SessionId, UserId};

use super::inbox::InboxPage;

/// Where a session lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The session.
    pub session: SessionId,
    /// Whose device it is.
    pub device: DeviceId,
    /// Where its announcements go.
    pub node: NodeIncarnation,
}

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// After everything that is there now.
    Head,
    /// Before the oldest event that is kept.
    Start,
    /// After this event.
    Cursor(Cursor),
}

/// A session that begins, or (without a location) a place to look up.
#[derive(Debug, Clone)]
pub struct Attach {
    /// Whose inbox.
    pub user: UserId,
    /// Written to the user's record in the same step as the head is read, so
    /// that nothing falls between; replaces those of the same device, and the
    /// oldest of a user who has [`crate::Bounds::sessions`] already.
    pub location: Option<Location>,
    /// Where reading begins. A session that begins at a place, and not at the
    /// head, is given its first page in the same step.
    pub from: From,
}

/// What became of an [`Attach`].
#[derive(Debug, Clone, PartialEq)]
pub struct Attached {
    /// Read on after this. The head when there was none or after a reset.
    pub start: Cursor,
    /// The place that was given does not hold.
    pub reset: Option<ResetReason>,
    /// The inbox's head.
    pub head: Position,
    /// The locations that this one has taken the place of: of the same device,
    /// and the oldest beyond the bound. None of them is on the record any more.
    pub replaced: Vec<Location>,
    /// The user had no session before this one.
    pub absence: Option<Absence>,
    /// The place that was given has been acknowledged, or a later one.
    pub acknowledged: bool,
    /// What comes after `start`, at most [`FIRST_PAGE`] events, with the marks
    /// that have changed since: of a session that begins at a place which
    /// holds. It may be missing, and is read then like any other.
    pub page: Option<InboxPage>,
}

/// Events of an attaching session's first page at most.
pub const FIRST_PAGE: usize = 100;

/// That a user has had no session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absence {
    /// How long ago the last one ended, if there ever was one.
    pub ended_ago: Option<Duration>,
    /// The nodes that watch the user.
    pub watchers: Vec<NodeIncarnation>,
}

/// What a user's record says of its sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// It has a session on a node that is alive.
    pub here: bool,
    /// When the last one ended, in Unix milliseconds of the store, and how long
    /// ago that is; nothing if there never was one. Of sessions whose node has
    /// died it is a lease's length before that was noticed, when it was last
    /// heard of at the latest. Embedded, a crash loses the ends of the last ten
    /// seconds and those of the sessions that were open: what is known then is
    /// the end before.
    pub ended: Option<(u64, Duration)>,
    /// The nodes that watch the user.
    pub watchers: Vec<NodeIncarnation>,
}

/// A session that has ended: removes this location and no other.
#[derive(Debug, Clone)]
pub struct Detach {
    /// Whose record.
    pub user: UserId,
    /// The session.
    pub session: SessionId,
}
