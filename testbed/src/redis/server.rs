//! One redis-server with an append-only file, configured as `deploy` does it.
//! It can be stopped, killed, restarted on its data, and put back to a copy.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::guarded::Guarded;
use crate::resp::{self, Reply};
use crate::{port, wait};

const PATIENCE: Duration = Duration::from_secs(20);

/// A redis-server on 127.0.0.1, killed on drop.
#[derive(Debug)]
pub struct RedisServer {
    port: u16,
    options: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    sentinel: bool,
    child: Option<Guarded>,
    folder: TempDir,
}

/// Options beyond the usual ones.
#[derive(Debug, Clone, Default)]
pub struct RedisBuilder {
    options: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    sentinel: bool,
}

/// A server's data as it was at one moment.
#[derive(Debug)]
pub struct DataCopy {
    folder: TempDir,
}

impl RedisServer {
    /// Starts one with the usual options; returns when it answers.
    pub async fn start() -> Result<Self> {
        Self::builder().start().await
    }

    /// For options beyond the usual ones.
    pub fn builder() -> RedisBuilder {
        RedisBuilder::default()
    }

    /// `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Where it listens; the same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id; nothing while it is down.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Guarded::pid)
    }

    /// SIGSTOP: its connections stay open and nothing answers.
    pub fn stop(&mut self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets it run on after [`stop`](Self::stop).
    pub fn cont(&mut self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// SIGKILL; its data stay for [`restart`](Self::restart).
    pub fn kill(&mut self) {
        self.child = None;
    }

    /// Starts it again on the same port and data (killing it if it runs).
    pub async fn restart(&mut self) -> Result<()> {
        self.kill();
        self.child = Some(self.spawn()?);
        self.answers().await
    }

    /// Its data at this moment. The server is held still meanwhile, so that
    /// the copy is of one moment, and every write that was answered is in it.
    pub async fn copy_data(&mut self) -> Result<DataCopy> {
        let folder = TempDir::new()?;
        // Where a sync of the file takes long, Redis answers before it writes.
        wait::until(PATIENCE, "all that was answered is in the file", async || {
            let left = self.info(&["INFO", "persistence"], "aof_buffer_length").await.ok()??;
            (left == "0").then_some(())
        })
        .await?;
        self.stop()?;
        let copied = copy_folder(self.folder.path(), folder.path());
        self.cont()?;
        copied.context("the data could not be copied")?;
        Ok(DataCopy { folder })
    }

    /// Kills it, puts the data of `copy` in the place of its own, and starts
    /// it again: a store that has lost its last writes.
    pub async fn put_back(&mut self, copy: &DataCopy) -> Result<()> {
        self.kill();
        clear_folder(self.folder.path())?;
        copy_folder(copy.folder.path(), self.folder.path())?;
        self.restart().await
    }

    /// Kills it and removes its data: a machine that is gone. What it was configured
    /// with stays.
    pub fn lose(&mut self) -> Result<()> {
        self.kill();
        clear_folder(self.folder.path()).context("the data could not be removed")
    }

    /// Where its data and its `redis.conf` are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Kills it and takes so many bytes off the end of its append-only file, as a
    /// machine does that loses its power in the middle of a write.
    pub fn tear(&mut self, bytes: u64) -> Result<()> {
        self.kill();
        let folder = self.folder.path().join("appendonlydir");
        let newest = fs::read_dir(&folder)?.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        let newest = newest.filter(|file| file.to_string_lossy().ends_with(".incr.aof")).max();
        let file = File::options().write(true).open(newest.context("an append-only file")?)?;
        file.set_len(file.metadata()?.len().saturating_sub(bytes))?;
        Ok(())
    }

    /// One command over a connection of its own; an error reply is a reply.
    pub async fn command(&self, words: &[&str]) -> Result<Reply> {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        resp::command(self.port, &words, PATIENCE).await
    }

    /// A line of `INFO`, or of another command that answers such lines.
    pub async fn info(&self, command: &[&str], name: &str) -> Result<Option<String>> {
        let reply = self.command(command).await?.ok()?;
        let text = reply.text().context("a text was expected")?;
        let line = text.lines().find_map(|line| line.split_once(':').filter(|(key, _)| *key == name));
        Ok(line.map(|(_, value)| value.trim().to_owned()))
    }

    /// From now on it refuses the user without a name what replicas and sentinels
    /// need, and ends their connections. Clients with a user of their own stay.
    pub(super) async fn cut_off_replicas(&self) -> Result<()> {
        let words = ["ACL", "SETUSER", "default", "-ping", "-info", "-replconf", "-psync", "-sync"];
        self.command(&words).await?.ok()?;
        for kind in ["replica", "pubsub"] {
            self.command(&["CLIENT", "KILL", "TYPE", kind, "USER", "default"]).await?.ok()?;
        }
        Ok(())
    }

    /// Ends [`cut_off_replicas`](Self::cut_off_replicas).
    pub(super) async fn let_replicas_in(&self) -> Result<()> {
        self.command(&["ACL", "SETUSER", "default", "+@all"]).await?.ok()?;
        Ok(())
    }

    /// Sets options that it has after a restart, too.
    pub(super) async fn set(&mut self, options: &[(&str, &str)]) -> Result<()> {
        for (name, value) in options {
            self.command(&["CONFIG", "SET", name, value]).await?.ok()?;
            self.options.push(((*name).to_owned(), (*value).to_owned()));
        }
        Ok(())
    }

    /// What it has logged, for failures that need looking into.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("redis.log")
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        self.child.as_mut().context("redis-server is down")?.signal(signal)
    }

    fn spawn(&self) -> Result<Guarded> {
        let mut text = format!("bind 127.0.0.1\nport {}\n", self.port);
        for (name, value) in &self.options {
            text.push_str(&format!("{name} {value}\n"));
        }
        let config = self.folder.path().join("redis.conf");
        // A sentinel writes what it has learned into its file.
        if !(self.sentinel && config.exists()) {
            fs::write(&config, text)?;
        }
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let mut arguments = vec![OsString::from(&config)];
        if self.sentinel {
            arguments.push("--sentinel".into());
        }
        Guarded::spawn(
            Command::new(program()?)
                .args(arguments)
                .envs(self.environment.iter().map(|(name, value)| (name, value)))
                .current_dir(self.folder.path())
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log),
        )
    }

    async fn answers(&mut self) -> Result<()> {
        let port = self.port;
        let child = self.child.as_mut().context("redis-server is down")?;
        let outcome = wait::until(PATIENCE, "redis-server answers PING", async || {
            match child.exited() {
                Ok(None) => {}
                _ => return Some(false),
            }
            // While it loads its data it answers with an error.
            let reply = resp::command(port, &[b"PING"], Duration::from_secs(1)).await;
            matches!(reply, Ok(Reply::Status(_))).then_some(true)
        })
        .await;
        match outcome {
            Ok(true) => Ok(()),
            Ok(false) => bail!("redis-server ended at start:\n{}", self.log()),
            Err(error) => Err(error.context(self.log())),
        }
    }
}

impl RedisBuilder {
    /// Sets an option of `redis.conf`; a later one of the same name counts.
    pub fn option(mut self, name: &str, value: impl ToString) -> Self {
        self.options.push((name.to_owned(), value.to_string()));
        self
    }

    /// Environment variables of its process.
    pub fn environment(mut self, variables: Vec<(String, String)>) -> Self {
        self.environment = variables;
        self
    }

    /// A sentinel instead of a data server.
    pub(crate) fn sentinel() -> Self {
        Self { sentinel: true, ..Self::default() }
    }

    /// Starts it; returns when it answers.
    pub async fn start(self) -> Result<RedisServer> {
        let usual: &[(&str, &str)] = if self.sentinel {
            &[]
        } else {
            &[
                ("appendonly", "yes"),
                // Killed, it has then written all that it answered. With `everysec` it
                // answers before it writes, for up to two seconds, while a flush of the
                // disk takes long.
                ("appendfsync", "no"),
                ("save", "\"\""),
                ("maxmemory-policy", "noeviction"),
                ("list-compress-depth", "1"),
                ("repl-diskless-sync-delay", "0"),
                ("shutdown-timeout", "0"),
            ]
        };
        let mut options: Vec<(String, String)> =
            usual.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        options.extend(self.options);
        let mut failure = None;
        for _ in 0..5 {
            let mut options = options.clone();
            if options.iter().any(|(name, _)| name == "cluster-enabled") {
                // Its default, port + 10000, may be taken or beyond 65535.
                options.push(("cluster-port".to_owned(), port::free().to_string()));
            }
            let mut server = RedisServer {
                port: port::free(),
                options,
                environment: self.environment.clone(),
                sentinel: self.sentinel,
                child: None,
                folder: TempDir::with_prefix("switchboard-redis-")?,
            };
            match server.restart().await {
                Ok(()) => return Ok(server),
                // Another process was quicker; any other cause stays the same.
                Err(error) if server.log().contains("Address already in use") => failure = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(failure.context("no attempt was made")?)
    }
}

fn program() -> Result<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "looking a program up, not configuration")]
    let path = std::env::var("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join("redis-server"))
        .find(|file| file.is_file())
        .context("redis-server is not installed: apt-get install redis-server")
}

/// Copies data, and not the log or the configuration.
fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir_all(&target)?;
            copy_folder(&entry.path(), &target)?;
        } else if is_data(&entry.path()) {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn clear_folder(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else if is_data(&entry.path()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn is_data(file: &Path) -> bool {
    !file.extension().is_some_and(|extension| extension == "log" || extension == "conf")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_answered_is_there_after_a_kill() {
        let mut server = RedisServer::start().await.unwrap();
        server.command(&["SET", "a", "1"]).await.unwrap().ok().unwrap();
        let (port, pid) = (server.port(), server.pid());
        server.kill();
        assert!(server.command(&["PING"]).await.is_err());
        server.restart().await.unwrap();
        assert_eq!(server.port(), port);
        assert_ne!(server.pid(), pid);
        assert_eq!(server.command(&["GET", "a"]).await.unwrap(), Reply::Bytes(b"1".to_vec()));
    }

    #[tokio::test]
    async fn data_put_back_are_those_of_the_copy() {
        let mut server = RedisServer::start().await.unwrap();
        server.command(&["SET", "a", "old"]).await.unwrap().ok().unwrap();
        let copy = server.copy_data().await.unwrap();
        server.command(&["SET", "a", "new"]).await.unwrap().ok().unwrap();
        server.put_back(&copy).await.unwrap();
        assert_eq!(server.command(&["GET", "a"]).await.unwrap(), Reply::Bytes(b"old".to_vec()));
    }

    #[tokio::test]
    async fn a_stopped_server_does_not_answer_until_it_is_continued() {
        let mut server = RedisServer::start().await.unwrap();
        server.stop().unwrap();
        let silent = resp::command(server.port(), &[b"PING"], Duration::from_millis(200)).await;
        assert!(silent.unwrap_err().to_string().contains("did not answer"));
        server.cont().unwrap();
        assert_eq!(server.command(&["PING"]).await.unwrap(), Reply::Status("PONG".into()));
    }

    #[tokio::test]
    async fn an_option_that_redis_does_not_know_is_reported_with_its_log() {
        let error = RedisServer::builder().option("no-such-option", "1").start().await.unwrap_err();
        assert!(error.to_string().contains("no-such-option"), "{error:#}");
    }

    #[tokio::test]
    async fn a_dropped_server_is_gone() {
        let server = RedisServer::start().await.unwrap();
        let pid = server.pid().unwrap();
        drop(server);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}
