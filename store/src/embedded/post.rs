//! Numbers and files one post, inside the writer's transaction: all of it or,
//! when it is refused, nothing.

use std::collections::HashSet;

use bytes::Bytes;
use prost::Message as _;
use proto::{
    ConversationId, Cursor, Fingerprint, Position, Role, Seq, SessionId, StoreIncarnation, Time, UserId,
};
use redb::{ReadableTable, ReadableTableMetadata};

use super::amend;
use super::inbox::{self, release};
use super::tables::{
    ConversationRow, InboxRow, LogRow, MemberRow, Tables, conversation, member, members, number,
};
use crate::model::{Change, NewEntry, OwnPosition, Post, PostKind, PostResult, Roles};
use crate::{Bounds, Error, Result};

/// The most messages that are removed from a conversation when one is added.
const MAX_CUT: usize = 16;

/// An event to announce once the transaction is durable.
pub(super) struct PendingAnnouncement {
    pub conversation: ConversationId,
    pub seq: Seq,
    /// The encoded entries; more than one for some changes.
    pub entries: Vec<Bytes>,
    /// The readers and the position of the first entry in their inboxes; the
    /// other entries follow it.
    pub readers: Vec<(String, Position)>,
    /// The posting session, which gets no announcement.
    pub except: Option<(UserId, SessionId)>,
    /// The post's [`Post::trace`].
    pub trace: Bytes,
}

/// The posts of one transaction: its tables, and what is the same for all of
/// them.
pub(super) struct Posting<'a, 't> {
    pub tables: &'a mut Tables<'t>,
    pub bounds: &'a Bounds,
    /// Unix ms, by the clock of this process: ages count from filing, so a
    /// router's wrong clock cannot trim anything.
    pub now: u64,
    pub next_log: u64,
    /// The store's incarnation.
    pub store: StoreIncarnation,
    pub announcements: Vec<PendingAnnouncement>,
}

impl Posting<'_, '_> {
    /// Applies one post, which must have as many entries as its kind needs.
    pub(super) fn apply(&mut self, post: &Post) -> Result<PostResult> {
        match &post.kind {
            PostKind::Message { repeat_key, session } => {
                self.message(post, &post.entries[0], repeat_key, session.as_ref())
            }
            PostKind::Change(change) => self.change(post, change),
            PostKind::Amend { seq, who, amendment } => self.amend(post, *seq, *who, amendment),
        }
    }

    fn message(
        &mut self,
        post: &Post,
        entry: &NewEntry,
        repeat_key: &str,
        session: Option<&SessionId>,
    ) -> Result<PostResult> {
        let Some(conversation) = self.writable(&post.conversation, &post.by)? else {
            return Ok(PostResult::NotMember);
        };
        let by = number(&self.tables.user_numbers, post.by.as_str())?.unwrap_or(0);
        if member(&self.tables.members, conversation, by)?.is_none() {
            return Ok(PostResult::NotMember);
        }
        if let Some(row) = self.tables.repeats.get((conversation, by, repeat_key))? {
            let (seq, time) = row.value();
            return Ok(PostResult::Done { seq: Seq(seq), time: Time(time), duplicate: true, position: None });
        }

        let mut row = self::conversation(&self.tables.conversations, conversation)?;
        if row.role(&post.by)? == Role::Reader {
            return Ok(PostResult::NotAllowed);
        }
        row.head += 1;
        let seq = row.head;
        let mut members = members(&self.tables.members, conversation)?;
        let log = self.append(&row.id, seq, entry, members.len() + 1)?;
        self.tables.repeats.insert((conversation, by, repeat_key), (seq, entry.time.0))?;
        self.tables.repeat_ends.insert(log, (self.now, conversation, by, repeat_key))?;
        self.tables.messages.insert((conversation, seq), (log, self.now))?;
        if row.first == seq {
            row.first_time = self.now;
        }
        self.bound(conversation, &mut row)?;
        self.tables.conversations.insert(conversation, row.encode_to_vec().as_slice())?;

        let filing = InboxRow { log, conversation, seq, time: self.now, fingerprint: entry.fingerprint };
        let mut readers = Vec::with_capacity(members.len());
        let mut own = None;
        for (number, member) in &mut members {
            let position = inbox::file(self.tables, *number, filing, self.bounds)?;
            member.activity = position.0;
            if *number == by {
                member.read = seq;
                own = Some(self.own_position(position, entry.fingerprint));
            }
            self.tables.members.insert((conversation, *number), member.encode_to_vec().as_slice())?;
            readers.push((std::mem::take(&mut member.user), position));
        }
        self.announcements.push(PendingAnnouncement {
            conversation: post.conversation.clone(),
            seq: Seq(seq),
            entries: vec![entry.bytes.clone()],
            readers,
            except: session.map(|session| (post.by.clone(), session.clone())),
            trace: post.trace.clone(),
        });
        Ok(PostResult::Done { seq: Seq(seq), time: entry.time, duplicate: false, position: own })
    }

    fn change(&mut self, post: &Post, change: &Change) -> Result<PostResult> {
        if !post.conversation.is_group() {
            return Ok(PostResult::NotMember);
        }
        let existing = number(&self.tables.conversation_numbers, post.conversation.as_str())?;
        let mut row = match existing {
            Some(number) => {
                let by = self::number(&self.tables.user_numbers, post.by.as_str())?.unwrap_or(0);
                if member(&self.tables.members, number, by)?.is_none() {
                    return Ok(PostResult::NotMember);
                }
                conversation(&self.tables.conversations, number)?
            }
            // A group can only be made by one of its members.
            None if change.expect.0 == 0 && change.add.contains(&post.by) => {
                ConversationRow { id: post.conversation.to_string(), first: 1, ..Default::default() }
            }
            None => return Ok(PostResult::NotMember),
        };
        if row.version != change.expect.0 {
            return Ok(PostResult::Stale);
        }
        let group = match existing {
            Some(number) => number,
            None => self.new_conversation(&row)?,
        };

        row.version += post.entries.len() as u64;
        row.name = change.name.clone().unwrap_or(row.name);
        row.owner = change.owner.as_ref().map_or(row.owner, ToString::to_string);
        row.roles = change.roles.as_ref().map_or(row.roles, Roles::to_text);
        for user in &change.add {
            self.join(group, &mut row, user)?;
        }
        let mut members = members(&self.tables.members, group)?;
        let removed: HashSet<&str> = change.remove.iter().map(UserId::as_str).collect();

        let mut readers = Vec::with_capacity(members.len());
        let mut own = None;
        for (index, entry) in post.entries.iter().enumerate() {
            let log = self.append(&row.id, 0, entry, members.len())?;
            let filing =
                InboxRow { log, conversation: group, seq: 0, time: self.now, fingerprint: entry.fingerprint };
            for (number, member) in &mut members {
                let position = inbox::file(self.tables, *number, filing, self.bounds)?;
                member.activity = position.0;
                if member.user == post.by.as_str() {
                    own = Some(self.own_position(position, entry.fingerprint));
                }
                if index == 0 {
                    readers.push((member.user.clone(), position));
                }
            }
        }
        let before = members.len();
        members.retain(|(_, member)| !removed.contains(member.user.as_str()));
        for (number, member) in &members {
            self.tables.members.insert((group, *number), member.encode_to_vec().as_slice())?;
        }
        if members.len() < before {
            for user in &change.remove {
                let number = self.user_number(user)?;
                self.tables.members.remove((group, number))?;
                self.tables.memberships.remove((number, group))?;
            }
        }
        if members.is_empty() {
            while row.first <= row.head {
                cut(self.tables, group, &mut row)?;
            }
        }
        self.tables.conversations.insert(group, row.encode_to_vec().as_slice())?;
        self.announcements.push(PendingAnnouncement {
            conversation: post.conversation.clone(),
            seq: Seq(0),
            entries: post.entries.iter().map(|entry| entry.bytes.clone()).collect(),
            readers,
            except: None,
            trace: post.trace.clone(),
        });
        Ok(PostResult::Done {
            seq: Seq(row.head),
            time: post.entries[0].time,
            duplicate: false,
            position: own,
        })
    }

    pub(super) fn own_position(&self, position: Position, fingerprint: Fingerprint) -> OwnPosition {
        OwnPosition { cursor: Cursor { position, fingerprint }, store: self.store }
    }

    /// The number of a conversation that `by` may write to, as far as the id
    /// says. Makes a direct conversation that is not stored yet.
    fn writable(&mut self, id: &ConversationId, by: &UserId) -> Result<Option<u64>> {
        let Some((one, other)) = id.pair() else {
            return number(&self.tables.conversation_numbers, id.as_str());
        };
        if *by != one && *by != other {
            return Ok(None);
        }
        if let Some(number) = number(&self.tables.conversation_numbers, id.as_str())? {
            return Ok(Some(number));
        }
        let mut row = ConversationRow { id: id.to_string(), first: 1, ..Default::default() };
        let number = self.new_conversation(&row)?;
        self.join(number, &mut row, &one)?;
        self.join(number, &mut row, &other)?;
        self.tables.conversations.insert(number, row.encode_to_vec().as_slice())?;
        Ok(Some(number))
    }

    fn new_conversation(&mut self, row: &ConversationRow) -> Result<u64> {
        let number = self.tables.conversation_numbers.len()? + 1;
        self.tables.conversation_numbers.insert(row.id.as_str(), number)?;
        self.tables.conversations.insert(number, row.encode_to_vec().as_slice())?;
        Ok(number)
    }

    /// Makes a user a member from the present head on, if it is not one
    /// already.
    fn join(&mut self, conversation: u64, row: &mut ConversationRow, user: &UserId) -> Result<()> {
        let number = self.user_number(user)?;
        if self.tables.members.get((conversation, number))?.is_some() {
            return Ok(());
        }
        let member = MemberRow {
            user: user.to_string(),
            since: row.head,
            delivered: row.head,
            read: row.head,
            order: row.joined,
            ..Default::default()
        };
        row.joined += 1;
        self.tables.members.insert((conversation, number), member.encode_to_vec().as_slice())?;
        self.tables.memberships.insert((number, conversation), ())?;
        Ok(())
    }

    fn user_number(&mut self, user: &UserId) -> Result<u64> {
        if let Some(number) = number(&self.tables.user_numbers, user.as_str())? {
            return Ok(number);
        }
        let number = self.tables.user_numbers.len()? + 1;
        self.tables.user_numbers.insert(user.as_str(), number)?;
        Ok(number)
    }

    /// Writes an entry to the log, with the number of references that it will
    /// have.
    pub(super) fn append(&mut self, id: &str, seq: u64, entry: &NewEntry, references: usize) -> Result<u64> {
        let number = self.next_log;
        self.next_log += 1;
        let row = LogRow { conversation: id.to_owned(), seq, entry: entry.bytes.clone() };
        self.tables.log.insert(number, row.encode_to_vec().as_slice())?;
        self.tables.references.insert(number, u32::try_from(references).unwrap_or(u32::MAX))?;
        Ok(number)
    }

    /// Removes the oldest messages beyond the limits; the newest stays.
    fn bound(&mut self, number: u64, row: &mut ConversationRow) -> Result<()> {
        let oldest = self.now.saturating_sub(self.bounds.age_ms());
        for _ in 0..MAX_CUT {
            let kept = row.head + 1 - row.first;
            if kept <= 1 || (kept <= self.bounds.conversation_messages && row.first_time >= oldest) {
                break;
            }
            cut(self.tables, number, row)?;
        }
        Ok(())
    }
}

/// Removes the oldest message of a conversation. The caller stores the row.
pub(super) fn cut(tables: &mut Tables<'_>, number: u64, row: &mut ConversationRow) -> Result<()> {
    let log = tables.messages.remove((number, row.first))?.map(|removed| removed.value().0);
    let log = log.ok_or_else(|| Error::Corrupt("a hole in a conversation".into()))?;
    release(tables, log)?;
    if row.amended > 0 && amend::forget(tables, number, row.first)? {
        row.amended -= 1;
    }
    row.first += 1;
    row.first_time = tables.messages.get((number, row.first))?.map_or(0, |next| next.value().1);
    Ok(())
}
