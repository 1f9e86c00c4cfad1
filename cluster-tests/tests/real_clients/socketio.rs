//! socket.io-client as it comes from npm, in Node (`socketio/client.mjs`), and
//! python-socketio as it comes from PyPI (`socketio/client.py`). Each of their
//! requests goes to the other gateway than the one before.

use anyhow::{Result, ensure};
use cluster_tests::Cluster;
use loadtest::fleet::Fleet;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::scene::Scene;
use crate::stock::{Kind, MESSAGES, Stock, bodies, exchange, numbers, of};

fn start(url: &str, transports: &str, user: &str) -> Result<Stock> {
    Stock::start(Kind::SocketIo, url, transports, user)
}

#[rstest]
#[case::polling("polling", "polling")]
#[case::websocket("websocket", "websocket")]
#[case::upgrade("polling,websocket", "polling")]
#[tokio::test]
async fn messages_go_both_ways_once_and_in_order(
    #[case] transports: &str,
    #[case] first: &str,
) -> Result<()> {
    let mut scene = Scene::start("--messages-per-second 1000").await?;
    let mut alice = start(&scene.url(), transports, "alice")?;
    let mut bob = start(&scene.url(), transports, "bob")?;
    for client in [&mut alice, &mut bob] {
        client.connected(1).await?;
    }
    exchange(&mut alice, &mut bob).await?;
    for client in [&mut alice, &mut bob] {
        assert_eq!(of(&client.said, "opened").collect::<Vec<_>>(), [first], "{:?}", client.said);
        if transports.contains(',') {
            client.until("upgraded", |said| of(said, "upgraded").any(|over| over == "websocket")).await?;
        }
        assert_eq!(of(&client.said, "disconnected").count(), 0, "{:?}", client.said);
    }
    scene.was_passed_on(transports).await
}

#[rstest]
#[case::polling("polling")]
#[case::websocket("websocket")]
#[case::upgrade("polling,websocket")]
#[tokio::test]
async fn whose_gateway_dies_comes_back_by_itself_and_misses_and_repeats_nothing(
    #[case] transports: &str,
) -> Result<()> {
    let mut scene = Scene::start("").await?;
    let mut bob = start(&scene.url(), transports, "bob")?;
    scene.kills_the_gateway_of(&mut bob).await?;
    let connected: Vec<&Value> = of(&bob.said, "connected").collect();
    assert_eq!(connected, [&json!(false), &json!(true)], "{:?}", bob.said);
    Ok(())
}

#[tokio::test]
async fn who_is_kicked_stays_away_and_whose_token_is_none_hears_so() -> Result<()> {
    let cluster = Cluster::builder().start().await?;
    let mut first = start(cluster.gateway(0), "websocket", "alice")?;
    first.connected(1).await?;
    let service = Fleet::issuer().token_with_scope("backend", "service");
    let kicked = Command::new("curl")
        .args(["-sf", "-H", &format!("Authorization: Bearer {service}"), "--json", r#"{"user":"alice"}"#])
        .arg(format!("{}/v1/kick", cluster.gateway(1)))
        .status()
        .await?;
    ensure!(kicked.success(), "curl: {kicked}");
    let away = |said: &[Value]| of(said, "disconnected").any(|reason| reason == "io server disconnect");
    first.until("sent away", away).await?;
    let mut stranger = start(cluster.gateway(0), "polling", "not a user id")?;
    stranger.until("refused", |said| of(said, "refused").count() == 1).await?;
    assert_eq!(of(&stranger.said, "data").next().map(|data| &data["code"]), Some(&json!("unauthorized")));
    Ok(())
}

#[rstest]
#[case::polling("polling")]
#[case::websocket("websocket")]
#[case::upgrade("polling,websocket")]
#[tokio::test]
async fn python_misses_and_repeats_nothing_though_its_gateway_dies(#[case] transports: &str) -> Result<()> {
    let mut scene = Scene::start("--messages-per-second 1000").await?;
    let mut bob = Stock::start(Kind::PythonSocketIo, &scene.url(), transports, "bob")?;
    let (own, other) = scene.own_and_other(&mut bob).await?;
    let all = numbers(MESSAGES);
    let (first, rest) = all.split_at(MESSAGES / 2);
    let came = |said: &[Value], count: usize| {
        bodies(said, "alice").len() >= count && of(said, "answer").count() == count
    };
    for number in first {
        bob.command("send", json!({ "to": "alice", "body": number })).await?;
    }
    scene.write(own, first).await?;
    bob.until("half of all", |said| came(said, first.len())).await?;
    scene.cluster.gateway_node(own).kill();
    scene.write(other, rest).await?;
    let welcomes = |said: &[Value]| said.iter().filter(|line| line["event"] == "welcome").count();
    bob.until("welcome again", |said| welcomes(said) == 2).await?;
    for number in rest {
        bob.command("send", json!({ "to": "alice", "body": number })).await?;
    }
    bob.until("all", |said| came(said, MESSAGES)).await?;
    assert_eq!(bob.bodies("alice"), numbers(MESSAGES));
    assert!(of(&bob.said, "answer").all(|answer| answer["type"] == "sent"), "{:?}", bob.said);
    Ok(())
}
