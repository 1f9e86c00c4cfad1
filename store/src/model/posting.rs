//! What is written to conversations: messages, changes of groups, amendments.

use std::sync::Arc;

use bytes::Bytes;
use proto::{ConversationId, Cursor, Fingerprint, Seq, SessionId, StoreIncarnation, Time, UserId};

use super::roles::Roles;

/// One message, change or amendment to number, file for every member, and
/// announce.
#[derive(Debug, Clone)]
pub struct Post {
    /// The conversation that it belongs to.
    pub conversation: ConversationId,
    /// The user who writes it.
    pub by: UserId,
    /// The encoded [`Entry`](proto::wire::Entry); a change may have several, in
    /// order.
    pub entries: Arc<[NewEntry]>,
    /// A message, a change of the group, or an amendment.
    pub kind: PostKind,
    /// The span that it belongs to
    /// ([`Announcement::trace`](proto::wire::Announcement)): announced, but not
    /// stored. Empty for most.
    pub trace: Bytes,
}

/// An encoded [`Entry`](proto::wire::Entry) and the fields that the store
/// itself needs.
#[derive(Debug, Clone)]
pub struct NewEntry {
    /// The entry's fingerprint.
    pub fingerprint: Fingerprint,
    /// When the entry was made.
    pub time: Time,
    /// The encoded [`Entry`](proto::wire::Entry).
    pub bytes: Bytes,
}

/// The kinds of [`Post`].
#[derive(Debug, Clone)]
pub enum PostKind {
    /// A message: takes the conversation's next seq. One entry. `by` must be a
    /// member.
    Message {
        /// Within 24 hours a post with the same key, by the same user in the
        /// same conversation, is the same message.
        repeat_key: Arc<str>,
        /// The sending session, which gets no announcement: the answer tells
        /// it.
        session: Option<SessionId>,
    },
    /// A change of a group: takes no seq, and lies in the inboxes between the
    /// messages before and after it. It is filed for everyone who is a member
    /// before or after it.
    Change(Change),
    /// An amendment of an earlier message: takes no seq, and lies in the
    /// inboxes between the messages before and after it, but only of members
    /// who see the message. One entry. `by` must be a member.
    Amend {
        /// The seq of the message to amend.
        seq: Seq,
        /// Who may make this amendment.
        who: Amenders,
        /// The amendment.
        amendment: Amendment,
    },
}

/// The members who may amend a message, among those who see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amenders {
    /// Every member may do it.
    Anyone,
    /// Only the sender of the message.
    Sender,
    /// The sender of the message, and the group's owner and admins.
    SenderOrAdmin,
}

/// The kinds of amendments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Amendment {
    /// The message gets the body of the entry.
    Edit {
        /// Within 24 hours an edit with the same key, by the same user of the
        /// same message, changes nothing, even if other edits came in between.
        repeat_key: Box<str>,
    },
    /// The message loses its body.
    Recall,
    /// `by` reacts, or takes the reaction back.
    React {
        /// The emoji: at most [`proto::label::MAX_EMOJI_BYTES`] bytes.
        emoji: Box<str>,
        /// True sets the reaction, false takes it back.
        on: bool,
    },
}

/// A change of a group's state; all of it is done or nothing.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// The version that the decision was based on; 0 to make a new group.
    pub expect: Version,
    /// The new name; `None` keeps the old one.
    pub name: Option<String>,
    /// The new owner; `None` keeps the old one.
    pub owner: Option<UserId>,
    /// All roles from now on; `None` keeps the old ones. Who is removed has none.
    pub roles: Option<Roles>,
    /// New members. They see what comes after the entries before this change.
    pub add: Vec<UserId>,
    /// Members to remove. The change is the last that they get of the
    /// conversation.
    pub remove: Vec<UserId>,
}

/// Counts the changes of a group: goes up by one with each entry of a change.
/// Amendments do not count: they make no decision about the group stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Version(pub u64);

/// The result of a [`Post`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PostResult {
    /// Numbered, filed for every member, and announced.
    Done {
        /// The seq of the message, or of the one that was amended; for a change
        /// the head at that time.
        seq: Seq,
        /// The time of the stored entry; of the first one, for a duplicate.
        time: Time,
        /// Whether it is a repeat: then the first body stays.
        duplicate: bool,
        /// Where it is in the inbox of `by`, who may have left the group with
        /// it. `None` for a duplicate, and where another router has filed it
        /// and something of the conversation behind it.
        position: Option<OwnPosition>,
    },
    /// There is no such conversation, or `by` is not a member.
    NotMember,
    /// The group has another version than expected: read it again.
    Stale,
    /// The message to amend is not there: trimmed, not written yet, or from
    /// before `by` joined.
    NoSuchMessage,
    /// `by` is a reader of the group, who may not write; or the message to amend is
    /// there, but `by` may not amend it in this way.
    NotAllowed,
    /// The message to amend has been recalled.
    Recalled,
    /// The amendment changes nothing, so nothing was filed.
    Unchanged,
    /// The message has the most reactions that a message may have.
    TooManyReactions,
}

/// Where an event is in the inbox of the user who made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnPosition {
    /// The position and the fingerprint.
    pub cursor: Cursor,
    /// The incarnation of the store that gave the position. A session that
    /// knows positions of another incarnation must compare them with the log
    /// before it goes on from here.
    pub store: StoreIncarnation,
}
