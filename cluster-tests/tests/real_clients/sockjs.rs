//! sockjs-client as it comes from npm, in Node (`sockjs/client.mjs`). Each of its
//! requests goes to the other gateway than the one before.

use anyhow::{Context as _, Result};
use rstest::rstest;
use serde_json::{Value, json};

use crate::scene::Scene;
use crate::stock::{Kind, Stock, bodies, numbers, of};

/// Messages in each direction.
const MESSAGES: usize = 100;

async fn start(url: &str, transport: &str, user: &str) -> Result<Stock> {
    let mut client = Stock::start(Kind::SockJs, url, transport, user)?;
    client.until("welcome", |said| said.iter().any(|line| line["event"] == "welcome")).await?;
    Ok(client)
}

#[rstest]
#[case::polling("xhr-polling")]
#[case::streaming("xhr-streaming")]
#[case::server_sent_events("eventsource")]
#[case::websocket("websocket")]
#[tokio::test]
async fn messages_go_both_ways_once_and_in_order(#[case] transport: &str) -> Result<()> {
    let mut scene = Scene::start("--messages-per-second 1000").await?;
    let mut alice = start(&scene.url(), transport, "alice").await?;
    let mut bob = start(&scene.url(), transport, "bob").await?;
    for number in 0..MESSAGES {
        alice.command("send", json!({ "to": "bob", "body": number })).await?;
        bob.command("send", json!({ "to": "alice", "body": number })).await?;
    }
    for (client, other) in [(&mut alice, "bob"), (&mut bob, "alice")] {
        let all =
            |said: &[Value]| of(said, "answer").count() == MESSAGES && bodies(said, other).len() >= MESSAGES;
        client.until("all messages and answers", all).await?;
        assert_eq!(client.bodies(other), numbers(MESSAGES));
        assert!(of(&client.said, "answer").all(|answer| answer["type"] == "sent"), "{:?}", client.said);
        assert_eq!(of(&client.said, "opened").collect::<Vec<_>>(), [transport], "{:?}", client.said);
        assert_eq!(of(&client.said, "disconnected").count(), 0, "{:?}", client.said);
    }
    let passed_on = scene.passed_on().await?;
    if transport == "websocket" {
        assert_eq!(passed_on, 0.0, "a WebSocket is at home wherever it comes");
    } else {
        assert!(passed_on >= 2.0, "only {passed_on} requests were passed on");
    }
    Ok(())
}

/// Not over the streams: in Node that client does not notice when one breaks off.
#[tokio::test]
async fn whose_gateway_dies_comes_back_from_its_cursor() -> Result<()> {
    let mut scene = Scene::start("").await?;
    let mut bob = start(&scene.url(), "xhr-polling", "bob").await?;
    let welcome = bob.said.iter().find(|line| line["event"] == "welcome").context("a welcome")?.clone();
    let own = scene.gateway_named(welcome["args"][0]["node"].as_str().context("a node")?)?;
    let other = 1 - own;
    scene.write(own, &numbers(3)).await?;
    bob.until("three messages", |said| bodies(said, "alice").len() == 3).await?;
    scene.cluster.gateway_node(own).kill();
    let rest: Vec<Value> = (3..8).map(|number| json!(number)).collect();
    scene.write(other, &rest).await?;
    bob.until("all messages", |said| bodies(said, "alice").len() >= 8).await?;
    assert_eq!(bob.bodies("alice"), numbers(8));
    Ok(())
}
