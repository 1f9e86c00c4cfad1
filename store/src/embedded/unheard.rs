//! Messages for members who had no session when they were filed, noted in the
//! transaction that files them, until they are told by other means.

use std::time::Duration;

use prost::Message as _;
use proto::wire::{Entry, entry};
use proto::{ConversationId, Seq, UserId};
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, Table, TableDefinition, WriteTransaction};

use super::exchange::Exchange;
use super::post::News;
use crate::model::Unheard;
use crate::{Error, Result};

/// (Unix ms from which it may be taken, a number that makes it unique) to id.
const UNHEARD: TableDefinition<(u64, u64), &str> = TableDefinition::new("unheard");
/// Id to its key in [`UNHEARD`].
const UNHEARD_IDS: TableDefinition<&str, (u64, u64)> = TableDefinition::new("unheard_ids");

/// The tables, open for writing.
pub(super) struct UnheardTables<'t> {
    queue: Table<'t, (u64, u64), &'static str>,
    ids: Table<'t, &'static str, (u64, u64)>,
}

impl<'t> UnheardTables<'t> {
    pub(super) fn open(txn: &'t WriteTransaction) -> Result<Self> {
        Ok(Self { queue: txn.open_table(UNHEARD)?, ids: txn.open_table(UNHEARD_IDS)? })
    }

    /// Notes what of the news nobody hears; returns how many of the oldest were
    /// dropped, beyond `most`.
    pub(super) fn note(&mut self, news: &[News], exchange: &Exchange, most: u64, now: u64) -> Result<u64> {
        for item in news {
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
            let Some((_, id)) = self.queue.pop_first()? else { break };
            self.ids.remove(id.value())?;
            dropped += 1;
        }
        Ok(dropped)
    }

    fn add(&mut self, user: UserId, conversation: ConversationId, seq: Seq, now: u64) -> Result<()> {
        let id = Unheard::new(user, conversation, seq).id;
        if self.ids.get(id.as_str())?.is_none() {
            self.put(&id, now)?;
        }
        Ok(())
    }

    /// Behind those of the same time.
    fn put(&mut self, id: &str, due: u64) -> Result<()> {
        let last = self.queue.range((due, 0)..=(due, u64::MAX))?.next_back().transpose()?;
        let key = (due, last.map_or(0, |(key, _)| key.value().1 + 1));
        self.queue.insert(key, id)?;
        self.ids.insert(id, key)?;
        Ok(())
    }

    /// Takes what may be taken, the oldest first, and holds it.
    pub(super) fn take(&mut self, limit: usize, hold: Duration, now: u64) -> Result<Vec<Unheard>> {
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
            taken.push(Unheard::of_id(id).ok_or_else(|| Error::Corrupt("an unheard message".into()))?);
        }
        Ok(taken)
    }

    /// It has been told.
    pub(super) fn heard(&mut self, told: &Unheard) -> Result<()> {
        let key = self.ids.remove(told.id.as_str())?.map(|key| key.value());
        if let Some(key) = key {
            self.queue.remove(key)?;
        }
        Ok(())
    }
}

/// How many wait.
pub(super) fn count(txn: &ReadTransaction) -> Result<u64> {
    Ok(txn.open_table(UNHEARD)?.len()?)
}

/// Who wrote it, if it is a message.
fn sender(item: &News) -> Result<Option<String>> {
    let [bytes] = item.entries.as_slice() else { return Ok(None) };
    let entry = Entry::decode(bytes.clone()).map_err(|error| Error::Corrupt(format!("an entry: {error}")))?;
    Ok(matches!(entry.what, Some(entry::What::Message(_))).then_some(entry.by))
}
