//! Inboxes: files events, removes the oldest, checks cursors and reads pages.

use bytes::Bytes;
use prost::Message as _;
use proto::weight::PAGE;
use proto::wire::Event;
use proto::{Bound, ConversationId, Cursor, Fingerprint, Position, ResetReason, Seq, UserId};
use redb::{ReadTransaction, ReadableTable};

use super::tables::{
    INBOXES, InboxRow, LOG, Tables, USER_NUMBERS, USERS, UserRow, conversation_id, filed, number, user,
};
use crate::damage::{known, nothing, unless_damaged};
use crate::model::{Attach, InboxEvent, InboxQuery, LogEvent, StartPoint};
use crate::{Bounds, Error, Result};

/// The most events that are removed when one is filed, so that no call takes
/// long.
const MAX_CUT: usize = 16;

/// Appends an event to a user's inbox and returns its position.
pub(super) fn file(
    tables: &mut Tables<'_>,
    user_number: u64,
    row: InboxRow,
    bounds: &Bounds,
) -> Result<Position> {
    let mut user = user(&tables.users, user_number)?;
    user.head += 1;
    if user.first == user.head {
        user.first_time = row.time;
    }
    tables.inboxes.insert((user_number, user.head), row.value())?;
    let oldest = row.time.saturating_sub(bounds.inbox_age_ms());
    for _ in 0..MAX_CUT {
        let kept = user.head + 1 - user.first;
        // The new event itself stays, whatever the limits say.
        if kept <= 1 || (kept <= bounds.inbox_events && user.first_time >= oldest) {
            break;
        }
        cut(tables, user_number, &mut user)?;
    }
    tables.users.insert(user_number, user.value())?;
    Ok(user.head())
}

/// Removes the oldest event of an inbox. The caller stores the row.
pub(super) fn cut(tables: &mut Tables<'_>, user_number: u64, user: &mut UserRow) -> Result<()> {
    let oldest = filed(&tables.inboxes, user_number, user.first)?;
    tables.inboxes.remove((user_number, user.first))?;
    release(tables, oldest.log)?;
    user.trimmed = oldest.fingerprint.0;
    user.first += 1;
    user.first_time =
        if user.first > user.head { 0 } else { filed(&tables.inboxes, user_number, user.first)?.time };
    Ok(())
}

/// Removes one reference to a log entry, and the entry with its last one.
pub(super) fn release(tables: &mut Tables<'_>, log: u64) -> Result<()> {
    let count = tables.references.get(log)?.map_or(0, |row| row.value());
    if count > 1 {
        tables.references.insert(log, count - 1)?;
    } else {
        tables.references.remove(log)?;
        tables.log.remove(log)?;
    }
    Ok(())
}

/// The cursor of a position, which must not be beyond the head or below what is
/// kept.
pub(super) fn cursor_at(
    inboxes: &impl ReadableTable<(u64, u64), (u64, u64, u64, u64, u32)>,
    number: u64,
    user: &UserRow,
    position: u64,
) -> Result<Cursor> {
    let fingerprint = if position + 1 == user.first {
        Fingerprint(user.trimmed)
    } else {
        filed(inboxes, number, position)?.fingerprint
    };
    Ok(Cursor { position: Position(position), fingerprint })
}

/// Why a cursor is not valid; `None` when it is.
pub(super) fn check(
    inboxes: &impl ReadableTable<(u64, u64), (u64, u64, u64, u64, u32)>,
    number: u64,
    user: &UserRow,
    cursor: Cursor,
) -> Result<Option<ResetReason>> {
    let position = cursor.position.0;
    if position > user.head {
        return Ok(Some(ResetReason::Rewritten));
    }
    if position + 1 < user.first {
        return Ok(Some(ResetReason::Trimmed));
    }
    let stands = cursor_at(inboxes, number, user, position)? == cursor;
    Ok(if stands { None } else { Some(ResetReason::Rewritten) })
}

/// Where reading starts.
pub(super) struct Start {
    pub cursor: Cursor,
    pub reset: Option<ResetReason>,
    pub head: Position,
    /// Whether the cursor has been acknowledged.
    pub acknowledged: bool,
}

/// Looks up where an attaching session starts to read.
pub(super) fn resolve(txn: &ReadTransaction, attach: &Attach) -> Result<Start> {
    let inboxes = txn.open_table(INBOXES)?;
    // No user has number 0: a user who never had an event has an empty inbox.
    let number = number(&txn.open_table(USER_NUMBERS)?, attach.user.as_str())?.unwrap_or(0);
    let user = user(&txn.open_table(USERS)?, number)?;
    let head = cursor_at(&inboxes, number, &user, user.head)?;
    let (cursor, reset) = match attach.from {
        StartPoint::Head => (head, None),
        StartPoint::Start => (cursor_at(&inboxes, number, &user, user.first - 1)?, None),
        StartPoint::Cursor(cursor) => match check(&inboxes, number, &user, cursor)? {
            None => (cursor, None),
            reset => (head, reset),
        },
    };
    let acknowledged =
        attach.from != StartPoint::Head && reset.is_none() && cursor.position.0 <= user.acknowledged;
    Ok(Start { cursor, reset, head: user.head(), acknowledged })
}

/// A page without marks and standing.
pub(super) struct Page {
    pub events: Vec<InboxEvent>,
    pub head: Position,
    pub reset: Option<(ResetReason, Cursor)>,
}

/// Reads a page of an inbox, of at most `most` bytes.
pub(super) fn read(txn: &ReadTransaction, query: &InboxQuery, most: usize) -> Result<Page> {
    let inboxes = txn.open_table(INBOXES)?;
    let number = number(&txn.open_table(USER_NUMBERS)?, query.user.as_str())?.unwrap_or(0);
    let user = user(&txn.open_table(USERS)?, number)?;
    if let Some(reason) = check(&inboxes, number, &user, query.after)? {
        let head = cursor_at(&inboxes, number, &user, user.head)?;
        return Ok(Page { events: Vec::new(), head: user.head(), reset: Some((reason, head)) });
    }
    let log = txn.open_table(LOG)?;
    let mut events = Vec::new();
    let mut load = Bound::new(most, query.limit.clamp(1, PAGE.entries)).load();
    let after = query.after.position.0;
    for row in inboxes.range((number, after + 1)..=(number, user.head))? {
        let (key, value) = row?;
        let row = InboxRow::read(value.value());
        let entry = unless_damaged(entry(&log, row.log), format_args!("entry {}", row.log))?;
        let event =
            entry.unwrap_or_else(|| LogEvent { entry: nothing(row.fingerprint.0), ..no_event(&query.user) });
        if !load.add(event.weight()) {
            break;
        }
        events.push(InboxEvent { position: Position(key.value().1), event });
    }
    Ok(Page { events, head: user.head(), reset: None })
}

/// The event shown for an entry that cannot be read: nobody knows its
/// conversation.
fn no_event(reader: &UserId) -> LogEvent {
    LogEvent { conversation: ConversationId::direct(reader, reader), seq: Seq(0), entry: nothing(0) }
}

/// Reads an entry of the log.
pub(super) fn entry(log: &impl ReadableTable<u64, &'static [u8]>, number: u64) -> Result<LogEvent> {
    let row = log.get(number)?.ok_or_else(|| Error::Corrupt("a reference to no entry".into()))?;
    let bytes = Bytes::copy_from_slice(row.value());
    let event = Event::decode(bytes).map_err(|error| Error::Corrupt(format!("an entry: {error}")))?;
    let entry =
        event.entry.ok_or_else(|| Error::Corrupt("an event without an entry".into())).and_then(known)?;
    Ok(LogEvent { conversation: conversation_id(&event.conversation)?, seq: Seq(event.seq), entry })
}
