//! A real load balancer in front of gateways: round robin for every request,
//! no affinity, health checks on the gateways' own readiness.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::{Process, port};

const START: Duration = Duration::from_secs(20);
/// Debian's place for it, which not every user's PATH has.
const PROGRAM: &str = "/usr/sbin/haproxy";

/// What it sends requests to.
#[derive(Debug, Clone)]
pub struct Backend {
    /// `127.0.0.1:PORT` for clients.
    pub address: String,
    /// `127.0.0.1:PORT` where `/readyz` is asked.
    pub admin: String,
}

/// A running haproxy, killed on drop.
#[derive(Debug)]
pub struct Haproxy {
    port: u16,
    process: Process,
    _folder: TempDir,
}

impl Haproxy {
    /// Starts one before these; returns when it answers.
    pub async fn start(backends: &[Backend]) -> Result<Self> {
        let port = port::free();
        let folder = TempDir::with_prefix("switchboard-haproxy-")?;
        let file = folder.path().join("haproxy.cfg");
        fs::write(&file, configuration(port, backends)?)?;
        let program = if Path::new(PROGRAM).exists() { PROGRAM } else { "haproxy" };
        let arguments = ["-db".to_owned(), "-f".to_owned(), file.to_string_lossy().into_owned()];
        let mut process = Process::spawn("haproxy", Path::new(program), &arguments)
            .context("haproxy is needed (Debian's package haproxy)")?;
        process.ready(&format!("http://127.0.0.1:{port}/balancer"), START).await?;
        Ok(Self { port, process, _folder: folder })
    }

    /// `http://127.0.0.1:PORT` for clients.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it has written, for failures.
    pub fn output(&self) -> String {
        self.process.output()
    }
}

/// Streams are silent for a heartbeat (25 s), polls for as long as they wait
/// (60 s at most): no timeout may be shorter. Idle connections to gateways end
/// before the gateways end them (10 s). A check that is slow is no failure: the
/// machine may be busy.
fn configuration(port: u16, backends: &[Backend]) -> Result<String> {
    let mut text = format!(
        "global\n  maxconn 2000\n\
         defaults\n  mode http\n  timeout connect 2s\n  timeout http-request 10s\n  \
         timeout http-keep-alive 8s\n  timeout client 90s\n  timeout server 90s\n  timeout tunnel 1h\n  timeout check 5s\n  \
         option redispatch 1\n  retries 3\n  option http-no-delay\n\
         frontend clients\n  bind 127.0.0.1:{port}\n  monitor-uri /balancer\n  default_backend gateways\n\
         backend gateways\n  balance roundrobin\n  option httpchk GET /readyz\n  \
         default-server inter 200ms fall 2 rise 1\n"
    );
    for (index, Backend { address, admin }) in backends.iter().enumerate() {
        let (_, check) = admin.rsplit_once(':').context("an admin address has a port")?;
        writeln!(text, "  server gateway-{index} {address} check port {check} pool-purge-delay 2s")?;
    }
    Ok(text)
}
