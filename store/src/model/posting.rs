//! What is written: messages, changes of groups, amendments.

use std::sync::Arc;

use bytes::Bytes;
use proto::{ConversationId, Cursor, Fingerprint, Seq, SessionId, StoreIncarnation, UserId};

/// One event to number, file for every member, and announce.
#[derive(Debug, Clone)]
pub struct Post {
    /// Where it is written.
    pub conversation: ConversationId,
    /// Who wrote it.
    pub by: UserId,
    /// The encoded [`Entry`](proto::wire::Entry), or for a change all of them, in order.
    pub entries: Arc<[NewEntry]>,
    /// A message, or a change of the group.
    pub kind: PostKind,
    /// Announced with it and not stored: where it belongs in a trace
    /// ([`Announcement::trace`](proto::wire::Announcement)). Empty for most.
    pub trace: Bytes,
}

/// An encoded [`Entry`](proto::wire::Entry) and what the store itself needs of it.
#[derive(Debug, Clone)]
pub struct NewEntry {
    /// Of the entry.
    pub fingerprint: Fingerprint,
    /// Unix milliseconds.
    pub time: u64,
    /// The encoded [`Entry`](proto::wire::Entry).
    pub bytes: Bytes,
}

/// What kind of [`Post`] it is.
#[derive(Debug, Clone)]
pub enum PostKind {
    /// Takes the conversation's next seq. One entry. `by` must be a member.
    Message {
        /// Repeats with the same key by the same user in this conversation
        /// within 24 hours are the same message.
        repeat_key: Arc<str>,
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
