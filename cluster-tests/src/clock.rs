//! Clocks of single processes that jump, with Debian's `faketime`: each process
//! reads how far its clock is off from a file of its own.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

/// The files of all processes of a cluster.
#[derive(Debug)]
pub struct Clocks {
    folder: TempDir,
    library: PathBuf,
}

impl Clocks {
    /// Fails where the library is not installed.
    pub fn new() -> Result<Self> {
        let folders =
            fs::read_dir("/usr/lib").context("libraries")?.filter_map(|entry| Some(entry.ok()?.path()));
        let mut libraries = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1"));
        let library = libraries.find(|file| file.is_file());
        let library = library.context("libfaketime is not installed: apt-get install faketime")?;
        Ok(Self { folder: TempDir::with_prefix("switchboard-clocks-")?, library })
    }

    /// What a process of this name is started with. Its monotonic clock stays right,
    /// as a machine's does whose clock is set.
    pub fn variables(&self, name: &str) -> Result<Vec<(String, String)>> {
        self.set(name, 0)?;
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let variables = [
            ("LD_PRELOAD", text(self.library.clone())),
            ("FAKETIME_TIMESTAMP_FILE", text(self.folder.path().join(name))),
            // Seconds until it reads the file again.
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        Ok(variables.map(|(name, value)| (name.to_owned(), value)).into())
    }

    /// From now on the clock of this process is so many seconds off.
    pub fn set(&self, name: &str, seconds: i64) -> Result<()> {
        let (next, file) = (self.folder.path().join("next"), self.folder.path().join(name));
        // In one step: a file that is half written is none.
        fs::write(&next, format!("{seconds:+}s\n"))?;
        Ok(fs::rename(next, file)?)
    }
}
