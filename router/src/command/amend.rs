//! `edit`, `recall` and `react`: what becomes of messages. Who may is decided
//! on the message as the user sees it; what its state allows, by the store.

use proto::wire::{self, entry, reply};
use proto::{ClientMessageId, ConversationId, Seq, UserId};
use store::model::{Amendment, HistoryQuery, HistoryRange, Post, PostKind, Posted};

use super::{check_body, field, group, may_be_in, new_entry, now};
use crate::dispatch::{Core, done};
use crate::error::{Error, NO_CONVERSATION, Result};

/// An emoji at most, in bytes (PROTOCOL.md §5).
const MAX_EMOJI: usize = 32;

const NO_MESSAGE: Error = Error::NotFound("no such message");

/// Its sender gives a message another body.
pub(crate) async fn edit(core: &Core, user: UserId, asked: wire::Edit) -> Result<reply::Result> {
    let conversation: ConversationId = field("conversation", &asked.conversation)?;
    let key: ClientMessageId = field("key", &asked.key)?;
    check_body(&asked.body)?;
    if sender(core, &user, &conversation, asked.seq).await? != user.as_str() {
        return Err(Error::Forbidden("only the sender edits a message"));
    }
    let what = entry::What::Edited(wire::Edited { seq: asked.seq, body: asked.body });
    let amendment = Amendment::Edit { repeat_key: key.as_str().into() };
    amended(core.post(post(user, conversation, asked.seq, what, amendment)).await?)
}

/// Its sender, or the group's owner, takes a message back.
pub(crate) async fn recall(core: &Core, user: UserId, asked: wire::Recall) -> Result<reply::Result> {
    let conversation: ConversationId = field("conversation", &asked.conversation)?;
    if sender(core, &user, &conversation, asked.seq).await? != user.as_str()
        && !owns(core, &user, &conversation).await?
    {
        return Err(Error::Forbidden("only the sender and the owner recall a message"));
    }
    let what = entry::What::Recalled(wire::Recalled { seq: asked.seq });
    amended(core.post(post(user, conversation, asked.seq, what, Amendment::Recall)).await?)
}

/// Any member reacts to a message, or takes a reaction of its own back: what is
/// asked of the store.
pub(crate) fn react(user: UserId, asked: wire::React) -> Result<Post> {
    let conversation: ConversationId = field("conversation", &asked.conversation)?;
    if !(1..=MAX_EMOJI).contains(&asked.emoji.len()) {
        return Err(Error::BadRequest(format!("`emoji` must have 1 to {MAX_EMOJI} bytes")));
    }
    if !may_be_in(&conversation, &user) {
        return Err(NO_CONVERSATION);
    }
    let amendment = Amendment::React { emoji: asked.emoji.as_str().into(), on: asked.on };
    let reaction = wire::Reaction { seq: asked.seq, emoji: asked.emoji, on: asked.on };
    Ok(post(user, conversation, asked.seq, entry::What::Reaction(reaction), amendment))
}

/// Who wrote a message that the user sees.
async fn sender(core: &Core, user: &UserId, conversation: &ConversationId, seq: u64) -> Result<String> {
    if !may_be_in(conversation, user) {
        return Err(NO_CONVERSATION);
    }
    let query = HistoryQuery {
        user: user.clone(),
        conversation: conversation.clone(),
        range: HistoryRange::Before(Seq(seq.saturating_add(1))),
        limit: 1,
    };
    let page = core.store.history(query).await?;
    let Some(page) = page else {
        // A direct conversation is there for its two before its first message.
        return Err(if conversation.is_group() { NO_CONVERSATION } else { NO_MESSAGE });
    };
    let message = page.messages.into_iter().map(|shown| shown.message).find(|message| message.seq.0 == seq);
    message.map(|message| message.entry.by).ok_or(NO_MESSAGE)
}

async fn owns(core: &Core, user: &UserId, conversation: &ConversationId) -> Result<bool> {
    if !conversation.is_group() {
        return Ok(false);
    }
    let state = group::state(core, user, conversation).await?;
    Ok(state.group.is_some_and(|group| group.owner == *user))
}

fn post(by: UserId, conversation: ConversationId, seq: u64, what: entry::What, amendment: Amendment) -> Post {
    Post {
        entries: vec![new_entry(&by, now(), what)],
        conversation,
        by,
        kind: PostKind::Amend { seq: Seq(seq), amendment },
    }
}

/// What is answered.
pub(crate) fn amended(posted: Posted) -> Result<reply::Result> {
    match posted {
        // A repeat finds it as it wants it.
        Posted::Done { .. } | Posted::Unchanged => Ok(done()),
        Posted::NotMember => Err(NO_CONVERSATION),
        Posted::NoSuchMessage => Err(NO_MESSAGE),
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
