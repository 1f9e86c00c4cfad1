//! What a test is given: a cluster that it shares with the tests that run
//! beside it, users of its own, and words for what all tests do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use anyhow::{Context as _, Result, ensure};
use cluster_tests::{Cluster, PATIENCE};
use http::Method;
use loadtest::client::http::Http;
use loadtest::client::{Account, Client, Error, Frame, Transport};
use loadtest::fleet::Fleet;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// One test's share of the cluster.
pub(crate) struct Case {
    cluster: Arc<Cluster>,
    number: usize,
}

/// How a session ended.
#[derive(Debug)]
pub(crate) struct Ending {
    /// The last `goaway`.
    pub(crate) goaway: Option<Frame>,
    /// The WebSocket close code.
    pub(crate) code: Option<u16>,
}

impl Case {
    /// With the cluster that runs already, or a new one: it lives for as long
    /// as any test uses it.
    pub(crate) async fn new() -> Result<Self> {
        static RUNNING: Mutex<Weak<Cluster>> = Mutex::const_new(Weak::new());
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let mut running = RUNNING.lock().await;
        let cluster = match running.upgrade() {
            Some(cluster) => cluster,
            None => {
                // A short queue, so that a reader is soon behind.
                let started = Cluster::builder().gateway_flags("--session-queue 64").start().await?;
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

    /// The direct conversation of two of this test's users.
    pub(crate) fn conversation(&self, one: &str, other: &str) -> String {
        let (one, other) = (self.user(one), self.user(other));
        if one <= other { format!("{one}~{other}") } else { format!("{other}~{one}") }
    }

    /// Where clients connect.
    pub(crate) fn gateway(&self, index: usize) -> &str {
        self.cluster.gateway(index)
    }

    /// The first device of one of this test's users.
    pub(crate) fn account(&self, name: &str, gateway: usize) -> Account {
        self.cluster.account(&self.user(name), "d1", gateway)
    }

    /// Connects such a device, from the head on.
    pub(crate) async fn connect(&self, transport: Transport, name: &str, gateway: usize) -> Result<Client> {
        connect(transport, &self.account(name, gateway)).await
    }

    /// Requests of one of this test's users.
    pub(crate) fn http(&self, name: &str, gateway: usize) -> Result<Http> {
        Ok(Http::new(&self.account(name, gateway))?)
    }

    /// A message from one of this test's users to another, over HTTP.
    pub(crate) async fn say(&self, from: &mut Http, to: &str, body: Value) -> Result<Frame> {
        say(from, &self.user(to), body).await
    }
}

/// Connects in time.
pub(crate) async fn connect(transport: Transport, account: &Account) -> Result<Client> {
    timeout(PATIENCE, Client::connect(transport, account))
        .await
        .with_context(|| format!("{transport:?} does not connect"))?
        .with_context(|| format!("{transport:?} at {}", account.gateway))
}

/// A message over HTTP.
pub(crate) async fn say(from: &mut Http, to: &str, body: Value) -> Result<Frame> {
    let command = json!({"type": "send", "to": to, "body": body});
    Ok(timeout(PATIENCE, from.command(&command)).await??)
}

/// The next event, in time.
pub(crate) async fn event(client: &mut Client) -> Result<Frame> {
    Ok(timeout(PATIENCE, client.next_event()).await.context("no event came")??)
}

/// Reads messages of one conversation: these seqs in this order and nothing
/// else.
pub(crate) async fn expect(client: &mut Client, seqs: std::ops::RangeInclusive<u64>) -> Result<()> {
    for seq in seqs {
        let frame = event(client).await.with_context(|| format!("waiting for #{seq}"))?;
        ensure!(frame.kind() == "message" && frame.number("seq") == Some(seq), "{frame:?} instead of #{seq}");
    }
    Ok(())
}

/// Reads to the end of the session.
pub(crate) async fn end(client: &mut Client) -> Result<Ending> {
    let mut goaway = None;
    loop {
        match timeout(PATIENCE, client.next_frame()).await.context("the session goes on")? {
            Ok(frame) if frame.kind() == "goaway" => goaway = Some(frame),
            Ok(_) => {}
            Err(Error::Closed(close)) => return Ok(Ending { goaway, code: close.code }),
            Err(error) => return Err(error.into()),
        }
    }
}

impl Ending {
    /// Why, as `goaway` said.
    pub(crate) fn reason(&self) -> &str {
        self.goaway.as_ref().and_then(|frame| frame.text("reason")).unwrap_or_default()
    }
}

/// One poll: its events and the cursor after them.
pub(crate) async fn poll(http: &mut Http, query: &str) -> Result<(Vec<Frame>, String)> {
    let answer = timeout(PATIENCE, http.request(Method::GET, &format!("/v1/poll?{query}"), None)).await;
    let body = answer.context("a poll is not answered")??.json()?;
    let events = body["events"].as_array().context("a poll has events")?;
    let cursor = body["cursor"].as_str().context("a poll has a cursor")?.to_owned();
    Ok((events.iter().cloned().map(Frame).collect(), cursor))
}

/// How many connections of a transport a gateway counts, by its metrics.
pub(crate) async fn connections(admin: &str, transport: &str) -> Result<u64> {
    metric(admin, "switchboard_gateway_connections", &format!("transport=\"{transport}\"")).await
}

/// How many sessions have ended for this reason, by a gateway's metrics.
pub(crate) async fn ended(admin: &str, reason: &str) -> Result<u64> {
    metric(admin, "switchboard_gateway_sessions_ended_total", &format!("reason=\"{reason}\"")).await
}

/// A metric of a process, with this label; 0 where it has none yet.
async fn metric(admin: &str, name: &str, label: &str) -> Result<u64> {
    let mut http = Http::new(&Account::new(admin, "", "none"))?;
    let answer = http.request(Method::GET, "/metrics", None).await?;
    let text = String::from_utf8(answer.body.to_vec())?;
    let begins = format!("{name}{{");
    let line = text.lines().find(|line| line.starts_with(&begins) && line.contains(label));
    let Some(line) = line else { return Ok(0) };
    let number = line.rsplit(' ').next().context("a metric has a value")?;
    Ok(number.parse()?)
}

/// Whether there are sessions over this transport that others can end.
pub(crate) fn is_stream(transport: Transport) -> bool {
    !matches!(transport, Transport::LongPoll | Transport::LongPollProtobuf | Transport::ShortPoll)
}

/// Whether commands go over the same connection.
pub(crate) fn is_two_way(transport: Transport) -> bool {
    matches!(transport, Transport::WebSocket | Transport::WebSocketProtobuf)
}

/// Signs tokens that the cluster believes.
pub(crate) fn issuer() -> loadtest::token::Issuer {
    Fleet::issuer()
}
