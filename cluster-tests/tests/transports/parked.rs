//! Polls that wait: who is answered, and what becomes of those whose clients
//! have gone. With a cluster of its own, so that its metrics count only these.

use std::time::Duration;

use anyhow::Result;
use cluster_tests::{Cluster, PATIENCE};
use futures_util::future::try_join_all;
use loadtest::client::http::Http;
use loadtest::client::{Account, Transport};
use serde_json::json;
use testbed::wait;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::case::{connect, connections, poll, say};

/// Far more than an answer takes, far less than a poll waits.
const SOON: Duration = Duration::from_secs(15);

#[tokio::test]
async fn one_message_answers_every_parked_poll_on_whichever_node() -> Result<()> {
    let mut cluster = Cluster::builder().start().await?;
    let users = ["bob", "carol", "dave"];
    let group = cluster.group(&["alice", "bob", "carol", "dave"]).await?;
    let mut polls = Vec::new();
    for (index, user) in users.iter().enumerate() {
        for device in ["phone", "desk"] {
            let account = cluster.account(user, device, index + usize::from(device == "desk"));
            polls.push(waiting(&account).await?);
        }
    }
    parked(&mut cluster, 6).await?;
    let mut alice = Http::new(&cluster.account("alice", "d1", 0))?;
    alice.command(&json!({"type": "send", "conversation": group, "body": "all of you"})).await?;
    let answers = timeout(SOON, try_join_all(polls.iter_mut().map(answer))).await??;
    for events in answers {
        assert_eq!(events, ["all of you"]);
    }
    parked(&mut cluster, 0).await
}

#[tokio::test]
async fn the_older_of_two_polls_of_a_device_is_told_so() -> Result<()> {
    let mut cluster = Cluster::builder().start().await?;
    // On one node, and on two.
    for (user, other) in [("bob", 0), ("carol", 1)] {
        let mut old = waiting(&cluster.account(user, "d1", 0)).await?;
        parked(&mut cluster, 1).await?;
        let mut new = waiting(&cluster.account(user, "d1", other)).await?;
        assert_eq!(timeout(SOON, answer(&mut old)).await??, ["goaway: replaced"]);
        parked(&mut cluster, 1).await?;
        say(&mut Http::new(&cluster.account("alice", "d1", 1))?, user, json!("to the new one")).await?;
        assert_eq!(timeout(SOON, answer(&mut new)).await??, ["to the new one"]);
    }
    Ok(())
}

#[tokio::test]
async fn a_session_of_another_transport_replaces_a_poll() -> Result<()> {
    let mut cluster = Cluster::builder().start().await?;
    let mut old = waiting(&cluster.account("bob", "d1", 0)).await?;
    parked(&mut cluster, 1).await?;
    let _new = connect(Transport::WebSocket, &cluster.account("bob", "d1", 1)).await?;
    assert_eq!(timeout(SOON, answer(&mut old)).await??, ["goaway: replaced"]);
    Ok(())
}

#[tokio::test]
async fn clients_that_go_away_are_noticed() -> Result<()> {
    let mut cluster = Cluster::builder().start().await?;
    let admin = cluster.gateway_node(0).admin_url();
    for (name, transport) in [
        ("websocket", Transport::WebSocket),
        ("sse", Transport::Sse),
        ("stream", Transport::Stream),
        ("iframe", Transport::Iframe),
    ] {
        let client = connect(transport, &cluster.account("bob", "d1", 0)).await?;
        counted(&admin, name, 1).await?;
        drop(client);
        counted(&admin, name, 0).await?;
    }
    let poll = waiting(&cluster.account("bob", "d1", 0)).await?;
    counted(&admin, "poll", 1).await?;
    drop(poll);
    counted(&admin, "poll", 0).await
}

/// A poll under way, of which the bodies that it brings are kept.
type Polling = JoinSet<Result<Vec<String>>>;

/// Begins a poll that waits for a minute, from the head on.
async fn waiting(account: &Account) -> Result<Polling> {
    let mut http = Http::new(account)?;
    let device = account.device.clone().unwrap_or_default();
    let (_, cursor) = poll(&mut http, &format!("device={device}")).await?;
    let mut task = JoinSet::new();
    task.spawn(async move {
        let (events, _) = poll_for_long(&mut http, &device, &cursor).await?;
        let events = events.iter().filter(|frame| matches!(frame.kind(), "message" | "goaway"));
        Ok(events.map(told).collect())
    });
    Ok(task)
}

/// What an event says: a message's body, or why to go and when to come back.
fn told(frame: &loadtest::client::Frame) -> String {
    let text = |field: &str| frame.text(field).unwrap_or_default();
    match (frame.kind(), frame.number("reconnect_in_ms")) {
        ("goaway", None) => format!("goaway: {}", text("reason")),
        ("goaway", Some(ms)) => format!("goaway: {}, back in {ms}", text("reason")),
        _ => text("body").to_owned(),
    }
}

async fn poll_for_long(
    http: &mut Http,
    device: &str,
    cursor: &str,
) -> Result<(Vec<loadtest::client::Frame>, String)> {
    poll(http, &format!("device={device}&wait=45&cursor={cursor}")).await
}

async fn answer(polling: &mut Polling) -> Result<Vec<String>> {
    polling.join_next().await.unwrap_or_else(|| Ok(Ok(Vec::new())))?
}

/// Waits until so many polls wait on all gateways together.
async fn parked(cluster: &mut Cluster, count: u64) -> Result<()> {
    let admins: Vec<String> = (0..2).map(|index| cluster.gateway_node(index).admin_url()).collect();
    wait::until_true(PATIENCE, &format!("{count} polls wait"), async || {
        let mut sum = 0;
        for admin in &admins {
            sum += connections(admin, "poll").await.unwrap_or(u64::MAX / 4);
        }
        sum == count
    })
    .await
}

/// Waits until a gateway counts so many connections of a transport, and not
/// for as long as heartbeats or a poll's end would take to show it.
async fn counted(admin: &str, transport: &str, count: u64) -> Result<()> {
    wait::until_true(SOON, &format!("{count} connections over {transport}"), async || {
        connections(admin, transport).await.is_ok_and(|counted| counted == count)
    })
    .await
}
