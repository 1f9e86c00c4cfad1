//! The secret that a system without one makes for itself: a file in the data
//! folder that only its owner can read.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use gateway::config::{Secret, Wrong};

/// The file's name in the data folder.
pub const FILE: &str = "jwt-secret";

/// The folder's secret, which is made if there is none. Fails when the file
/// cannot be made or read, or others may read it.
pub fn read_or_make(folder: &Path) -> Result<Secret, Wrong> {
    if let Some(secret) = read(folder)? {
        return Ok(secret);
    }
    match make(folder) {
        Ok(()) => {}
        // Another process was faster; its secret is as good.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(cannot(folder, "made", &error)),
    }
    read(folder)?.ok_or_else(|| cannot(folder, "read", &io::ErrorKind::NotFound.into()))
}

/// The folder's secret, if it has one. Fails when others may read it.
pub fn read(folder: &Path) -> Result<Option<Secret>, Wrong> {
    let path = folder.join(FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot(folder, "read", &error)),
    };
    let mode = fs::metadata(&path).map_err(|error| cannot(folder, "read", &error))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(Wrong(format!("{} can be read by others: chmod 600 it, or delete it", path.display())));
    }
    Secret::new(text.trim_end())
        .long_enough()
        .map(Some)
        .map_err(|_| Wrong(format!("{} holds no secret: delete it, and a new one is made", path.display())))
}

/// Writes the file under another name first: one with the right name is always
/// whole.
fn make(folder: &Path) -> io::Result<()> {
    store::embedded::private::folder(folder)?;
    let draft = folder.join(format!(".{FILE}.{:016x}", rand::random::<u64>()));
    let random: [u8; 32] = rand::random();
    let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
        fs::hard_link(&draft, folder.join(FILE))
    })();
    let removed = fs::remove_file(&draft);
    written.and(removed)
}

fn cannot(folder: &Path, what: &str, error: &io::Error) -> Wrong {
    Wrong(format!("{} cannot be {what}: {error}", folder.join(FILE).display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_and_only_its_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        assert!(read(&data).unwrap().is_none());
        let first = read_or_make(&data).unwrap();
        assert_eq!(first.bytes().len(), 64);
        assert!(read_or_make(&data).unwrap() == first);
        let mode = fs::metadata(data.join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(&data).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_others_can_read_or_that_holds_nothing_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        read_or_make(folder.path()).unwrap();
        let path = folder.path().join(FILE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read_or_make(folder.path()).unwrap_err().0.contains("chmod 600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "short").unwrap();
        assert!(read_or_make(folder.path()).unwrap_err().0.contains("delete it"));
    }
}
