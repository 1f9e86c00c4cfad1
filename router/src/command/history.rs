//! `history`: messages of a conversation.

use proto::wire::{self, History, reply};
use proto::{ConversationId, Seq, UserId};
use store::model::{HistoryPage, HistoryQuery, HistoryRange};

use super::{PAGE_BYTES, field, shown, size_shown};
use crate::dispatch::Core;
use crate::error::{Error, NO_CONVERSATION, Result};

const MAX_LIMIT: u32 = 200;
const USUAL_LIMIT: u32 = 50;

/// Reads and answers a page. A limit of 0 is one that was not given.
pub(crate) async fn page(core: &Core, user: UserId, query: History) -> Result<reply::Result> {
    let conversation: ConversationId = field("conversation", &query.conversation)?;
    let limit = limit(query.limit)?;
    let range = match (query.before, query.after) {
        (None, None) => HistoryRange::Newest,
        (Some(seq), None) => HistoryRange::Before(Seq(seq)),
        (None, Some(seq)) => HistoryRange::After(Seq(seq)),
        (Some(_), Some(_)) => {
            return Err(Error::BadRequest("only one of `before` and `after` may be given".to_owned()));
        }
    };
    if !conversation.admits(&user) {
        return Err(NO_CONVERSATION);
    }
    let page = core.store.history(HistoryQuery { user, conversation, range, limit }).await?;
    let mut page = page.ok_or(NO_CONVERSATION)?;
    shorten(&mut page, range);
    let messages = page.messages.into_iter().map(shown).collect();
    Ok(reply::Result::History(wire::HistoryPage { messages, more: page.more }))
}

/// Checks a `limit` of pages that clients see.
pub(super) fn limit(limit: u32) -> Result<usize> {
    match limit {
        0 => Ok(USUAL_LIMIT as usize),
        1..=MAX_LIMIT => Ok(limit as usize),
        _ => Err(Error::BadRequest(format!("`limit` must be 1 to {MAX_LIMIT}"))),
    }
}

/// Leaves out what does not fit in a frame, at the end that is farthest from
/// where reading began.
fn shorten(page: &mut HistoryPage, range: HistoryRange) {
    let fits = |bytes: &mut usize, size: usize| {
        *bytes += size;
        *bytes <= PAGE_BYTES
    };
    let sizes = page.messages.iter().map(size_shown);
    let count = match range {
        HistoryRange::After(_) => {
            sizes.scan(0, |bytes, size| Some(fits(bytes, size))).take_while(|fits| *fits).count()
        }
        HistoryRange::Newest | HistoryRange::Before(_) => {
            sizes.rev().scan(0, |bytes, size| Some(fits(bytes, size))).take_while(|fits| *fits).count()
        }
    };
    if count == page.messages.len() {
        return;
    }
    page.more = true;
    match range {
        HistoryRange::After(_) => page.messages.truncate(count),
        HistoryRange::Newest | HistoryRange::Before(_) => {
            page.messages.drain(..page.messages.len() - count);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proto::wire::{Entry, Message, entry};
    use store::model::Logged;

    use super::*;

    fn page(count: u64) -> HistoryPage {
        let body = Bytes::from(vec![b'1'; 65_536]);
        let messages = (1..=count).map(|seq| Logged {
            conversation: ConversationId::parse("alice~bob").unwrap(),
            seq: Seq(seq),
            entry: Entry {
                what: Some(entry::What::Message(Message { body: body.clone(), ..Message::default() })),
                ..Entry::default()
            },
        });
        HistoryPage { messages: messages.map(Into::into).collect(), more: false }
    }

    #[test]
    fn a_page_that_is_too_large_for_a_frame_keeps_what_is_nearest() {
        let mut newest = page(200);
        shorten(&mut newest, HistoryRange::Newest);
        assert!(newest.more && newest.messages.len() < 200);
        assert_eq!(newest.messages.last().unwrap().message.seq, Seq(200));

        let mut after = page(200);
        shorten(&mut after, HistoryRange::After(Seq(0)));
        assert!(after.more && after.messages.len() < 200);
        assert_eq!(after.messages[0].message.seq, Seq(1));
    }

    #[test]
    fn a_page_that_fits_is_left_as_it_is() {
        let mut small = page(20);
        shorten(&mut small, HistoryRange::Newest);
        assert_eq!((small.messages.len(), small.more), (20, false));
    }
}
