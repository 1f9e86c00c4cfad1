//! `edit`, `recall` and `react`: amendments of messages. They share a queue with
//! messages, as an amendment may follow right behind its message. Who may amend is
//! said here. The store checks it, together with the message's state, in the step
//! that writes.

use bytes::Bytes;
use proto::wire::{self, entry, reply};
use proto::{ClientMessageId, ConversationId, Time, UserId, label};
use store::model::{Amenders, Amendment, Post, PostKind, PostResult};

use super::{check_body, done, field, new_entry, seq};
use crate::error::{Error, NO_CONVERSATION, Result};

/// The sender of a message gives it another body.
pub(crate) fn edit(user: UserId, asked: wire::Edit) -> Result<Post> {
    let conversation: ConversationId = field("conversation", &asked.conversation)?;
    let key: ClientMessageId = field("key", &asked.key)?;
    check_body(&asked.body)?;
    let what = entry::What::Edited(wire::Edited { seq: asked.seq, body: asked.body });
    let amendment = Amendment::Edit { repeat_key: key.as_str().into() };
    post(
        user,
        conversation,
        PostKind::Amend { seq: seq("seq", asked.seq)?, who: Amenders::Sender, amendment },
        what,
    )
}

/// The sender of a message, or the group's owner or an admin, takes it back.
pub(crate) fn recall(user: UserId, asked: &wire::Recall) -> Result<Post> {
    let conversation: ConversationId = field("conversation", &asked.conversation)?;
    let what = entry::What::Recalled(wire::Recalled { seq: asked.seq });
    let (seq, amendment) = (seq("seq", asked.seq)?, Amendment::Recall);
    post(user, conversation, PostKind::Amend { seq, who: Amenders::SenderOrAdmin, amendment }, what)
}

/// A member reacts to a message, or takes its own reaction back.
pub(crate) fn react(user: UserId, asked: wire::React) -> Result<Post> {
    let conversation: ConversationId = field("conversation", &asked.conversation)?;
    label::check_emoji(&asked.emoji).map_err(|rule| Error::field("emoji", rule))?;
    let amendment = Amendment::React { emoji: asked.emoji.as_str().into(), on: asked.on };
    let kind = PostKind::Amend { seq: seq("seq", asked.seq)?, who: Amenders::Anyone, amendment };
    let what = wire::Reaction { seq: asked.seq, emoji: asked.emoji, on: asked.on };
    post(user, conversation, kind, entry::What::Reaction(what))
}

fn post(by: UserId, conversation: ConversationId, kind: PostKind, what: entry::What) -> Result<Post> {
    if !conversation.admits(&by) {
        return Err(NO_CONVERSATION);
    }
    Ok(Post {
        entries: [new_entry(&by, Time::now(), what)].into(),
        conversation,
        by,
        kind,
        trace: Bytes::new(),
    })
}

/// The answer to an amendment.
pub(crate) fn amended(posted: PostResult) -> Result<reply::Result> {
    match posted {
        // `Unchanged`: a repeat finds it done.
        PostResult::Done { .. } | PostResult::Unchanged => Ok(done()),
        PostResult::NotMember => Err(NO_CONVERSATION),
        PostResult::NoSuchMessage => Err(Error::NotFound("no such message")),
        PostResult::NotAllowed => Err(Error::forbidden(
            "a message is edited by its sender, and recalled by its sender, an admin or the owner; a reader only recalls",
        )),
        PostResult::Recalled => Err(Error::Conflict("the message was recalled".to_owned())),
        PostResult::TooManyReactions => {
            Err(Error::Conflict("the message has all the reactions it may have".to_owned()))
        }
        PostResult::Stale => {
            tracing::error!("the store's answer is none to an amendment");
            Err(Error::Internal)
        }
    }
}
