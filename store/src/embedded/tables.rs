//! The tables of the file and their rows. Users and conversations have a number
//! each, so that keys are short. Entries are stored once, in an append-only
//! log; inboxes and conversations refer to them.

use bytes::Bytes;
use proto::{ConversationId, Fingerprint, Position, Role, UserId};
use redb::{ReadableTable, TableDefinition, WriteTransaction};

use super::journal::{JournaledTable, Write, Writes};
use crate::model::Roles;
use crate::{Error, Result};

/// The stored form of [`InboxRow`].
type InboxValue = (u64, u64, u64, u64, u32);
/// The stored form of [`UserRow`].
type UserValue = (u64, u64, u64, u64, u32);

/// Facts about the file: its format, the store's incarnation.
pub(super) const META: TableDefinition<&str, &str> = TableDefinition::new("meta");
/// User to number: 1, 2, 3 … in the order of appearance.
pub(super) const USER_NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("user_numbers");
/// User number to [`UserRow`].
pub(super) const USERS: TableDefinition<u64, UserValue> = TableDefinition::new("users");
/// (user number, position) to [`InboxRow`].
pub(super) const INBOXES: TableDefinition<(u64, u64), InboxValue> = TableDefinition::new("inboxes");
/// Conversation to number: 1, 2, 3 … in the order of appearance.
pub(super) const CONVERSATION_NUMBERS: TableDefinition<&str, u64> =
    TableDefinition::new("conversation_numbers");
/// Conversation number to [`ConversationRow`].
pub(super) const CONVERSATIONS: TableDefinition<u64, &[u8]> = TableDefinition::new("conversations");
/// (conversation number, seq) to (log number, filing time).
pub(super) const MESSAGES: TableDefinition<(u64, u64), (u64, u64)> = TableDefinition::new("messages");
/// (conversation number, user number) to [`MemberRow`].
pub(super) const MEMBERS: TableDefinition<(u64, u64), &[u8]> = TableDefinition::new("members");
/// (user number, conversation number), of present members.
pub(super) const MEMBERSHIPS: TableDefinition<(u64, u64), ()> = TableDefinition::new("memberships");
/// Log number to an encoded [`LogRow`].
pub(super) const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
/// Log number to how many inboxes and conversations refer to it.
pub(super) const REFERENCES: TableDefinition<u64, u32> = TableDefinition::new("references");
/// (conversation number, user number, repeat key) to (seq, time of the entry).
/// The key of an edit has the message's seq and a zero byte before it.
pub(super) const REPEATS: TableDefinition<(u64, u64, &str), (u64, u64)> = TableDefinition::new("repeats");
/// Log number to (filing time, and the key in [`REPEATS`]): what to forget, the
/// oldest first.
pub(super) const REPEAT_ENDS: TableDefinition<u64, (u64, u64, u64, &str)> =
    TableDefinition::new("repeat_ends");

/// (conversation number, seq) to [`AmendedRow`], of messages that were amended.
pub(super) const AMENDED: TableDefinition<(u64, u64), &[u8]> = TableDefinition::new("amended");
/// (conversation number, seq) of messages that were recalled.
pub(super) const RECALLED: TableDefinition<(u64, u64), ()> = TableDefinition::new("recalled");
/// (user number, conversation number) to when marks there that the user is told
/// of changed last: µs, different for each conversation of a user.
pub(super) const CHANGED: TableDefinition<(u64, u64), u64> = TableDefinition::new("changed");
/// (user number, that time) to conversation number.
pub(super) const CHANGED_AT: TableDefinition<(u64, u64), u64> = TableDefinition::new("changed_at");
/// User to when its last session ended, Unix ms.
pub(super) const LAST_SEEN: TableDefinition<&str, u64> = TableDefinition::new("last_seen");

/// The state of a user's inbox.
#[derive(Debug, Clone, Copy)]
pub(super) struct UserRow {
    /// The position of the newest event; 0 before the first.
    pub head: u64,
    /// The position of the oldest event that is kept; `head + 1` when none is.
    pub first: u64,
    /// When that event was filed, Unix ms.
    pub first_time: u64,
    /// Everything up to this position has been acknowledged.
    pub acknowledged: u64,
    /// The fingerprint of the event before `first`, so that a cursor exactly
    /// there is still valid; 0 at the beginning.
    pub trimmed: u32,
}

impl ConversationRow {
    /// The role of one of its members.
    pub(super) fn role(&self, user: &UserId) -> Result<Role> {
        if self.owner == user.as_str() { Ok(Role::Owner) } else { Ok(Roles::parse(&self.roles)?.of(user)) }
    }
}

impl UserRow {
    /// An inbox without events.
    pub(super) const EMPTY: Self = Self { head: 0, first: 1, first_time: 0, acknowledged: 0, trimmed: 0 };

    pub(super) fn read(value: UserValue) -> Self {
        let (head, first, first_time, acknowledged, trimmed) = value;
        Self { head, first, first_time, acknowledged, trimmed }
    }

    pub(super) fn value(self) -> UserValue {
        (self.head, self.first, self.first_time, self.acknowledged, self.trimmed)
    }
}

/// One event of an inbox.
#[derive(Debug, Clone, Copy)]
pub(super) struct InboxRow {
    /// The log number of the entry.
    pub log: u64,
    /// The conversation's number.
    pub conversation: u64,
    /// The seq of a message; 0 for a change.
    pub seq: u64,
    /// When it was filed, Unix ms.
    pub time: u64,
    /// The entry's fingerprint.
    pub fingerprint: Fingerprint,
}

impl InboxRow {
    pub(super) fn read(value: InboxValue) -> Self {
        let (log, conversation, seq, time, fingerprint) = value;
        Self { log, conversation, seq, time, fingerprint: Fingerprint(fingerprint) }
    }

    pub(super) fn value(self) -> InboxValue {
        (self.log, self.conversation, self.seq, self.time, self.fingerprint.0)
    }
}

/// The state of a conversation. A group that all members have left keeps its
/// row.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ConversationRow {
    #[prost(string, tag = "1")]
    pub id: String,
    /// The newest message's seq.
    #[prost(uint64, tag = "2")]
    pub head: u64,
    /// The seq of the oldest message that is kept; `head + 1` when none is.
    #[prost(uint64, tag = "3")]
    pub first: u64,
    /// When that message was filed, Unix ms.
    #[prost(uint64, tag = "4")]
    pub first_time: u64,
    /// The version of a group; 0 for a direct conversation.
    #[prost(uint64, tag = "5")]
    pub version: u64,
    #[prost(string, tag = "6")]
    pub name: String,
    #[prost(string, tag = "7")]
    pub owner: String,
    /// How many members have ever joined: the `order` of the next one.
    #[prost(uint64, tag = "8")]
    pub joined: u64,
    /// How many of its messages have a row in [`AMENDED`].
    #[prost(uint64, tag = "9")]
    pub amended: u64,
    /// Of a group: [`Roles`].
    #[prost(string, tag = "10")]
    pub roles: String,
}

/// The state that amendments have given a message.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AmendedRow {
    /// The log number of the last edit, which holds a reference to it; 0: not
    /// edited.
    #[prost(uint64, tag = "1")]
    pub edit: u64,
    /// When it was recalled, Unix ms; 0: not recalled.
    #[prost(uint64, tag = "3")]
    pub recalled: u64,
    /// The reactions, the earliest first.
    #[prost(message, repeated, tag = "4")]
    pub reactions: Vec<ReactionRow>,
}

/// A reaction of a user.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ReactionRow {
    #[prost(string, tag = "1")]
    pub user: String,
    #[prost(string, tag = "2")]
    pub emoji: String,
}

/// A member of a conversation.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct MemberRow {
    #[prost(string, tag = "1")]
    pub user: String,
    /// The member sees the messages after this seq.
    #[prost(uint64, tag = "2")]
    pub since: u64,
    #[prost(uint64, tag = "3")]
    pub delivered: u64,
    /// At least `since` and the member's own last message.
    #[prost(uint64, tag = "4")]
    pub read: u64,
    /// The position of the conversation's newest event in the member's inbox.
    #[prost(uint64, tag = "5")]
    pub activity: u64,
    /// The order of joining.
    #[prost(uint64, tag = "6")]
    pub order: u64,
}

/// An entry with its conversation and seq: the wire form of
/// `proto::wire::Event`, with the entry still encoded.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct LogRow {
    #[prost(string, tag = "1")]
    pub conversation: String,
    #[prost(uint64, tag = "2")]
    pub seq: u64,
    #[prost(bytes = "bytes", tag = "3")]
    pub entry: Bytes,
}

/// All tables, open for writing in one transaction.
pub(super) struct Tables<'t> {
    pub user_numbers: JournaledTable<'t, &'static str, u64>,
    pub users: JournaledTable<'t, u64, UserValue>,
    pub inboxes: JournaledTable<'t, (u64, u64), InboxValue>,
    pub conversation_numbers: JournaledTable<'t, &'static str, u64>,
    pub conversations: JournaledTable<'t, u64, &'static [u8]>,
    pub messages: JournaledTable<'t, (u64, u64), (u64, u64)>,
    pub members: JournaledTable<'t, (u64, u64), &'static [u8]>,
    pub memberships: JournaledTable<'t, (u64, u64), ()>,
    pub log: JournaledTable<'t, u64, &'static [u8]>,
    pub references: JournaledTable<'t, u64, u32>,
    pub repeats: JournaledTable<'t, (u64, u64, &'static str), (u64, u64)>,
    pub repeat_ends: JournaledTable<'t, u64, (u64, u64, u64, &'static str)>,
    pub changed: JournaledTable<'t, (u64, u64), u64>,
    pub changed_at: JournaledTable<'t, (u64, u64), u64>,
    pub last_seen: JournaledTable<'t, &'static str, u64>,
    pub amended: JournaledTable<'t, (u64, u64), &'static [u8]>,
    pub recalled: JournaledTable<'t, (u64, u64), ()>,
}

impl<'t> Tables<'t> {
    /// Opens them. What is written to them is noted in `writes`.
    pub(super) fn open(txn: &'t WriteTransaction, writes: &'t Writes) -> Result<Self> {
        Ok(Self {
            user_numbers: JournaledTable::open(txn, USER_NUMBERS, 0, writes)?,
            users: JournaledTable::open(txn, USERS, 1, writes)?,
            inboxes: JournaledTable::open(txn, INBOXES, 2, writes)?,
            conversation_numbers: JournaledTable::open(txn, CONVERSATION_NUMBERS, 3, writes)?,
            conversations: JournaledTable::open(txn, CONVERSATIONS, 4, writes)?,
            messages: JournaledTable::open(txn, MESSAGES, 5, writes)?,
            members: JournaledTable::open(txn, MEMBERS, 6, writes)?,
            memberships: JournaledTable::open(txn, MEMBERSHIPS, 7, writes)?,
            log: JournaledTable::open(txn, LOG, 8, writes)?,
            references: JournaledTable::open(txn, REFERENCES, 9, writes)?,
            repeats: JournaledTable::open(txn, REPEATS, 10, writes)?,
            repeat_ends: JournaledTable::open(txn, REPEAT_ENDS, 11, writes)?,
            changed: JournaledTable::open(txn, CHANGED, 12, writes)?,
            changed_at: JournaledTable::open(txn, CHANGED_AT, 13, writes)?,
            last_seen: JournaledTable::open(txn, LAST_SEEN, 14, writes)?,
            amended: JournaledTable::open(txn, AMENDED, 15, writes)?,
            recalled: JournaledTable::open(txn, RECALLED, 16, writes)?,
        })
    }

    /// Does a write of the journal again, if it is one of these tables.
    pub(super) fn redo(&mut self, write: Write<'_>) -> Result<bool> {
        Ok(self.user_numbers.redo(write)?
            || self.users.redo(write)?
            || self.inboxes.redo(write)?
            || self.conversation_numbers.redo(write)?
            || self.conversations.redo(write)?
            || self.messages.redo(write)?
            || self.members.redo(write)?
            || self.memberships.redo(write)?
            || self.log.redo(write)?
            || self.references.redo(write)?
            || self.repeats.redo(write)?
            || self.repeat_ends.redo(write)?
            || self.changed.redo(write)?
            || self.changed_at.redo(write)?
            || self.last_seen.redo(write)?
            || self.amended.redo(write)?
            || self.recalled.redo(write)?)
    }

    /// The next log number, higher than all that were given.
    pub(super) fn next_log(&self) -> Result<u64> {
        let log = self.log.last()?.map_or(0, |(number, _)| number.value());
        // The newest entries may have been trimmed already.
        let ends = self.repeat_ends.last()?.map_or(0, |(number, _)| number.value());
        Ok(log.max(ends) + 1)
    }
}

/// Decodes a row that is stored as protobuf.
pub(super) fn decode<R: prost::Message + Default>(bytes: &[u8]) -> Result<R> {
    R::decode(bytes).map_err(|error| Error::Corrupt(format!("a row: {error}")))
}

/// The number of a user or conversation, if it has one.
pub(super) fn number(table: &impl ReadableTable<&'static str, u64>, name: &str) -> Result<Option<u64>> {
    Ok(table.get(name)?.map(|row| row.value()))
}

/// A user's row; an empty one when there is none yet.
pub(super) fn user(table: &impl ReadableTable<u64, UserValue>, number: u64) -> Result<UserRow> {
    Ok(table.get(number)?.map_or(UserRow::EMPTY, |row| UserRow::read(row.value())))
}

/// One event of an inbox. Every position between `first` and `head` has a row.
pub(super) fn filed(
    table: &impl ReadableTable<(u64, u64), InboxValue>,
    user: u64,
    position: u64,
) -> Result<InboxRow> {
    let row = table.get((user, position))?;
    let row = row.ok_or_else(|| Error::Corrupt(format!("no event at position {position} of an inbox")))?;
    Ok(InboxRow::read(row.value()))
}

/// A conversation's row. Every number has one.
pub(super) fn conversation(
    table: &impl ReadableTable<u64, &'static [u8]>,
    number: u64,
) -> Result<ConversationRow> {
    let row = table.get(number)?.ok_or_else(|| Error::Corrupt("a conversation without a row".into()))?;
    decode(row.value())
}

/// A member's row; `None` for a user who is not a member.
pub(super) fn member(
    table: &impl ReadableTable<(u64, u64), &'static [u8]>,
    conversation: u64,
    user: u64,
) -> Result<Option<MemberRow>> {
    table.get((conversation, user))?.map(|row| decode(row.value())).transpose()
}

/// All members of a conversation with their numbers, in the order of joining.
pub(super) fn members(
    table: &impl ReadableTable<(u64, u64), &'static [u8]>,
    conversation: u64,
) -> Result<Vec<(u64, MemberRow)>> {
    let mut members = Vec::new();
    for row in table.range((conversation, 0)..=(conversation, u64::MAX))? {
        let (key, value) = row?;
        members.push((key.value().1, decode::<MemberRow>(value.value())?));
    }
    members.sort_by_key(|(_, member)| member.order);
    Ok(members)
}

/// Reads a user id that was stored.
pub(super) fn user_id(text: &str) -> Result<UserId> {
    UserId::parse(text).map_err(|error| Error::Corrupt(format!("a user's id {error}")))
}

/// Reads a conversation id that was stored.
pub(super) fn conversation_id(text: &str) -> Result<ConversationId> {
    ConversationId::parse(text).map_err(|error| Error::Corrupt(format!("a conversation's id {error}")))
}

impl UserRow {
    /// The newest event's position.
    pub(super) fn head(&self) -> Position {
        Position(self.head)
    }
}
