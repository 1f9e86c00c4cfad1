//! How far a member of a conversation is: delivered or read up to a seq.

use proto::wire::receipt::Kind;
use proto::wire::{self, entry::What};

/// How far a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark<'a> {
    pub(crate) conversation: &'a str,
    pub(crate) user: &'a str,
    pub(crate) kind: Kind,
    pub(crate) seq: u64,
}

impl<'a> Mark<'a> {
    /// What an entry at its place says; nothing where it is no message.
    pub(crate) fn of_message(conversation: &'a str, seq: u64, entry: &'a wire::Entry) -> Option<Self> {
        let is_message = matches!(entry.what, Some(What::Message(_)));
        is_message.then_some(Self { conversation, user: &entry.by, kind: Kind::Read, seq })
    }

    /// Whether it says all that the other one says, and perhaps more.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let kind = self.kind == other.kind || self.kind == Kind::Read;
        kind && self.seq >= other.seq && self.user == other.user && self.conversation == other.conversation
    }

    pub(crate) fn receipt(&self) -> wire::Receipt {
        wire::Receipt {
            conversation: self.conversation.to_owned(),
            user: self.user.to_owned(),
            kind: self.kind.into(),
            seq: self.seq,
        }
    }
}

impl<'a> From<&'a wire::Receipt> for Mark<'a> {
    fn from(receipt: &'a wire::Receipt) -> Self {
        let wire::Receipt { conversation, user, seq, .. } = receipt;
        Self { conversation, user, kind: receipt.kind(), seq: *seq }
    }
}
