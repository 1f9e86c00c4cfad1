//! A primary with replicas, watched by sentinels that elect another primary
//! about a second after it stops answering.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::server::{RedisBuilder, RedisServer};
use crate::wait;

const PATIENCE: Duration = Duration::from_secs(30);
const SERVICE: &str = "switchboard";

/// Data servers (the first began as the primary) and sentinels; killed on drop.
#[derive(Debug)]
pub struct RedisSentinel {
    servers: Vec<RedisServer>,
    sentinels: Vec<RedisServer>,
}

impl RedisSentinel {
    /// One primary, one replica, and so many sentinels; returns when the
    /// replica is in step and every sentinel knows all of them.
    pub async fn start(sentinels: usize) -> Result<Self> {
        let primary = RedisServer::start().await?;
        let port = primary.port();
        let replica = RedisServer::builder().option("replicaof", format!("127.0.0.1 {port}")).start().await?;
        let mut group = Self { servers: vec![primary, replica], sentinels: Vec::new() };
        let quorum = sentinels / 2 + 1;
        for _ in 0..sentinels {
            let sentinel = RedisBuilder::sentinel()
                .option("sentinel", format!("monitor {SERVICE} 127.0.0.1 {port} {quorum}"))
                .option("sentinel", format!("down-after-milliseconds {SERVICE} 1000"))
                .option("sentinel", format!("failover-timeout {SERVICE} 4000"))
                .start()
                .await?;
            group.sentinels.push(sentinel);
        }
        group.settled().await?;
        Ok(group)
    }

    /// `redis-sentinel://127.0.0.1:PORT?node=…&sentinelServiceName=switchboard`.
    pub fn url(&self) -> String {
        let mut ports = self.sentinels.iter().map(RedisServer::port);
        let mut url = format!("redis-sentinel://127.0.0.1:{}?", ports.next().unwrap_or_default());
        for port in ports {
            url.push_str(&format!("node=127.0.0.1:{port}&"));
        }
        url + "sentinelServiceName=" + SERVICE
    }

    /// The name under which the sentinels know the group.
    pub fn service(&self) -> &'static str {
        SERVICE
    }

    /// The data servers; the first began as the primary.
    pub fn servers(&mut self) -> &mut [RedisServer] {
        &mut self.servers
    }

    /// The data servers, to be asked.
    pub fn all(&self) -> Vec<&RedisServer> {
        self.servers.iter().collect()
    }

    /// The sentinels, to stop one or more of them.
    pub fn sentinels(&mut self) -> &mut [RedisServer] {
        &mut self.sentinels
    }

    /// The data server that the first sentinel calls the primary.
    pub async fn primary(&mut self) -> Result<&mut RedisServer> {
        let port = self.primary_port().await?;
        self.servers.iter_mut().find(|server| server.port() == port).context("one of the servers")
    }

    /// Cuts the server at this port off from its replica and from the sentinels,
    /// and from nobody else: clients with a user of their own still write to it.
    /// (It refuses the user without a name what these need.)
    pub async fn isolate(&self, port: u16) -> Result<()> {
        self.server(port)?.cut_off_replicas().await
    }

    /// Ends [`isolate`](Self::isolate).
    pub async fn rejoin(&self, port: u16) -> Result<()> {
        self.server(port)?.let_replicas_in().await
    }

    /// Waits until the sentinels have chosen another primary than this one.
    pub async fn next_primary(&self, old: u16) -> Result<()> {
        wait::until_true(PATIENCE, "another primary", async || {
            self.primary_port().await.is_ok_and(|port| port != old)
        })
        .await
    }

    fn server(&self, port: u16) -> Result<&RedisServer> {
        self.servers.iter().find(|server| server.port() == port).context("one of the servers")
    }

    /// The port of the primary, as the first sentinel sees it.
    pub async fn primary_port(&self) -> Result<u16> {
        let sentinel = self.sentinels.first().context("there is a sentinel")?;
        let reply = sentinel.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE]).await?.ok()?;
        let port = reply.items().get(1).and_then(|port| port.text()).context("a sentinel's answer")?;
        Ok(port.parse()?)
    }

    async fn settled(&self) -> Result<()> {
        let expected = [("num-slaves", 1), ("num-other-sentinels", self.sentinels.len() - 1)];
        for sentinel in &self.sentinels {
            wait::until_true(PATIENCE, "the sentinel knows all of the group", async || {
                let Ok(reply) = sentinel.command(&["SENTINEL", "MASTER", SERVICE]).await else {
                    return false;
                };
                let fields = reply.items();
                expected.iter().all(|(name, count)| {
                    let at = fields.iter().position(|field| field.text() == Some(name));
                    let value = at.and_then(|at| fields.get(at + 1)).and_then(|value| value.text());
                    value == Some(&count.to_string())
                })
            })
            .await?;
        }
        let replica = &self.servers[1];
        wait::until_true(PATIENCE, "the replica is in step", async || {
            let link = replica.info(&["INFO", "replication"], "master_link_status").await;
            matches!(link, Ok(Some(link)) if link == "up")
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_replica_is_elected_when_the_primary_hangs() {
        let mut group = RedisSentinel::start(1).await.unwrap();
        let old = group.primary_port().await.unwrap();
        assert_eq!(old, group.servers[0].port());
        group.servers()[0].stop().unwrap();
        group.next_primary(old).await.unwrap();
    }

    #[tokio::test]
    async fn an_isolated_primary_takes_writes_until_it_is_back_and_then_loses_them() {
        let group = RedisSentinel::start(1).await.unwrap();
        let old = group.primary_port().await.unwrap();
        for server in &group.servers {
            let user = ["ACL", "SETUSER", "client", "on", ">word", "~*", "&*", "+@all"];
            server.command(&user).await.unwrap().ok().unwrap();
        }
        group.isolate(old).await.unwrap();
        group.next_primary(old).await.unwrap();
        let server = group.server(old).unwrap();
        server.command(&["SET", "a", "lost"]).await.unwrap().ok().unwrap();
        group.rejoin(old).await.unwrap();
        wait::until_true(PATIENCE, "the old primary follows the new one", async || {
            server.command(&["GET", "a"]).await.is_ok_and(|reply| reply == crate::Reply::Nil)
        })
        .await
        .unwrap();
    }
}
