//! One thing that breaks: how it begins, and how it is mended.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use loadtest::fleet::Node;
use testbed::{Binaries, Direction};
use tokio::net::TcpStream;

use super::store::StoreFault;
use crate::{Between, Cluster, PATIENCE};

/// A process of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The gateway of this number, from 0.
    Gateway(usize),
    /// The router of this number, from 0.
    Router(usize),
    /// The single Redis.
    Redis,
}

/// One kind of thing that breaks, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL; mended by a start on the same data.
    Kill(Part),
    /// SIGSTOP; mended by SIGCONT.
    Freeze(Part),
    /// Nothing arrives in this direction, and connections stay open.
    Partition(Between, Direction),
    /// Connections break, and new ones are closed at once.
    Refuse(Between),
    /// Connections are gone for one side, and the other does not hear of it.
    HalfOpen(Between),
    /// Everything arrives late, by a random time up to this one.
    Lag(Between, Duration),
    /// Everything arrives byte by byte.
    Drip(Between),
    /// Of each hundred announcements so many are lost, as many come twice, and as
    /// many come late.
    Bus(u8),
    /// The clock of a process is so many seconds off.
    Clock(Part, i64),
    /// A process may open no more descriptors, and somebody has connections to it
    /// that would need them.
    Descriptors(Part),
    /// A fault of the store itself, or of its servers.
    Store(StoreFault),
    /// Each gateway and each router is stopped in an orderly way, one after
    /// another, and started again. Over when it has begun.
    RollingRestart,
    /// The same, and each is started again as the newer of two programs: routers
    /// first. Between two of them some messages are acknowledged.
    Upgrade,
    /// The same back to the older: gateways first.
    Rollback,
}

/// Connections that nobody uses, while descriptors are short.
const IDLE: usize = 40;

impl Fault {
    /// Whether writes that were answered may be gone afterwards.
    pub fn loses_writes(&self) -> bool {
        matches!(self, Self::Store(fault) if fault.loses_writes())
    }

    /// Breaks it. The seed says what is random about it. Gives what belongs to it
    /// while it lasts.
    pub async fn begin(&self, cluster: &mut Cluster, seed: u64) -> Result<Vec<TcpStream>> {
        match *self {
            Self::Kill(Part::Redis) => cluster.redis().kill(),
            Self::Kill(part) => node(cluster, part)?.kill(),
            Self::Freeze(Part::Redis) => cluster.redis().stop()?,
            Self::Freeze(part) => node(cluster, part)?.process()?.stop()?,
            Self::Partition(between, direction) => {
                cluster.ways().of(between).iter().for_each(|way| way.hold_one_way(direction));
            }
            Self::Refuse(between) => {
                for way in cluster.ways().of(between) {
                    way.refuse();
                    way.cut();
                }
            }
            Self::HalfOpen(between) => cluster.ways().of(between).iter().for_each(|way| way.vanish()),
            Self::Lag(between, most) => {
                cluster.ways().of(between).iter().for_each(|way| way.delay_between(Duration::ZERO, most));
            }
            Self::Drip(between) => cluster.ways().of(between).iter().for_each(|way| way.drip()),
            Self::Bus(percent) => {
                for gateway in 0..cluster.fleet.gateways().len() {
                    let ways = cluster.ways().of(Between::GatewayAndStore(gateway));
                    ways.iter().for_each(|way| way.meddle(percent, seed + gateway as u64));
                }
            }
            Self::Clock(part, seconds) => set_clock(cluster, part, seconds)?,
            Self::Descriptors(part) => {
                let node = node(cluster, part)?;
                let pid = node.pid().context("it is down")?;
                let open = std::fs::read_dir(format!("/proc/{pid}/fd"))?.count();
                limit_descriptors(pid, &open.to_string())?;
                let mut idle = Vec::new();
                for _ in 0..IDLE {
                    // The kernel takes them, even if the process cannot.
                    idle.push(TcpStream::connect(node.address()).await?);
                }
                return Ok(idle);
            }
            Self::Store(fault) => fault.begin(cluster).await?,
            Self::Upgrade => {
                let new = cluster.builds.clone().context(TWO_BUILDS)?.new;
                roll_routers(cluster, &new).await?;
                roll_gateways(cluster, &new).await?;
            }
            Self::Rollback => {
                let old = cluster.builds.clone().context(TWO_BUILDS)?.old;
                roll_gateways(cluster, &old).await?;
                roll_routers(cluster, &old).await?;
            }
            Self::RollingRestart => {
                for index in 0..cluster.fleet.gateways().len() {
                    restart(&mut cluster.fleet.gateways()[index]).await?;
                }
                for index in 0..cluster.fleet.routers().len() {
                    restart(&mut cluster.fleet.routers()[index]).await?;
                }
            }
        }
        Ok(Vec::new())
    }

    /// Mends it; returns when what was to be started is ready.
    pub async fn end(&self, cluster: &mut Cluster) -> Result<()> {
        match *self {
            Self::Kill(Part::Redis) => cluster.redis().restart().await?,
            Self::Kill(part) => node(cluster, part)?.restart().await?,
            Self::Freeze(Part::Redis) => cluster.redis().cont()?,
            Self::Freeze(part) => node(cluster, part)?.process()?.cont()?,
            Self::Partition(between, _)
            | Self::Refuse(between)
            | Self::HalfOpen(between)
            | Self::Lag(between, _)
            | Self::Drip(between) => cluster.ways().of(between).iter().for_each(|way| way.heal()),
            Self::Bus(_) => cluster.ways().of(Between::All).iter().for_each(|way| way.heal()),
            Self::Clock(part, _) => set_clock(cluster, part, 0)?,
            Self::Descriptors(part) => {
                let pid = node(cluster, part)?.pid().context("it is down")?;
                limit_descriptors(pid, MANY)?;
            }
            Self::Store(fault) => fault.end(cluster).await?,
            Self::RollingRestart | Self::Upgrade | Self::Rollback => {}
        }
        Ok(())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

fn node(cluster: &mut Cluster, part: Part) -> Result<&mut Node> {
    let node = match part {
        Part::Gateway(index) => cluster.fleet.gateways().get_mut(index),
        Part::Router(index) => cluster.fleet.routers().get_mut(index),
        Part::Redis => None,
    };
    node.with_context(|| format!("{part:?} is none of the cluster's gateways and routers"))
}

async fn restart(node: &mut Node) -> Result<()> {
    node.process()?.terminate()?;
    let status = node.process()?.ended(PATIENCE).await?;
    ensure!(status.success(), "it was to end in an orderly way, not with {status}");
    node.restart().await
}

const TWO_BUILDS: &str = "the builder was told `builds`";
/// Acknowledged between two processes of an upgrade: the two kinds work side by side.
const BETWEEN: usize = 20;

async fn roll_routers(cluster: &mut Cluster, binaries: &Binaries) -> Result<()> {
    for index in 0..cluster.fleet.routers().len() {
        let node = cluster.router_node(index);
        node.set_program(binaries);
        restart(node).await?;
        cluster.progress(BETWEEN).await?;
    }
    Ok(())
}

async fn roll_gateways(cluster: &mut Cluster, binaries: &Binaries) -> Result<()> {
    for index in 0..cluster.fleet.gateways().len() {
        let node = cluster.gateway_node(index);
        node.set_program(binaries);
        restart(node).await?;
        cluster.progress(BETWEEN).await?;
    }
    Ok(())
}

fn set_clock(cluster: &Cluster, part: Part, seconds: i64) -> Result<()> {
    let name = match part {
        Part::Gateway(index) => format!("gw-{index}"),
        Part::Router(index) => format!("router-{index}"),
        Part::Redis => "redis".to_owned(),
    };
    cluster.clocks.as_ref().context("the builder was told `clocks`")?.set(&name, seconds)
}

/// More descriptors than a process here ever needs.
const MANY: &str = "1024";

/// Sets the soft limit of a running process.
fn limit_descriptors(pid: u32, limit: &str) -> Result<()> {
    let arguments = ["--pid", &pid.to_string(), &format!("--nofile={limit}:")];
    let done = std::process::Command::new("prlimit").args(arguments).status();
    ensure!(done.context("prlimit, of util-linux")?.success(), "prlimit failed");
    Ok(())
}
