//! The file, and how it is opened again after the disk has failed: after a
//! failed write redb takes no more writes until then, even if the disk has
//! recovered.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use redb::{Database, ReadTransaction, ReadableDatabase as _};
use tokio::time::Instant;

use super::open_database;
use super::tables::META;
use crate::{Error, Result, trouble};

/// The time between two attempts to open the file.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Bytes written to see whether there is room.
const PROBE: usize = 256 * 1024;

/// The open file, for all readers and the one writer.
pub(super) struct StoreFile {
    folder: PathBuf,
    /// `None` while the file is opened again. LockGuard only to copy or set it.
    open: RwLock<Option<Arc<Database>>>,
    /// Whether the writer has kept something that a new read would not see.
    hiding: AtomicBool,
    /// Whether the tables lack what the journal has, and readers have seen: after a
    /// failure, until it is applied again.
    behind: AtomicBool,
}

impl StoreFile {
    pub(super) fn new(folder: PathBuf, database: Database) -> Self {
        let open = RwLock::new(Some(Arc::new(database)));
        Self { folder, open, hiding: AtomicBool::new(true), behind: AtomicBool::new(true) }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Says whether there is something that a new read would not see.
    pub(super) fn hide(&self, hiding: bool) {
        self.hiding.store(hiding, Ordering::SeqCst);
    }

    /// Whether the writer must be asked to show what it has, before a read.
    pub(super) fn is_hiding(&self) -> bool {
        self.hiding.load(Ordering::SeqCst)
    }

    /// The open database. Drop it soon: the file cannot be opened again while
    /// somebody holds it. Fails while the file is not open.
    pub(super) fn database(&self) -> Result<Arc<Database>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.clone().ok_or_else(|| {
            let why = trouble::STORE.now().unwrap_or_else(|| "its disk has failed".into());
            Error::Unavailable(why)
        })
    }

    /// Says whether the tables lack something that readers have seen. Says so before
    /// the file is opened again.
    pub(super) fn set_behind(&self, behind: bool) {
        self.behind.store(behind, Ordering::SeqCst);
    }

    /// What a reader sees; nothing while the tables are behind. Then the writer must be
    /// asked to show what it has.
    pub(super) fn begin_read(&self) -> Result<Option<ReadTransaction>> {
        let database = self.database()?;
        // After it: a file that is behind was said to be, before it could be had.
        match self.behind.load(Ordering::SeqCst) {
            true => Ok(None),
            false => Ok(Some(database.begin_read()?)),
        }
    }

    fn set(&self, database: Option<Arc<Database>>) -> Option<Arc<Database>> {
        std::mem::replace(&mut *self.open.write().unwrap_or_else(PoisonError::into_inner), database)
    }
}

/// What the writer knows about the disk.
#[derive(Default)]
pub(super) struct Disk {
    /// A write has failed, and none has worked since.
    failing: bool,
    /// The file must be opened again, not before this time.
    open_at: Option<Instant>,
}

impl Disk {
    /// Notes that a write failed. When the disk refused it, this is logged, and
    /// the file will be opened again.
    pub(super) fn failed(&mut self, error: &Error) {
        let Error::Unavailable(why) = error else { return };
        trouble::STORE.refused("write", why);
        self.failing = true;
        self.open_at.get_or_insert_with(Instant::now);
    }

    /// Notes that a write worked.
    pub(super) fn worked(&mut self) {
        if self.failing {
            self.failing = false;
            trouble::STORE.done("write");
        }
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failing
    }

    /// When to open the file again, if that is needed.
    pub(super) fn open_at(&self) -> Option<Instant> {
        self.open_at
    }

    /// Opens the file again if it is time. Returns whether it did.
    pub(super) fn open_again(&mut self, file: &StoreFile) -> bool {
        if self.open_at.is_none_or(|at| Instant::now() < at) {
            return false;
        }
        // If a reader still holds it, opening fails because it is in use, and
        // is tried again later.
        drop(file.set(None));
        // Opening writes nothing, so data can be read again even while the disk
        // is full.
        match open_database(&file.folder) {
            Ok(database) => {
                file.set(Some(Arc::new(database)));
                self.open_at = None;
                tracing::info!("the store's file is open again");
                true
            }
            Err(error) => {
                trouble::STORE.refused("write", &error.to_string());
                self.open_at = Some(Instant::now() + RETRY_AFTER);
                false
            }
        }
    }
}

/// Checks that there is room to write, by writing and removing a row. Fails
/// when there is none.
pub(super) fn probe(file: &StoreFile) -> Result<()> {
    let database = file.database()?;
    let txn = database.begin_write()?;
    txn.open_table(META)?.insert("probe", "0".repeat(PROBE).as_str())?;
    txn.commit()?;
    let txn = database.begin_write()?;
    txn.open_table(META)?.remove("probe")?;
    txn.commit()?;
    Ok(())
}
