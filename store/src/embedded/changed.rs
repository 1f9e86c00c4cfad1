//! For each user the conversations whose marks have changed, ordered by the
//! time of the last change. A conversation has one row, however many marks
//! change in it.

use proto::{Cursor, Seq, Time, UserId};
use redb::{ReadTransaction, ReadableTable};

use super::inbox::check;
use super::tables::{
    CHANGED_AT, CONVERSATIONS, INBOXES, MEMBERS, Tables, USER_NUMBERS, USERS, conversation, conversation_id,
    filed, member, members, number, user, user_id,
};
use crate::model::{Mark, MarkKind, MarksQuery, MarksSince};
use crate::{Bounds, Result};

/// The most conversations noted for one user; the oldest are removed.
const MAX_NOTED: usize = 1_000;
/// The most rows that are removed because of their age when one is added.
const MAX_CUT: usize = 16;
/// The most conversations whose marks one page has.
const PAGE_CONVERSATIONS: usize = 200;
/// A page ends after this many marks, at the end of a conversation.
const PAGE_MARKS: usize = 4_096;
/// A change this much earlier than the reader's event, in ms, counts as later:
/// receipts gather for a moment, and routers' clocks differ.
const SLACK: u64 = 30_000;

/// Notes that a member's mark has changed, for everyone who is told of it: for
/// a `read` mark the member itself, and the other members if the conversation
/// is not too large.
pub(super) fn note(
    tables: &mut Tables<'_>,
    bounds: &Bounds,
    now: u64,
    conversation: u64,
    by: u64,
    kind: MarkKind,
) -> Result<()> {
    let mut interested: Vec<u64> = Vec::new();
    for row in tables.members.range((conversation, 0)..=(conversation, u64::MAX))? {
        interested.push(row?.0.value().1);
    }
    let others = interested.len() as u64 <= bounds.receipt_members;
    for user in interested {
        let told = if user == by { kind == MarkKind::Read } else { others };
        if told {
            note_for(tables, bounds, now, user, conversation)?;
        }
    }
    Ok(())
}

fn note_for(tables: &mut Tables<'_>, bounds: &Bounds, now: u64, user: u64, conversation: u64) -> Result<()> {
    let newest = tables.changed_at.range((user, 0)..=(user, u64::MAX))?.next_back();
    let newest = newest.transpose()?.map_or(0, |(key, _)| key.value().1);
    let time = (now * 1_000).max(newest + 1);
    let before = tables.changed.insert((user, conversation), time)?.map(|row| row.value());
    tables.changed_at.insert((user, time), conversation)?;
    if let Some(before) = before {
        tables.changed_at.remove((user, before))?;
        return Ok(());
    }
    let oldest = now.saturating_sub(bounds.age_ms()) * 1_000;
    let all = tables.changed_at.range((user, 0)..=(user, u64::MAX))?;
    let beyond = all.count().saturating_sub(MAX_NOTED);
    let mut gone = Vec::new();
    for row in tables.changed_at.range((user, 0)..=(user, u64::MAX))?.take(beyond.max(MAX_CUT)) {
        let (key, value) = row?;
        let time = key.value().1;
        if gone.len() >= beyond && time >= oldest {
            break;
        }
        gone.push((time, value.value()));
    }
    for (time, conversation) in gone {
        tables.changed_at.remove((user, time))?;
        tables.changed.remove((user, conversation))?;
    }
    Ok(())
}

/// The marks that have changed, and where to go on if there are more.
pub(super) fn read(
    txn: &ReadTransaction,
    bounds: &Bounds,
    reader: &UserId,
    query: &MarksQuery,
) -> Result<(Vec<Mark>, Option<u64>)> {
    let Some(number) = number(&txn.open_table(USER_NUMBERS)?, reader.as_str())? else {
        return Ok((Vec::new(), None));
    };
    let oldest = Time::now().0.saturating_sub(bounds.age_ms());
    let since = match query.since {
        MarksSince::Within(time) => Time::now().before(time).0,
        MarksSince::Cursor(cursor) => filed_at(txn, number, cursor)?.saturating_sub(SLACK),
    };
    let from = (since.max(oldest).saturating_mul(1_000)).max(query.after.saturating_add(1));
    let table = txn.open_table(CHANGED_AT)?;
    let mut marks = Vec::new();
    let mut last = 0;
    for (index, row) in table.range((number, from)..=(number, u64::MAX))?.enumerate() {
        if index == PAGE_CONVERSATIONS || marks.len() >= PAGE_MARKS {
            return Ok((marks, Some(last)));
        }
        let (key, conversation) = row?;
        last = key.value().1;
        of_conversation(txn, bounds, number, conversation.value(), &mut marks)?;
    }
    Ok((marks, None))
}

/// When the event at the cursor was filed, in Unix ms; 0 before the first event
/// kept, and for a cursor that is not valid.
fn filed_at(txn: &ReadTransaction, number: u64, cursor: Cursor) -> Result<u64> {
    let inboxes = txn.open_table(INBOXES)?;
    let user = user(&txn.open_table(USERS)?, number)?;
    let position = cursor.position.0;
    if position < user.first || check(&inboxes, number, &user, cursor)?.is_some() {
        return Ok(0);
    }
    Ok(filed(&inboxes, number, position)?.time)
}

/// Appends the marks of one conversation; none if the reader has left it.
fn of_conversation(
    txn: &ReadTransaction,
    bounds: &Bounds,
    reader: u64,
    number: u64,
    marks: &mut Vec<Mark>,
) -> Result<()> {
    let table = txn.open_table(MEMBERS)?;
    let Some(own) = member(&table, number, reader)? else { return Ok(()) };
    let id = conversation_id(&conversation(&txn.open_table(CONVERSATIONS)?, number)?.id)?;
    let mut push = |user: UserId, kind, seq: u64| {
        if seq > 0 {
            marks.push(Mark { conversation: id.clone(), user, kind, seq: Seq(seq) });
        }
    };
    push(user_id(&own.user)?, MarkKind::Read, own.read);
    let all = members(&table, number)?;
    if all.len() as u64 > bounds.receipt_members {
        return Ok(());
    }
    for (_, other) in all.iter().filter(|(other, _)| *other != reader) {
        let user = user_id(&other.user)?;
        // What has been read has been delivered. A member with only a read mark
        // sends no `delivered` of its own.
        let delivered = if other.delivered > 0 { other.delivered.max(other.read) } else { 0 };
        push(user.clone(), MarkKind::Delivered, delivered);
        push(user, MarkKind::Read, other.read);
    }
    Ok(())
}
