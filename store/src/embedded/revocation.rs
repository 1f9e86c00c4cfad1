//! Revocations of tokens, by name, by number and by end.

use proto::Revocation;
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata as _, TableDefinition, WriteTransaction};

use super::journal::{JournaledTable, Write, Writes};
use crate::model::{REVOCATIONS, RevocationPage, RevokeResult};
use crate::revocations::{name, named};
use crate::{Error, Result};

/// A revocation's name to its number, and before and until when (Unix ms). Under
/// the empty name stands the last number that was given.
const REVOKED: TableDefinition<&str, (u64, u64, u64)> = TableDefinition::new("revoked");
/// Number to name.
const REVOKED_NUMBERS: TableDefinition<u64, &str> = TableDefinition::new("revoked_numbers");
/// (until when, number) to name.
const REVOKED_ENDS: TableDefinition<(u64, u64), &str> = TableDefinition::new("revoked_ends");
/// Those that have ended are forgotten so many at a time.
const FORGOTTEN: usize = 1_000;

/// The tables, open for writing.
pub(super) struct RevocationTables<'t> {
    revoked: JournaledTable<'t, &'static str, (u64, u64, u64)>,
    numbers: JournaledTable<'t, u64, &'static str>,
    ends: JournaledTable<'t, (u64, u64), &'static str>,
}

impl<'t> RevocationTables<'t> {
    /// Opens them. What is written to them is noted in `writes`.
    pub(super) fn open(txn: &'t WriteTransaction, writes: &'t Writes) -> Result<Self> {
        Ok(Self {
            revoked: JournaledTable::open(txn, REVOKED, 56, writes)?,
            numbers: JournaledTable::open(txn, REVOKED_NUMBERS, 57, writes)?,
            ends: JournaledTable::open(txn, REVOKED_ENDS, 58, writes)?,
        })
    }

    /// Does a write of the journal again, if it is one of these tables.
    pub(super) fn redo(&mut self, write: Write<'_>) -> Result<bool> {
        Ok(self.revoked.redo(write)? || self.numbers.redo(write)? || self.ends.redo(write)?)
    }

    /// Stores a revocation, unless `most` are kept already.
    pub(super) fn revoke(&mut self, item: &Revocation, most: u64, now: u64) -> Result<RevokeResult> {
        self.forget_ended(now)?;
        let name = name(&item.tokens);
        let held = self.revoked.get(name.as_str())?.map(|row| row.value());
        let (before, until) = match held {
            None if self.numbers.len()? >= most => return Ok(RevokeResult::Full),
            None => (item.before.0, item.until.0),
            Some((number, before, until)) => {
                self.numbers.remove(number)?;
                self.ends.remove((until, number))?;
                (before.max(item.before.0), until.max(item.until.0))
            }
        };
        let number = self.revoked.get("")?.map_or(0, |row| row.value().0) + 1;
        self.revoked.insert("", (number, 0, 0))?;
        self.revoked.insert(name.as_str(), (number, before, until))?;
        self.numbers.insert(number, name.as_str())?;
        self.ends.insert((until, number), name.as_str())?;
        Ok(RevokeResult::Done)
    }

    fn forget_ended(&mut self, now: u64) -> Result<()> {
        let mut ended = Vec::new();
        for row in self.ends.range(..=(now, u64::MAX))?.take(FORGOTTEN) {
            let (key, name) = row?;
            ended.push((key.value(), name.value().to_owned()));
        }
        for ((until, number), name) in ended {
            self.ends.remove((until, number))?;
            self.numbers.remove(number)?;
            self.revoked.remove(name.as_str())?;
        }
        Ok(())
    }
}

/// A page of the revocations after a number.
pub(super) fn page(txn: &ReadTransaction, after: u64) -> Result<RevocationPage> {
    let revoked = txn.open_table(REVOKED)?;
    let head = revoked.get("")?.map_or(0, |row| row.value().0);
    let (mut revocations, mut last) = (Vec::new(), after);
    for row in txn.open_table(REVOKED_NUMBERS)?.range(after.saturating_add(1)..)?.take(REVOCATIONS) {
        let (number, name) = row?;
        let kept = revoked.get(name.value())?.map(|row| row.value());
        let (_, before, until) = kept.ok_or_else(|| Error::Corrupt("a revocation".into()))?;
        last = number.value();
        revocations.push(named(name.value(), before, until)?);
    }
    if revocations.len() < REVOCATIONS {
        last = head;
    }
    Ok(RevocationPage { revocations, last, head })
}
