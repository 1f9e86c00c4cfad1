//! Messages for members who had no session when they were filed. The
//! transaction that files them notes them here; they stay until they are
//! reported.

use std::time::Duration;

use prost::Message as _;
use proto::wire::{Entry, entry};
use proto::{ConversationId, Seq, UserId};
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction};

use super::exchange::Exchange;
use super::journal::{JournaledTable, Write, Writes};
use super::post::PendingAnnouncement;
use crate::model::UnheardMessage;
use crate::{Error, Result};

/// (Unix ms from which it may be taken, a number that makes it unique) to the
/// message's id.
const UNHEARD: TableDefinition<(u64, u64), &str> = TableDefinition::new("unheard");
/// A message's id to its key in [`UNHEARD`].
const UNHEARD_IDS: TableDefinition<&str, (u64, u64)> = TableDefinition::new("unheard_ids");

/// The tables, open for writing.
pub(super) struct UnheardTables<'t> {
    pub queue: JournaledTable<'t, (u64, u64), &'static str>,
    pub ids: JournaledTable<'t, &'static str, (u64, u64)>,
}

impl<'t> UnheardTables<'t> {
    /// Opens them. What is written to them is noted in `writes`.
    pub(super) fn open(txn: &'t WriteTransaction, writes: &'t Writes) -> Result<Self> {
        Ok(Self {
            queue: JournaledTable::open(txn, UNHEARD, 48, writes)?,
            ids: JournaledTable::open(txn, UNHEARD_IDS, 49, writes)?,
        })
    }

    /// Does a write of the journal again, if it is one of these tables.
    pub(super) fn redo(&mut self, write: Write<'_>) -> Result<bool> {
        Ok(self.queue.redo(write)? || self.ids.redo(write)?)
    }

    /// Notes the messages that have readers without a session. Returns how many
    /// of the oldest were dropped, beyond `most`.
    pub(super) fn note(
        &mut self,
        announcements: &[PendingAnnouncement],
        exchange: &Exchange,
        most: u64,
        now: u64,
    ) -> Result<u64> {
        for item in announcements {
            let Some(by) = sender(item)? else { continue };
            for (user, _) in item.readers.iter().filter(|(user, _)| **user != by) {
                let user = super::tables::user_id(user)?;
                if exchange.locate(&user).is_empty() {
                    self.add(user, item.conversation.clone(), item.seq, now)?;
                }
            }
        }
        let mut dropped = 0;
        while self.queue.len()? > most {
            let first = self.queue.first()?.map(|(key, id)| (key.value(), id.value().to_owned()));
            let Some((key, id)) = first else { break };
            self.queue.remove(key)?;
            self.ids.remove(id.as_str())?;
            dropped += 1;
        }
        Ok(dropped)
    }

    fn add(&mut self, user: UserId, conversation: ConversationId, seq: Seq, now: u64) -> Result<()> {
        let id = UnheardMessage::new(user, conversation, seq).id;
        if self.ids.get(id.as_str())?.is_none() {
            self.put(&id, now)?;
        }
        Ok(())
    }

    /// Queues a message behind others of the same time.
    fn put(&mut self, id: &str, due: u64) -> Result<()> {
        let last = self.queue.range((due, 0)..=(due, u64::MAX))?.next_back().transpose()?;
        let key = (due, last.map_or(0, |(key, _)| key.value().1 + 1));
        self.queue.insert(key, id)?;
        self.ids.insert(id, key)?;
        Ok(())
    }

    /// Takes messages that are due, the oldest first, and holds them.
    pub(super) fn take(&mut self, limit: usize, hold: Duration, now: u64) -> Result<Vec<UnheardMessage>> {
        let mut due = Vec::new();
        for row in self.queue.range(..=(now, u64::MAX))?.take(limit) {
            let (key, id) = row?;
            due.push((key.value(), id.value().to_owned()));
        }
        let until = now.saturating_add(u64::try_from(hold.as_millis()).unwrap_or(u64::MAX));
        let mut taken = Vec::with_capacity(due.len());
        for (key, id) in due {
            self.queue.remove(key)?;
            self.put(&id, until)?;
            taken.push(UnheardMessage::of_id(id).ok_or_else(|| Error::Corrupt("an unheard message".into()))?);
        }
        Ok(taken)
    }

    /// Removes a message that has been reported.
    pub(super) fn heard(&mut self, told: &UnheardMessage) -> Result<()> {
        let key = self.ids.remove(told.id.as_str())?.map(|key| key.value());
        if let Some(key) = key {
            self.queue.remove(key)?;
        }
        Ok(())
    }
}

/// How many messages wait.
pub(super) fn count(txn: &ReadTransaction) -> Result<u64> {
    Ok(txn.open_table(UNHEARD)?.len()?)
}

/// The sender, if it is a message.
fn sender(item: &PendingAnnouncement) -> Result<Option<String>> {
    let [bytes] = item.entries.as_slice() else { return Ok(None) };
    let entry = Entry::decode(bytes.clone()).map_err(|error| Error::Corrupt(format!("an entry: {error}")))?;
    Ok(matches!(entry.what, Some(entry::What::Message(_))).then_some(entry.by))
}
