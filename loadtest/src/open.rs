//! The cluster under load: one that runs already, or one that is spawned.

use anyhow::{Context as _, Result, ensure};
use loadtest::fleet;
use loadtest::token::Issuer;
use loadtest::versus::{self, Running};
use loadtest::workload::{Kind, Role, ServerProcess, Servers};

use crate::options::Run;

/// The servers, and what has to live as long as they do.
pub(crate) async fn servers(run: &Run) -> Result<Running> {
    let Some(spawn) = run.spawn else {
        ensure!(
            !run.gateways.is_empty(),
            "give --spawn gateways=2,routers=2 or --gateways URL,URL --jwt-secret …"
        );
        let processes = run.pids.iter().map(|pid| named(*pid));
        return Ok(Running::given(Servers {
            kind: Kind::Switchboard,
            gateways: run.gateways.clone(),
            issuer: Issuer::new(secret(run)?),
            processes: processes.collect(),
            redis_port: None,
        }));
    };
    let binaries = run.programs.binaries().await?;
    let parameters = if run.steps { "?steps=separate" } else { "" };
    versus::switchboard_on(&binaries, spawn.gateways, spawn.routers, parameters).await
}

/// What the gateways know tokens by.
pub(crate) fn secret(run: &Run) -> Result<&str> {
    match run.spawn {
        Some(_) => Ok(fleet::SECRET),
        None => run.jwt_secret.as_deref().context("--jwt-secret is needed with --gateways"),
    }
}

/// What it does, by the name of its program.
fn named(pid: u32) -> ServerProcess {
    let program = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let role = match program.trim() {
        "gateway" => Role::Gateway,
        "router" => Role::Router,
        name if name.starts_with("redis") => Role::Redis,
        _ => Role::Other,
    };
    ServerProcess { role, name: format!("{} {pid}", program.trim()), pid }
}
