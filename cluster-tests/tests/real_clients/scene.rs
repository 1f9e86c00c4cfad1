//! Two gateways and two routers behind a load balancer, and alice who writes
//! to bob through whichever gateway she is told.

use anyhow::{Context as _, Result};
use cluster_tests::Cluster;
use loadtest::client::http::Http;
use loadtest::fleet::{Fleet, Node};
use serde_json::{Value, json};
use testbed::{Backend, Haproxy};

pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    balancer: Haproxy,
}

impl Scene {
    /// With more flags for the gateways.
    pub(crate) async fn start(gateway_flags: &str) -> Result<Self> {
        let mut cluster = Cluster::builder().gateway_flags(gateway_flags).start().await?;
        let backends: Vec<Backend> = cluster.fleet.gateways().iter().map(backend).collect();
        Ok(Self { cluster, balancer: Haproxy::start(&backends).await? })
    }

    /// Where clients connect.
    pub(crate) fn url(&self) -> String {
        self.balancer.url()
    }

    pub(crate) fn token(&self, user: &str) -> String {
        Fleet::issuer().token(user)
    }

    /// The gateway of this name.
    pub(crate) fn gateway_named(&self, node: &str) -> Result<usize> {
        let number = node.strip_prefix("gw-").context("a gateway's name is gw- and its number")?;
        Ok(number.parse()?)
    }

    /// Alice writes these to bob by HTTP at a gateway; each is acknowledged.
    pub(crate) async fn write(&self, gateway: usize, bodies: &[Value]) -> Result<()> {
        let mut alice = Http::new(&self.cluster.account("alice", "writer", gateway))?;
        for body in bodies {
            alice.command(&json!({"type": "send", "to": "bob", "body": body})).await?;
        }
        Ok(())
    }
}

fn backend(gateway: &Node) -> Backend {
    let address = |url: String| url.trim_start_matches("http://").to_owned();
    Backend { address: address(gateway.url()), admin: address(gateway.admin_url()) }
}
