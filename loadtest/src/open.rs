//! The cluster under load: one that runs already, or one that is spawned.

use anyhow::{Context as _, Result, ensure};
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
        let secret = run.jwt_secret.as_deref().context("--jwt-secret is needed with --gateways")?;
        let processes = run.pids.iter().map(|pid| ServerProcess {
            role: Role::Other,
            name: format!("pid {pid}"),
            pid: *pid,
        });
        return Ok(Running::given(Servers {
            kind: Kind::Switchboard,
            gateways: run.gateways.clone(),
            issuer: Issuer::new(secret),
            processes: processes.collect(),
        }));
    };
    let binaries = run.programs.binaries().await?;
    let parameters = if run.steps { "?steps=separate" } else { "" };
    versus::switchboard_on(&binaries, spawn.gateways, spawn.routers, parameters).await
}
