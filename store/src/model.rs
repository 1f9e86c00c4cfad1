//! What goes into a store and comes out of it.

use bytes::Bytes;
use proto::wire::{Entry, Receipt};
use proto::{
    ConversationId, Cursor, DeviceId, Fingerprint, NodeIncarnation, Position, ResetReason, Seq, SessionId,
    StoreIncarnation, UserId,
};

/// One event to number, file for every member, and announce.
#[derive(Debug, Clone)]
pub struct Post {
    /// Where it is written.
    pub conversation: ConversationId,
    /// Who wrote it.
    pub by: UserId,
    /// The encoded [`Entry`], or for a change all of them, in order.
    pub entries: Vec<NewEntry>,
    /// A message, or a change of the group.
    pub kind: PostKind,
}

/// An encoded [`Entry`] and what the store itself needs of it.
#[derive(Debug, Clone)]
pub struct NewEntry {
    /// Of the entry.
    pub fingerprint: Fingerprint,
    /// Unix milliseconds.
    pub time: u64,
    /// The encoded [`Entry`].
    pub bytes: Bytes,
}

/// What kind of [`Post`] it is.
#[derive(Debug, Clone)]
pub enum PostKind {
    /// Takes the conversation's next seq. One entry. `by` must be a member.
    Message {
        /// Repeats with the same key by the same user in this conversation
        /// within 24 hours are the same message.
        repeat_key: Box<str>,
        /// The sending session, which needs no announcement.
        session: Option<SessionId>,
    },
    /// Changes a group; takes no seq, and stands in the inboxes between the
    /// messages before and after it. Filed for all who are members before or
    /// after it.
    Change(Change),
}

/// A change of a group's state, all of it or nothing.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// The version that was read before deciding; 0 to make a new group.
    pub expect: Version,
    /// The new name.
    pub name: Option<String>,
    /// The new owner.
    pub owner: Option<UserId>,
    /// They see what comes after the entries before this change.
    pub add: Vec<UserId>,
    /// They get the change as the last of the conversation.
    pub remove: Vec<UserId>,
}

/// Counts the entries of a group that are not messages; goes up with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Version(pub u64);

/// What became of a [`Post`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Posted {
    /// Numbered, filed for every member, and announced.
    Done {
        /// Of the message; of a change the head at that time.
        seq: Seq,
        /// Of the entry that stands (the first one, for a duplicate).
        time: u64,
        /// It was there already: the first body stands.
        duplicate: bool,
        /// Where it is in the inbox of `by`, with its fingerprint; nothing for
        /// a duplicate and for whoever has no place in it any more.
        place: Option<OwnPlace>,
    },
    /// There is no such conversation, or `by` is not a member.
    NotMember,
    /// The group is not at the expected version: read it again.
    Stale,
}

/// Where an event is in the inbox of whoever made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnPlace {
    /// The place.
    pub cursor: Cursor,
    /// The store's incarnation in which it holds: whoever knows places from
    /// another one must compare before going on from here.
    pub store: StoreIncarnation,
}

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
    /// that nothing falls between; replaces those of the same device.
    pub location: Option<Location>,
    /// Where reading begins.
    pub from: From,
}

/// What became of an [`Attach`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// Read on after this. The head when there was none or after a reset.
    pub start: Cursor,
    /// The place that was given does not hold.
    pub reset: Option<ResetReason>,
    /// The inbox's head.
    pub head: Position,
    /// The locations of the same device that this one has taken the place of.
    pub replaced: Vec<Location>,
}

/// A session that has ended: removes this location and no other.
#[derive(Debug, Clone)]
pub struct Detach {
    /// Whose record.
    pub user: UserId,
    /// The session.
    pub session: SessionId,
}

/// A page of an inbox to read.
#[derive(Debug, Clone)]
pub struct InboxQuery {
    /// Whose.
    pub user: UserId,
    /// The last event that the reader has; checked as in [`Attach`].
    pub after: Cursor,
    /// Events at most; the store may give fewer, but never none while there
    /// are some.
    pub limit: usize,
    /// The reading session, whose standing is looked up.
    pub session: Option<(SessionId, DeviceId)>,
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

/// An entry at its place in its conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Logged {
    /// The conversation.
    pub conversation: ConversationId,
    /// Of a message; 0 of a change.
    pub seq: Seq,
    /// The entry.
    pub entry: Entry,
}

/// Messages of a conversation to read.
#[derive(Debug, Clone)]
pub struct HistoryQuery {
    /// Who reads: must be a member; sees what came after joining.
    pub user: UserId,
    /// The conversation.
    pub conversation: ConversationId,
    /// Where to read.
    pub range: HistoryRange,
    /// Messages at most.
    pub limit: usize,
}

/// Which messages: the newest, or those next to a seq, exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryRange {
    /// The newest.
    Newest,
    /// The newest of those before.
    Before(Seq),
    /// The oldest of those after.
    After(Seq),
}

/// Messages in seq order.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryPage {
    /// The messages.
    pub messages: Vec<Logged>,
    /// Whether there are more in the direction of reading.
    pub more: bool,
}

/// A conversation's state.
#[derive(Debug, Clone, PartialEq)]
pub struct Conversation {
    /// The newest message's seq.
    pub head: Seq,
    /// Of a group.
    pub group: Option<Group>,
    /// The newest message.
    pub last_message: Option<Logged>,
    /// Every member's, in the order of joining (direct: of the id; one entry
    /// in a conversation with oneself).
    pub members: Vec<Member>,
}

/// What only groups have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// For [`Change::expect`].
    pub version: Version,
    /// Its name.
    pub name: String,
    /// Its owner.
    pub owner: UserId,
}

/// A member and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub user: UserId,
    /// Sees what comes after this; 0 in direct conversations.
    pub since: Seq,
    /// Everything up to here has reached one of its devices.
    pub delivered: Seq,
    /// Everything up to here has been read; at least its own last message, and
    /// at least `since`.
    pub read: Seq,
}

/// That a user is in a conversation, from the user's own record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The conversation.
    pub conversation: ConversationId,
    /// Where its newest event is in the user's inbox: sorts by activity.
    pub activity: Position,
}

/// A member's mark on a conversation: "all up to here".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The conversation.
    pub conversation: ConversationId,
    /// Whose mark.
    pub user: UserId,
    /// Delivered or read.
    pub kind: MarkKind,
    /// Up to here.
    pub seq: Seq,
}

/// Which mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MarkKind {
    /// It has reached a device.
    Delivered,
    /// It has been read.
    Read,
}

/// What became of a [`Mark`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marked {
    /// It is the newest now.
    Advanced,
    /// There was one at least as new.
    Unchanged,
    /// There is no message of this seq yet.
    BeyondHead,
    /// There is no such conversation, or the user is not a member.
    NotMember,
}

/// Everything up to a cursor has reached one of the user's devices.
#[derive(Debug, Clone)]
pub struct Acknowledge {
    /// Whose inbox.
    pub user: UserId,
    /// Up to here.
    pub cursor: Cursor,
}

/// What became of an [`Acknowledge`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acknowledged {
    /// These `delivered` marks are new: the newest seq of each conversation
    /// with messages between the last acknowledged place and this one.
    Marks(Vec<(ConversationId, Seq)>),
    /// The cursor names no place of this inbox (beyond the head, or
    /// rewritten). A place that was trimmed is `Marks`.
    NoSuchPlace,
}

impl MarkKind {
    /// As the bus carries it.
    pub fn wire(self) -> proto::wire::receipt::Kind {
        match self {
            Self::Delivered => proto::wire::receipt::Kind::Delivered,
            Self::Read => proto::wire::receipt::Kind::Read,
        }
    }
}

impl Mark {
    /// As the bus carries it.
    pub fn receipt(&self) -> Receipt {
        Receipt {
            conversation: self.conversation.to_string(),
            user: self.user.to_string(),
            kind: self.kind.wire().into(),
            seq: self.seq.0,
        }
    }
}
