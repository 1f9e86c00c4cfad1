//! What goes into a store and comes out of it.

use std::time::Duration;

use bytes::Bytes;
use proto::wire::{Entry, Receipt};
use proto::{
    ChannelId, ConversationId, Cursor, DeviceId, Fingerprint, NodeIncarnation, Position, ResetReason, Seq,
    SessionId, StoreIncarnation, UserId,
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
    /// Changes what an earlier message is; takes no seq, and stands in the
    /// inboxes between the messages before and after it, of those members who
    /// see the message. One entry. `by` must be a member.
    Amend {
        /// Of the message.
        seq: Seq,
        /// Which of the members may.
        who: Who,
        /// What becomes of it.
        amendment: Amendment,
    },
}

/// Which of the members who see a message may amend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// All of them.
    Anyone,
    /// Whoever wrote the message.
    Sender,
    /// Whoever wrote it, and the group's owner.
    SenderOrOwner,
}

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Amendment {
    /// It has another body: that of the entry.
    Edit {
        /// Repeats with the same key by the same user for this message within
        /// 24 hours change nothing, whatever came after the first.
        repeat_key: Box<str>,
    },
    /// It has no body any more.
    Recall,
    /// `by` has reacted, or takes it back.
    React {
        /// With what: at most 32 bytes.
        emoji: Box<str>,
        /// Set, or taken back.
        on: bool,
    },
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

/// Counts the changes of a group; goes up with each entry of one. Amendments of
/// messages make no decision about the group stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Version(pub u64);

/// What became of a [`Post`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Posted {
    /// Numbered, filed for every member, and announced.
    Done {
        /// Of the message, also of the one that was amended; of a change the
        /// head at that time.
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
    /// An amendment's message is not there: trimmed, not yet, or from before
    /// `by` joined.
    NoSuchMessage,
    /// An amendment's message is there, but is not for `by` to amend so:
    /// nothing was written.
    NotAllowed,
    /// An amendment's message has been recalled.
    Recalled,
    /// An amendment that changes nothing; nothing was filed.
    Unchanged,
    /// The message has as many reactions as it may have.
    TooManyReactions,
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
    /// The user had no session before this one.
    pub absence: Option<Absence>,
}

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
    pub messages: Vec<Shown>,
    /// Whether there are more in the direction of reading.
    pub more: bool,
}

/// A message in its present state.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// The message, with its present body: that of the last edit, none when it
    /// was recalled.
    pub message: Logged,
    /// Unix ms of the last edit.
    pub edited: Option<u64>,
    /// Unix ms of the recall.
    pub recalled: Option<u64>,
    /// By emoji, in the order of the first reaction; users in that of reacting.
    pub reactions: Vec<(String, Vec<UserId>)>,
}

/// A conversation's state.
#[derive(Debug, Clone, PartialEq)]
pub struct Conversation {
    /// The newest message's seq.
    pub head: Seq,
    /// Of a group.
    pub group: Option<Group>,
    /// The newest message.
    pub last_message: Option<Shown>,
    /// Of the reader, if one was named and is a member: others' messages after
    /// its read mark that are not recalled. The rule: the head minus the read
    /// mark (which is at least at the reader's own last message), minus the
    /// recalled messages between the two that the log still keeps; one that
    /// was trimmed counts whatever became of it.
    pub unread: u64,
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

/// Something for a channel's log and all who are subscribed.
#[derive(Debug, Clone)]
pub struct Broadcast {
    /// Which channel.
    pub channel: ChannelId,
    /// Who publishes.
    pub by: UserId,
    /// An encoded [`Entry`] with a message.
    pub entry: NewEntry,
    /// As in [`PostKind::Message`], by user and channel.
    pub repeat_key: Box<str>,
}

/// What became of a [`Broadcast`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broadcasted {
    /// In its channel: 1, 2, 3 … without holes.
    pub seq: Seq,
    /// Of the entry that stands.
    pub time: u64,
    /// It was there already.
    pub duplicate: bool,
}

/// A node that has subscribers of a channel, or has none any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audience {
    /// Which channel.
    pub channel: ChannelId,
    /// The node.
    pub node: NodeIncarnation,
}

/// Publications of a channel to read.
#[derive(Debug, Clone)]
pub struct ChannelQuery {
    /// Which channel.
    pub channel: ChannelId,
    /// Exclusive.
    pub after: Seq,
    /// How many at most.
    pub limit: usize,
}

/// A part of a channel's log.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelPage {
    /// In the order of seq, from the oldest kept after the one asked for.
    pub publications: Vec<(Seq, Entry)>,
    /// The newest seq.
    pub head: Seq,
}

/// A message for a member who had no session when it was filed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unheard {
    /// Names it: the same at every delivery.
    pub id: String,
    /// Who was away.
    pub user: UserId,
    /// Where it was written.
    pub conversation: ConversationId,
    /// Its number.
    pub seq: Seq,
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

impl std::convert::From<Logged> for Shown {
    /// As it was sent.
    fn from(message: Logged) -> Self {
        Self { message, edited: None, recalled: None, reactions: Vec::new() }
    }
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
