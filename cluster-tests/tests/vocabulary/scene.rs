//! What a test is given: a cluster, shared with the tests beside it or its own,
//! users of its own, and words for what all tests do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use anyhow::{Context as _, Result};
use cluster_tests::{Cluster, PATIENCE};
use loadtest::client::http::Http;
use loadtest::client::{Account, Client, Error, Frame, Transport};
use loadtest::fleet::Fleet;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// One test's share of the cluster.
pub(crate) struct Scene {
    cluster: Arc<Cluster>,
    number: usize,
}

impl Scene {
    /// With the cluster that runs already, or a new one: it lives for as long
    /// as any test uses it.
    pub(crate) async fn new() -> Result<Self> {
        static RUNNING: Mutex<Weak<Cluster>> = Mutex::const_new(Weak::new());
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let mut running = RUNNING.lock().await;
        let cluster = match running.upgrade() {
            Some(cluster) => cluster,
            None => {
                let started = Cluster::builder().start().await?;
                let cluster = Arc::new(started);
                *running = Arc::downgrade(&cluster);
                cluster
            }
        };
        Ok(Self { cluster, number: COUNT.fetch_add(1, Ordering::Relaxed) })
    }

    /// This test's user of this name.
    pub(crate) fn user(&self, name: &str) -> String {
        format!("{name}.{}", self.number)
    }

    /// The direct conversation of two of this test's users, named in order.
    pub(crate) fn conversation(&self, one: &str, other: &str) -> String {
        format!("{}~{}", self.user(one), self.user(other))
    }

    /// A device of one of this test's users.
    pub(crate) fn account(&self, name: &str, device: &str, gateway: usize) -> Account {
        self.cluster.account(&self.user(name), device, gateway)
    }

    /// Connects such a device over a WebSocket, from the head on.
    pub(crate) async fn connect(&self, name: &str, device: &str, gateway: usize) -> Result<Client> {
        connect(Transport::WebSocket, &self.account(name, device, gateway)).await
    }

    /// Requests of one of this test's users.
    pub(crate) fn http(&self, name: &str, gateway: usize) -> Result<Http> {
        Ok(Http::new(&self.account(name, "http", gateway))?)
    }

    /// Requests of a backend.
    pub(crate) fn service(&self, gateway: usize) -> Result<Http> {
        let token = Fleet::issuer().token_with_scope("backend", "service");
        Ok(Http::new(&Account::new(self.cluster.gateway(gateway), &token, "backend"))?)
    }

    /// A message from one of this test's users to another; gives its seq.
    pub(crate) async fn say(&self, from: &mut Http, to: &str, body: Value) -> Result<u64> {
        let sent = ask(from, json!({"type": "send", "to": self.user(to), "body": body})).await?;
        sent.number("seq").context("a message has a seq")
    }
}

/// Connects in time.
pub(crate) async fn connect(transport: Transport, account: &Account) -> Result<Client> {
    timeout(PATIENCE, Client::connect(transport, account))
        .await
        .with_context(|| format!("{transport:?} does not connect"))?
        .with_context(|| format!("{transport:?} at {}", account.gateway))
}

/// A command over HTTP, answered in time.
pub(crate) async fn ask(http: &mut Http, command: Value) -> Result<Frame> {
    let answer = timeout(PATIENCE, http.command(&command)).await;
    answer.with_context(|| format!("no answer to {command}"))?.with_context(|| command.to_string())
}

/// The code with which a command is refused.
pub(crate) async fn refusal(http: &mut Http, command: Value) -> Result<String> {
    match timeout(PATIENCE, http.command(&command)).await? {
        Err(Error::Refused(refusal)) => Ok(refusal.code),
        other => anyhow::bail!("{command} was not refused: {other:?}"),
    }
}

/// A command over the session, answered in time.
pub(crate) async fn command(client: &mut Client, command: Value) -> Result<Frame> {
    let answer = timeout(PATIENCE, client.command(command.clone())).await;
    answer.with_context(|| format!("no answer to {command}"))?.with_context(|| command.to_string())
}

/// Reads until a frame for which `wanted` holds, and gives all up to it.
pub(crate) async fn frames_until(
    client: &mut Client,
    what: &str,
    wanted: impl Fn(&Frame) -> bool,
) -> Result<Vec<Frame>> {
    let mut seen = Vec::new();
    let read = async {
        loop {
            seen.push(client.next_frame().await?);
            if seen.last().is_some_and(&wanted) {
                return anyhow::Ok(());
            }
        }
    };
    let ended = timeout(PATIENCE, read).await.unwrap_or_else(|_| Err(anyhow::anyhow!("not in time")));
    ended.with_context(|| format!("waiting for {what}, seen {seen:?}"))?;
    Ok(seen)
}

/// As [`frames_until`], and gives only the last.
pub(crate) async fn until(client: &mut Client, what: &str, wanted: impl Fn(&Frame) -> bool) -> Result<Frame> {
    frames_until(client, what, wanted).await?.pop().context("the wanted frame is the last")
}

/// Waits for the next frame of this type.
pub(crate) async fn of_kind(client: &mut Client, kind: &str) -> Result<Frame> {
    until(client, kind, |frame| frame.kind() == kind).await
}

/// How a session ends, in time: the last `reason` that it was told, and the end.
pub(crate) async fn ending(client: &mut Client) -> Result<(String, Error)> {
    timeout(PATIENCE, client.until_end()).await.context("the session goes on")
}
