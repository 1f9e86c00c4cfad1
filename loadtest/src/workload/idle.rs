//! Connections that say nothing: what one of them costs in memory.

use anyhow::Result;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Instant, sleep_until};

use super::cost::{self, CpuLook, MemoryLook};
use super::line::Line;
use super::probe::Probe;
use super::record::histogram;
use super::{Servers, Settings, users};
use crate::summary::{Generator, MemoryPerConnection, Summary};

/// Connects a tenth, looks, connects the rest, looks again: the difference is
/// what connections cost and not what a process costs.
pub async fn run(servers: &Servers, settings: &Settings) -> Result<Summary> {
    let first = (settings.users / 10).max(1);
    let mut lines = servers.connect_all(settings, users(0..first)).await?;
    hold(&mut lines, settings).await?;
    let before = MemoryLook::now(servers)?;
    lines.extend(servers.connect_all(settings, users(first..settings.users)).await?);
    let (idle, probe) = (CpuLook::now(servers)?, Probe::start());
    hold(&mut lines, settings).await?;
    let (held, probe) = (CpuLook::now(servers)?, probe.finish().await?);
    let after = MemoryLook::now(servers)?;
    let connections = settings.users - first;
    let each = |after: Option<u64>, before: Option<u64>| {
        Some((after? as f64 - before? as f64) / connections.max(1) as f64)
    };
    Ok(Summary {
        seconds: settings.duration.as_secs_f64(),
        memory: Some(MemoryPerConnection {
            connections,
            gateway_bytes: each(after.gateways, before.gateways),
            router_bytes: each(after.routers, before.routers),
            redis_bytes: each(after.redis, before.redis),
            gateways_total: after.gateways,
        }),
        generator: Some(Generator::of(
            held.cores(&idle).last().copied().unwrap_or_default(),
            &probe,
            &histogram(),
        )),
        processes: cost::processes(servers, &idle, &held),
        ..Summary::new("idle", servers, settings, settings.users)
    })
}

/// Connects users from a number on, says when all are, and holds them until one
/// ends, which is an error.
pub async fn stand_by(
    servers: &Servers,
    settings: &Settings,
    first: usize,
    connected: impl FnOnce(),
) -> Result<()> {
    let mut lines = servers.connect_all(settings, users(first..first + settings.users)).await?;
    connected();
    Err(first_to_end(&mut lines).await.into())
}

/// Reads (pings are answered so) until the time is up; a connection that ends
/// is an error.
async fn hold(lines: &mut [Line], settings: &Settings) -> Result<()> {
    let end = Instant::now() + settings.duration;
    tokio::select! {
        () = sleep_until(end) => Ok(()),
        error = first_to_end(lines) => Err(error.into()),
    }
}

async fn first_to_end(lines: &mut [Line]) -> crate::client::Error {
    let mut reading: FuturesUnordered<_> = lines.iter_mut().map(read_on).collect();
    reading.next().await.expect("there are some lines")
}

async fn read_on(line: &mut Line) -> crate::client::Error {
    loop {
        if let Err(error) = line.next_frame().await {
            return error;
        }
    }
}
