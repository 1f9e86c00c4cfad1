//! The transaction that goes on from batch to batch, and the journal that makes
//! each of them safe before the transaction ends.
//!
//! A batch is *kept* when its writes are in the journal: then it is announced
//! and answered. Readers do not see it before it is *shown*, which ends the
//! transaction in memory. *Settling* ends it on disk, and begins the journal
//! anew.

use std::sync::Arc;

use redb::{Database, Durability, ReadableDatabase as _, TableError, WriteTransaction};
use tokio::time::Instant;

use super::channels::ChannelTables;
use super::file::StoreFile;
use super::journal::{Journal, Writes};
use super::revocation::RevocationTables;
use super::tables::{META, Tables};
use super::unheard::UnheardTables;
use crate::{Error, Result};

/// The row of [`META`] that has the number of the journal's generation.
const GENERATION: &str = "journal";

/// The writer's transaction.
pub(super) struct LongTransaction {
    file: Arc<StoreFile>,
    /// `None` after a failure: what it has must be done again first.
    journal: Option<Journal>,
    open: Option<WriteTransaction>,
}

impl LongTransaction {
    /// Of an open file. What was kept before a crash is applied with the first
    /// batch, or by [`Self::restore`].
    pub(super) fn new(file: Arc<StoreFile>) -> Self {
        Self { file, journal: None, open: None }
    }

    /// The transaction for the next batch, to be given back with
    /// [`Self::keep`]. Whoever drops it calls [`Self::failed`].
    pub(super) fn begin(&mut self) -> Result<WriteTransaction> {
        self.restore()?;
        match self.open.take() {
            Some(txn) => Ok(txn),
            None => Ok(self.file.database()?.begin_write()?),
        }
    }

    /// Makes a batch safe. When it fails, call [`Self::failed`].
    pub(super) fn keep(&mut self, txn: WriteTransaction, writes: &Writes) -> Result<()> {
        let journal = self.journal.as_mut().expect("begin has opened it");
        if !writes.is_empty() {
            journal.append(writes)?;
            // Invariant: before anybody hears of the batch.
            self.file.hide(true);
        }
        // Without anything in it, it need not go on.
        match self.file.is_hiding() {
            true => self.open = Some(txn),
            false => txn.abort()?,
        }
        Ok(())
    }

    /// Lets readers see all that was kept.
    pub(super) fn show(&mut self) -> Result<()> {
        if let Some(mut txn) = self.open.take() {
            txn.set_durability(Durability::None)?;
            txn.commit()?;
        }
        self.file.hide(false);
        Ok(())
    }

    /// Commits all that was kept to the file, if there is anything.
    pub(super) fn settle(&mut self) -> Result<()> {
        if self.journal.as_ref().is_some_and(|journal| journal.since().is_none()) {
            return Ok(());
        }
        let txn = self.begin()?;
        self.commit(txn)
    }

    /// Commits this transaction to the file; the journal begins anew. When it
    /// fails, call [`Self::failed`].
    pub(super) fn commit(&mut self, txn: WriteTransaction) -> Result<()> {
        let journal = self.journal.as_mut().expect("begin has opened it");
        let next = journal.next_generation().to_string();
        txn.open_table(META)?.insert(GENERATION, next.as_str())?;
        txn.commit()?;
        journal.restart();
        self.file.hide(false);
        Ok(())
    }

    /// A batch or a commit has failed, and its transaction is gone. What was
    /// kept in it is still in the journal.
    pub(super) fn failed(&mut self) {
        self.file.hide(true);
        self.file.set_behind(true);
        (self.journal, self.open) = (None, None);
    }

    /// When the file should be settled: when this much time has passed since
    /// the first batch was kept, or at once when the journal is full.
    pub(super) fn due(&self, after: std::time::Duration) -> Option<Instant> {
        let journal = self.journal.as_ref()?;
        let since = journal.since()?;
        Some(if journal.is_full() { since } else { since + after })
    }

    /// Opens the journal, if it is not open, and applies what it has: nothing
    /// is committed to the file.
    pub(super) fn restore(&mut self) -> Result<()> {
        if self.journal.is_some() {
            return Ok(());
        }
        let database = self.file.database()?;
        let (journal, records) = Journal::open(self.file.folder(), generation(&database)?)?;
        if !records.is_empty() {
            let mut txn = database.begin_write()?;
            txn.set_durability(Durability::None)?;
            redo(&txn, &records)?;
            txn.commit()?;
            tracing::info!(batches = records.len(), "what the journal kept is in the tables again");
        }
        self.journal = Some(journal);
        self.file.set_behind(false);
        self.file.hide(false);
        Ok(())
    }
}

/// The generation of the journal that follows what the file has.
fn generation(database: &Database) -> Result<u64> {
    let meta = match database.begin_read()?.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::TableDoesNotExist(_)) => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    let Some(row) = redb::ReadableTable::get(&meta, GENERATION)? else { return Ok(0) };
    row.value().parse().map_err(|_| Error::Corrupt("the number of the journal".into()))
}

fn redo(txn: &WriteTransaction, records: &[Writes]) -> Result<()> {
    let noted = Writes::default();
    let mut tables = Tables::open(txn, &noted)?;
    let mut channels = ChannelTables::open(txn, &noted)?;
    let mut unheard = UnheardTables::open(txn, &noted)?;
    let mut revoked = RevocationTables::open(txn, &noted)?;
    for writes in records {
        writes.each(|write| {
            let known = tables.redo(write)?
                || channels.redo(write)?
                || unheard.redo(write)?
                || revoked.redo(write)?;
            match known {
                true => Ok(()),
                false => Err(Error::Corrupt("the journal names a table that is not there".into())),
            }
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bytes::Bytes;
    use prost::Message as _;
    use proto::wire::{self, entry};
    use proto::{ChannelId, ConversationId, Cursor, Fingerprint, Position, Seq, Time, UserId};
    use tokio::sync::oneshot;

    use super::super::exchange::Exchange;
    use super::super::open_file;
    use super::super::writer::{Call, Job, Writer};
    use super::*;
    use crate::Bounds;
    use crate::model::{
        Acknowledge, AcknowledgeResult, Amenders, Amendment, Broadcast, Change, Mark, MarkKind, NewEntry,
        Post, PostKind, PostResult, Version,
    };

    fn writer(folder: &Path, bounds: Bounds) -> Writer {
        let (database, incarnation) = open_file(folder).unwrap();
        let file = Arc::new(StoreFile::new(folder.to_owned(), database));
        Writer {
            transaction: LongTransaction::new(file.clone()).into(),
            file,
            disk: Default::default(),
            exchange: Arc::new(Exchange::new(incarnation)),
            bounds,
            unheard: Default::default(),
        }
    }

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    fn entry(fingerprint: u32) -> NewEntry {
        let what = wire::Message { body: "1".into(), client_msg_id: String::new() };
        let entry =
            wire::Entry { fingerprint, time: 1, by: "alice".into(), what: Some(entry::What::Message(what)) };
        NewEntry { fingerprint: Fingerprint(fingerprint), time: Time(1), bytes: entry.encode_to_vec().into() }
    }

    fn post(conversation: &ConversationId, kind: PostKind) -> Post {
        let entries = [entry(7)].into();
        Post { conversation: conversation.clone(), by: user("alice"), entries, kind, trace: Bytes::new() }
    }

    fn message(conversation: &ConversationId, key: &str) -> Post {
        post(conversation, PostKind::Message { repeat_key: key.into(), session: None })
    }

    fn amend(conversation: &ConversationId, seq: u64, amendment: Amendment) -> Post {
        post(conversation, PostKind::Amend { seq: Seq(seq), who: Amenders::Anyone, amendment })
    }

    fn job<Q, A>(items: Vec<Q>, job: fn(Call<Q, A>) -> Job) -> (Job, oneshot::Receiver<Result<Vec<A>>>) {
        let (answer, answered) = oneshot::channel();
        (job(Call { items, answer }), answered)
    }

    fn done<Q, A: std::fmt::Debug>(writer: &Writer, items: Vec<Q>, kind: fn(Call<Q, A>) -> Job) -> Vec<A> {
        let (job, mut answered) = job(items, kind);
        writer.commit(vec![job]);
        answered.try_recv().unwrap().unwrap()
    }

    /// Something in every table, and rows that are removed again.
    fn busy(writer: &Writer) {
        let direct = ConversationId::direct(&user("alice"), &user("bob"));
        let group = ConversationId::new_group(Time(1));
        let change = |expect: u64, add: &[&str], remove: &[&str]| {
            let change = Change {
                expect: Version(expect),
                name: Some("a name".into()),
                owner: None,
                roles: None,
                add: add.iter().map(|name| user(name)).collect(),
                remove: remove.iter().map(|name| user(name)).collect(),
            };
            post(&group, PostKind::Change(change))
        };
        for round in 0..30 {
            done(writer, vec![message(&direct, &round.to_string())], Job::Post);
        }
        let posts = vec![
            change(0, &["alice", "bob", "carol"], &[]),
            message(&group, "one"),
            change(1, &[], &["carol"]),
            amend(&direct, 29, Amendment::Edit { repeat_key: "e".into() }),
            amend(&direct, 29, Amendment::React { emoji: "+".into(), on: true }),
            amend(&direct, 30, Amendment::Recall),
        ];
        for posted in done(writer, posts, Job::Post) {
            assert!(matches!(posted, PostResult::Done { .. }), "{posted:?}");
        }
        let heard = done(writer, vec![(3, std::time::Duration::ZERO)], Job::TakeUnheard).remove(0);
        assert_eq!(heard.len(), 3);
        done(writer, vec![heard[0].clone()], Job::Heard);
        let seen = Cursor { position: Position(36), fingerprint: Fingerprint(7) };
        let seen = done(writer, vec![Acknowledge::up_to(user("bob"), seen)], Job::Acknowledge);
        assert!(matches!(&seen[0], AcknowledgeResult::Marks(marks) if !marks.is_empty()), "{seen:?}");
        let mark = |seq: u64| Mark {
            conversation: direct.clone(),
            user: user("bob"),
            kind: MarkKind::Read,
            seq: Seq(seq),
        };
        done(writer, vec![mark(28), mark(30)], Job::Mark);
        let publish = |key: &str| Broadcast {
            channel: ChannelId::parse("c_news").unwrap(),
            by: user("alice"),
            entry: entry(7),
            repeat_key: key.into(),
        };
        done(writer, (0..9).map(|n| publish(&n.to_string())).collect(), Job::Broadcast);
    }

    type Rows = Vec<Vec<(Vec<u8>, Vec<u8>)>>;

    fn rows(writer: &Writer) -> Rows {
        let writes = Writes::default();
        let txn = writer.file.database().unwrap().begin_write().unwrap();
        macro_rules! of {
            ($tables:expr; $($field:ident)*) => { [$($tables.$field.rows()),*] };
        }
        let tables = Tables::open(&txn, &writes).unwrap();
        let channels = ChannelTables::open(&txn, &writes).unwrap();
        let unheard = UnheardTables::open(&txn, &writes).unwrap();
        let mut rows = Vec::new();
        rows.extend(of!(tables; user_numbers users inboxes conversation_numbers conversations messages
            members memberships log references repeats repeat_ends changed changed_at amended recalled));
        rows.extend(of!(channels; channels publications repeats repeat_ends));
        rows.extend(of!(unheard; queue ids));
        rows
    }

    #[test]
    fn what_was_kept_is_in_every_table_again_after_a_crash_wherever_that_was() {
        let bounds = Bounds {
            inbox_events: 20,
            conversation_messages: 9,
            channel_messages: 5,
            unheard: 12,
            ..Bounds::default()
        };
        let (folder, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let writer = self::writer(folder.path(), bounds);
        busy(&writer);
        // The files as a crash leaves them now.
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), after.path().join(file.file_name())).unwrap();
        }
        assert!(writer.settle());
        let settled = rows(&writer);
        let counts: Vec<usize> = settled.iter().map(Vec::len).collect();
        assert!(!counts.contains(&0), "{counts:?}");
        let crashed = self::writer(after.path(), bounds);
        crashed.transaction.borrow_mut().restore().unwrap();
        assert!(rows(&crashed) == settled);
        // Once more, over what is there already.
        crashed.transaction.borrow_mut().failed();
        crashed.transaction.borrow_mut().restore().unwrap();
        assert!(rows(&crashed) == settled);
        assert!(crashed.settle());
        assert!(rows(&crashed) == settled);
    }

    #[test]
    fn nobody_reads_a_file_that_lacks_what_was_seen_before() {
        let folder = tempfile::tempdir().unwrap();
        let writer = writer(folder.path(), Bounds::default());
        let direct = ConversationId::direct(&user("alice"), &user("bob"));
        done(&writer, vec![message(&direct, "one")], Job::Post);
        done(&writer, vec![()], Job::Show);
        let messages = |txn: redb::ReadTransaction| {
            redb::ReadableTableMetadata::len(&txn.open_table(super::super::tables::MESSAGES).unwrap())
                .unwrap()
        };
        assert_eq!(messages(writer.file.begin_read().unwrap().unwrap()), 1);
        // Whoever looked whether something is hidden before that reads behind it.
        writer.disk.borrow_mut().failed(&Error::Unavailable("no space left".into()));
        writer.look_after_file();
        assert!(writer.file.begin_read().unwrap().is_none(), "the file that was opened again has no message");
        done(&writer, vec![()], Job::Show);
        assert_eq!(messages(writer.file.begin_read().unwrap().unwrap()), 1);
    }

    #[test]
    fn a_batch_that_fails_leaves_nothing_and_takes_nothing_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let writer = self::writer(folder.path(), Bounds::default());
        let direct = ConversationId::direct(&user("alice"), &user("bob"));
        done(&writer, vec![message(&direct, "kept")], Job::Post);
        let before = {
            let mut transaction = writer.transaction.borrow_mut();
            let txn = transaction.begin().unwrap();
            let writes = Writes::default();
            let mut tables = Tables::open(&txn, &writes).unwrap();
            let before = tables.log.rows();
            tables.log.remove(1).unwrap();
            drop(tables);
            drop(txn);
            transaction.failed();
            before
        };
        done(&writer, vec![()], Job::Show);
        let txn = writer.file.database().unwrap().begin_write().unwrap();
        let writes = Writes::default();
        assert_eq!(Tables::open(&txn, &writes).unwrap().log.rows(), before);
    }
}
