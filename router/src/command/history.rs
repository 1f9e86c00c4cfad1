//! `history`: messages of a conversation.

use proto::limits::MAX_PAGE;
use proto::wire::{self, History, reply};
use proto::{ConversationId, UserId};
use store::model::{HistoryQuery, HistoryRange};

use super::{field, seq, shown};
use crate::core::Core;
use crate::error::{Error, NO_CONVERSATION, Result};

const USUAL_LIMIT: u32 = 50;

/// Answers a page. A limit of 0 means that none was given.
pub(crate) async fn page(core: &Core, user: UserId, query: History) -> Result<reply::Result> {
    let conversation: ConversationId = field("conversation", &query.conversation)?;
    let limit = limit(query.limit)?;
    let range = match (query.before, query.after) {
        (None, None) => HistoryRange::Newest,
        (Some(before), None) => HistoryRange::Before(seq("before", before)?),
        (None, Some(after)) => HistoryRange::After(seq("after", after)?),
        (Some(_), Some(_)) => {
            return Err(Error::BadRequest("only one of `before` and `after` may be given".to_owned()));
        }
    };
    if !conversation.admits(&user) {
        return Err(NO_CONVERSATION);
    }
    let page = core.store.history(HistoryQuery { user, conversation, range, limit }).await?;
    let page = page.ok_or(NO_CONVERSATION)?;
    let messages = page.messages.into_iter().map(shown).collect();
    Ok(reply::Result::History(wire::HistoryPage { messages, more: page.more }))
}

/// The entries of a page, from a client's `limit`. Fails when that is too large.
pub(super) fn limit(limit: u32) -> Result<usize> {
    match limit {
        0 => Ok(USUAL_LIMIT as usize),
        1..=MAX_PAGE => Ok(limit as usize),
        _ => Err(Error::BadRequest(format!("`limit` must be 1 to {MAX_PAGE}"))),
    }
}
