//! Stock clients in Node and Python: programs that take a command a line and say in lines what
//! becomes of them.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};
use cluster_tests::PATIENCE;
use loadtest::fleet::Fleet;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// Messages in each direction.
pub(crate) const MESSAGES: usize = 100;

/// A client that comes from a registry, and the program here that drives it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    SocketIo,
    PythonSocketIo,
    SockJs,
}

impl Kind {
    /// Its folder, the package there, what runs it, and its program.
    fn program(self) -> (PathBuf, &'static str, &'static str, &'static str) {
        let (folder, package, runs, program) = match self {
            Self::SocketIo => ("socketio", "node_modules/socket.io-client", "node", "client.mjs"),
            Self::PythonSocketIo => ("socketio", ".venv/requirements.txt", ".venv/bin/python", "client.py"),
            Self::SockJs => ("sockjs", "node_modules/sockjs-client", "node", "client.mjs"),
        };
        (Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), package, runs, program)
    }
}

/// One client; ends when it is dropped.
pub(crate) struct Stock {
    commands: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    /// All that it has said.
    pub(crate) said: Vec<Value>,
    _program: Child,
}

impl Stock {
    pub(crate) fn start(kind: Kind, url: &str, transports: &str, user: &str) -> Result<Self> {
        let (folder, package, runs, program) = kind.program();
        ensure!(folder.join(package).exists(), "{package} is missing: `make tools` installs it");
        // A name alone is looked for in PATH.
        let runs = if runs.contains('/') { folder.join(runs) } else { runs.into() };
        let mut program = Command::new(runs)
            .args([program, url, transports, &Fleet::issuer().token(user)])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("what runs it is missing: `make tools` installs it")?;
        let commands = program.stdin.take().context("its input is piped")?;
        let lines = BufReader::new(program.stdout.take().context("its output is piped")?).lines();
        Ok(Self { commands, lines, said: Vec::new(), _program: program })
    }

    pub(crate) async fn command(&mut self, kind: &str, fields: Value) -> Result<()> {
        let line = format!("{}\n", json!([kind, fields]));
        Ok(self.commands.write_all(line.as_bytes()).await?)
    }

    /// Waits until this holds of all that it has said.
    pub(crate) async fn until(&mut self, what: &str, holds: impl Fn(&[Value]) -> bool) -> Result<()> {
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

    pub(crate) async fn connected(&mut self, times: usize) -> Result<()> {
        self.until("connected", |said| of(said, "connected").count() == times).await
    }

    /// Waits until its session has begun; returns the name of the node.
    pub(crate) async fn welcomed(&mut self) -> Result<String> {
        let is_welcome = |line: &Value| line["event"] == "welcome";
        self.until("welcome", |said| said.iter().any(is_welcome)).await?;
        let welcome = self.said.iter().find(|line| is_welcome(line)).context("a welcome")?;
        Ok(welcome["args"][0]["node"].as_str().context("a node")?.to_owned())
    }

    /// The bodies of a user's messages, in the order in which they came.
    pub(crate) fn bodies(&self, from: &str) -> Vec<Value> {
        bodies(&self.said, from)
    }
}

pub(crate) fn of<'a>(said: &'a [Value], what: &'a str) -> impl Iterator<Item = &'a Value> {
    said.iter().filter_map(move |line| line.get(what))
}

pub(crate) fn bodies(said: &[Value], from: &str) -> Vec<Value> {
    let frames = said.iter().filter(|line| line["event"] == "message").map(|line| &line["args"][0]);
    frames.filter(|frame| frame["from"] == from).map(|frame| frame["body"].clone()).collect()
}

pub(crate) fn numbers(count: usize) -> Vec<Value> {
    (0..count).map(|number| json!(number)).collect()
}

/// Both send a hundred messages to each other. Each is given all of the other's
/// once and in order, and each of its own is answered, and no connection breaks.
pub(crate) async fn exchange(alice: &mut Stock, bob: &mut Stock) -> Result<()> {
    for number in 0..MESSAGES {
        alice.command("send", json!({ "to": "bob", "body": number })).await?;
        bob.command("send", json!({ "to": "alice", "body": number })).await?;
    }
    for (client, other) in [(alice, "bob"), (bob, "alice")] {
        let all =
            |said: &[Value]| of(said, "answer").count() == MESSAGES && bodies(said, other).len() >= MESSAGES;
        client.until("all messages and answers", all).await?;
        assert_eq!(client.bodies(other), numbers(MESSAGES));
        assert!(of(&client.said, "answer").all(|answer| answer["type"] == "sent"), "{:?}", client.said);
        assert_eq!(of(&client.said, "disconnected").count(), 0, "{:?}", client.said);
    }
    Ok(())
}
