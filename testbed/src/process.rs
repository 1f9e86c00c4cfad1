//! One of our programs as a child process: started with arguments, waited for,
//! told to end or killed, and what it costs in CPU and memory.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::guarded::Guarded;
use crate::wait;

/// A running program, killed on drop.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Guarded,
    folder: TempDir,
}

/// CPU time that a process has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// In its own code and in the kernel.
    pub cpu: Duration,
}

/// Memory that a process holds, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// Resident, with its share of what it shares (`Pss`).
    pub resident: u64,
    /// Resident and its own alone (`Private_Dirty`).
    pub private: u64,
}

impl Process {
    /// Starts `program`. `name` is what failures call it. Our own environment
    /// variables are taken away, so that only `arguments` configure it.
    pub fn spawn(name: &str, program: &Path, arguments: &[String]) -> Result<Self> {
        Self::spawn_with(name, program, arguments, &[])
    }

    /// The same, with these environment variables.
    pub fn spawn_with(
        name: &str,
        program: &Path,
        arguments: &[String],
        environment: &[(String, String)],
    ) -> Result<Self> {
        let folder = TempDir::with_prefix("switchboard-process-")?;
        let output = File::create(folder.path().join("output"))?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        for (variable, _) in std::env::vars_os() {
            let text = variable.to_string_lossy();
            if text.starts_with("SWITCHBOARD_") || text.starts_with("OTEL_") {
                command.env_remove(&variable);
            }
        }
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        let child = Guarded::spawn(&mut command)?;
        Ok(Self { name: name.to_owned(), child, folder })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// What it has written to its standard output and error.
    pub fn output(&self) -> String {
        fs::read_to_string(self.folder.path().join("output")).unwrap_or_default()
    }

    /// Waits until a GET of `url` (`http://127.0.0.1:PORT/…`) is answered with
    /// 200; fails at once, with its output, when the program ends before.
    pub async fn ready(&mut self, url: &str, limit: Duration) -> Result<()> {
        let child = &mut self.child;
        let outcome = wait::until(limit, url, async || match child.exited() {
            Ok(None) => get_status(url).await.ok().filter(|status| *status == 200).map(|_| true),
            _ => Some(false),
        })
        .await;
        match outcome {
            Ok(true) => Ok(()),
            Ok(false) => bail!("{} ended before it was ready:\n{}", self.name, self.output()),
            Err(error) => {
                Err(error.context(format!("{} did not become ready:\n{}", self.name, self.output())))
            }
        }
    }

    /// The status, if it has ended.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        self.child.exited()
    }

    /// Asks it to end, with SIGTERM.
    pub fn terminate(&mut self) -> Result<()> {
        self.child.signal(Signal::SIGTERM)
    }

    /// Suspends it with SIGSTOP: it hangs, and its sockets stay open.
    pub fn stop(&mut self) -> Result<()> {
        self.child.signal(Signal::SIGSTOP)
    }

    /// Lets it run on after [`stop`](Self::stop).
    pub fn cont(&mut self) -> Result<()> {
        self.child.signal(Signal::SIGCONT)
    }

    /// SIGKILL, and gone when it returns.
    pub fn kill(&mut self) {
        self.child.kill();
    }

    /// Waits for it to end.
    pub async fn ended(&mut self, limit: Duration) -> Result<ExitStatus> {
        let child = &mut self.child;
        let outcome = wait::until(limit, "the process ends", async || child.exited().ok().flatten()).await;
        outcome.with_context(|| format!("{} has written:\n{}", self.name, self.output()))
    }

    /// CPU time used so far.
    pub fn usage(&self) -> Result<Usage> {
        Usage::of(self.pid())
    }

    /// Memory held now.
    pub fn memory(&self) -> Result<Memory> {
        Memory::of(self.pid())
    }
}

impl Usage {
    /// Of any process.
    pub fn of(pid: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("no such process")?;
        // proc_pid_stat(5): the name in brackets may hold anything; utime and
        // stime are the 14th and 15th fields, 12th and 13th after it, in
        // hundredths of a second on every Linux.
        let (_, fields) = stat.rsplit_once(") ").context("a stat line has a name")?;
        let ticks: u64 = fields
            .split(' ')
            .skip(11)
            .take(2)
            .map(|field| field.parse::<u64>())
            .sum::<Result<u64, _>>()
            .context("a stat line has times")?;
        Ok(Self { cpu: Duration::from_millis(ticks * 10) })
    }

    /// Of this process.
    pub fn own() -> Result<Self> {
        Self::of(std::process::id())
    }
}

impl Memory {
    /// Of any process.
    pub fn of(pid: u32) -> Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).context("no such process")?;
        let field = |name: &str| -> Result<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let kib =
                line.and_then(|rest| rest.split_whitespace().next()).with_context(|| name.to_owned())?;
            Ok(kib.parse::<u64>()? * 1024)
        };
        Ok(Self { resident: field("Pss:")?, private: field("Private_Dirty:")? })
    }
}

async fn get_status(url: &str) -> Result<u16> {
    let rest = url.strip_prefix("http://").context("an http URL")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let exchange = async {
        let mut stream = TcpStream::connect(host).await?;
        let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await?;
        let status = std::str::from_utf8(&head[9..])?;
        anyhow::Ok(status.parse()?)
    };
    timeout(Duration::from_secs(2), exchange).await?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        Process::spawn("shell", Path::new("/bin/sh"), &["-c".to_owned(), script.to_owned()]).unwrap()
    }

    #[tokio::test]
    async fn a_process_that_ends_early_is_reported_with_its_output() {
        let mut process = shell("echo no such option >&2; exit 3");
        let error = process.ready("http://127.0.0.1:1/", Duration::from_secs(10)).await.unwrap_err();
        assert!(error.to_string().contains("no such option"), "{error:#}");
        assert_eq!(process.exited().unwrap().unwrap().code(), Some(3));
    }

    #[tokio::test]
    async fn a_terminated_process_says_how_it_ended() {
        let mut process = shell("trap 'exit 7' TERM; while :; do read -t 1 _ < /dev/zero; done; ");
        wait::until_true(Duration::from_secs(10), "the shell has used some CPU", async || {
            process.usage().is_ok_and(|usage| usage.cpu >= Duration::from_millis(10))
        })
        .await
        .unwrap();
        assert!(process.memory().unwrap().resident > 0);
        process.terminate().unwrap();
        assert_eq!(process.ended(Duration::from_secs(10)).await.unwrap().code(), Some(7));
    }
}
