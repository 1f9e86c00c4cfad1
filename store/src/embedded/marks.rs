//! Sets `delivered` and `read` marks, inside the writer's transaction.

use std::collections::BTreeMap;

use prost::Message as _;
use proto::{ResetReason, Seq, StoreIncarnation};
use redb::ReadableTable;

use super::changed;
use super::inbox::check;
use super::tables::{InboxRow, Tables, conversation, conversation_id, member, number, user};
use crate::model::{Acknowledge, AcknowledgeResult, HandedOut, Mark, MarkKind, MarkResult};
use crate::{Bounds, Result};

/// Sets one mark at the time `now` (Unix ms).
pub(super) fn mark(tables: &mut Tables<'_>, bounds: &Bounds, now: u64, mark: &Mark) -> Result<MarkResult> {
    let Some(conversation) = number(&tables.conversation_numbers, mark.conversation.as_str())? else {
        return Ok(MarkResult::NotMember);
    };
    let user = number(&tables.user_numbers, mark.user.as_str())?.unwrap_or(0);
    let Some(mut row) = member(&tables.members, conversation, user)? else {
        return Ok(MarkResult::NotMember);
    };
    if mark.seq.0 > self::conversation(&tables.conversations, conversation)?.head {
        return Ok(MarkResult::BeyondHead);
    }
    let stored = match mark.kind {
        MarkKind::Delivered => &mut row.delivered,
        MarkKind::Read => &mut row.read,
    };
    if mark.seq.0 <= *stored {
        return Ok(MarkResult::Unchanged);
    }
    *stored = mark.seq.0;
    tables.members.insert((conversation, user), row.encode_to_vec().as_slice())?;
    changed::note(tables, bounds, now, conversation, user, mark.kind)?;
    Ok(MarkResult::Advanced)
}

/// Sets the `delivered` marks of everything up to a cursor. `store` is the
/// incarnation of this store.
pub(super) fn acknowledge(
    tables: &mut Tables<'_>,
    bounds: &Bounds,
    now: u64,
    store: StoreIncarnation,
    item: &Acknowledge,
) -> Result<AcknowledgeResult> {
    match &item.handed_out {
        Some(handed_out) if handed_out.store == store => named(tables, bounds, now, item, handed_out),
        _ => looked_up(tables, bounds, now, item),
    }
}

/// Sets the marks that a gateway names.
fn named(
    tables: &mut Tables<'_>,
    bounds: &Bounds,
    now: u64,
    item: &Acknowledge,
    HandedOut { marks, position, .. }: &HandedOut,
) -> Result<AcknowledgeResult> {
    let mut moved = Vec::new();
    for (conversation, seq) in marks {
        let delivered = Mark {
            conversation: conversation.clone(),
            user: item.user.clone(),
            kind: MarkKind::Delivered,
            seq: *seq,
        };
        if mark(tables, bounds, now, &delivered)? == MarkResult::Advanced {
            moved.push((delivered.conversation, delivered.seq));
        }
    }
    let (number, to) =
        (number(&tables.user_numbers, item.user.as_str())?.unwrap_or(0), item.cursor.position.0);
    let mut user = user(&tables.users, number)?;
    if *position && to > user.acknowledged && to <= user.head {
        user.acknowledged = to;
        tables.users.insert(number, user.value())?;
    }
    Ok(AcknowledgeResult::Marks(moved))
}

/// Sets the marks of all messages between the acknowledged position and the
/// cursor.
fn looked_up(
    tables: &mut Tables<'_>,
    bounds: &Bounds,
    now: u64,
    item: &Acknowledge,
) -> Result<AcknowledgeResult> {
    let number = number(&tables.user_numbers, item.user.as_str())?.unwrap_or(0);
    let mut user = user(&tables.users, number)?;
    if check(&tables.inboxes, number, &user, item.cursor)? == Some(ResetReason::Rewritten) {
        return Ok(AcknowledgeResult::NoSuchPosition);
    }
    let to = item.cursor.position.0;
    if to <= user.acknowledged {
        return Ok(AcknowledgeResult::Marks(Vec::new()));
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
        // A user who has left has no mark there.
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
    Ok(AcknowledgeResult::Marks(marks))
}
