//! A Redis Cluster of real servers, with or without replicas.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::server::RedisServer;
use crate::{FaultProxy, wait};

const PATIENCE: Duration = Duration::from_secs(30);
const SLOTS: usize = 16_384;

/// Primaries with all slots between them, and their replicas; killed on drop.
#[derive(Debug)]
pub struct RedisCluster {
    primaries: Vec<RedisServer>,
    replicas: Vec<RedisServer>,
    /// Before the bus of each server, in the order of [`servers`](Self::servers); none
    /// in a Cluster without replicas, where nobody could take a primary's place.
    buses: Vec<FaultProxy>,
}

/// From here the first primary connects to the others, so that proxies know it.
const FIRST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

impl RedisCluster {
    /// Starts `primaries` servers without replicas; returns when every one of
    /// them calls the cluster's state ok.
    pub async fn start(primaries: usize) -> Result<Self> {
        Self::start_with_replicas(primaries, 0).await
    }

    /// As [`start`](Self::start), each primary with so many replicas, which
    /// are in step when it returns. With replicas the servers hear one another for as
    /// long as the runtime runs in which this is called: there are proxies between them.
    pub async fn start_with_replicas(primaries: usize, replicas_each: usize) -> Result<Self> {
        let mut cluster = Self { primaries: Vec::new(), replicas: Vec::new(), buses: Vec::new() };
        for _ in 0..primaries {
            let first = (cluster.primaries.is_empty() && replicas_each > 0).then_some(FIRST);
            cluster.primaries.push(node(first).await?);
        }
        for _ in 0..primaries * replicas_each {
            cluster.replicas.push(node(None).await?);
        }
        cluster.assign_slots().await?;
        if replicas_each > 0 {
            cluster.stand_before_buses().await?;
        }
        cluster.introduce().await?;
        cluster.all_know(primaries + cluster.replicas.len()).await?;
        if replicas_each > 0 {
            cluster.replicate(replicas_each).await?;
        }
        cluster.all_ok().await?;
        Ok(cluster)
    }

    /// `redis-cluster://127.0.0.1:PORT?node=127.0.0.1:PORT&…`.
    pub fn url(&self) -> String {
        let mut ports = self.primaries.iter().map(RedisServer::port);
        let first = ports.next().unwrap_or_default();
        let others: Vec<String> = ports.map(|port| format!("node=127.0.0.1:{port}")).collect();
        let query = if others.is_empty() { String::new() } else { format!("?{}", others.join("&")) };
        format!("redis-cluster://127.0.0.1:{first}{query}")
    }

    /// The servers that began as primaries, in the order of their slots.
    pub fn primaries(&mut self) -> &mut [RedisServer] {
        &mut self.primaries
    }

    /// The servers that began as replicas: first all those of the first
    /// primary.
    pub fn replicas(&mut self) -> &mut [RedisServer] {
        &mut self.replicas
    }

    /// All of them.
    pub fn servers(&self) -> impl Iterator<Item = &RedisServer> {
        self.all()
    }

    /// Process ids of all that run.
    pub fn pids(&self) -> Vec<u32> {
        self.all().filter_map(RedisServer::pid).collect()
    }

    /// One more server, which belongs to no Cluster yet.
    pub async fn empty_server(&self) -> Result<RedisServer> {
        node(None).await
    }

    /// Moves so many slots that hold keys from one primary to another while both
    /// serve, as `redis-cli --cluster reshard` does it; gives how many were moved.
    pub async fn move_slots(&self, from: usize, to: usize, count: usize) -> Result<usize> {
        let (from, to) = (&self.primaries[from], &self.primaries[to]);
        let mut ids = Vec::new();
        for server in [from, to] {
            let id = server.command(&["CLUSTER", "MYID"]).await?.ok()?;
            ids.push(id.text().context("a node's id is text")?.to_owned());
        }
        let port = to.port().to_string();
        let mut moved = 0;
        for slot in 0..SLOTS {
            if moved == count {
                break;
            }
            let slot = slot.to_string();
            let keys = from.command(&["CLUSTER", "GETKEYSINSLOT", &slot, "1"]).await?.ok()?;
            if keys.items().is_empty() {
                continue;
            }
            to.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &ids[0]]).await?.ok()?;
            from.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &ids[1]]).await?.ok()?;
            loop {
                // One at a time, so that what touches several meets a slot that is half moved.
                let keys = from.command(&["CLUSTER", "GETKEYSINSLOT", &slot, "1"]).await?.ok()?;
                let Some(key) = keys.items().first().and_then(|key| key.text()) else { break };
                from.command(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]).await?.ok()?;
            }
            for server in [to, from] {
                server.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &ids[1]]).await?.ok()?;
            }
            moved += 1;
        }
        Ok(moved)
    }

    /// Cuts the first primary off from all other servers, and from nobody else:
    /// clients with a user of their own still write to it. (On the bus nothing passes;
    /// its replica is refused by the user without a name.)
    pub async fn isolate_first(&self) -> Result<()> {
        let (first, others) = self.buses.split_first().context("a cluster has a primary")?;
        self.primaries[0].cut_off_replicas().await?;
        first.hold();
        others.iter().for_each(|bus| bus.hold_from(FIRST.into()));
        Ok(())
    }

    /// Ends [`isolate_first`](Self::isolate_first).
    pub async fn rejoin_first(&self) -> Result<()> {
        self.primaries[0].let_replicas_in().await?;
        self.buses.iter().for_each(FaultProxy::heal);
        Ok(())
    }

    /// Waits until a replica of the first primary has taken its place.
    pub async fn first_is_replaced(&self) -> Result<()> {
        wait::until_true(PATIENCE, "a replica is the primary", async || {
            let each = self.replicas.len() / self.primaries.len();
            for replica in &self.replicas[..each] {
                let role = replica.info(&["INFO", "replication"], "role").await;
                if matches!(role, Ok(Some(role)) if role == "master") {
                    return true;
                }
            }
            false
        })
        .await
    }

    /// Waits until every server that runs calls the cluster's state ok, for
    /// example after a failover.
    pub async fn all_ok(&self) -> Result<()> {
        for server in self.all().filter(|server| server.pid().is_some()) {
            wait::until_true(PATIENCE, "cluster_state is ok", async || {
                matches!(server.info(&["CLUSTER", "INFO"], "cluster_state").await, Ok(Some(state)) if state == "ok")
            })
            .await?;
        }
        Ok(())
    }

    fn all(&self) -> impl Iterator<Item = &RedisServer> {
        self.primaries.iter().chain(&self.replicas)
    }

    async fn assign_slots(&self) -> Result<()> {
        let count = self.primaries.len();
        for (index, server) in self.primaries.iter().enumerate() {
            let first = (SLOTS * index / count).to_string();
            let last = (SLOTS * (index + 1) / count - 1).to_string();
            server.command(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]).await?.ok()?;
            // Else two nodes with the same epoch settle that first.
            let epoch = (index + 1).to_string();
            server.command(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await?.ok()?;
        }
        Ok(())
    }

    /// Each server is told to the others with the address of a proxy for its bus.
    async fn stand_before_buses(&mut self) -> Result<()> {
        let mut buses = Vec::new();
        for server in self.primaries.iter_mut().chain(&mut self.replicas) {
            let bus = SocketAddr::from((Ipv4Addr::LOCALHOST, bus_port(server).await?));
            let proxy = FaultProxy::start(bus).await?;
            let port = proxy.address().port().to_string();
            server.set(&[("cluster-announce-ip", "127.0.0.1"), ("cluster-announce-bus-port", &port)]).await?;
            buses.push(proxy);
        }
        self.buses = buses;
        Ok(())
    }

    async fn introduce(&self) -> Result<()> {
        let first = self.primaries.first().context("a cluster has a primary")?;
        for (index, server) in self.all().enumerate().skip(1) {
            let bus = match self.buses.get(index) {
                Some(proxy) => proxy.address().port(),
                None => bus_port(server).await?,
            };
            let (port, bus) = (server.port().to_string(), bus.to_string());
            first.command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).await?.ok()?;
        }
        Ok(())
    }

    async fn all_know(&self, count: usize) -> Result<()> {
        for server in self.all() {
            wait::until_true(PATIENCE, "every node knows every other", async || {
                let known = server.info(&["CLUSTER", "INFO"], "cluster_known_nodes").await;
                matches!(known, Ok(Some(known)) if known == count.to_string())
            })
            .await?;
        }
        Ok(())
    }

    async fn replicate(&self, each: usize) -> Result<()> {
        for (index, replica) in self.replicas.iter().enumerate() {
            let primary = &self.primaries[index / each];
            let id = primary.command(&["CLUSTER", "MYID"]).await?.ok()?;
            let id = id.text().context("a node's id is text")?;
            // Refused until gossip has told this node who it is.
            wait::until_true(PATIENCE, "a replica takes its primary", async || {
                let answer = replica.command(&["CLUSTER", "REPLICATE", id]).await;
                answer.is_ok_and(|reply| reply.ok().is_ok())
            })
            .await?;
        }
        for replica in &self.replicas {
            wait::until_true(PATIENCE, "a replica is in step", async || {
                let link = replica.info(&["INFO", "replication"], "master_link_status").await;
                matches!(link, Ok(Some(link)) if link == "up")
            })
            .await?;
        }
        Ok(())
    }
}

/// The port at which the others reach a server.
async fn bus_port(server: &RedisServer) -> Result<u16> {
    let set = server.command(&["CONFIG", "GET", "cluster-port"]).await?.ok()?;
    Ok(set.items().get(1).and_then(|port| port.text()).context("its bus port")?.parse()?)
}

/// One server; `source` is the address from which it connects to others, if not the
/// usual one.
async fn node(source: Option<Ipv4Addr>) -> Result<RedisServer> {
    let mut server = RedisServer::builder()
        .option("cluster-enabled", "yes")
        // It would take the address from which the first one comes for another machine.
        .option("protected-mode", "no")
        .option("cluster-node-timeout", "2000")
        .option("cluster-config-file", "nodes.conf.data");
    if let Some(source) = source {
        server = server.option("bind-source-addr", source);
    }
    server.start().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_slot_is_served_by_one_of_the_primaries() {
        let cluster = RedisCluster::start(3).await.unwrap();
        let mut served = 0;
        for key in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            for server in &cluster.primaries {
                served += usize::from(server.command(&["SET", key, "1"]).await.unwrap().ok().is_ok());
            }
        }
        assert_eq!(served, 8, "each key is written on exactly one");
    }

    #[tokio::test]
    async fn moved_slots_are_served_by_the_other_primary_with_their_keys() {
        let cluster = RedisCluster::start(3).await.unwrap();
        let key = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let mut there = Vec::new();
        for key in key {
            if cluster.primaries[0].command(&["SET", key, "1"]).await.unwrap().ok().is_ok() {
                there.push(key);
            }
        }
        assert_eq!(cluster.move_slots(0, 1, 100).await.unwrap(), there.len());
        for key in there {
            assert_eq!(cluster.primaries[1].command(&["GET", key]).await.unwrap().text(), Some("1"));
        }
    }

    #[tokio::test]
    async fn an_isolated_primary_is_replaced_still_answers_and_comes_back_as_a_replica() {
        let cluster = RedisCluster::start_with_replicas(3, 1).await.unwrap();
        let first = &cluster.primaries[0];
        cluster.isolate_first().await.unwrap();
        cluster.first_is_replaced().await.unwrap();
        let role = async || first.command(&["ROLE"]).await.unwrap().items()[0].text().map(str::to_owned);
        assert_eq!(role().await.as_deref(), Some("master"));
        cluster.rejoin_first().await.unwrap();
        let in_step = async || {
            let link = first.info(&["INFO", "replication"], "master_link_status").await;
            role().await.as_deref() == Some("slave") && matches!(link, Ok(Some(link)) if link == "up")
        };
        wait::until_true(PATIENCE, "it is a replica in step", in_step).await.unwrap();
        cluster.all_ok().await.unwrap();
    }

    #[tokio::test]
    async fn a_replica_takes_over_from_a_killed_primary() {
        let mut cluster = RedisCluster::start_with_replicas(3, 1).await.unwrap();
        cluster.primaries()[0].kill();
        let replica = &cluster.replicas[0];
        wait::until_true(PATIENCE, "the replica is a primary", async || {
            matches!(replica.info(&["INFO", "replication"], "role").await, Ok(Some(role)) if role == "master")
        })
        .await
        .unwrap();
        cluster.all_ok().await.unwrap();
    }
}
