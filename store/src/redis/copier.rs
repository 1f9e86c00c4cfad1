//! The copier: entries that are old enough are copied to the archive, and then
//! trimmed from Redis. Each step may be repeated by anybody (ADR 0023):
//!
//! 1. A bucket's conversations that may have something old are read from its sorted
//!    set `g`, and the bucket is this router's for some seconds.
//! 2. Their oldest entries are read, and written to the archive. What is there
//!    under the same number and is another entry gives way.
//! 3. Redis trims what it still has just so.

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use fred::types::Value;
use proto::{Bound, ConversationId};
use smallvec::smallvec;

use super::Redis;
use super::archive::Archiver;
use super::connection::Item;
use super::conversation::conversation_item;
use super::fetch::split_change;
use super::key::{BUCKETS, Bucket};
use super::reply::{Row, unexpected};
use super::{script, write};
use crate::archive::Copied;
use crate::damage::unless_damaged;
use crate::model::Archived;
use crate::{ArchiveConfig, Result, Step};

/// The most conversations of a bucket that one call takes.
const OF_A_BUCKET: u64 = 64;
/// The most buckets of one call of a script.
const BUCKETS_OF_A_CALL: usize = 128;
/// The most conversations of one call that reads their oldest entries.
const CONVERSATIONS: usize = 16;
/// The most bytes of one conversation's oldest entries that are read at once, and
/// one entry more.
const BYTES: usize = 64 << 10;
/// The most bytes that are copied together.
const BATCH_BYTES: usize = 4 << 20;
/// How long a bucket belongs to the router that has begun with it. Short, so that
/// others go on soon where it has died; two at once do no harm.
const LEASE: Duration = Duration::from_secs(5);
/// A walk over all buckets takes at most so many calls of [`Redis::archive_some`].
const LONGEST_WALK: u64 = 60;

/// Who copies, and how far a walk over the buckets has come.
pub(super) struct Copier {
    after: Duration,
    batch: usize,
    /// This router, in leases.
    token: String,
    /// The bucket where the next call begins. Locked for single lines.
    next: Mutex<u16>,
}

impl Copier {
    pub(super) fn new(config: &ArchiveConfig) -> Self {
        let token = format!("{:016x}", rand::random::<u64>());
        Self { after: config.after, batch: config.batch.max(1), token, next: Mutex::default() }
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    fn after(&self) -> Value {
        write::number(u64::try_from(self.after.as_millis()).unwrap_or(u64::MAX))
    }

    /// The buckets of the next call, and whether they are the last of a walk. A
    /// walk takes a sixteenth of the age, so that nothing is archived much later.
    fn advance(&self) -> (Vec<Bucket>, bool) {
        let calls = (self.after.as_secs() / 16).clamp(1, LONGEST_WALK);
        let count = u64::from(BUCKETS).div_ceil(calls);
        let mut next = self.next.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let end = BUCKETS.min(next.saturating_add(u16::try_from(count).unwrap_or(BUCKETS)));
        let buckets = (*next..end).map(Bucket).collect();
        *next = end % BUCKETS;
        (buckets, end == BUCKETS)
    }
}

/// The oldest entries of a conversation.
struct Oldest {
    copied: Copied,
    /// The fingerprints of the last message and the last change.
    fingerprints: [Bytes; 2],
}

impl Oldest {
    fn entries(&self) -> usize {
        self.copied.messages.1.len() + self.copied.changes.1.len()
    }

    fn weight(&self) -> usize {
        let bytes = |entries: &[Bytes]| entries.iter().map(Bytes::len).sum::<usize>();
        bytes(&self.copied.messages.1) + bytes(&self.copied.changes.1)
    }
}

impl Redis {
    pub(super) async fn archive_some(&self) -> Result<Archived> {
        let Some(archiver) = &self.archiver else { return Ok(Archived::default()) };
        if !self.settle_numbers(archiver).await? {
            return Ok(Archived::default());
        }
        let (buckets, round) = archiver.copier.advance();
        let mut archived = Archived { round, ..Archived::default() };
        let (held, due) = self.within(self.due(&archiver.copier, &buckets, &mut archived)).await?;
        let copied = self.copy(archiver, due, &mut archived).await;
        // Whatever came of it, others may go on.
        self.within(self.give_up(&archiver.copier, held)).await?;
        copied?;
        if round {
            self.drop_what_is_too_old(archiver).await?;
        }
        Ok(archived)
    }

    /// The conversations of these buckets that may have something to archive, and
    /// the buckets that are this router's now.
    async fn due(
        &self,
        copier: &Copier,
        buckets: &[Bucket],
        archived: &mut Archived,
    ) -> Result<(Vec<Bucket>, Vec<ConversationId>)> {
        let common = [
            copier.after(),
            write::number(OF_A_BUCKET),
            write::text(&copier.token),
            write::number(u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX)),
        ];
        let items =
            buckets.iter().map(|bucket| Item::new(*bucket, smallvec![Value::Integer(bucket.0.into())]));
        let rows = self.append.run(&script::DUE, &common, items.collect(), BUCKETS_OF_A_CALL).await?;
        let (mut held, mut due) = (Vec::new(), Vec::new());
        for (bucket, mut row) in buckets.iter().zip(rows) {
            archived.late = archived.late.max(Duration::from_millis(row.number()?));
            let before = due.len();
            while !row.is_done() {
                due.push(ConversationId::parse(&row.text()?).map_err(|_| unexpected("a conversation"))?);
            }
            if due.len() > before {
                held.push(*bucket);
            }
            archived.more |= (due.len() - before) as u64 == OF_A_BUCKET;
        }
        Ok((held, due))
    }

    async fn give_up(&self, copier: &Copier, buckets: Vec<Bucket>) -> Result<()> {
        let key = |bucket: Bucket| write::text(&format!("{}q", bucket.braced()));
        let items = buckets.into_iter().map(|bucket| Item::new(bucket, smallvec![key(bucket)]));
        let token = write::text(&copier.token);
        self.append.run(&script::LET_GO, &[token], items.collect(), BUCKETS_OF_A_CALL).await?;
        Ok(())
    }

    /// Copies and trims, as many conversations together as make a batch.
    async fn copy(
        &self,
        archiver: &Archiver,
        due: Vec<ConversationId>,
        archived: &mut Archived,
    ) -> Result<()> {
        let mut gathered: Vec<Oldest> = Vec::new();
        let mut load = Bound::new(BATCH_BYTES, archiver.copier.batch).load();
        let mut conversations = due.chunks(CONVERSATIONS).peekable();
        while let Some(some) = conversations.next() {
            for oldest in self.within(self.oldest(&archiver.copier, some)).await? {
                load.take(oldest.weight(), oldest.entries());
                gathered.push(oldest);
            }
            if !load.is_full() && conversations.peek().is_some() {
                continue;
            }
            let (all, ends): (Vec<Copied>, Vec<_>) =
                gathered.drain(..).map(|one| (one.copied, one.fingerprints)).unzip();
            archiver.archive.keep(&all).await?;
            self.fail.reached(Step::Copied);
            self.within(self.trim(&archiver.copier, all, ends, archived)).await?;
            load = Bound::new(BATCH_BYTES, archiver.copier.batch).load();
        }
        Ok(())
    }

    /// Reads the oldest entries of conversations.
    async fn oldest(&self, copier: &Copier, some: &[ConversationId]) -> Result<Vec<Oldest>> {
        let most = copier.batch as u64;
        let common = [copier.after(), write::number(most), write::number(BYTES as u64)];
        let items = some.iter().map(|id| conversation_item(id).answering(2 * BYTES));
        let rows = self.append.run(&script::OLD, &common, items.collect(), CONVERSATIONS).await?;
        some.iter().zip(rows).map(|(id, row)| oldest(id, row)).collect()
    }

    /// Trims what was copied.
    async fn trim(
        &self,
        copier: &Copier,
        all: Vec<Copied>,
        ends: Vec<[Bytes; 2]>,
        archived: &mut Archived,
    ) -> Result<()> {
        let items = all.iter().zip(ends).map(|(copied, [message, change])| {
            let mut item = conversation_item(&copied.conversation);
            for ((base, entries), fingerprint) in [(&copied.messages, message), (&copied.changes, change)] {
                item.args.extend([
                    write::number(*base),
                    write::number(entries.len() as u64),
                    Value::Bytes(fingerprint),
                ]);
            }
            item
        });
        let common = [write::number(self.bounds.conversation_messages), copier.after()];
        let rows = self.append.run(&script::TRIM, &common, items.collect(), CONVERSATIONS).await?;
        for (copied, mut row) in all.iter().zip(rows) {
            let entries = || copied.messages.1.iter().chain(&copied.changes.1);
            let (count, bytes) = (entries().count(), entries().map(Bytes::len).sum::<usize>());
            if row.number()? == 1 {
                archived.entries += count as u64;
                // There may be more of it than one call reads.
                archived.more |= count >= copier.batch || bytes >= BYTES / 2;
            }
        }
        Ok(())
    }
}

fn oldest(id: &ConversationId, mut row: Row) -> Result<Oldest> {
    let list = |row: &mut Row| -> Result<(u64, Vec<Bytes>)> {
        let (base, mut list) = (row.number()?, row.list()?);
        let mut entries = Vec::new();
        while !list.is_done() {
            entries.push(list.bytes()?);
        }
        Ok((base, entries))
    };
    let messages = list(&mut row)?;
    let changes = list(&mut row)?;
    let message = messages.1.last().map(fingerprint).unwrap_or_default();
    let change = match changes.1.last() {
        Some(change) => {
            unless_damaged(split_change(change), "a change")?.map(|change| fingerprint(&change.entry))
        }
        None => None,
    };
    let fingerprints = [message, change.unwrap_or_default()];
    let copied = Copied { conversation: id.clone(), messages, changes };
    Ok(Oldest { copied, fingerprints })
}

/// As `trim.lua` reads it.
fn fingerprint(entry: &Bytes) -> Bytes {
    entry.slice(entry.len().min(1)..entry.len().min(5))
}
