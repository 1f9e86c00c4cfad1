//! Clocks of single processes that jump: a small library is preloaded, which adds to
//! the calendar clock what a file of the process says (`clock.c`). Debian's `faketime`
//! would do for our programs, but Redis' allocator does not start with it.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

/// The files of some processes, and the library.
#[derive(Debug)]
pub struct Clocks {
    folder: TempDir,
    library: PathBuf,
}

impl Clocks {
    /// Compiles the library. Fails where there is no C compiler.
    pub fn new() -> Result<Self> {
        let folder = TempDir::with_prefix("switchboard-clocks-")?;
        let library = folder.path().join("clock.so");
        let mut compiler = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-x", "c", "-", "-o"])
            .arg(&library)
            .stdin(Stdio::piped())
            .spawn()
            .context("a C compiler: apt-get install gcc")?;
        compiler.stdin.take().context("its input is a pipe")?.write_all(include_bytes!("clock.c"))?;
        ensure!(compiler.wait()?.success(), "the clock's library does not compile");
        Ok(Self { folder, library })
    }

    /// What a process of this name is started with.
    pub fn variables(&self, name: &str) -> Result<Vec<(String, String)>> {
        fs::write(self.file(name), 0_i64.to_ne_bytes())?;
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let variables = [("LD_PRELOAD", text(&self.library)), ("CLOCK_FILE", text(&self.file(name)))];
        Ok(variables.map(|(name, value)| (name.to_owned(), value)).into())
    }

    /// From now on the clock of this process is so many seconds off.
    pub fn set(&self, name: &str, seconds: i64) -> Result<()> {
        // In its place: the process has the file in its memory.
        let file = File::options().write(true).open(self.file(name))?;
        Ok(file.write_all_at(&seconds.to_ne_bytes(), 0)?)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RedisServer;

    /// Redis' clock, in seconds.
    async fn seconds(server: &RedisServer) -> i64 {
        let time = server.command(&["TIME"]).await.unwrap();
        time.items()[0].text().unwrap().parse().unwrap()
    }

    #[tokio::test]
    async fn the_clock_of_a_redis_jumps_while_it_runs() {
        let clocks = Clocks::new().unwrap();
        let variables = clocks.variables("redis").unwrap();
        let server = RedisServer::builder().environment(variables).start().await.unwrap();
        let before = seconds(&server).await;
        for jump in [3600, -3600] {
            clocks.set("redis", jump).unwrap();
            let apart = seconds(&server).await - before - jump;
            // What the test itself took.
            assert!((0..600).contains(&apart), "{apart} s apart from {jump}");
        }
    }
}
