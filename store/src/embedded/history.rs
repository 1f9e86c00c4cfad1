//! Reads conversations: their messages, their state, and which ones a user is
//! in.

use proto::weight::PAGE;
use proto::{ConversationId, Position, Seq, UserId};
use redb::ReadTransaction;

use super::amend::{amended, recalled};
use super::inbox::entry;
use super::tables::{
    CONVERSATION_NUMBERS, CONVERSATIONS, LOG, MEMBERS, MEMBERSHIPS, MESSAGES, USER_NUMBERS, conversation,
    conversation_id, member, members, number, user_id,
};
use crate::damage::unless_damaged;
use crate::model::{
    Conversation, CurrentMessage, Group, HistoryPage, HistoryQuery, HistoryRange, MESSAGES_CHECKED, Member,
    Membership, Roles, Version,
};
use crate::{Error, Result};

/// A page of messages; `None` if the reader is not a member.
pub(super) fn history(txn: &ReadTransaction, query: &HistoryQuery) -> Result<Option<HistoryPage>> {
    let mut query = query.clone();
    loop {
        match look(txn, &query)? {
            Look::Page(page) => return Ok(page),
            // A reader could not go on from an empty page.
            Look::AllDamaged(range) => query.range = range,
        }
    }
}

/// What stands in a range.
enum Look {
    Page(Option<HistoryPage>),
    /// Damaged messages only; there are others here.
    AllDamaged(HistoryRange),
}

fn look(txn: &ReadTransaction, query: &HistoryQuery) -> Result<Look> {
    let Some(number) = number(&txn.open_table(CONVERSATION_NUMBERS)?, query.conversation.as_str())? else {
        return Ok(Look::Page(None));
    };
    let user = self::number(&txn.open_table(USER_NUMBERS)?, query.user.as_str())?.unwrap_or(0);
    let Some(member) = member(&txn.open_table(MEMBERS)?, number, user)? else {
        return Ok(Look::Page(None));
    };
    let row_of = conversation(&txn.open_table(CONVERSATIONS)?, number)?;
    // The messages that this reader may see and that are kept, oldest to
    // newest, both included.
    let (oldest, newest) = (row_of.first.max(member.since + 1), row_of.head);
    let limit = query.limit as u64;
    let (from, to, more) = match query.range {
        HistoryRange::After(seq) => {
            let from = oldest.max(seq.0.saturating_add(1));
            let to = newest.min((from - 1).saturating_add(limit));
            (from, to, to < newest && from <= newest)
        }
        HistoryRange::Newest | HistoryRange::Before(_) => {
            let to = match query.range {
                HistoryRange::Before(seq) => newest.min(seq.0.saturating_sub(1)),
                _ => newest,
            };
            let from = oldest.max((to + 1).saturating_sub(limit));
            (from, to, from > oldest && to >= oldest)
        }
    };

    let log = txn.open_table(LOG)?;
    let mut page = HistoryPage { messages: Vec::new(), more };
    if from > to {
        return Ok(Look::Page(Some(page)));
    }
    let table = txn.open_table(MESSAGES)?;
    let mut rows = table.range((number, from)..=(number, to))?;
    let forward = matches!(query.range, HistoryRange::After(_));
    let mut load = PAGE.load();
    while let Some(row) = if forward { rows.next() } else { rows.next_back() } {
        let (key, value) = row?;
        let location = format_args!("message {} of {}", key.value().1, query.conversation);
        let Some(message) = unless_damaged(entry(&log, value.value().0), location)? else { continue };
        let shown = match row_of.amended {
            0 => message.into(),
            _ => amended(txn, number, key.value().1)?.show(message)?,
        };
        if !load.add(shown.weight()) {
            page.more = true;
            break;
        }
        page.messages.push(shown);
    }
    if page.messages.is_empty() && more {
        return Ok(Look::AllDamaged(match query.range {
            HistoryRange::After(_) => HistoryRange::After(Seq(to)),
            HistoryRange::Newest | HistoryRange::Before(_) => HistoryRange::Before(Seq(from)),
        }));
    }
    if !forward {
        page.messages.reverse();
    }
    Ok(Look::Page(Some(page)))
}

/// The states of conversations; with a reader only of the first ones that fit
/// on a page.
pub(super) fn states(
    txn: &ReadTransaction,
    ids: &[ConversationId],
    reader: Option<&UserId>,
) -> Result<Vec<Option<Conversation>>> {
    let (mut states, mut load) = (Vec::with_capacity(ids.len()), PAGE.load());
    for id in ids {
        let state = state(txn, id, reader)?;
        if reader.is_some() && !load.add(state.as_ref().map_or(0, Conversation::weight)) {
            break;
        }
        states.push(state);
    }
    Ok(states)
}

/// A conversation's state; `None` where there is none, or none for this reader.
fn state(
    txn: &ReadTransaction,
    id: &ConversationId,
    reader: Option<&UserId>,
) -> Result<Option<Conversation>> {
    let Some(number) = number(&txn.open_table(CONVERSATION_NUMBERS)?, id.as_str())? else {
        return Ok(None);
    };
    let table = txn.open_table(MEMBERS)?;
    let members = match reader.filter(|_| id.is_group()) {
        None => members(&table, number)?,
        // Only the reader's row: there may be many others.
        Some(reader) => {
            let reader = self::number(&txn.open_table(USER_NUMBERS)?, reader.as_str())?.unwrap_or(0);
            member(&table, number, reader)?.map(|member| (reader, member)).into_iter().collect()
        }
    };
    if members.is_empty() {
        return Ok(None);
    }
    let row = conversation(&txn.open_table(CONVERSATIONS)?, number)?;
    let group = if id.is_group() {
        let roles = Roles::parse(&row.roles)?;
        Some(Group { version: Version(row.version), name: row.name, owner: user_id(&row.owner)?, roles })
    } else {
        None
    };
    let reader = members.iter().find(|(_, member)| reader.is_some_and(|user| member.user == user.as_str()));
    let unread = match reader {
        Some((_, own)) => row.head.saturating_sub(own.read) - recalled(txn, number, own.read, row.head)?,
        None => 0,
    };
    let members = members.into_iter().map(|(_, member)| {
        let (since, delivered, read) = (Seq(member.since), Seq(member.delivered), Seq(member.read));
        Ok(Member::new(user_id(&member.user)?, since, delivered, read))
    });
    Ok(Some(Conversation {
        head: Seq(row.head),
        group,
        last_message: message(txn, number, row.head)?,
        unread,
        members: members.collect::<Result<_>>()?,
    }))
}

/// The members of a group; none where it is not there.
pub(super) fn members_of(txn: &ReadTransaction, group: &ConversationId) -> Result<Vec<UserId>> {
    let Some(number) = number(&txn.open_table(CONVERSATION_NUMBERS)?, group.as_str())? else {
        return Ok(Vec::new());
    };
    let members = members(&txn.open_table(MEMBERS)?, number)?;
    members.into_iter().map(|(_, member)| user_id(&member.user)).collect()
}

/// Whether both users of a direct conversation have written, judged by the
/// messages at the two ends of its log.
pub(super) fn talked(txn: &ReadTransaction, id: &ConversationId) -> Result<bool> {
    let (Some((one, other)), Some(number)) =
        (id.pair(), number(&txn.open_table(CONVERSATION_NUMBERS)?, id.as_str())?)
    else {
        return Ok(false);
    };
    let log = txn.open_table(LOG)?;
    let messages = txn.open_table(MESSAGES)?;
    let all = || messages.range((number, 0)..=(number, u64::MAX));
    let looked_at = usize::try_from(MESSAGES_CHECKED).unwrap_or(usize::MAX);
    let (mut one_wrote, mut other_wrote) = (false, false);
    for row in all()?.rev().take(looked_at).chain(all()?.take(looked_at)) {
        let read = unless_damaged(entry(&log, row?.1.value().0), format_args!("a message of {id}"))?;
        let Some(message) = read else { continue };
        let by = message.entry.by;
        one_wrote |= by == one.as_str();
        other_wrote |= by == other.as_str();
        if one_wrote && other_wrote {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A message, if it is kept.
fn message(txn: &ReadTransaction, conversation: u64, seq: u64) -> Result<Option<CurrentMessage>> {
    match txn.open_table(MESSAGES)?.get((conversation, seq))? {
        Some(row) => {
            let message = entry(&txn.open_table(LOG)?, row.value().0);
            let Some(message) = unless_damaged(message, format_args!("message {seq}"))? else {
                return Ok(None);
            };
            amended(txn, conversation, seq)?.show(message).map(Some)
        }
        None => Ok(None),
    }
}

/// Every conversation that the user is in.
pub(super) fn memberships(txn: &ReadTransaction, user: &UserId) -> Result<Vec<Membership>> {
    let Some(user) = number(&txn.open_table(USER_NUMBERS)?, user.as_str())? else {
        return Ok(Vec::new());
    };
    let (members, conversations) = (txn.open_table(MEMBERS)?, txn.open_table(CONVERSATIONS)?);
    let mut memberships = Vec::new();
    for row in txn.open_table(MEMBERSHIPS)?.range((user, 0)..=(user, u64::MAX))? {
        let number = row?.0.value().1;
        let member = member(&members, number, user)?
            .ok_or_else(|| Error::Corrupt("a membership without a member".into()))?;
        memberships.push(Membership {
            conversation: conversation_id(&conversation(&conversations, number)?.id)?,
            activity: Position(member.activity),
        });
    }
    Ok(memberships)
}
