//! Behind real load balancers that send each request to the next gateway, with
//! the configurations of `deploy/`: nothing may depend on where a request
//! lands. In reading order: every transport, gateways that go and come back;
//! then [`settings`], what the configurations promise by themselves.

mod settings;

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use cluster_tests::{Cluster, PATIENCE};
use futures_util::future::try_join_all;
use loadtest::client::http::Http;
use loadtest::client::{Account, Client, Error, Transport};
use loadtest::history::{DeviceLog, History};
use serde_json::json;
use testbed::{Balancer, Program, wait};
use tokio::time::timeout;

use crate::case::connect;
use crate::{STRICT, TRANSPORTS};

const MESSAGES: usize = 30;

/// A cluster, and one of each program before it.
struct Balanced {
    cluster: Cluster,
    balancers: Vec<(Program, Balancer)>,
}

impl Balanced {
    async fn start() -> Result<Self> {
        Self::start_with(|text| text).await
    }

    /// With other texts of the configurations.
    async fn start_with(change: impl Fn(String) -> String) -> Result<Self> {
        let mut cluster = Cluster::builder().apart().start().await?;
        let mut balancers = Vec::new();
        for program in Program::ALL {
            let gateways = cluster.behind_balancer();
            balancers.push((program, Balancer::start_with(program, &gateways, &change).await?));
        }
        Ok(Self { cluster, balancers })
    }

    /// A user of this balancer's own.
    fn account(&self, index: usize, user: &str) -> Account {
        let (program, balancer) = &self.balancers[index];
        let user = format!("{user}.{}", program.name());
        Account { gateway: balancer.url(), ..self.cluster.account(&user, "d1", 0) }
    }

    fn name(&self, index: usize, user: &str) -> String {
        format!("{user}.{}", self.balancers[index].0.name())
    }

    fn output(&self, index: usize) -> String {
        let (program, balancer) = &self.balancers[index];
        format!("{program:?}: {}", balancer.output())
    }
}

/// The node that a stream is on.
async fn node(account: &Account) -> Result<String> {
    let client = connect(Transport::Sse, account).await?;
    let node = client.welcome().and_then(|welcome| welcome.text("node")).context("a node")?;
    Ok(node.to_owned())
}

#[tokio::test]
async fn requests_of_one_client_land_on_both_gateways() -> Result<()> {
    let balanced = Balanced::start().await?;
    for index in 0..balanced.balancers.len() {
        let mut nodes = Vec::new();
        for _ in 0..4 {
            nodes.push(node(&balanced.account(index, "bob")).await?);
        }
        nodes.sort();
        assert_eq!(nodes, ["gw-0", "gw-0", "gw-1", "gw-1"], "{}", balanced.output(index));
    }
    Ok(())
}

#[tokio::test]
async fn every_transport_works_without_affinity() -> Result<()> {
    let balanced = Balanced::start().await?;
    let balanced = &balanced;
    let pairs = (0..balanced.balancers.len())
        .flat_map(|index| TRANSPORTS.into_iter().map(move |transport| (index, transport)));
    let all = pairs.map(async |(index, transport)| {
        exchange(balanced, index, transport)
            .await
            .with_context(|| format!("{transport:?} by {}", balanced.output(index)))
    });
    try_join_all(all).await?;
    Ok(())
}

/// Messages up and down at once, with a session that is cut off and goes on,
/// always through the balancer.
async fn exchange(balanced: &Balanced, index: usize, transport: Transport) -> Result<()> {
    let name = format!("{transport:?}").to_lowercase();
    let (from, to) = (format!("alice.{name}"), format!("bob.{name}"));
    let history = History::new();
    let bob = balanced.name(index, &to);
    let mut log = history.device(&bob, "d1");
    let mut account = balanced.account(index, &to);
    let mut client = connect(transport, &account).await?;
    log.began(client.cursor());
    let read = async {
        for count in 0..MESSAGES {
            if count == MESSAGES / 2 {
                account.cursor = Some(client.cursor().to_owned());
                client = connect(transport, &account).await?;
                log.began(client.cursor());
            }
            hear(&mut client, &mut log).await?;
        }
        // Its own commands go up the same way.
        let sent = client.send(&balanced.name(index, &from), json!("all here"), "done").await?;
        ensure!(sent.number("seq") == Some(MESSAGES as u64 + 1), "{sent:?}");
        anyhow::Ok(())
    };
    tokio::try_join!(say(balanced, index, &history, (&from, &to), MESSAGES), read)?;
    let report = history.check(STRICT);
    ensure!(report.is_clean() && report.received == MESSAGES, "{report}");
    Ok(())
}

#[tokio::test]
async fn a_gateway_that_goes_is_left_and_one_that_comes_back_is_used() -> Result<()> {
    let mut balanced = Balanced::start().await?;
    for index in 0..balanced.balancers.len() {
        let node = leave(&mut balanced, index).await.with_context(|| balanced.output(index))?;
        balanced.cluster.gateway_node(usize::from(node == "gw-1")).restart().await?;
        let account = balanced.account(index, "bob");
        wait::until_true(PATIENCE, "the gateway is used again", async || {
            self::node(&account).await.is_ok_and(|found| found == node)
        })
        .await
        .with_context(|| balanced.output(index))?;
    }
    Ok(())
}

/// An EventSource whose gateway is killed goes on at the other, and nobody's
/// writes are lost meanwhile. The gateway that is gone now.
async fn leave(balanced: &mut Balanced, index: usize) -> Result<String> {
    let history = History::new();
    let mut log = history.device(&balanced.name(index, "bob"), "d1");
    let account = balanced.account(index, "bob");
    let mut bob = connect(Transport::Sse, &account).await?;
    log.began(bob.cursor());
    let node = bob.welcome().and_then(|welcome| welcome.text("node")).context("a node")?.to_owned();
    say(balanced, index, &history, ("alice", "bob"), MESSAGES).await?;
    for _ in 0..MESSAGES / 2 {
        hear(&mut bob, &mut log).await?;
    }
    balanced.cluster.gateway_node(usize::from(node == "gw-1")).kill();
    // What was on its way still comes, and then the stream is cut off.
    let mut received = MESSAGES / 2;
    loop {
        match timeout(PATIENCE, bob.next_frame()).await.context("the stream goes on")? {
            Ok(frame) => {
                log.frame(&frame);
                received += usize::from(frame.is_event());
            }
            Err(Error::Broken(_) | Error::Closed(_)) => break,
            Err(error) => return Err(error.into()),
        }
    }
    let account = account.from(bob.cursor());
    let mut bob = reconnect(&account).await?;
    log.began(bob.cursor());
    say(balanced, index, &history, ("carol", "bob"), 5).await?;
    while received < MESSAGES + 5 {
        hear(&mut bob, &mut log).await?;
        received += 1;
    }
    let welcome = bob.welcome().context("a welcome")?;
    assert_eq!(welcome.0["resumed"], true);
    assert_ne!(welcome.text("node"), Some(node.as_str()));
    let report = history.check(STRICT);
    assert!(report.is_clean() && report.received == MESSAGES + 5, "{report}");
    Ok(node)
}

/// The next event, and the receipts before it: the history is about both.
async fn hear(client: &mut Client, log: &mut DeviceLog) -> Result<()> {
    loop {
        let frame = timeout(PATIENCE, client.next_frame()).await.context("no event came")??;
        log.frame(&frame);
        if frame.is_event() {
            return Ok(());
        }
    }
}

/// As an EventSource does: again, until a gateway answers.
async fn reconnect(account: &Account) -> Result<Client> {
    wait::until(PATIENCE, "the stream opens again", async || {
        Client::connect(Transport::Sse, account).await.ok()
    })
    .await
}

/// Writes through a balancer; a message without an answer is sent again under
/// its id.
async fn say(
    balanced: &Balanced,
    index: usize,
    history: &Arc<History>,
    (from, to): (&str, &str),
    messages: usize,
) -> Result<()> {
    let mut http = Http::new(&balanced.account(index, from))?;
    let (from, to) = (balanced.name(index, from), balanced.name(index, to));
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
