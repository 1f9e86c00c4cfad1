//! A child process that ends with its owner: killed by pid on drop, and by a
//! small shell that watches a pipe when the whole test process dies first.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A running child. Not tokio's, so that dropping it kills at once, on any
/// thread and without a runtime.
#[derive(Debug)]
pub(crate) struct Guarded {
    child: Child,
    /// Reads until end of file, which comes when this process is gone.
    watch: Child,
}

impl Guarded {
    /// Starts `command` in a process group of its own, so that an interrupt
    /// at the terminal reaches it through us only.
    pub(crate) fn spawn(command: &mut Command) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child =
            command.process_group(0).spawn().with_context(|| format!("{program} could not be started"))?;
        let watch = Command::new("sh")
            .args(["-c", "trap '' INT TERM HUP; read _; kill -9 \"$0\" 2>/dev/null"])
            .arg(child.id().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        match watch {
            Ok(watch) => Ok(Self { child, watch }),
            Err(error) => {
                // Nothing else would end it.
                let _ = child.kill();
                let _ = child.wait();
                Err(error).context("sh could not be started")
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal; a child that has ended does not get it.
    pub(crate) fn signal(&mut self, signal: Signal) -> Result<()> {
        // Not reaped before this says so: the pid cannot be another's.
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        let pid = i32::try_from(self.child.id()).context("a pid fits an i32")?;
        kill(Pid::from_raw(pid), signal).with_context(|| format!("{signal} to {pid}"))
    }

    /// The status, if it has ended.
    pub(crate) fn exited(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Kills and reaps it.
    pub(crate) fn kill(&mut self) {
        // The watcher first: once the child is reaped its pid is free for
        // another process, which the watcher must not kill.
        let _ = self.watch.kill();
        let _ = self.watch.wait();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.kill();
    }
}
