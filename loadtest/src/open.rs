//! The cluster under load: one that runs already, or one that is spawned.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use loadtest::fleet::{Fleet, Plan};
use loadtest::token::Issuer;
use loadtest::workload::Servers;
use testbed::{Binaries, RedisServer};

use crate::options::{Profile, Run};

/// The servers, and what has to live as long as they do.
pub(crate) async fn servers(run: &Run) -> Result<(Servers, Option<(RedisServer, Fleet)>)> {
    let Some(spawn) = run.spawn else {
        ensure!(
            !run.gateways.is_empty(),
            "give --spawn gateways=2,routers=2 or --gateways URL,URL --secret …"
        );
        let issuer = Issuer::new(run.secret.as_deref().context("--secret is needed with --gateways")?);
        let servers = Servers {
            gateways: run.gateways.clone(),
            issuer,
            gateway_pids: Vec::new(),
            router_pids: Vec::new(),
            redis_pids: Vec::new(),
            other_pids: run.pids.clone(),
        };
        return Ok((servers, None));
    };
    let profile = match run.profile {
        Profile::Debug => testbed::Profile::Debug,
        Profile::Release => testbed::Profile::Release,
    };
    let binaries = match &run.binaries {
        Some(folder) => Arc::new(Binaries::in_folder(folder)),
        None => tokio::task::spawn_blocking(move || Binaries::build(profile)).await??,
    };
    let redis = RedisServer::start().await?;
    let plan = Plan::new(spawn.gateways, spawn.routers, &redis.url());
    let fleet = Fleet::start(&binaries, &plan.gateway_flags("--log warn").router_flags("--log warn")).await?;
    let servers = Servers {
        gateways: fleet.gateway_urls(),
        issuer: Fleet::issuer(),
        gateway_pids: fleet.gateway_pids(),
        router_pids: fleet.router_pids(),
        redis_pids: redis.pid().into_iter().collect(),
        other_pids: Vec::new(),
    };
    Ok((servers, Some((redis, fleet))))
}
