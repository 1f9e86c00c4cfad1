//! A small disk of its own, to be filled.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

/// A file system in memory of a few megabytes, mounted in a folder; unmounted on
/// drop. Only root can mount one.
#[derive(Debug)]
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// Mounts one with room for so many mebibytes. Fails where this process may not.
    pub fn mount(mebibytes: u32) -> Result<Self> {
        let folder = TempDir::with_prefix("switchboard-disk-")?;
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "switchboard-test"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .context("mount could not be started")?;
        ensure!(status.success(), "a small disk cannot be mounted here: that needs root");
        Ok(Self { folder })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: who still has a file open goes on until it ends.
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).stdin(Stdio::null()).status();
    }
}
