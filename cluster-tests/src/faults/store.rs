//! What breaks in a store, and how it is mended.

use std::fs::{self, File};
use std::io::Write as _;

use anyhow::{Context as _, Result, bail, ensure};
use testbed::{RedisCluster, RedisSentinel};

use crate::{Cluster, Store};

/// What breaks in Redis beyond its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreFault {
    /// The end of the append-only file was not written when the machine went down.
    TornTail,
    /// `maxmemory` is reached, with `noeviction`; mended by more of it.
    MemoryFull,
    /// The disk under the append-only file is full; mended by room.
    DiskFull,
    /// The primary dies, and a sentinel chooses its replica; mended by a start of
    /// the old one, as a replica.
    Failover,
    /// The primary is cut off from its replica and the sentinels, and clients still
    /// write to it; mended by an end of that, when the replica is the primary.
    IsolatedPrimary,
    /// One primary of a Cluster dies, and its replica takes its place; mended by a
    /// start of the old one, as a replica.
    ClusterFailover,
    /// The same, and it never comes back.
    PrimaryLost,
    /// The first primary of a Cluster is cut off from all other servers, and clients
    /// still write to it, and to the replica that takes its place; mended by an end of
    /// that, then.
    IsolatedInCluster,
    /// Slots of a Cluster are moved to another primary while clients write. Over
    /// when it has begun.
    SlotsMove,
}

/// Taken off the file: less than a message.
const TORN: u64 = 50;
/// Slots that are moved.
const MOVED: usize = 40;

impl StoreFault {
    /// Whether writes that were answered may be gone.
    pub fn loses_writes(self) -> bool {
        match self {
            Self::TornTail | Self::Failover | Self::IsolatedPrimary => true,
            Self::ClusterFailover | Self::PrimaryLost | Self::IsolatedInCluster => true,
            Self::MemoryFull | Self::DiskFull | Self::SlotsMove => false,
        }
    }

    pub(super) async fn begin(self, cluster: &mut Cluster) -> Result<()> {
        match self {
            Self::TornTail => cluster.redis().tear(TORN)?,
            Self::MemoryFull => {
                let used = cluster.redis().info(&["INFO", "memory"], "used_memory").await?;
                set(cluster, "maxmemory", &used.context("used_memory")?).await?;
            }
            Self::DiskFull => {
                let filler = filler(cluster)?;
                let mut file = File::create(filler)?;
                // Until there is no room.
                while file.write_all(&[0; 4096]).is_ok() {}
            }
            Self::Failover => sentinel(cluster)?.primary().await?.kill(),
            Self::IsolatedPrimary => {
                let group = sentinel(cluster)?;
                let port = group.primary_port().await?;
                group.isolate(port).await?;
                group.next_primary(port).await?;
            }
            Self::ClusterFailover | Self::PrimaryLost => many(cluster)?.primaries()[0].kill(),
            Self::IsolatedInCluster => {
                many(cluster)?.isolate_first().await?;
                many(cluster)?.first_is_replaced().await?;
            }
            Self::SlotsMove => {
                let moved = many(cluster)?.move_slots(0, 1, MOVED).await?;
                ensure!(moved > 0, "no slot of the first primary has keys");
            }
        }
        Ok(())
    }

    pub(super) async fn end(self, cluster: &mut Cluster) -> Result<()> {
        match self {
            Self::TornTail => cluster.redis().restart().await?,
            Self::MemoryFull => set(cluster, "maxmemory", "0").await?,
            Self::DiskFull => fs::remove_file(filler(cluster)?)?,
            Self::Failover => {
                let servers = sentinel(cluster)?.servers();
                let down = servers.iter_mut().find(|server| server.pid().is_none());
                down.context("one of the servers is down")?.restart().await?;
            }
            Self::IsolatedPrimary => {
                let group = sentinel(cluster)?;
                let new = group.primary_port().await?;
                let old = group.servers().iter().map(|server| server.port()).find(|port| *port != new);
                group.rejoin(old.context("the old primary")?).await?;
            }
            Self::ClusterFailover => {
                many(cluster)?.primaries()[0].restart().await?;
                many(cluster)?.all_ok().await?;
            }
            Self::IsolatedInCluster => {
                many(cluster)?.rejoin_first().await?;
                many(cluster)?.all_ok().await?;
            }
            Self::PrimaryLost => many(cluster)?.all_ok().await?,
            Self::SlotsMove => {}
        }
        Ok(())
    }
}

async fn set(cluster: &mut Cluster, name: &str, value: &str) -> Result<()> {
    cluster.redis().command(&["CONFIG", "SET", name, value]).await?.ok()?;
    Ok(())
}

fn filler(cluster: &Cluster) -> Result<std::path::PathBuf> {
    let disk = cluster.disk.as_ref().context("the builder was told `small_disk`")?;
    Ok(disk.folder().join("filler"))
}

fn sentinel(cluster: &mut Cluster) -> Result<&mut RedisSentinel> {
    match &mut cluster.store {
        Store::Watched(group) => Ok(group),
        _ => bail!("the store has no sentinels"),
    }
}

fn many(cluster: &mut Cluster) -> Result<&mut RedisCluster> {
    match &mut cluster.store {
        Store::Many(servers) => Ok(servers),
        _ => bail!("the store is no Redis Cluster"),
    }
}
