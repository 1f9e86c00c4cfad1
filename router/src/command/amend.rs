//! `edit`, `recall` and `react`: what becomes of messages. They go among the
//! posts, in the order in which they come from a link, as messages do: one may
//! follow right behind the message that it amends. Who may is said here, and
//! judged by the store in the same step as what the message's state allows.

use bytes::Bytes;
use proto::wire::{self, entry, reply};
use proto::{ClientMessageId, ConversationId, Seq, UserId, label};
use store::model::{Amendment, Post, PostKind, Posted, Who};

use super::{check_body, done, field, new_entry, now};
use crate::error::{Error, NO_CONVERSATION, Result};

/// Its sender gives a message another body: what is asked of the store.
pub(crate) fn edit(user: UserId, asked: wire::Edit) -> Result<Post> {
    let conversation: ConversationId = field("conversation", &asked.conversation)?;
    let key: ClientMessageId = field("key", &asked.key)?;
    check_body(&asked.body)?;
    let what = entry::What::Edited(wire::Edited { seq: asked.seq, body: asked.body });
    let amendment = Amendment::Edit { repeat_key: key.as_str().into() };
    post(user, conversation, PostKind::Amend { seq: Seq(asked.seq), who: Who::Sender, amendment }, what)
}

/// Its sender, or the group's owner, takes a message back: what is asked of the
/// store.
pub(crate) fn recall(user: UserId, asked: &wire::Recall) -> Result<Post> {
    let conversation: ConversationId = field("conversation", &asked.conversation)?;
    let what = entry::What::Recalled(wire::Recalled { seq: asked.seq });
    let (seq, amendment) = (Seq(asked.seq), Amendment::Recall);
    post(user, conversation, PostKind::Amend { seq, who: Who::SenderOrOwner, amendment }, what)
}

/// Any member reacts to a message, or takes a reaction of its own back: what is
/// asked of the store.
pub(crate) fn react(user: UserId, asked: wire::React) -> Result<Post> {
    let conversation: ConversationId = field("conversation", &asked.conversation)?;
    label::check_emoji(&asked.emoji).map_err(|rule| Error::field("emoji", rule))?;
    let amendment = Amendment::React { emoji: asked.emoji.as_str().into(), on: asked.on };
    let kind = PostKind::Amend { seq: Seq(asked.seq), who: Who::Anyone, amendment };
    let what = wire::Reaction { seq: asked.seq, emoji: asked.emoji, on: asked.on };
    post(user, conversation, kind, entry::What::Reaction(what))
}

fn post(by: UserId, conversation: ConversationId, kind: PostKind, what: entry::What) -> Result<Post> {
    if !conversation.admits(&by) {
        return Err(NO_CONVERSATION);
    }
    Ok(Post { entries: [new_entry(&by, now(), what)].into(), conversation, by, kind, trace: Bytes::new() })
}

/// What is answered.
pub(crate) fn amended(posted: Posted) -> Result<reply::Result> {
    match posted {
        // A repeat finds it as it wants it.
        Posted::Done { .. } | Posted::Unchanged => Ok(done()),
        Posted::NotMember => Err(NO_CONVERSATION),
        Posted::NoSuchMessage => Err(Error::NotFound("no such message")),
        Posted::NotAllowed => {
            Err(Error::forbidden("a message is edited by its sender, recalled by its sender or the owner"))
        }
        Posted::Recalled => Err(Error::Conflict("the message was recalled".to_owned())),
        Posted::TooManyReactions => {
            Err(Error::Conflict("the message has all the reactions it may have".to_owned()))
        }
        Posted::Stale => {
            tracing::error!("the store's answer is none to an amendment");
            Err(Error::Internal)
        }
    }
}
