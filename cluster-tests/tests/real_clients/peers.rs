//! The way between gateways: TLS on it, and what holds where there is none.

use anyhow::{Context as _, Result};
use cluster_tests::PATIENCE;
use rstest::rstest;
use serde_json::{Value, json};
use testbed::{certificates, wait};
use tokio::process::Command;

use crate::scene::Scene;
use crate::stock::{Kind, Stock, bodies, numbers, of};

fn file(name: &str) -> String {
    certificates().join(name).display().to_string()
}

#[tokio::test]
async fn gateways_talk_to_each_other_over_tls_and_to_nobody_else() -> Result<()> {
    let flags = format!(
        "--internal-tls-cert {} --internal-tls-key {} --internal-tls-ca {}",
        file("ours.cert.pem"),
        file("ours.key.pem"),
        file("ours.ca.pem"),
    );
    let mut scene = Scene::start_all(&flags).await?;
    let mut bob = Stock::start(Kind::SocketIo, &scene.url(), "polling", "bob")?;
    bob.connected(1).await?;
    scene.write(0, &numbers(10)).await?;
    bob.until("all messages", |said| bodies(said, "alice").len() == 10).await?;
    assert_eq!(bob.bodies("alice"), numbers(10));
    assert_eq!(of(&bob.said, "disconnected").count(), 0, "{:?}", bob.said);
    assert!(scene.passed_on().await? >= 2.0);

    let address = scene.cluster.gateway_node(0).peer_address().context("it has peers")?;
    let refused = "switchboard_gateway_peers_refused_total";
    for (count, certificate) in [(1.0, None), (2.0, Some("theirs")), (3.0, Some("other"))] {
        let mut curl = Command::new("curl");
        curl.args(["-sk", "--http2", &format!("https://{address}/")]);
        if let Some(name) = certificate {
            curl.args(["--cert", &file(&format!("{name}.cert.pem"))]);
            curl.args(["--key", &file(&format!("{name}.key.pem"))]);
        }
        assert!(!curl.status().await?.success(), "{certificate:?} was let in");
        let counted = wait::until_true(PATIENCE, "the refusal is counted", async || {
            scene.sum(refused).await.is_ok_and(|sum| sum >= count)
        });
        counted.await?;
    }
    Ok(())
}

#[rstest]
#[case::polling("polling")]
#[case::upgrade("polling,websocket")]
#[tokio::test]
async fn who_is_passed_on_to_a_gateway_that_stops_is_told_and_comes_back(
    #[case] transports: &str,
) -> Result<()> {
    let mut scene = Scene::start("").await?;
    let mut bob = Stock::start(Kind::SocketIo, &scene.url(), transports, "bob")?;
    let (own, other) = scene.own_and_other(&mut bob).await?;
    scene.write(other, &numbers(3)).await?;
    bob.until("three messages", |said| bodies(said, "alice").len() == 3).await?;
    scene.cluster.gateway_node(own).process()?.terminate()?;
    let away = |said: &[Value]| said.iter().any(|line| line["event"] == "goaway");
    bob.until("told to go elsewhere", away).await?;
    scene.write(other, &numbers(8)[3..]).await?;
    bob.connected(2).await?;
    bob.until("all messages", |said| bodies(said, "alice").len() >= 8).await?;
    assert_eq!(bob.bodies("alice"), numbers(8));
    assert_eq!(of(&bob.said, "connected").last(), Some(&json!(true)), "{:?}", bob.said);
    Ok(())
}

#[tokio::test]
async fn without_the_way_between_gateways_a_session_is_known_to_its_own_alone() -> Result<()> {
    let mut scene = Scene::start("").await?;
    for index in 0..2 {
        scene.cluster.gateway_node(index).without_peers();
        scene.cluster.gateway_node(index).restart().await?;
    }
    let curl = async |url: String| {
        let output = Command::new("curl").args(["-s", &url]).output().await?;
        anyhow::Ok(String::from_utf8(output.stdout)?)
    };
    let [own, other] = [0, 1].map(|index| scene.cluster.gateway(index).to_owned());
    let opened = curl(format!("{own}/socket.io/?EIO=4&transport=polling")).await?;
    let opened: serde_json::Value = serde_json::from_str(opened.get(1..).context("a packet")?)?;
    let target =
        format!("/socket.io/?EIO=4&transport=polling&sid={}", opened["sid"].as_str().context("an id")?);
    let refused: serde_json::Value = serde_json::from_str(&curl(format!("{other}{target}")).await?)?;
    assert_eq!(refused, json!({"code": 1, "message": "Session ID unknown"}));
    assert_eq!(scene.passed_on().await?, 0.0);
    Ok(())
}
