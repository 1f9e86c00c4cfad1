//! The journal: what has been promised and is not yet safe in the tables' file.
//!
//! A commit of the tables writes hundreds of pages all over their file, however
//! little has changed, and waits for all of them. So the writer appends the
//! writes of a batch to this file instead, in one piece, and waits for that.
//! Now and then the tables are committed, and the journal begins anew. After a
//! crash its writes are applied to the tables once more: they say what stands
//! where in the end, so it does no harm that some of them are there already.
//!
//! A record is the length of its writes (4 bytes), their checksum (8), and the
//! writes. The tables' file has the number of the generation that follows it.
//! That number goes into each checksum: what is left of a generation before, or
//! was cut off, is no record and ends the journal.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;

use std::borrow::Borrow;
use std::cell::{Ref, RefCell};
use std::fs::File;
use std::io;
use std::ops::RangeBounds;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use redb::{
    AccessGuard, Key, Range, ReadableTable, ReadableTableMetadata, StorageError, Table, TableDefinition,
    TableStats, Value, WriteTransaction,
};
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::private;
use crate::{Error, Result};

/// The journal's name in the store's folder.
pub(super) const JOURNAL: &str = "switchboard.journal";
/// Bytes beyond which the tables are committed.
const FULL: u64 = 32 << 20;
/// Bytes by which the file grows, written as zeros: to overwrite a block is
/// several times quicker than to get a new one from the file system.
const GROWTH: u64 = 4 << 20;
/// They are written so many at a time: what Linux has in memory as one piece
/// counts as written as a whole wherever a byte of it is.
const ZEROS: &[u8] = &[0; 64 << 10];
/// Bytes before the writes of a record.
const HEAD: usize = 12;

/// The open journal.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    generation: u64,
    /// Where the next record goes.
    end: u64,
    /// The bytes of the file.
    length: u64,
    /// When the first record of this generation was written.
    since: Option<Instant>,
}

impl Journal {
    /// Opens the journal of a folder, or makes it, and gives the writes of a
    /// generation, in their order.
    pub(super) fn open(folder: &Path, generation: u64) -> Result<(Self, Vec<Writes>)> {
        let opened = Self::open_file(folder, generation);
        opened.map_err(|error| StorageError::Io(error).into())
    }

    fn open_file(folder: &Path, generation: u64) -> io::Result<(Self, Vec<Writes>)> {
        let file = private::file(&folder.join(JOURNAL))?;
        // A file that was just made is there after a crash, too.
        File::open(folder)?.sync_all()?;
        let length = file.metadata()?.len();
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, 0)?;
        let (mut records, mut rest) = (Vec::new(), bytes.as_slice());
        while let Some((writes, more)) = record(rest, generation) {
            records.push(Writes(RefCell::new(writes.to_vec())));
            rest = more;
        }
        let end = length - rest.len() as u64;
        let since = (end > 0).then(Instant::now);
        Ok((Self { file, generation, end, length, since }, records))
    }

    /// Adds the writes of a batch. When this returns, they are on disk.
    pub(super) fn append(&mut self, writes: &Writes) -> Result<()> {
        let writes = writes.0.borrow();
        let mut record = Vec::with_capacity(HEAD + writes.len());
        let length = u32::try_from(writes.len()).map_err(|_| Error::Config("a batch of 4 GiB".into()))?;
        record.extend_from_slice(&length.to_le_bytes());
        record.extend_from_slice(&xxh3_64_with_seed(&writes, self.generation).to_le_bytes());
        record.extend_from_slice(&writes);
        self.write(&record).map_err(StorageError::Io)?;
        self.end += record.len() as u64;
        self.since.get_or_insert_with(Instant::now);
        Ok(())
    }

    fn write(&mut self, record: &[u8]) -> io::Result<()> {
        let end = self.end + record.len() as u64;
        let length = if self.length < end { end + GROWTH } else { self.length };
        while self.length < length {
            self.file.write_all_at(ZEROS, self.length)?;
            self.length += ZEROS.len() as u64;
        }
        self.file.write_all_at(record, self.end)?;
        self.file.sync_data()
    }

    /// The number of the generation that follows this one.
    pub(super) fn next_generation(&self) -> u64 {
        self.generation + 1
    }

    /// Begins the next generation: the tables' file has everything before it.
    pub(super) fn restart(&mut self) {
        (self.generation, self.end, self.since) = (self.next_generation(), 0, None);
    }

    /// Since when something waits here for the tables' commit.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Whether the tables should be committed now.
    pub(super) fn is_full(&self) -> bool {
        self.end >= FULL
    }
}

/// The writes of the first record, and what follows it.
fn record(bytes: &[u8], generation: u64) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<8>()?;
    let (writes, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let whole = !writes.is_empty() && xxh3_64_with_seed(writes, generation) == u64::from_le_bytes(*checksum);
    whole.then_some((writes, rest))
}

/// What was written to tables, in order. Each write is the number of its table
/// (1 byte), the length of the key (4) and the key, and the length of the value
/// plus one (4) and the value; 0 stands for a row that was removed.
#[derive(Debug, Default)]
pub(super) struct Writes(RefCell<Vec<u8>>);

/// One of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Write<'a> {
    table: u8,
    key: &'a [u8],
    value: Option<&'a [u8]>,
}

impl Writes {
    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    fn add(&self, write: Write<'_>) {
        let mut bytes = self.0.borrow_mut();
        // Keys and values are bounded far below 4 GiB.
        let length = |bytes: &[u8]| bytes.len() as u32;
        bytes.push(write.table);
        bytes.extend_from_slice(&length(write.key).to_le_bytes());
        bytes.extend_from_slice(write.key);
        bytes.extend_from_slice(&write.value.map_or(0, |value| length(value) + 1).to_le_bytes());
        bytes.extend_from_slice(write.value.unwrap_or_default());
    }

    /// Calls `apply` with each. Fails as that does, and for bytes that are no
    /// writes.
    pub(super) fn each(&self, mut apply: impl FnMut(Write<'_>) -> Result<()>) -> Result<()> {
        let bytes: Ref<'_, Vec<u8>> = self.0.borrow();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (write, more) = first(rest).ok_or_else(|| Error::Corrupt("the journal".into()))?;
            apply(write)?;
            rest = more;
        }
        Ok(())
    }
}

fn first(bytes: &[u8]) -> Option<(Write<'_>, &[u8])> {
    let (table, rest) = bytes.split_first()?;
    let (key, rest) = sized(rest)?;
    let (key, rest) = rest.split_at_checked(key)?;
    let (value, rest) = sized(rest)?;
    let (value, rest) = match value.checked_sub(1) {
        None => (None, rest),
        Some(length) => rest.split_at_checked(length).map(|(value, rest)| (Some(value), rest))?,
    };
    Some((Write { table: *table, key, value }, rest))
}

fn sized(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*length) as usize, rest))
}

/// A table whose writes are noted.
pub(super) struct JournaledTable<'t, K: Key + 'static, V: Value + 'static> {
    table: Table<'t, K, V>,
    /// Its number in the journal.
    number: u8,
    writes: &'t Writes,
}

impl<'t, K: Key + 'static, V: Value + 'static> JournaledTable<'t, K, V> {
    /// Opens a table. Each has a number of its own.
    pub(super) fn open(
        txn: &'t WriteTransaction,
        definition: TableDefinition<'_, K, V>,
        number: u8,
        writes: &'t Writes,
    ) -> Result<Self> {
        Ok(Self { table: txn.open_table(definition)?, number, writes })
    }

    pub(super) fn insert<'k, 'v>(
        &mut self,
        key: impl Borrow<K::SelfType<'k>>,
        value: impl Borrow<V::SelfType<'v>>,
    ) -> redb::Result<Option<AccessGuard<'_, V>>> {
        let (key, value) = (key.borrow(), value.borrow());
        let (key_bytes, value_bytes) = (K::as_bytes(key), V::as_bytes(value));
        self.writes.add(Write {
            table: self.number,
            key: key_bytes.as_ref(),
            value: Some(value_bytes.as_ref()),
        });
        self.table.insert(key, value)
    }

    pub(super) fn remove<'k>(
        &mut self,
        key: impl Borrow<K::SelfType<'k>>,
    ) -> redb::Result<Option<AccessGuard<'_, V>>> {
        let key = key.borrow();
        self.writes.add(Write { table: self.number, key: K::as_bytes(key).as_ref(), value: None });
        self.table.remove(key)
    }

    /// All rows.
    #[cfg(test)]
    pub(super) fn rows(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let rows = self.table.iter().unwrap().map(|row| row.unwrap());
        let bytes = |key: AccessGuard<'_, K>| K::as_bytes(&key.value()).as_ref().to_vec();
        rows.map(|(key, value)| (bytes(key), V::as_bytes(&value.value()).as_ref().to_vec())).collect()
    }

    /// Does a noted write again, if it is one of this table.
    pub(super) fn redo(&mut self, write: Write<'_>) -> Result<bool> {
        if write.table != self.number {
            return Ok(false);
        }
        match write.value {
            Some(value) => drop(self.table.insert(K::from_bytes(write.key), V::from_bytes(value))?),
            None => drop(self.table.remove(K::from_bytes(write.key))?),
        }
        Ok(true)
    }
}

impl<K: Key + 'static, V: Value + 'static> ReadableTableMetadata for JournaledTable<'_, K, V> {
    fn stats(&self) -> redb::Result<TableStats> {
        self.table.stats()
    }

    fn len(&self) -> redb::Result<u64> {
        self.table.len()
    }
}

impl<K: Key + 'static, V: Value + 'static> ReadableTable<K, V> for JournaledTable<'_, K, V> {
    fn get<'a>(&self, key: impl Borrow<K::SelfType<'a>>) -> redb::Result<Option<AccessGuard<'_, V>>> {
        self.table.get(key)
    }

    fn range<'a, KR>(&self, range: impl RangeBounds<KR> + 'a) -> redb::Result<Range<'_, K, V>>
    where
        KR: Borrow<K::SelfType<'a>> + 'a,
    {
        self.table.range(range)
    }

    fn first(&self) -> redb::Result<Option<(AccessGuard<'_, K>, AccessGuard<'_, V>)>> {
        self.table.first()
    }

    fn last(&self) -> redb::Result<Option<(AccessGuard<'_, K>, AccessGuard<'_, V>)>> {
        self.table.last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writes(value: &str) -> Writes {
        let writes = Writes::default();
        writes.add(Write { table: 4, key: b"", value: None });
        writes.add(Write { table: 3, key: b"key", value: Some(value.as_bytes()) });
        writes
    }

    /// The values of what a generation has.
    fn kept(folder: &Path, generation: u64) -> Vec<String> {
        let (_, records) = Journal::open(folder, generation).unwrap();
        let mut values = Vec::new();
        for record in records {
            let each = record.each(|write| {
                match write.value {
                    Some(value) => values.push(String::from_utf8(value.to_vec()).unwrap()),
                    None => assert_eq!((write.table, write.key), (4, &b""[..])),
                }
                Ok(())
            });
            each.unwrap();
        }
        values
    }

    #[test]
    fn what_is_added_is_there_again_and_the_next_generation_has_nothing_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, records) = Journal::open(folder.path(), 7).unwrap();
        assert!(records.is_empty() && journal.since().is_none());
        journal.append(&writes("one")).unwrap();
        journal.append(&writes("")).unwrap();
        assert!(journal.since().is_some());
        assert_eq!(kept(folder.path(), 7), ["one", ""]);
        assert!(kept(folder.path(), 8).is_empty());

        // One that is opened again goes on behind what is there.
        let (mut journal, _) = Journal::open(folder.path(), 7).unwrap();
        journal.append(&writes("three")).unwrap();
        assert_eq!(kept(folder.path(), 7), ["one", "", "three"]);
        journal.restart();
        journal.append(&writes("four")).unwrap();
        assert_eq!((kept(folder.path(), 7), kept(folder.path(), 8)), (vec![], vec!["four".to_owned()]));
    }

    #[test]
    fn what_was_cut_off_anywhere_ends_the_journal_and_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(folder.path(), 1).unwrap();
        journal.append(&writes("first")).unwrap();
        let from = journal.end;
        journal.append(&writes("second")).unwrap();
        let whole = std::fs::read(folder.path().join(JOURNAL)).unwrap();
        for cut in from..journal.end {
            let mut torn = whole.clone();
            torn[usize::try_from(cut).unwrap()..].fill(0);
            std::fs::write(folder.path().join(JOURNAL), &torn).unwrap();
            assert_eq!(kept(folder.path(), 1), ["first"], "cut at {cut}");
            torn.truncate(usize::try_from(cut).unwrap());
            std::fs::write(folder.path().join(JOURNAL), &torn).unwrap();
            let (mut journal, _) = Journal::open(folder.path(), 1).unwrap();
            journal.append(&writes("again")).unwrap();
            assert_eq!(kept(folder.path(), 1), ["first", "again"]);
        }
    }

    #[test]
    fn a_batch_that_is_larger_than_the_growth_fits() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(folder.path(), 1).unwrap();
        let large = "x".repeat(2 * usize::try_from(GROWTH).unwrap());
        journal.append(&writes(&large)).unwrap();
        assert!(kept(folder.path(), 1) == [large] && !journal.is_full());
    }
}
