//! Publishers, readers, and what they say to each other.

use anyhow::{Context as _, Result, ensure};
use cluster_tests::{Cluster, PATIENCE};
use loadtest::client::http::Http;
use loadtest::client::{Account, Client, Error, Frame, Transport};
use loadtest::fleet::Fleet;
use serde_json::{Value, json};
use tokio::time::timeout;

/// Publishes over HTTP, in turn at each of two gateways. The body of each is
/// its seq.
pub(crate) struct Publisher {
    gateways: [Http; 2],
    channel: String,
    said: u64,
}

impl Publisher {
    pub(crate) fn new(cluster: &Cluster, channel: &str) -> Result<Self> {
        let at = |gateway: usize| {
            let token = Fleet::issuer().token_with_scope("publisher", "publish");
            Http::new(&Account::new(cluster.gateway(gateway), &token, "p"))
        };
        Ok(Self { gateways: [at(0)?, at(1)?], channel: channel.to_owned(), said: 0 })
    }

    /// So many more; each is acknowledged before the next.
    pub(crate) async fn publish(&mut self, count: u64) -> Result<()> {
        for _ in 0..count {
            self.publish_body(json!(self.said + 1)).await?;
        }
        Ok(())
    }

    /// One with a body of this many bytes.
    pub(crate) async fn publish_bytes(&mut self, bytes: usize) -> Result<()> {
        self.publish_body(Value::String("x".repeat(bytes))).await
    }

    /// One, as soon as the store takes it, whatever its seq, which it gives.
    pub(crate) async fn publish_anyhow(&mut self) -> Result<u64> {
        let command = json!({"type": "publish", "channel": self.channel, "body": null});
        timeout(PATIENCE, async {
            loop {
                match self.gateways[0].command(&command).await {
                    Ok(sent) => return sent.number("seq").context("a seq"),
                    Err(Error::Refused(refusal)) if refusal.code == "unavailable" => {}
                    Err(error) => return Err(error.into()),
                }
            }
        })
        .await
        .context("nothing can be published")?
    }

    async fn publish_body(&mut self, body: Value) -> Result<()> {
        self.said += 1;
        let command = json!({"type": "publish", "channel": self.channel, "body": body});
        let http = &mut self.gateways[(self.said % 2) as usize];
        let sent = timeout(PATIENCE, http.command(&command)).await??;
        ensure!(sent.number("seq") == Some(self.said), "{sent:?} instead of seq {}", self.said);
        Ok(())
    }
}

/// Connects in time.
pub(crate) async fn connect(transport: Transport, account: &Account) -> Result<Client> {
    let connected = timeout(PATIENCE, Client::connect(transport, account)).await;
    connected.context("it does not connect")?.with_context(|| format!("{transport:?}"))
}

/// A WebSocket that is subscribed from the head on.
pub(crate) async fn subscriber(
    cluster: &Cluster,
    user: &str,
    channel: &str,
    gateway: usize,
) -> Result<Client> {
    let mut client = connect(Transport::WebSocket, &cluster.account(user, "d1", gateway)).await?;
    command(&mut client, json!({"type": "subscribe", "channel": channel})).await?;
    Ok(client)
}

/// A command and its answer, in time.
pub(crate) async fn command(client: &mut Client, command: Value) -> Result<Frame> {
    timeout(PATIENCE, client.command(command)).await.context("no answer")?.map_err(Into::into)
}

/// The next frame of this type.
pub(crate) async fn until_kind(client: &mut Client, kind: &str) -> Result<Frame> {
    timeout(PATIENCE, async {
        loop {
            let frame = client.next_frame().await?;
            if frame.kind() == kind {
                return Ok(frame);
            }
        }
    })
    .await
    .with_context(|| format!("no {kind}"))?
}

/// The next publication; whatever else comes before it is dropped.
pub(crate) async fn next(client: &mut Client) -> Result<Frame> {
    timeout(PATIENCE, async {
        loop {
            let frame = client.next_frame().await?;
            if frame.kind() == "publication" {
                return Ok(frame);
            }
        }
    })
    .await
    .context("nothing is published")?
}

/// The next publications of this one channel are those of these seqs.
pub(crate) async fn expect(client: &mut Client, seqs: impl IntoIterator<Item = u64>) -> Result<()> {
    for seq in seqs {
        let frame = next(client).await?;
        ensure!(frame.number("seq") == Some(seq), "{frame:?} instead of seq {seq}");
    }
    Ok(())
}

/// The seqs of an answer to `subscribe`.
pub(crate) fn seqs(answer: &Frame) -> Vec<u64> {
    let publications = answer.0["publications"].as_array().cloned().unwrap_or_default();
    publications.iter().filter_map(|one| one["seq"].as_u64()).collect()
}
