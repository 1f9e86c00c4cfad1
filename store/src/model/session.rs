//! Sessions on their users' records, and presence, which follows from them.

use std::time::Duration;

use proto::{Cursor, DeviceId, NodeIncarnation, Position, ResetReason, SessionId, Time, UserId};

use super::inbox::InboxPage;

/// A session and its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The session.
    pub session: SessionId,
    /// The device that attached.
    pub device: DeviceId,
    /// The node that gets its announcements.
    pub node: NodeIncarnation,
}

/// A point in an inbox at which reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartPoint {
    /// After everything that is there now.
    Head,
    /// Before the oldest event that is kept.
    Start,
    /// After this event.
    Cursor(Cursor),
}

/// Begins a session or, without a location, looks up where reading would begin.
#[derive(Debug, Clone)]
pub struct Attach {
    /// The owner of the inbox.
    pub user: UserId,
    /// The session to note on the user's record, in the same step in which the
    /// head is read, so that no event falls between. It replaces a session of
    /// the same device, and the oldest session of a user who has
    /// [`crate::Bounds::sessions`] already.
    pub location: Option<Location>,
    /// Where reading begins. A session that does not begin at the head gets its
    /// first page in the same step.
    pub from: StartPoint,
}

/// The result of an [`Attach`].
#[derive(Debug, Clone, PartialEq)]
pub struct AttachResult {
    /// Reading goes on after this: the head when none was given, and after a
    /// reset.
    pub start: Cursor,
    /// Why the cursor that was given is not valid.
    pub reset: Option<ResetReason>,
    /// The inbox's head.
    pub head: Position,
    /// The sessions that this one replaced: of the same device, and the oldest
    /// beyond the limit. They are no longer on the record.
    pub replaced: Vec<Location>,
    /// Set when the user had no session before this one.
    pub absence: Option<Absence>,
    /// Whether the cursor that was given, or a later one, has been
    /// acknowledged.
    pub acknowledged: bool,
    /// For a session that begins at a valid cursor: the first events after
    /// `start`, at most [`FIRST_PAGE`], with the marks that have changed since.
    /// It may be missing; then it is read like any other page.
    pub page: Option<InboxPage>,
}

/// The most events of an attaching session's first page.
pub const FIRST_PAGE: usize = 100;

/// The absence of a user who had no session until now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absence {
    /// How long ago the last session ended; `None` if there never was one.
    pub ended_ago: Option<Duration>,
    /// The nodes that watch the user.
    pub watchers: Vec<NodeIncarnation>,
}

/// The presence of a user, as the record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceRecord {
    /// Whether the user has a session on a node that is alive.
    pub here: bool,
    /// When the last session ended, by the store's clock, and how
    /// long ago that is; `None` if there never was one. For sessions whose node
    /// died it is one lease's length before that was noticed. The embedded
    /// store may lose the ends of the last ten seconds in a crash, and those of
    /// the sessions that were open then; the end before remains.
    pub ended: Option<(Time, Duration)>,
    /// The nodes that watch the user.
    pub watchers: Vec<NodeIncarnation>,
}

/// Ends a session: removes this session's location and no other.
#[derive(Debug, Clone)]
pub struct Detach {
    /// The session's user.
    pub user: UserId,
    /// The session.
    pub session: SessionId,
}
