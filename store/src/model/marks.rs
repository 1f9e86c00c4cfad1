//! How far members are.

use proto::wire::Receipt;
use proto::{ConversationId, Cursor, Seq, UserId};

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
            conversation: self.conversation.as_str().to_owned(),
            user: self.user.as_str().to_owned(),
            kind: self.kind.wire().into(),
            seq: self.seq.0,
        }
    }
}
