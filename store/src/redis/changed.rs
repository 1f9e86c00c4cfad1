//! Finds the marks that have changed, for readers who were away.

use fred::types::Value;
use proto::{ConversationId, Fingerprint, Seq, UserId};

use super::Redis;
use super::connection::Item;
use super::conversation::{conversation_item, filed_item};
use super::inbox::fingerprint_arg;
use super::reply::{Row, unexpected};
use super::{script, write};
use crate::Result;
use crate::model::{InboxQuery, Mark, MarkKind, MarksSince};

/// The most conversations whose marks one page has; the same as in
/// `scripts/lib/changed.lua`.
pub(super) const CHANGED: usize = 200;
/// A page ends after this many marks, at the end of a conversation.
const MARKS: usize = 4_096;
/// The most conversations of one call.
const CONVERSATIONS: usize = 64;
/// The most records of one call.
const RECORDS: usize = 512;

/// The conversations of a reader whose marks have changed, in the order of
/// change.
#[derive(Default)]
pub(super) struct ChangedConversations {
    conversations: Vec<(ConversationId, u64)>,
    /// Where to go on, if there are more.
    next: Option<u64>,
}

impl ChangedConversations {
    /// Reads what `read_inbox.lua` and `attach.lua` return.
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
    /// The marks of the conversations that have changed, for each reader.
    pub(super) async fn marks_of(&self, changed: Vec<(&UserId, ChangedConversations)>) -> Result<Vec<Marks>> {
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
        self.raise_to_what_they_sent(&mut pages).await?;
        Ok(pages)
    }

    /// Raises marks to the messages that their users sent themselves: who
    /// writes has read everything up to there, and what has been read has been
    /// delivered.
    async fn raise_to_what_they_sent(&self, pages: &mut [Marks]) -> Result<()> {
        let is_read = |mark: &Mark| mark.kind == MarkKind::Read;
        let marks = pages.iter().flat_map(|(marks, _)| marks).filter(|mark| is_read(mark));
        let items = marks.map(|mark| filed_item(&mark.user, &mark.conversation)).collect();
        let mut rows = self.read.run(&script::SENT, &[], items, RECORDS).await?.into_iter();
        for marks in pages.iter_mut().map(|(marks, _)| marks) {
            for mark in marks.iter_mut().filter(|mark| is_read(mark)) {
                let sent = rows.next().ok_or_else(|| unexpected("a row"))?.number()?;
                mark.seq = mark.seq.max(Seq(sent));
            }
            // For each user the `delivered` mark is right before the `read`
            // mark.
            for index in 1..marks.len() {
                let [delivered, read] = &mut marks[index - 1..=index] else { continue };
                if is_read(read) && delivered.user == read.user && delivered.conversation == read.conversation
                {
                    delivered.seq = delivered.seq.max(read.seq);
                }
            }
        }
        Ok(())
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

/// The arguments of `read_inbox.lua` about the marks that are wanted.
pub(super) fn args(query: &InboxQuery) -> [Value; 4] {
    let Some(wanted) = &query.marks else {
        let none = fingerprint_arg(Fingerprint::default());
        return [write::text(""), write::number(0), none, write::number(0)];
    };
    let (mode, since, fingerprint) = match wanted.since {
        MarksSince::Cursor(cursor) => ("p", cursor.position.0, cursor.fingerprint),
        MarksSince::Within(time) => {
            ("w", u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Fingerprint::default())
        }
    };
    [write::text(mode), write::number(since), fingerprint_arg(fingerprint), write::number(wanted.after)]
}
