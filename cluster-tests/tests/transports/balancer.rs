//! Behind a real load balancer that sends each request to the next gateway:
//! nothing may depend on where a request lands.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use cluster_tests::{Cluster, PATIENCE};
use futures_util::future::try_join_all;
use loadtest::client::http::Http;
use loadtest::client::{Account, Client, Error, Transport};
use loadtest::history::History;
use serde_json::json;
use testbed::{Backend, Haproxy, wait};
use tokio::time::timeout;

use crate::case::{connect, event};
use crate::{STRICT, TRANSPORTS};

const MESSAGES: usize = 30;

/// A cluster and what stands before it.
struct Balanced {
    cluster: Cluster,
    haproxy: Haproxy,
}

impl Balanced {
    async fn start() -> Result<Self> {
        let mut cluster = Cluster::builder().start().await?;
        let bare = |url: &str| url.trim_start_matches("http://").to_owned();
        let mut backends = Vec::new();
        for index in 0..2 {
            let address = bare(cluster.gateway(index));
            backends.push(Backend { address, admin: bare(&cluster.gateway_node(index).admin_url()) });
        }
        let haproxy = Haproxy::start(&backends).await?;
        Ok(Self { cluster, haproxy })
    }

    fn account(&self, user: &str) -> Account {
        Account { gateway: self.haproxy.url(), ..self.cluster.account(user, "d1", 0) }
    }
}

#[tokio::test]
async fn requests_of_one_client_land_on_both_gateways() -> Result<()> {
    let balanced = Balanced::start().await?;
    let mut nodes = Vec::new();
    for _ in 0..4 {
        let client = connect(Transport::Sse, &balanced.account("bob")).await?;
        nodes.push(client.welcome().and_then(|welcome| welcome.text("node")).unwrap_or_default().to_owned());
    }
    nodes.sort();
    assert_eq!(nodes, ["gw-0", "gw-0", "gw-1", "gw-1"], "{}", balanced.haproxy.output());
    Ok(())
}

#[tokio::test]
async fn every_transport_works_without_affinity() -> Result<()> {
    let balanced = Balanced::start().await?;
    let all = TRANSPORTS.into_iter().enumerate().map(|(index, transport)| {
        let balanced = &balanced;
        async move { exchange(balanced, index, transport).await.with_context(|| format!("{transport:?}")) }
    });
    try_join_all(all).await?;
    Ok(())
}

/// Messages up and down at once, with a session that is cut off and goes on,
/// always through the balancer.
async fn exchange(balanced: &Balanced, index: usize, transport: Transport) -> Result<()> {
    let (alice, bob) = (format!("alice{index}"), format!("bob{index}"));
    let history = History::new();
    let mut log = history.device(&bob, "d1");
    let mut account = balanced.account(&bob);
    let mut client = connect(transport, &account).await?;
    log.began(client.cursor());
    let read = async {
        for count in 0..MESSAGES {
            if count == MESSAGES / 2 {
                account.cursor = Some(client.cursor().to_owned());
                client = connect(transport, &account).await?;
                log.began(client.cursor());
            }
            log.frame(&event(&mut client).await?);
        }
        // Its own commands go up the same way.
        let sent = client.send(&alice, json!("all here"), "done").await?;
        ensure!(sent.number("seq") == Some(MESSAGES as u64 + 1), "{sent:?}");
        anyhow::Ok(())
    };
    tokio::try_join!(say(balanced, &history, &alice, &bob, MESSAGES), read)?;
    let report = history.check(STRICT);
    ensure!(report.is_clean() && report.received == MESSAGES, "{report}");
    Ok(())
}

#[tokio::test]
async fn an_event_source_whose_gateway_is_killed_resumes_through_the_balancer() -> Result<()> {
    let mut balanced = Balanced::start().await?;
    let history = History::new();
    let mut log = history.device("bob", "d1");
    let account = balanced.account("bob");
    let mut bob = connect(Transport::Sse, &account).await?;
    log.began(bob.cursor());
    let node = bob.welcome().and_then(|welcome| welcome.text("node")).context("a node")?.to_owned();
    say(&balanced, &history, "alice", "bob", MESSAGES).await?;
    for _ in 0..MESSAGES / 2 {
        log.frame(&event(&mut bob).await?);
    }
    balanced.cluster.gateway_node(usize::from(node == "gw-1")).kill();
    // What was on its way still comes, and then the stream is cut off.
    let mut received = MESSAGES / 2;
    loop {
        match timeout(PATIENCE, bob.next_event()).await.context("the stream goes on")? {
            Ok(frame) => {
                log.frame(&frame);
                received += 1;
            }
            Err(Error::Broken(_) | Error::Closed(_)) => break,
            Err(error) => return Err(error.into()),
        }
    }
    let account = account.from(bob.cursor());
    let mut bob = reconnect(&account).await?;
    log.began(bob.cursor());
    say(&balanced, &history, "carol", "bob", 5).await?;
    while received < MESSAGES + 5 {
        log.frame(&event(&mut bob).await?);
        received += 1;
    }
    let welcome = bob.welcome().context("a welcome")?;
    assert_eq!(welcome.0["resumed"], true);
    assert_ne!(welcome.text("node"), Some(node.as_str()));
    let report = history.check(STRICT);
    assert!(report.is_clean() && report.received == MESSAGES + 5, "{report}");
    Ok(())
}

/// As an EventSource does: again, until a gateway answers.
async fn reconnect(account: &Account) -> Result<Client> {
    wait::until(PATIENCE, "the stream opens again", async || {
        Client::connect(Transport::Sse, account).await.ok()
    })
    .await
}

/// Writes through the balancer; a message without an answer is sent again
/// under its id.
async fn say(
    balanced: &Balanced,
    history: &Arc<History>,
    from: &str,
    to: &str,
    messages: usize,
) -> Result<()> {
    let mut http = Http::new(&balanced.account(from))?;
    let conversation = if from <= to { format!("{from}~{to}") } else { format!("{to}~{from}") };
    for count in 0..messages {
        let id = format!("{from}-{count}");
        history.sending(&conversation, &id);
        let command = json!({"type": "send", "to": to, "body": count, "client_msg_id": id});
        let seq = wait::until(PATIENCE, "a message is answered", async || {
            http.command(&command).await.ok()?.number("seq")
        })
        .await?;
        history.acknowledged(&id, seq);
    }
    Ok(())
}
