//! Marks: how far members have received and read.

use proto::wire::{MovedMark, Receipt};
use proto::{ConversationId, Cursor, Seq, StoreIncarnation, UserId};

/// A member's mark on a conversation: "everything up to here".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The conversation.
    pub conversation: ConversationId,
    /// The member.
    pub user: UserId,
    /// Delivered or read.
    pub kind: MarkKind,
    /// The newest seq that the mark covers.
    pub seq: Seq,
}

/// The kinds of marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MarkKind {
    /// The message has reached one of the member's devices.
    Delivered,
    /// The message has been read.
    Read,
}

/// The result of setting a [`Mark`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkResult {
    /// The mark was moved.
    Advanced,
    /// The mark was there already, or farther.
    Unchanged,
    /// There is no message with this seq yet.
    BeyondHead,
    /// There is no such conversation, or the user is not a member.
    NotMember,
}

/// Says that everything up to a cursor has reached one of the user's devices.
#[derive(Debug, Clone)]
pub struct Acknowledge {
    /// The owner of the inbox.
    pub user: UserId,
    /// The newest event that has arrived.
    pub cursor: Cursor,
    /// What a gateway knows of it. Without this the store reads the inbox from
    /// the acknowledged position on.
    pub handed_out: Option<HandedOut>,
}

/// What a gateway has handed out to a session up to a cursor, and after the
/// last cursor for which all marks are known to be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandedOut {
    /// The incarnation of the store in which it was handed out. In another one it
    /// does not count: the store reads the inbox.
    pub store: StoreIncarnation,
    /// The newest message of each conversation.
    pub marks: Vec<(ConversationId, Seq)>,
    /// Whether the acknowledged position is to move, too.
    pub position: bool,
}

impl Acknowledge {
    /// An acknowledgement of which only the cursor is known.
    pub fn up_to(user: UserId, cursor: Cursor) -> Self {
        Self { user, cursor, handed_out: None }
    }
}

/// The result of an [`Acknowledge`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AcknowledgeResult {
    /// The `delivered` marks that were moved by this acknowledgement, and not by
    /// another one of its batch.
    Marks(Vec<(ConversationId, Seq)>),
    /// The cursor is not one of this inbox: it is beyond the head, or
    /// rewritten. (A trimmed position is no error: its result is `Marks`.)
    NoSuchPosition,
}

impl MarkKind {
    /// The kind as the bus has it.
    pub fn wire(self) -> proto::wire::receipt::Kind {
        match self {
            Self::Delivered => proto::wire::receipt::Kind::Delivered,
            Self::Read => proto::wire::receipt::Kind::Read,
        }
    }
}

impl Mark {
    /// The mark as a page of an inbox has it.
    pub fn receipt(&self) -> Receipt {
        Receipt {
            conversation: self.conversation.as_str().to_owned(),
            user: self.user.as_str().to_owned(),
            kind: self.kind.wire().into(),
            seq: self.seq.0,
        }
    }

    /// The mark as the bus has it, beside its conversation.
    pub fn moved(&self) -> MovedMark {
        MovedMark { user: self.user.as_str().to_owned(), kind: self.kind.wire().into(), seq: self.seq.0 }
    }
}
