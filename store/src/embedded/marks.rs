//! `delivered` and `read` marks, inside the writer's transaction, and which of
//! them have changed since a reader was there.

use std::collections::BTreeMap;

use prost::Message as _;
use proto::{ResetReason, Seq};
use redb::ReadableTable;

use super::changed;
use super::inbox::check;
use super::tables::{InboxRow, Tables, conversation, conversation_id, member, number, user};
use crate::model::{Acknowledge, Acknowledged, Mark, MarkKind, Marked};
use crate::{Bounds, Result};

/// Sets one mark at this time (Unix ms). Says with `Advanced` that it has
/// written.
pub(super) fn mark(tables: &mut Tables<'_>, bounds: &Bounds, now: u64, mark: &Mark) -> Result<Marked> {
    let Some(conversation) = number(&tables.conversation_numbers, mark.conversation.as_str())? else {
        return Ok(Marked::NotMember);
    };
    let user = number(&tables.user_numbers, mark.user.as_str())?.unwrap_or(0);
    let Some(mut row) = member(&tables.members, conversation, user)? else {
        return Ok(Marked::NotMember);
    };
    if mark.seq.0 > self::conversation(&tables.conversations, conversation)?.head {
        return Ok(Marked::BeyondHead);
    }
    let place = match mark.kind {
        MarkKind::Delivered => &mut row.delivered,
        MarkKind::Read => &mut row.read,
    };
    if mark.seq.0 <= *place {
        return Ok(Marked::Unchanged);
    }
    *place = mark.seq.0;
    tables.members.insert((conversation, user), row.encode_to_vec().as_slice())?;
    changed::note(tables, bounds, now, conversation, user, mark.kind)?;
    Ok(Marked::Advanced)
}

/// What [`acknowledge`] did.
pub(super) struct Noted {
    pub answer: Acknowledged,
    pub written: bool,
}

/// Sets the `delivered` marks of everything up to a cursor.
pub(super) fn acknowledge(
    tables: &mut Tables<'_>,
    bounds: &Bounds,
    now: u64,
    item: &Acknowledge,
) -> Result<Noted> {
    let nothing = |answer| Noted { answer, written: false };
    let number = number(&tables.user_numbers, item.user.as_str())?.unwrap_or(0);
    let mut user = user(&tables.users, number)?;
    if check(&tables.inboxes, number, &user, item.cursor)? == Some(ResetReason::Rewritten) {
        return Ok(nothing(Acknowledged::NoSuchPlace));
    }
    let to = item.cursor.position.0;
    if to <= user.acknowledged {
        return Ok(nothing(Acknowledged::Marks(Vec::new())));
    }

    let mut newest = BTreeMap::new();
    let from = user.first.max(user.acknowledged + 1);
    if from <= to {
        for row in tables.inboxes.range((number, from)..=(number, to))? {
            let row = InboxRow::read(row?.1.value());
            if row.seq > 0 {
                newest.insert(row.conversation, row.seq);
            }
        }
    }
    let mut marks = Vec::new();
    for (conversation, seq) in newest {
        // Who has left since has no marks there.
        let Some(mut member) = member(&tables.members, conversation, number)? else { continue };
        if member.delivered < seq {
            member.delivered = seq;
            tables.members.insert((conversation, number), member.encode_to_vec().as_slice())?;
            changed::note(tables, bounds, now, conversation, number, MarkKind::Delivered)?;
            let row = self::conversation(&tables.conversations, conversation)?;
            marks.push((conversation_id(&row.id)?, Seq(seq)));
        }
    }
    user.acknowledged = to;
    tables.users.insert(number, user.value())?;
    Ok(Noted { answer: Acknowledged::Marks(marks), written: true })
}
