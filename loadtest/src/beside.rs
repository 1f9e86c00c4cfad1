//! Idle sessions beside those of a scenario, in processes of their own: a
//! process may have only so many sockets.

use std::io::Read as _;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use loadtest::token::Issuer;
use loadtest::workload::{Kind, Servers, Settings, idle};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

use crate::open;
use crate::options::{Run, StandBy};

/// Sessions of one process.
const EACH: usize = 15_000;
/// The number of the first user, beyond those of any scenario.
const FIRST: usize = 10_000_000;
/// What a process says when its sessions are there.
const CONNECTED: &str = "connected";

/// They end with this.
pub(crate) struct Beside {
    processes: Vec<Child>,
}

impl Beside {
    /// Returns when all are connected.
    pub(crate) async fn start(servers: &Servers, run: &Run) -> Result<Self> {
        let mut processes = Vec::new();
        for first in (0..run.beside).step_by(EACH) {
            let process = Command::new(std::env::current_exe()?)
                .args(["stand-by", "--gateways", &servers.gateways.join(",")])
                .args(["--first", &(FIRST + first).to_string()])
                .args(["--users", &EACH.min(run.beside - first).to_string()])
                .env("SWITCHBOARD_JWT_SECRET", open::secret(run)?)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .context("a process for idle sessions")?;
            processes.push(process);
        }
        for process in &mut processes {
            let mut said = BufReader::new(process.stdout.as_mut().context("its output is piped")?).lines();
            ensure!(
                said.next_line().await?.as_deref() == Some(CONNECTED),
                "not all idle sessions could connect"
            );
        }
        Ok(Self { processes })
    }

    /// A process that loses a session ends.
    pub(crate) fn all_there(&mut self) -> Result<()> {
        for process in &mut self.processes {
            ensure!(process.try_wait()?.is_none(), "an idle session has ended");
        }
        Ok(())
    }
}

/// What such a process does, until its input ends.
pub(crate) async fn stand_by(options: &StandBy) -> Result<()> {
    let servers = Servers {
        kind: Kind::Switchboard,
        gateways: options.gateways.clone(),
        issuer: Issuer::new(&options.jwt_secret),
        processes: Vec::new(),
        redis_port: None,
    };
    let settings = Settings::idle(options.users);
    let (end, ended) = oneshot::channel();
    // A thread of its own, that nobody waits for when a session has ended first.
    std::thread::spawn(move || end.send(std::io::stdin().read(&mut [0])));
    tokio::select! {
        lost = idle::stand_by(&servers, &settings, options.first, || println!("{CONNECTED}")) => lost,
        _ = ended => Ok(()),
    }
}
