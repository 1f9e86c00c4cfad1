//! What users do in a load test, and what is measured meanwhile.
//!
//! In reading order: [`Servers`] and [`Settings`], [`direct`], [`idle`].

mod cost;
pub mod direct;
pub mod idle;
mod person;

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::client::{Account, Client, Transport};
use crate::token::Issuer;

/// Sessions that begin at once; more would measure the queue for beginning.
const CONNECTING: usize = 64;

/// A cluster that runs.
#[derive(Debug)]
pub struct Servers {
    /// Where clients connect.
    pub gateways: Vec<String>,
    /// Signs tokens that they believe.
    pub issuer: Issuer,
    /// The processes, as far as they are known.
    pub gateway_pids: Vec<u32>,
    /// The processes, as far as they are known.
    pub router_pids: Vec<u32>,
    /// The processes, as far as they are known.
    pub redis_pids: Vec<u32>,
    /// Processes of a server whose parts are not told apart.
    pub other_pids: Vec<u32>,
}

/// How much of what.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Connected users.
    pub users: usize,
    /// Messages a second, of all users together.
    pub rate: f64,
    /// What is measured.
    pub duration: Duration,
    /// The same load before.
    pub warmup: Duration,
    /// Bytes of a message's body.
    pub body: usize,
    /// How clients connect.
    pub transport: Transport,
    /// Decides who writes when.
    pub seed: u64,
}

impl Servers {
    /// Users 0 and 1 are on different nodes, 2 and 3 too, and so on; each node
    /// gets as many as any other.
    fn gateway(&self, user: usize) -> &str {
        &self.gateways[(user / 2 + user % 2) % self.gateways.len()]
    }

    async fn connect(&self, settings: &Settings, user: usize) -> Result<Client> {
        let token = self.issuer.token(&user_name(user));
        let account = Account::new(self.gateway(user), &token, "load");
        let client = Client::connect(settings.transport, &account).await;
        client.with_context(|| format!("{} could not connect to {}", user_name(user), account.gateway))
    }

    async fn connect_all(&self, settings: &Settings, users: std::ops::Range<usize>) -> Result<Vec<Client>> {
        stream::iter(users.map(|user| self.connect(settings, user))).buffered(CONNECTING).try_collect().await
    }
}

fn user_name(user: usize) -> String {
    format!("user{user}")
}
