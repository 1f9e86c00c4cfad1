//! Marks: what an `ack` says was delivered, and `read`.

use proto::wire::{self, reply};
use proto::{ConversationId, UserId};
use store::model::{AcknowledgeResult, Mark, MarkKind, MarkResult};

use super::{done, field, seq};
use crate::error::{Error, NO_CONVERSATION, Result};
use crate::receipts::Receipts;

/// The answer to an `ack`. The other members are told.
pub(crate) fn delivered(
    user: UserId,
    outcome: AcknowledgeResult,
    receipts: &Receipts,
) -> Result<reply::Result> {
    let AcknowledgeResult::Marks(marks) = outcome else {
        return Err(Error::BadRequest("`cursor` names no position in this inbox".to_owned()));
    };
    for (conversation, seq) in marks {
        receipts.note(Mark { conversation, user: user.clone(), kind: MarkKind::Delivered, seq });
    }
    Ok(done())
}

/// The store's call for a `read`.
pub(crate) fn read(user: UserId, read: &wire::Read) -> Result<Mark> {
    let conversation: ConversationId = field("conversation", &read.conversation)?;
    if !conversation.admits(&user) {
        return Err(NO_CONVERSATION);
    }
    Ok(Mark { conversation, user, kind: MarkKind::Read, seq: seq("seq", read.seq)? })
}

/// The answer to a `read`. The members are told when the mark has advanced.
pub(crate) fn marked(mark: Mark, outcome: MarkResult, receipts: &Receipts) -> Result<reply::Result> {
    match outcome {
        MarkResult::Advanced => receipts.note(mark),
        MarkResult::Unchanged => {}
        MarkResult::BeyondHead => {
            return Err(Error::BadRequest("`seq` is beyond the newest message".to_owned()));
        }
        MarkResult::NotMember => return Err(NO_CONVERSATION),
    }
    Ok(done())
}
