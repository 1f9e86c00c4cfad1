//! Two gateways and two routers behind a load balancer, and alice who writes
//! to bob through whichever gateway she is told.

use anyhow::{Context as _, Result, ensure};
use cluster_tests::{Builder, Cluster};
use loadtest::client::http::Http;
use loadtest::fleet::Fleet;
use serde_json::{Value, json};
use testbed::{Balancer, Program};
use tokio::process::Command;

use crate::stock::{Stock, bodies, numbers};

pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    balancer: Balancer,
}

impl Scene {
    /// With more flags for the gateways.
    pub(crate) async fn start(gateway_flags: &str) -> Result<Self> {
        Self::of(Cluster::builder().gateway_flags(gateway_flags)).await
    }

    /// With more flags for routers and gateways alike.
    pub(crate) async fn start_all(flags: &str) -> Result<Self> {
        Self::of(Cluster::builder().router_flags(flags).gateway_flags(flags)).await
    }

    async fn of(cluster: Builder) -> Result<Self> {
        let mut cluster = cluster.apart().start().await?;
        let balancer = Balancer::start(Program::Haproxy, &cluster.behind_balancer()).await?;
        Ok(Self { cluster, balancer })
    }

    /// Where clients connect.
    pub(crate) fn url(&self) -> String {
        self.balancer.url()
    }

    /// Waits until a client's session has begun: the gateway that has it, and the
    /// other one.
    pub(crate) async fn own_and_other(&self, client: &mut Stock) -> Result<(usize, usize)> {
        let own = self.gateway_named(&client.welcomed().await?)?;
        Ok((own, 1 - own))
    }

    /// Bob's gateway is killed between two of alice's messages: he comes back by
    /// himself and is given all of them, once and in order.
    pub(crate) async fn kills_the_gateway_of(&mut self, bob: &mut Stock) -> Result<()> {
        let (own, other) = self.own_and_other(bob).await?;
        self.write(own, &numbers(3)).await?;
        bob.until("three messages", |said| bodies(said, "alice").len() == 3).await?;
        self.cluster.gateway_node(own).kill();
        self.write(other, &numbers(8)[3..]).await?;
        bob.until("all messages", |said| bodies(said, "alice").len() >= 8).await?;
        assert_eq!(bob.bodies("alice"), numbers(8));
        Ok(())
    }

    /// Fails unless requests of these transports were passed on; a WebSocket is at
    /// home wherever it comes.
    pub(crate) async fn was_passed_on(&mut self, transports: &str) -> Result<()> {
        let passed_on = self.passed_on().await?;
        if transports == "websocket" {
            assert_eq!(passed_on, 0.0, "a WebSocket is at home wherever it comes");
        } else {
            assert!(passed_on >= 2.0, "only {passed_on} requests were passed on");
        }
        Ok(())
    }

    /// Requests and WebSockets that gateways have passed on to each other.
    pub(crate) async fn passed_on(&mut self) -> Result<f64> {
        self.sum("switchboard_gateway_relayed_total").await
    }

    /// A metric, summed over its labels and the gateways that run.
    pub(crate) async fn sum(&mut self, metric: &str) -> Result<f64> {
        let mut sum = 0.0;
        for gateway in self.cluster.fleet.gateways().iter_mut().filter(|node| node.pid().is_some()) {
            let url = format!("{}/metrics", gateway.admin_url());
            let output = Command::new("curl").args(["-sf", &url]).output().await?;
            ensure!(output.status.success(), "curl: {}", output.status);
            let text = String::from_utf8(output.stdout)?;
            let of = |line: &&str| line.split(['{', ' ']).next() == Some(metric);
            let values =
                text.lines().filter(of).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
            sum += values.sum::<f64>();
        }
        Ok(sum)
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
