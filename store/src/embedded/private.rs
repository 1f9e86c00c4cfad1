//! Access rights: folder and file of the embedded store belong to their user
//! alone, since they hold messages. Existing ones with wider rights are
//! narrowed.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// The permission bits of everybody but the owner.
const OTHERS: u32 = 0o077;
/// Standalone's own secret also lies in the folder, and its drafts with a dot
/// before the name.
const SECRET: &str = "jwt-secret";

/// Makes the folder, if it is missing, for its user alone. An existing folder
/// that holds only our files is narrowed to its user. Another one may be shared
/// for a reason: it stays as it is, with a warning; the files in it are private
/// themselves. Fails when the folder cannot be made or read.
pub fn folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mode = std::fs::metadata(folder)?.permissions().mode();
    if mode & OTHERS == 0 {
        return Ok(());
    }
    let tightened = if is_ours(folder)? {
        std::fs::set_permissions(folder, Permissions::from_mode(0o700))
    } else {
        Err(io::Error::other("other files lie in it"))
    };
    match tightened {
        Ok(()) => {
            tracing::warn!(folder = %folder.display(), "the store's folder was open to others, and is not any more")
        }
        Err(error) => {
            tracing::warn!(folder = %folder.display(), %error, "the store's folder is open to others, and stays so");
        }
    }
    Ok(())
}

/// Opens the file, for its user alone; makes it if it is missing.
pub(super) fn file(path: &Path) -> io::Result<File> {
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    if file.metadata()?.permissions().mode() & OTHERS != 0 {
        match file.set_permissions(Permissions::from_mode(0o600)) {
            Ok(()) => {
                tracing::warn!(file = %path.display(), "the store's file was open to others, and is not any more")
            }
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "the store's file is open to others, and stays so");
            }
        }
    }
    Ok(file)
}

fn is_ours(folder: &Path) -> io::Result<bool> {
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        let ours = name == super::FILE
            || name == super::journal::JOURNAL
            || name == SECRET
            || name.starts_with(&format!(".{SECRET}."));
        if !ours {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_new_folder_and_file_are_their_users_alone() {
        let outer = tempfile::tempdir().unwrap();
        let data = outer.path().join("a/data");
        folder(&data).unwrap();
        file(&data.join(super::super::FILE)).unwrap();
        assert_eq!((mode(&data), mode(&data.join(super::super::FILE))), (0o700, 0o600));
    }

    #[test]
    fn old_ones_are_tightened_and_a_shared_folder_is_left() {
        let outer = tempfile::tempdir().unwrap();
        let (data, path) = (outer.path().join("data"), outer.path().join("data").join(super::super::FILE));
        std::fs::create_dir(&data).unwrap();
        std::fs::write(&path, "").unwrap();
        for (path, loose) in [(&data, 0o755), (&path, 0o644)] {
            std::fs::set_permissions(path, Permissions::from_mode(loose)).unwrap();
        }
        std::fs::write(data.join("notes.txt"), "").unwrap();
        folder(&data).unwrap();
        file(&path).unwrap();
        assert_eq!((mode(&data), mode(&path)), (0o755, 0o600));
        std::fs::remove_file(data.join("notes.txt")).unwrap();
        std::fs::write(data.join(SECRET), "").unwrap();
        folder(&data).unwrap();
        assert_eq!(mode(&data), 0o700);
    }
}
