//! One PostgreSQL server, made anew for a test. It can be ended, killed and
//! restarted on its data.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;
use nix::unistd::{Uid, User};
use tempfile::TempDir;

use crate::guarded::Guarded;
use crate::{port, wait};

const PATIENCE: Duration = Duration::from_secs(60);

/// A PostgreSQL server on 127.0.0.1, killed on drop. Its user `switchboard` needs no
/// password.
#[derive(Debug)]
pub struct PostgresServer {
    port: u16,
    child: Option<Guarded>,
    folder: TempDir,
}

impl PostgresServer {
    /// Makes its data and starts it; returns when it answers.
    pub async fn start() -> Result<Self> {
        let folder = TempDir::with_prefix("switchboard-postgres-")?;
        if let Some(user) = other_user()? {
            chown(folder.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        }
        let mut server = Self { port: port::free(), child: None, folder };
        server.initialize()?;
        server.restart().await?;
        Ok(server)
    }

    /// `postgres://switchboard@127.0.0.1:PORT/postgres`.
    pub fn url(&self) -> String {
        format!("postgres://switchboard@127.0.0.1:{}/postgres", self.port)
    }

    /// Makes one that asks for TLS of everybody, with the certificate of this name in
    /// [`certificates`](crate::certificates).
    pub async fn with_tls(name: &str) -> Result<Self> {
        let mut server = Self::start().await?;
        let data = server.folder.path().join("data");
        for (kind, to) in [("cert", "server.crt"), ("key", "server.key")] {
            let to = data.join(to);
            fs::copy(crate::certificates().join(format!("{name}.{kind}.pem")), &to)?;
            fs::set_permissions(&to, fs::Permissions::from_mode(0o600))?;
            if let Some(user) = other_user()? {
                chown(&to, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
            }
        }
        let mut settings = File::options().append(true).open(data.join("postgresql.conf"))?;
        settings.write_all(b"ssl = on\n")?;
        server.restart().await?;
        // What is not over TLS is for this value's own questions.
        let rules = "hostssl all all all trust\nhost postgres switchboard all trust\n";
        fs::write(data.join("pg_hba.conf"), rules)?;
        server.run("SELECT pg_reload_conf()")?;
        Ok(server)
    }

    /// Makes an empty database; returns its URL.
    pub fn database(&self, name: &str) -> Result<String> {
        self.run(&format!("CREATE DATABASE {name}"))?;
        Ok(format!("postgres://switchboard@127.0.0.1:{}/{name}", self.port))
    }

    /// Where it listens; the same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id; nothing while it is down.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Guarded::pid)
    }

    /// Ends it at once, without a last write; its data stay for
    /// [`restart`](Self::restart).
    pub async fn end(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        child.signal(Signal::SIGQUIT)?;
        wait::until(PATIENCE, "PostgreSQL has ended", async || child.exited().ok().flatten()).await?;
        Ok(())
    }

    /// Starts it again on the same port and data, after ending it if it runs.
    pub async fn restart(&mut self) -> Result<()> {
        self.end().await?;
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let mut command = self.command("postgres")?;
        command.args(["-D", "data", "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]);
        command.args(["-c", &format!("port={}", self.port), "-c", "fsync=off", "-c", "max_connections=200"]);
        self.child = Some(Guarded::spawn(command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log))?);
        self.answers().await
    }

    /// Runs statements with `psql`; returns what it prints, without headings.
    pub fn run(&self, statements: &str) -> Result<String> {
        let mut command = self.command("psql")?;
        let output =
            command.args(["-qtAX", "-v", "ON_ERROR_STOP=1", "-c", statements, &self.url()]).output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        ensure!(output.status.success(), "psql: {}", text(&output.stderr));
        Ok(text(&output.stdout))
    }

    /// What it has logged, for failures that need looking into.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("postgres.log")
    }

    fn initialize(&self) -> Result<()> {
        let mut command = self.command("initdb")?;
        command.args([
            "-D",
            "data",
            "-U",
            "switchboard",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ]);
        let output = command.output()?;
        ensure!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// One of PostgreSQL's programs, which do not run as root.
    fn command(&self, program: &str) -> Result<Command> {
        let mut command = Command::new(programs()?.join(program));
        command.current_dir(self.folder.path());
        if let Some(user) = other_user()? {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        Ok(command)
    }

    async fn answers(&mut self) -> Result<()> {
        let mut child = self.child.take().context("PostgreSQL is down")?;
        let outcome = wait::until(PATIENCE, "PostgreSQL answers", async || match child.exited() {
            Ok(None) => self.run("SELECT 1").is_ok().then_some(true),
            _ => Some(false),
        })
        .await;
        match outcome {
            Ok(true) => {
                self.child = Some(child);
                Ok(())
            }
            Ok(false) => bail!("PostgreSQL ended at start:\n{}", self.log()),
            Err(error) => Err(error.context(self.log())),
        }
    }
}

/// Debian's user for PostgreSQL where this process is root's.
fn other_user() -> Result<Option<User>> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    Ok(Some(User::from_name("postgres")?.context("there is no user `postgres`: apt-get install postgresql")?))
}

/// The folder of the newest version's programs.
fn programs() -> Result<PathBuf> {
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|version| Some(version.ok()?.path().join("bin")))
        .filter(|folder| folder.join("initdb").is_file())
        .collect();
    versions.sort();
    versions.pop().context("PostgreSQL is not installed: apt-get install postgresql")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[tokio::test]
    async fn what_was_committed_is_there_after_a_restart_and_a_dropped_server_is_gone() {
        let mut server = PostgresServer::start().await.unwrap();
        server.run("CREATE TABLE t (n int); INSERT INTO t VALUES (7)").unwrap();
        server.end().await.unwrap();
        assert!(server.run("SELECT 1").is_err());
        server.restart().await.unwrap();
        assert_eq!(server.run("SELECT n FROM t").unwrap(), "7");
        let pid = server.pid().unwrap();
        drop(server);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}
