//! The file, and opening it again after the disk has failed: redb takes no
//! write any more after one that failed, whatever becomes of the disk.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use redb::Database;
use tokio::time::Instant;

use super::open_database;
use super::tables::META;
use crate::{Error, Result, trouble};

/// Between two attempts.
const AGAIN: Duration = Duration::from_secs(1);
/// What is written to see whether there is room, in bytes.
const PROBE: usize = 256 * 1024;

/// The open file, for all who read and for the one writer.
pub(super) struct StoreFile {
    folder: PathBuf,
    /// None while it is being opened again. Held for a look only.
    open: RwLock<Option<Arc<Database>>>,
}

impl StoreFile {
    pub(super) fn new(folder: PathBuf, database: Database) -> Self {
        Self { folder, open: RwLock::new(Some(Arc::new(database))) }
    }

    /// To be dropped soon: the file cannot be opened again as long as it is held.
    pub(super) fn database(&self) -> Result<Arc<Database>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.clone().ok_or_else(|| {
            let why = trouble::STORE.now().unwrap_or_else(|| "its disk has failed".into());
            Error::Unavailable(why)
        })
    }

    fn set(&self, database: Option<Arc<Database>>) -> Option<Arc<Database>> {
        std::mem::replace(&mut *self.open.write().unwrap_or_else(PoisonError::into_inner), database)
    }
}

/// What the writer knows of the disk.
#[derive(Default)]
pub(super) struct Disk {
    /// A write has failed, and none has been done since.
    failing: bool,
    /// The file must be opened again; not before this time.
    open_at: Option<Instant>,
}

impl Disk {
    /// A write was not done. What the disk has refused is said, and has the
    /// file opened again.
    pub(super) fn failed(&mut self, error: &Error) {
        let Error::Unavailable(why) = error else { return };
        trouble::STORE.refused("write", why);
        self.failing = true;
        self.open_at.get_or_insert_with(Instant::now);
    }

    /// A write was done.
    pub(super) fn worked(&mut self) {
        if self.failing {
            self.failing = false;
            trouble::STORE.done("write");
        }
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failing
    }

    /// When to look after the file, if that is needed.
    pub(super) fn open_at(&self) -> Option<Instant> {
        self.open_at
    }

    /// Opens the file again if it is time to. Returns whether it did.
    pub(super) fn open_again(&mut self, file: &StoreFile) -> bool {
        if self.open_at.is_none_or(|at| Instant::now() < at) {
            return false;
        }
        // Whoever still reads holds it: then it is in use, and tried again.
        drop(file.set(None));
        // Nothing is written by that, so that what is there can be read.
        match open_database(&file.folder) {
            Ok(database) => {
                file.set(Some(Arc::new(database)));
                self.open_at = None;
                tracing::info!("the store's file is open again");
                true
            }
            Err(error) => {
                trouble::STORE.refused("write", &error.to_string());
                self.open_at = Some(Instant::now() + AGAIN);
                false
            }
        }
    }
}

/// Sees whether there is room to write, and gives it back.
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
