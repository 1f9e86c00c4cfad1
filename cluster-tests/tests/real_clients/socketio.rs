//! socket.io-client as it comes from npm, in Node (`socketio/client.mjs`).

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};
use cluster_tests::{Cluster, PATIENCE};
use loadtest::fleet::Fleet;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::scene::Scene;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/socketio");
/// Messages in each direction.
const MESSAGES: usize = 100;

/// One client; ends when it is dropped.
struct Stock {
    commands: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    /// All that it has said.
    said: Vec<Value>,
    _program: Child,
}

impl Stock {
    fn start(url: &str, transports: &str, user: &str) -> Result<Self> {
        let packages = Path::new(FOLDER).join("node_modules/socket.io-client");
        ensure!(packages.exists(), "socket.io-client is missing: `make tools` installs it");
        let mut program = Command::new("node")
            .args(["client.mjs", url, transports, &Fleet::issuer().token(user)])
            .current_dir(FOLDER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("node is missing: `make tools` installs it")?;
        let commands = program.stdin.take().context("its input is piped")?;
        let lines = BufReader::new(program.stdout.take().context("its output is piped")?).lines();
        Ok(Self { commands, lines, said: Vec::new(), _program: program })
    }

    async fn command(&mut self, kind: &str, fields: Value) -> Result<()> {
        let line = format!("{}\n", json!([kind, fields]));
        Ok(self.commands.write_all(line.as_bytes()).await?)
    }

    /// Waits until this holds of all that it has said.
    async fn until(&mut self, what: &str, holds: impl Fn(&[Value]) -> bool) -> Result<()> {
        let said = async {
            while !holds(&self.said) {
                let line = self.lines.next_line().await?.context("the client has ended")?;
                self.said.push(serde_json::from_str(&line)?);
            }
            anyhow::Ok(())
        };
        match timeout(PATIENCE, said).await {
            Ok(result) => result,
            Err(_) => bail!("never {what}: {:?}", self.said),
        }
    }

    async fn connected(&mut self, times: usize) -> Result<()> {
        self.until("connected", |said| of(said, "connected").count() == times).await
    }

    /// The bodies of a user's messages, in the order in which they came.
    fn bodies(&self, from: &str) -> Vec<Value> {
        bodies(&self.said, from)
    }
}

fn of<'a>(said: &'a [Value], what: &'a str) -> impl Iterator<Item = &'a Value> {
    said.iter().filter_map(move |line| line.get(what))
}

fn bodies(said: &[Value], from: &str) -> Vec<Value> {
    let frames = said.iter().filter(|line| line["event"] == "message").map(|line| &line["args"][0]);
    frames.filter(|frame| frame["from"] == from).map(|frame| frame["body"].clone()).collect()
}

fn numbers(count: usize) -> Vec<Value> {
    (0..count).map(|number| json!(number)).collect()
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
    let cluster = Cluster::builder().gateway_flags("--messages-per-second 1000").start().await?;
    let mut alice = Stock::start(cluster.gateway(0), transports, "alice")?;
    let mut bob = Stock::start(cluster.gateway(1), transports, "bob")?;
    for client in [&mut alice, &mut bob] {
        client.connected(1).await?;
    }
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
        assert_eq!(of(&client.said, "opened").collect::<Vec<_>>(), [first], "{:?}", client.said);
        if transports.contains(',') {
            client.until("upgraded", |said| of(said, "upgraded").any(|over| over == "websocket")).await?;
        }
        assert_eq!(of(&client.said, "disconnected").count(), 0, "{:?}", client.said);
    }
    Ok(())
}

#[tokio::test]
async fn whose_gateway_dies_comes_back_by_itself_and_misses_and_repeats_nothing() -> Result<()> {
    let mut scene = Scene::start("").await?;
    let mut bob = Stock::start(&scene.url(), "websocket", "bob")?;
    bob.until("welcome", |said| said.iter().any(|line| line["event"] == "welcome")).await?;
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
    let connected: Vec<&Value> = of(&bob.said, "connected").collect();
    assert_eq!(connected, [&json!(false), &json!(true)], "{:?}", bob.said);
    Ok(())
}

#[tokio::test]
async fn who_is_kicked_stays_away_and_whose_token_is_none_hears_so() -> Result<()> {
    let cluster = Cluster::builder().start().await?;
    let mut first = Stock::start(cluster.gateway(0), "websocket", "alice")?;
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
    let mut stranger = Stock::start(cluster.gateway(0), "polling", "not a user id")?;
    stranger.until("refused", |said| of(said, "refused").count() == 1).await?;
    assert_eq!(of(&stranger.said, "data").next().map(|data| &data["code"]), Some(&json!("unauthorized")));
    Ok(())
}
