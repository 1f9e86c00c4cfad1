//! Reads conversations: their history, their state, and which ones a user is
//! in.

use std::ops::Range;

use fred::bytes_utils::Str;
use fred::types::Value;
use proto::weight::{LEAST_PAGE, PAGE};
use proto::{ConversationId, Position, Seq, Time, UserId};
use rustc_hash::FxHashMap;
use smallvec::smallvec;

use super::Redis;
use super::connection::Item;
use super::fetch::decode;
use super::key::Bucket;
use super::reply::{Row, unexpected};
use super::session::user_item;
use super::{script, write};
use crate::damage::unless_damaged;
use crate::message_state::MessageState;
use crate::model::{
    Conversation, CurrentMessage, Group, HistoryPage, HistoryQuery, HistoryRange, LogEvent, MESSAGES_CHECKED,
    Member, Membership, Roles, Version,
};
use crate::{Error, Result};

/// The most conversations of one call: each has its last message, and may have
/// many members.
const CONVERSATIONS: usize = 8;
/// Fields of a record read in one call, about (`HSCAN COUNT`).
const FIELDS: &str = "1000";
/// The most records of one call.
const RECORDS: usize = 512;
/// The most conversations of one call that reads up to [`MESSAGES_CHECKED`] messages
/// at both ends of each.
const LOOKED_THROUGH: usize = 16;

impl Redis {
    /// A page of damaged messages only is skipped while there is more after it:
    /// a reader could not go on from it. A page that ended where the log ends goes on
    /// in the archive, or the other way round, while there is room for a page.
    pub(super) async fn history_of(&self, mut query: HistoryQuery) -> Result<Option<HistoryPage>> {
        if !query.conversation.admits(&query.user) {
            return Ok(None);
        }
        let rising = matches!(query.range, HistoryRange::After(_));
        let (mut whole, mut room) = (HistoryPage { messages: Vec::new(), more: false }, PAGE.bytes);
        loop {
            let read = match self.history_page(&query, room).await {
                // What is at hand is a page.
                Err(Error::Archive(_)) if !whole.messages.is_empty() => return Ok(Some(whole)),
                read => read?,
            };
            let Some(part) = read else { return Ok(None) };
            let (found, weight) =
                (part.messages.len(), part.messages.iter().map(CurrentMessage::weight).sum());
            query.limit -= found.min(query.limit);
            room = room.saturating_sub(weight);
            whole.more = part.more;
            match rising {
                true => whole.messages.extend(part.messages),
                false => drop(whole.messages.splice(0..0, part.messages)),
            }
            let goes_on =
                whole.messages.is_empty() || (part.at_border && query.limit > 0 && room >= LEAST_PAGE);
            if part.seqs.is_empty() || !part.more || !goes_on {
                return Ok(Some(whole));
            }
            query.range = match rising {
                true => HistoryRange::After(Seq(part.seqs.end - 1)),
                false => HistoryRange::Before(Seq(part.seqs.start)),
            };
        }
    }

    /// Reads the part of a page that is in the log, or the one that is in the
    /// archive, of at most `most` bytes.
    async fn history_page(&self, query: &HistoryQuery, most: usize) -> Result<Option<HistoryPart>> {
        let conversation = &query.conversation;
        let (range, seq) = match query.range {
            HistoryRange::Newest => ("n", 0),
            HistoryRange::Before(seq) => ("b", seq.0),
            HistoryRange::After(seq) => ("a", seq.0),
        };
        let mut item = conversation_item(conversation);
        item.args.extend([
            write::text(query.user.as_str()),
            write::text(if conversation.is_group() { "1" } else { "0" }),
            write::text(range),
            write::number(seq),
            write::number(query.limit as u64),
            write::number(most as u64),
        ]);
        let mut row = only(self.read.run(&script::HISTORY, &[], vec![item], 1).await?)?;
        if row.number()? == 0 {
            return Ok(None);
        }
        let (first, mut more) = (row.number()?, row.number()? == 1);
        let mut list = row.list()?;
        let mut entries = Vec::new();
        while !list.is_done() {
            entries.push((first + entries.len() as u64, list.bytes()?));
        }
        let mut states = states(&mut row)?;
        let (last, at_border) = (row.number()?, row.number()? == 1);
        let mut seqs = first..first + entries.len() as u64;
        if last > 0 {
            let newest = range != "a";
            let room = most.saturating_sub(states.values().map(MessageState::weight).sum());
            let page = self.archived_page(conversation, (first, last), newest, room).await?;
            (entries, seqs) = (page.messages, first..last + 1);
            if let (true, Some((end, _))) = (page.cut, entries.last()) {
                more = true;
                seqs = if newest { *end..seqs.end } else { seqs.start..*end + 1 };
            }
            if newest {
                entries.reverse();
            }
        }
        let mut messages = Vec::with_capacity(entries.len());
        for (seq, entry) in entries {
            let entry = unless_damaged(decode(entry), format_args!("message {seq} of {conversation}"))?;
            if let Some(entry) = entry {
                let message = LogEvent { conversation: conversation.clone(), seq: Seq(seq), entry };
                messages.push(states.remove(&seq).unwrap_or_default().show(message)?);
            }
        }
        Ok(Some(HistoryPart { messages, more, seqs, at_border }))
    }

    pub(super) async fn members_of(&self, groups: &[ConversationId]) -> Result<Vec<Vec<UserId>>> {
        let items = groups.iter().map(conversation_item).collect();
        let rows = self.read.run(&script::MEMBERS, &[], items, RECORDS).await?;
        let members = rows.into_iter().map(|mut row| starts(&row.text()?));
        members.map(|starts| Ok(starts?.into_iter().map(|start| start.user).collect())).collect()
    }

    pub(super) async fn talked_in(&self, ids: &[ConversationId]) -> Result<Vec<bool>> {
        let items = ids
            .iter()
            .map(|id| {
                let mut item = conversation_item(id);
                let (one, other) = id.pair().unzip();
                for member in [one, other] {
                    item.args.push(write::text(member.as_ref().map_or("", UserId::as_str)));
                }
                item
            })
            .collect();
        let common = [write::number(MESSAGES_CHECKED)];
        let rows = self.read.run(&script::TALKED, &common, items, LOOKED_THROUGH).await?;
        let mut talked = Vec::with_capacity(ids.len());
        for (id, mut row) in ids.iter().zip(rows) {
            let have = row.number()? == 1;
            let (gone, base, head) = (row.number()?, row.number()?, row.number()?);
            talked.push(match id.pair() {
                Some(members) if !have && gone < base => {
                    let newest = head.saturating_sub(MESSAGES_CHECKED).max(gone) + 1..=head;
                    let oldest = gone + 1..=head.min(gone + MESSAGES_CHECKED);
                    self.wrote(id, newest.chain(oldest).collect(), &members).await?
                }
                _ => have,
            });
        }
        Ok(talked)
    }

    pub(super) async fn conversations_of(
        &self,
        ids: &[ConversationId],
        reader: Option<&UserId>,
    ) -> Result<Vec<Option<Conversation>>> {
        let (mut found, mut newest_recalled) = (Vec::new(), Vec::new());
        let mut page = PAGE.load();
        'page: for some in ids.chunks(CONVERSATIONS) {
            let common = [write::text(reader.map_or("", UserId::as_str))];
            let items = some.iter().map(state_item).collect();
            let rows = self.read.run(&script::CONVERSATION, &common, items, CONVERSATIONS).await?;
            for (id, row) in some.iter().zip(rows) {
                let (conversation, recalled) = conversation(id, row)?;
                let weight = conversation.as_ref().map_or(0, Conversation::weight);
                if reader.is_some() && !page.add(weight) {
                    break 'page;
                }
                found.push(conversation);
                newest_recalled.push(recalled);
            }
        }
        self.read_what_they_sent(ids, &mut found).await?;
        if let Some(reader) = reader {
            self.count_unread(ids, reader, &mut found, &newest_recalled).await?;
        }
        Ok(found)
    }

    /// Sets `unread`: see [`Conversation::unread`]. Needs a call only where a
    /// message after the read mark was recalled.
    async fn count_unread(
        &self,
        ids: &[ConversationId],
        reader: &UserId,
        found: &mut [Option<Conversation>],
        newest_recalled: &[u64],
    ) -> Result<()> {
        let (mut items, mut wanted) = (Vec::new(), Vec::new());
        for (index, (id, conversation)) in ids.iter().zip(found.iter_mut()).enumerate() {
            let Some(conversation) = conversation else { continue };
            let Some(member) = conversation.members.iter().find(|member| member.user == *reader) else {
                continue;
            };
            let read = member.read;
            conversation.unread = conversation.head.0.saturating_sub(read.0);
            if newest_recalled[index] > read.0 {
                let mut item = conversation_item(id);
                item.args.extend([write::number(read.0), write::number(conversation.head.0)]);
                items.push(item);
                wanted.push(index);
            }
        }
        let rows = self.read.run(&script::RECALLED, &[], items, RECORDS).await?;
        for (index, mut row) in wanted.into_iter().zip(rows) {
            let recalled = row.number()?;
            if let Some(conversation) = &mut found[index] {
                conversation.unread = conversation.unread.saturating_sub(recalled);
            }
        }
        Ok(())
    }

    /// Raises read marks to the messages that users sent themselves, which are
    /// noted on their records.
    async fn read_what_they_sent(
        &self,
        ids: &[ConversationId],
        found: &mut [Option<Conversation>],
    ) -> Result<()> {
        let mut items = Vec::new();
        for (id, conversation) in ids.iter().zip(found.iter()) {
            let members = conversation.iter().flat_map(|conversation| &conversation.members);
            items.extend(members.map(|member| filed_item(&member.user, id)));
        }
        let mut rows = self.read.run(&script::SENT, &[], items, RECORDS).await?.into_iter();
        for member in found.iter_mut().flatten().flat_map(|conversation| &mut conversation.members) {
            let sent = Seq(rows.next().ok_or_else(|| unexpected("a row"))?.number()?);
            member.has_sent(sent);
        }
        Ok(())
    }

    pub(super) async fn memberships_of(&self, user: &UserId) -> Result<Vec<Membership>> {
        // First what the record does not have yet: it is read afterwards, and only
        // gets newer.
        let recent = self.read.run(&script::RECENT, &[], vec![user_item(user)], 1).await?;
        // A map by conversation: HSCAN may return a field twice when it changes
        // meanwhile.
        let mut memberships = FxHashMap::default();
        let mut cursor = Str::from("0");
        loop {
            let mut page = self.scan_record(user, cursor).await?;
            cursor = page.text()?;
            read_memberships(&mut page.list()?, &mut memberships)?;
            if &*cursor == "0" {
                break;
            }
        }
        let mut recent = only(recent)?;
        while !recent.is_done() {
            let id = ConversationId::parse(&recent.text()?).map_err(|_| unexpected("a conversation"))?;
            let newest = Position(recent.number()?);
            // What was left meanwhile stays left.
            if let Some(activity) = memberships.entry(id).or_insert(Some(newest)) {
                *activity = newest.max(*activity);
            }
        }
        let of = |(conversation, activity): (_, Option<_>)| {
            activity.map(|activity| Membership { conversation, activity })
        };
        Ok(memberships.into_iter().filter_map(of).collect())
    }

    /// Some fields of a user's record about conversations, and where to go on.
    /// A record may have very many fields, and reading all at once would block
    /// Redis.
    async fn scan_record(&self, user: &UserId, cursor: Str) -> Result<Row> {
        let bucket = Bucket::of(user.as_str());
        let key = format!("{{{}}}u:{user}", bucket.0);
        let [a, b, c, d] = ["MATCH", "f:*", "COUNT", FIELDS].map(write::text);
        let args = [Value::String(key.into()), Value::String(cursor), a, b, c, d];
        Ok(Row::new(self.read.command("HSCAN", bucket.slot(), &args).await?))
    }
}

fn read_memberships(fields: &mut Row, into: &mut FxHashMap<ConversationId, Option<Position>>) -> Result<()> {
    while !fields.is_done() {
        let (field, value) = (fields.bytes()?, fields.bytes()?);
        let Some(id) = field.strip_prefix(b"f:") else { continue };
        into.extend(unless_damaged(membership(id, &value), "a conversation on a user's record")?);
    }
    Ok(())
}

/// Reads a record's field about a conversation; the activity is `None` if the
/// user has left it.
pub(super) fn membership(id: &[u8], value: &[u8]) -> Result<(ConversationId, Option<Position>)> {
    let wrong = || Error::Corrupt("a conversation on a user's record".into());
    let id = std::str::from_utf8(id).ok().and_then(|id| ConversationId::parse(id).ok()).ok_or_else(wrong)?;
    let mut words = std::str::from_utf8(value).map_err(|_| wrong())?.split(' ');
    let activity = words.nth(2).and_then(|word| word.parse().ok()).ok_or_else(wrong)?;
    let left = words.nth(1) == Some("l");
    Ok((id, (!left).then_some(Position(activity))))
}

/// The first arguments of items about conversations: bucket and conversation.
pub(super) fn conversation_item(id: &ConversationId) -> Item {
    let bucket = Bucket::of(id.as_str());
    Item::new(bucket, smallvec![Value::Integer(bucket.0.into()), write::text(id.as_str())])
}

/// An item of `conversation.lua`.
pub(super) fn state_item(id: &ConversationId) -> Item {
    let mut item = conversation_item(id);
    item.args.push(write::text(&write::direct_members(id)));
    item
}

/// An item of `sent.lua` and `filed.lua`.
pub(super) fn filed_item(user: &UserId, conversation: &ConversationId) -> Item {
    let mut item = user_item(user);
    item.args.push(write::text(conversation.as_str()));
    item
}

pub(super) fn only(mut rows: Vec<Row>) -> Result<Row> {
    rows.pop().ok_or_else(|| unexpected("a row"))
}

/// Reads a row of `conversation.lua`. The number is the newest seq that was
/// recalled, 0 for none.
fn conversation(id: &ConversationId, mut row: Row) -> Result<(Option<Conversation>, u64)> {
    let (head, _) = (Seq(row.number()?), row.number()?);
    let version = Version(row.number()?);
    let (name, owner, roles, members) = (row.text()?, row.text()?, row.text()?, row.text()?);
    let (mut marks, mut last) = (row.list()?, row.list()?);
    let (mut states, newest_recalled) = (states(&mut row)?, row.number()?);
    let group = id.is_group();
    if members.is_empty() || (!group && head == Seq(0)) {
        return Ok((None, 0));
    }
    let mut list = Vec::new();
    for start in starts(&members)? {
        let (delivered, read) = (Seq(marks.number()?), Seq(marks.number()?));
        let since = Seq(start.seq);
        // A mark beyond the head comes from a history that was lost.
        let (delivered, read) = (delivered.min(head), read.min(head).max(since));
        list.push(Member::new(start.user, since, delivered, read));
    }
    let last_message = match last.is_done() {
        true => None,
        false => {
            let entry = unless_damaged(decode(last.bytes()?), format_args!("message {} of {id}", head.0))?;
            let message = entry.map(|entry| LogEvent { conversation: id.clone(), seq: head, entry });
            message.map(|message| states.remove(&head.0).unwrap_or_default().show(message)).transpose()?
        }
    };
    let group = match group {
        false => None,
        true => {
            let owner =
                UserId::parse(&owner).map_err(|error| Error::Corrupt(format!("a group's owner: {error}")))?;
            Some(Group { version, name: name.to_string(), owner, roles: Roles::parse(&roles)? })
        }
    };
    Ok((Some(Conversation { head, group, last_message, unread: 0, members: list }), newest_recalled))
}

/// Reads the states of amended messages by seq, as `states` of
/// `scripts/lib/state.lua` returns them.
fn states(row: &mut Row) -> Result<FxHashMap<u64, MessageState>> {
    let mut found = FxHashMap::default();
    let mut list = row.list()?;
    while !list.is_done() {
        let mut state = list.list()?;
        let (seq, edit) = (state.number()?, state.bytes()?);
        let recalled = Some(Time(state.number()?)).filter(|time| *time > Time(0));
        let edit = Some(edit).filter(|edit| !edit.is_empty()).map(decode);
        let edit = match edit {
            Some(edit) => unless_damaged(edit, format_args!("the edit of message {seq}"))?,
            None => None,
        };
        let mut amended = MessageState { edit, recalled, reactions: Vec::new() };
        let mut reactions = state.list()?;
        while !reactions.is_done() {
            let reaction = reaction(&reactions.bytes()?);
            amended.reactions.extend(unless_damaged(reaction, format_args!("a reaction to message {seq}"))?);
        }
        found.insert(seq, amended);
    }
    Ok(found)
}

/// Reads `user:emoji`.
pub(super) fn reaction(bytes: &[u8]) -> Result<(UserId, String)> {
    let parts = std::str::from_utf8(bytes).ok().and_then(|text| text.split_once(':'));
    let (user, emoji) = parts.ok_or_else(|| unexpected("a reaction"))?;
    let user = UserId::parse(user).map_err(|_| unexpected("a reaction of a user"))?;
    Ok((user, emoji.to_owned()))
}

/// A part of a page of history, from the log or from the archive.
struct HistoryPart {
    messages: Vec<CurrentMessage>,
    more: bool,
    /// Its seqs, damaged messages included.
    seqs: Range<u64>,
    /// Whether it ended because the log or the archive does.
    at_border: bool,
}

/// A member as the scripts write it, and where its view of the conversation
/// starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) user: UserId,
    pub(super) seq: u64,
    pub(super) version: u64,
    /// Whether the change that is being filed removes the member.
    pub(super) leaves: bool,
}

/// Reads members in the form `bucket,user:seq:version;`, where an `l` after the
/// `;` marks a member who leaves. Fails for any other form.
pub(super) fn starts(members: &str) -> Result<Vec<Start>> {
    let wrong = || Error::Corrupt("the members of a group".into());
    let mut starts: Vec<Start> = Vec::new();
    for part in members.split_terminator(';') {
        let member = match part.strip_prefix('l') {
            Some(next) => {
                starts.last_mut().ok_or_else(wrong)?.leaves = true;
                next
            }
            None => part,
        };
        if member.is_empty() {
            continue;
        }
        let (_, member) = member.split_once(',').ok_or_else(wrong)?;
        let mut words = member.split(':');
        let user = words.next().and_then(|user| UserId::parse(user).ok()).ok_or_else(wrong)?;
        let mut number = || words.next().and_then(|word| word.parse().ok()).ok_or_else(wrong);
        starts.push(Start { user, seq: number()?, version: number()?, leaves: false });
    }
    Ok(starts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_as_the_scripts_write_them() {
        let found = starts("7,alice:0:0;9,bob:3:2;l12,carol:4:3;").unwrap();
        assert_eq!(
            found.iter().map(|start| start.user.as_str()).collect::<Vec<_>>(),
            ["alice", "bob", "carol"]
        );
        assert_eq!(found.iter().map(|start| start.leaves).collect::<Vec<_>>(), [false, true, false]);
        assert_eq!((found[2].seq, found[2].version), (4, 3));
        assert!(starts("7,alice:0:0;l").unwrap()[0].leaves);
        assert_eq!(starts("").unwrap(), []);
        assert!(starts("l").is_err() && starts("7,alice:0").is_err());
    }
}
