//! Which marks have changed, for readers who were away.

use fred::types::Value;
use proto::{ConversationId, Fingerprint, Seq, UserId};

use super::Redis;
use super::conversation::conversation_item;
use super::inbox::fingerprint_arg;
use super::link::Item;
use super::reply::{Row, unexpected};
use super::{script, write};
use crate::Result;
use crate::model::{InboxQuery, Mark, MarkKind, MarksSince};

/// Conversations whose marks one page has: as `scripts/lib/changed.lua` has it.
const CHANGED: usize = 200;
/// Marks of one page; the conversation that goes beyond it is still on it.
const MARKS: usize = 4_096;
/// Conversations looked up in one call.
const CONVERSATIONS: usize = 64;

/// The conversations of a reader whose marks have changed, in order.
#[derive(Default)]
pub(super) struct Changed {
    conversations: Vec<(ConversationId, u64)>,
    /// Where to go on, if there are more.
    next: Option<u64>,
}

impl Changed {
    /// As `read_inbox.lua` and `attach.lua` answer it.
    pub(super) fn read(row: &mut Row) -> Result<Self> {
        let mut list = row.list()?;
        let mut conversations = Vec::new();
        while !list.is_done() {
            let conversation =
                ConversationId::parse(&list.text()?).map_err(|_| unexpected("a conversation"))?;
            conversations.push((conversation, list.number()?));
        }
        let more = conversations.len() > CHANGED;
        conversations.truncate(CHANGED);
        let next = conversations.last().map(|(_, time)| *time).filter(|_| more);
        Ok(Self { conversations, next })
    }
}

/// A reader's page of marks, and where to go on if there are more.
pub(super) type Marks = (Vec<Mark>, Option<u64>);

impl Redis {
    /// The marks of what has changed, for each reader.
    pub(super) async fn marks_of(&self, changed: Vec<(&UserId, Changed)>) -> Result<Vec<Marks>> {
        let common = [write::number(self.bounds.receipt_members)];
        let items = changed
            .iter()
            .flat_map(|(reader, changed)| {
                changed.conversations.iter().map(|(conversation, _)| item(reader, conversation))
            })
            .collect();
        let mut rows = self.read.run(&script::MARKS, &common, items, CONVERSATIONS).await?.into_iter();
        let mut pages = Vec::with_capacity(changed.len());
        for (_, changed) in changed {
            let (mut marks, mut next) = (Vec::new(), changed.next);
            let mut full = false;
            for (conversation, time) in changed.conversations {
                let row = rows.next().ok_or_else(|| unexpected("a row"))?;
                if full {
                    continue;
                }
                read(&conversation, row, &mut marks)?;
                if marks.len() >= MARKS {
                    (full, next) = (true, Some(time));
                }
            }
            pages.push((marks, next));
        }
        Ok(pages)
    }
}

fn item(reader: &UserId, conversation: &ConversationId) -> Item {
    let mut item = conversation_item(conversation);
    let other = conversation.pair().map(|(one, other)| if one == *reader { other } else { one });
    let other = other.as_ref().map_or("", UserId::as_str);
    item.args.extend([write::text(reader.as_str()), write::text(other)]);
    item
}

fn read(conversation: &ConversationId, mut row: Row, marks: &mut Vec<Mark>) -> Result<()> {
    let mut list = row.list()?;
    while !list.is_done() {
        let user = UserId::parse(&list.text()?).map_err(|_| unexpected("a user"))?;
        let kind = match &*list.text()? {
            "d" => MarkKind::Delivered,
            "r" => MarkKind::Read,
            _ => return Err(unexpected("a kind of mark")),
        };
        let seq = Seq(list.number()?);
        marks.push(Mark { conversation: conversation.clone(), user, kind, seq });
    }
    Ok(())
}

/// What `read_inbox.lua` needs to know of the marks that are wanted.
pub(super) fn args(query: &InboxQuery) -> [Value; 4] {
    let Some(wanted) = &query.marks else {
        let none = fingerprint_arg(Fingerprint::default());
        return [write::text(""), write::number(0), none, write::number(0)];
    };
    let (mode, place, fingerprint) = match wanted.since {
        MarksSince::Place(cursor) => ("p", cursor.position.0, cursor.fingerprint),
        MarksSince::Within(time) => {
            ("w", u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Fingerprint::default())
        }
    };
    [write::text(mode), write::number(place), fingerprint_arg(fingerprint), write::number(wanted.after)]
}
