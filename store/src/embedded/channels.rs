//! Channels: each has a log of publications, in tables of their own. Audiences
//! are in the exchange, since no node outlives the process.

use bytes::Bytes;
use prost::Message as _;
use proto::wire::Entry;
use proto::{Bound, ChannelId, Seq, Time};
use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
    WriteTransaction,
};

use super::journal::{JournaledTable, Write, Writes};
use crate::damage::{known, unless_damaged};
use crate::model::{Broadcast, BroadcastResult, ChannelPage, ChannelQuery};
use crate::{Bounds, Error, Result};

/// Number, newest seq, oldest seq that is kept (`newest + 1` when none is).
type ChannelValue = (u64, u64, u64);

/// A key of [`REPEAT_ENDS`].
type RepeatEnd = (u64, u64, u64);

/// Channel to [`ChannelValue`].
const CHANNELS: TableDefinition<&str, ChannelValue> = TableDefinition::new("channels");
/// (channel number, seq) to (when it was stored in Unix ms, the encoded entry).
const PUBLICATIONS: TableDefinition<(u64, u64), (u64, &[u8])> = TableDefinition::new("publications");
/// (channel number, user, repeat key) to (seq, time of the entry).
const REPEATS: TableDefinition<(u64, &str, &str), (u64, u64)> = TableDefinition::new("channel_repeats");
/// (when it was stored, channel number, seq) to the rest of the key in
/// [`REPEATS`]: which repeat keys to remove, oldest first.
const REPEAT_ENDS: TableDefinition<RepeatEnd, (&str, &str)> = TableDefinition::new("channel_repeat_ends");

/// Bytes of a publication in a page besides its entry and its channel.
const BESIDE: usize = 32;
/// The most publications that are removed when one is added.
const MAX_CUT: usize = 16;
/// How long repeat keys are kept at least, in ms.
const REPEAT_MS: u64 = 24 * 60 * 60 * 1000;
/// The most rows that one step of the sweep reads or removes, of each kind.
const MAX_ROWS: usize = 2000;

/// A publication to announce once its transaction is durable.
pub(super) struct PendingPublication {
    pub channel: ChannelId,
    pub seq: Seq,
    /// The encoded entry.
    pub entry: Bytes,
}

/// The tables, open for writing.
pub(super) struct ChannelTables<'t> {
    pub channels: JournaledTable<'t, &'static str, ChannelValue>,
    pub publications: JournaledTable<'t, (u64, u64), (u64, &'static [u8])>,
    pub repeats: JournaledTable<'t, (u64, &'static str, &'static str), (u64, u64)>,
    pub repeat_ends: JournaledTable<'t, RepeatEnd, (&'static str, &'static str)>,
}

impl<'t> ChannelTables<'t> {
    /// Opens them. What is written to them is noted in `writes`.
    pub(super) fn open(txn: &'t WriteTransaction, writes: &'t Writes) -> Result<Self> {
        Ok(Self {
            channels: JournaledTable::open(txn, CHANNELS, 32, writes)?,
            publications: JournaledTable::open(txn, PUBLICATIONS, 33, writes)?,
            repeats: JournaledTable::open(txn, REPEATS, 34, writes)?,
            repeat_ends: JournaledTable::open(txn, REPEAT_ENDS, 35, writes)?,
        })
    }

    /// Does a write of the journal again, if it is one of these tables.
    pub(super) fn redo(&mut self, write: Write<'_>) -> Result<bool> {
        Ok(self.channels.redo(write)?
            || self.publications.redo(write)?
            || self.repeats.redo(write)?
            || self.repeat_ends.redo(write)?)
    }

    /// Numbers and stores one publication; a repeat stores nothing.
    pub(super) fn broadcast(
        &mut self,
        item: &Broadcast,
        bounds: &Bounds,
        now: u64,
    ) -> Result<BroadcastResult> {
        let known = self.channels.get(item.channel.as_str())?.map(|row| row.value());
        let (number, head, mut first) = match known {
            Some(row) => row,
            None => (self.channels.len()? + 1, 0, 1),
        };
        let (by, key) = (item.by.as_str(), &*item.repeat_key);
        if let Some(row) = self.repeats.get((number, by, key))? {
            let (seq, time) = row.value();
            return Ok(BroadcastResult { seq: Seq(seq), time: Time(time), duplicate: true });
        }
        let seq = head + 1;
        self.publications.insert((number, seq), (now, &*item.entry.bytes))?;
        self.repeats.insert((number, by, key), (seq, item.entry.time.0))?;
        self.repeat_ends.insert((now, number, seq), (by, key))?;
        let oldest = now.saturating_sub(bounds.age_ms());
        for _ in 0..MAX_CUT {
            let kept = seq + 1 - first;
            if kept <= 1 || (kept <= bounds.channel_messages && self.time(number, first)? >= oldest) {
                break;
            }
            self.publications.remove((number, first))?;
            first += 1;
        }
        self.channels.insert(item.channel.as_str(), (number, seq, first))?;
        Ok(BroadcastResult { seq: Seq(seq), time: item.entry.time, duplicate: false })
    }

    fn time(&self, number: u64, seq: u64) -> Result<u64> {
        let row = self.publications.get((number, seq))?;
        row.map(|row| row.value().0).ok_or_else(|| Error::Corrupt("a hole in a channel".into()))
    }

    /// Removes publications that are too old, at most `left`. Returns whether
    /// all of them are removed.
    fn take_old(&mut self, channel: &str, oldest: u64, left: &mut usize) -> Result<bool> {
        let row = self.channels.get(channel)?.map(|row| row.value());
        let Some((number, head, mut first)) = row else { return Ok(true) };
        while first <= head && self.time(number, first)? < oldest {
            if *left == 0 {
                self.channels.insert(channel, (number, head, first))?;
                return Ok(false);
            }
            self.publications.remove((number, first))?;
            first += 1;
            *left -= 1;
        }
        self.channels.insert(channel, (number, head, first))?;
        Ok(true)
    }
}

/// The newest seq; 0 for a channel that nobody has published to.
pub(super) fn head(txn: &ReadTransaction, channel: &ChannelId) -> Result<Seq> {
    let row = txn.open_table(CHANNELS)?.get(channel.as_str())?.map(|row| row.value());
    Ok(Seq(row.map_or(0, |(_, head, _)| head)))
}

/// A page of a channel's log, of at most `most` bytes.
pub(super) fn read(txn: &ReadTransaction, query: &ChannelQuery, most: usize) -> Result<ChannelPage> {
    let row = txn.open_table(CHANNELS)?.get(query.channel.as_str())?.map(|row| row.value());
    let (number, head, first) = row.unwrap_or((0, 0, 1));
    let mut page = ChannelPage { publications: Vec::new(), head: Seq(head) };
    let from = query.after.0.saturating_add(1).max(first);
    if from > head {
        return Ok(page);
    }
    let (mut load, mut upto) = (Bound::new(most, query.limit).load(), 0);
    for row in txn.open_table(PUBLICATIONS)?.range((number, from)..=(number, head))? {
        let (key, value) = row?;
        let seq = key.value().1;
        let entry = value.value().1;
        if !load.add(entry.len() + query.channel.as_str().len() + BESIDE) {
            break;
        }
        let entry = Entry::decode(entry).map_err(|error| Error::Corrupt(format!("a publication: {error}")));
        let entry =
            unless_damaged(entry.and_then(known), format_args!("publication {seq} of {}", query.channel))?;
        page.publications.extend(entry.map(|entry| (Seq(seq), entry)));
        upto = seq;
    }
    if page.publications.is_empty() && upto < head && upto > query.after.0 {
        // A reader could not go on from an empty page: skip the damaged
        // entries.
        return read(txn, &ChannelQuery { after: Seq(upto), ..query.clone() }, most);
    }
    Ok(page)
}

/// Removes publications and repeat keys that are too old.
#[derive(Default)]
pub(super) struct ChannelSweep {
    /// The last channel looked at; empty between rounds.
    after: String,
}

impl ChannelSweep {
    /// Does one step. Returns whether there is more to do at once.
    pub(super) fn step(&mut self, database: &Database, bounds: &Bounds, now: u64) -> Result<bool> {
        let oldest = now.saturating_sub(bounds.age_ms());
        let before = self.after.clone();
        let (repeats, channels) = self.look(database, oldest, now)?;
        let mut more = !self.after.is_empty() || repeats.len() >= MAX_ROWS;
        if repeats.is_empty() && channels.is_empty() {
            return Ok(more);
        }
        let txn = database.begin_write()?;
        {
            let writes = Writes::default();
            let mut tables = ChannelTables::open(&txn, &writes)?;
            for end in repeats {
                if let Some(row) = tables.repeat_ends.remove(end)? {
                    let (by, key) = row.value();
                    tables.repeats.remove((end.1, by, key))?;
                }
            }
            let mut left = MAX_ROWS;
            for channel in channels {
                if !tables.take_old(&channel, oldest, &mut left)? {
                    (self.after, more) = (before, true);
                    break;
                }
            }
        }
        txn.commit()?;
        Ok(more)
    }

    /// Finds the repeat keys that are due, and the channels with publications
    /// that are too old.
    fn look(&mut self, database: &Database, oldest: u64, now: u64) -> Result<(Vec<RepeatEnd>, Vec<String>)> {
        let txn = database.begin_read()?;
        let due = now.saturating_sub(REPEAT_MS);
        let mut repeats = Vec::new();
        for row in txn.open_table(REPEAT_ENDS)?.range(..(due, 0, 0))?.take(MAX_ROWS) {
            repeats.push(row?.0.value());
        }
        let publications = txn.open_table(PUBLICATIONS)?;
        let (mut channels, mut looked, mut last) = (Vec::new(), 0, String::new());
        for row in txn.open_table(CHANNELS)?.range(self.after.as_str()..)?.take(MAX_ROWS + 1) {
            let (channel, value) = row?;
            let (number, head, first) = value.value();
            let time = match first <= head {
                true => publications.get((number, first))?.map(|row| row.value().0),
                false => None,
            };
            if time.is_some_and(|time| time < oldest) {
                channels.push(channel.value().to_owned());
            }
            (looked, last) = (looked + 1, channel.value().to_owned());
        }
        // The last channel is the first one of the next step.
        self.after = if looked > MAX_ROWS { last } else { String::new() };
        Ok((repeats, channels))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proto::{Fingerprint, UserId};

    use super::super::open_file;
    use super::*;
    use crate::model::NewEntry;

    const DAY: u64 = 24 * 60 * 60 * 1000;

    fn publish(database: &Database, key: &str, now: u64) -> BroadcastResult {
        let what = Some(proto::wire::entry::What::Message(proto::wire::Message::default()));
        let entry = Entry { fingerprint: 7, what, ..Entry::default() }.encode_to_vec().into();
        let item = Broadcast {
            channel: ChannelId::parse("c_news").unwrap(),
            by: UserId::parse("alice").unwrap(),
            entry: NewEntry { fingerprint: Fingerprint(7), time: Time(1), bytes: entry },
            repeat_key: key.into(),
        };
        let txn = database.begin_write().unwrap();
        let writes = Writes::default();
        let mut tables = ChannelTables::open(&txn, &writes).unwrap();
        let done = tables.broadcast(&item, &Bounds::default(), now).unwrap();
        drop(tables);
        txn.commit().unwrap();
        done
    }

    fn sweep(database: &Database, now: u64) {
        let bounds = Bounds { age: Duration::from_secs(90 * 24 * 3600), ..Bounds::default() };
        let mut sweep = ChannelSweep::default();
        while sweep.step(database, &bounds, now).unwrap() {}
    }

    #[test]
    fn a_repeat_is_known_for_a_day_and_what_is_too_old_goes() {
        let folder = tempfile::tempdir().unwrap();
        let (database, _) = open_file(folder.path()).unwrap();
        let begun = 1000 * DAY;
        assert!(!publish(&database, "key", begun).duplicate);
        sweep(&database, begun + DAY - 1);
        assert!(publish(&database, "key", begun + DAY - 1).duplicate);
        sweep(&database, begun + DAY + 1);
        assert_eq!(publish(&database, "key", begun + DAY + 1).seq, Seq(2));

        sweep(&database, begun + 90 * DAY + 1);
        let query = ChannelQuery { channel: ChannelId::parse("c_news").unwrap(), after: Seq(0), limit: 10 };
        let kept = |database: &Database| read(&database.begin_read().unwrap(), &query, 1 << 20).unwrap();
        let page = kept(&database);
        assert_eq!((page.publications.len(), page.publications[0].0, page.head), (1, Seq(2), Seq(2)));
        sweep(&database, begun + 92 * DAY);
        assert_eq!(kept(&database), ChannelPage { publications: Vec::new(), head: Seq(2) });
        assert_eq!(publish(&database, "next", begun + 92 * DAY).seq, Seq(3));
    }
}
