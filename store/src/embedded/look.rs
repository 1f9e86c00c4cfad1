//! One look at the folder of an embedded store, for a check of a configuration:
//! whether it can be opened or made. Nothing is made or changed.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::Path;

use redb::{DatabaseError, ReadOnlyDatabase, ReadableDatabase as _, TableError};
use tokio_util::task::TaskTracker;

use super::FILE;
use super::tables::META;
use crate::{Error, Look, Result};

/// Whether a store in this folder can be opened, or made where there is none.
pub(crate) async fn look(folder: &Path) -> Result<Look> {
    let folder = folder.to_owned();
    let looked = TaskTracker::new().spawn_blocking(move || look_at(&folder)).await;
    looked.map_err(|error| Error::Unavailable(error.to_string()))?
}

fn look_at(folder: &Path) -> Result<Look> {
    let path = folder.join(FILE);
    let no_warning = |what| Ok(Look { what, warnings: Vec::new() });
    match OpenOptions::new().read(true).write(true).open(&path) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {
            can_be_made(folder)?;
            return no_warning(format!("{} will be made at the first start", path.display()));
        }
        Err(error) => return Err(cannot("open", &path, &error)),
    }
    match ReadOnlyDatabase::open(&path) {
        Ok(database) => {
            look_at_format(&database)?;
            no_warning(format!("{} can be opened", path.display()))
        }
        // The process that wrote it has not ended properly.
        Err(DatabaseError::RepairAborted) => {
            no_warning(format!("{} will be repaired at the next start", path.display()))
        }
        Err(error) => Err(error.into()),
    }
}

fn look_at_format(database: &ReadOnlyDatabase) -> Result<()> {
    let meta = match database.begin_read()?.open_table(META) {
        Ok(meta) => meta,
        // Made, and nothing written yet.
        Err(TableError::TableDoesNotExist(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    super::form::readable(&meta).map(|_| ())
}

/// Writes a file where the folder is, or would be made, and removes it.
fn can_be_made(folder: &Path) -> Result<()> {
    let there = std::path::absolute(folder).map_err(|error| cannot("find", folder, &error))?;
    let there = there.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let draft = there.join(format!(".switchboard-check-{:016x}", rand::random::<u64>()));
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&draft)
        .map_err(|error| cannot("write to", there, &error))?;
    fs::remove_file(&draft).map_err(|error| cannot("write to", there, &error))
}

fn cannot(verb: &str, path: &Path, error: &io::Error) -> Error {
    Error::Config(format!("cannot {verb} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::embedded::Embedded;
    use crate::{Config, Url};

    #[tokio::test]
    async fn a_look_makes_nothing_and_finds_who_has_the_folder() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("a/data");
        assert!(look(&folder).await.unwrap().what.ends_with("will be made at the first start"));
        assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 0);

        let stop = CancellationToken::new();
        let store = Embedded::open(Config::new(Url::Embedded(folder.clone())), stop.clone()).await.unwrap();
        assert!(look(&folder).await.unwrap_err().to_string().contains("in use by another process"));
        stop.cancel();
        store.closed().await;
        drop(store);
        assert!(look(&folder).await.unwrap().what.ends_with("can be opened"));

        fs::write(folder.join(FILE), "no database").unwrap();
        assert!(look(&folder).await.is_err());
        fs::remove_dir_all(&folder).unwrap();
        fs::write(&folder, "no folder").unwrap();
        assert!(look(&folder).await.is_err());
    }
}
