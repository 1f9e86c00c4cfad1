//! The lines for curl of the README and of deploy/README.md, pasted into a
//! shell, do what they say.

use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use cluster_tests::{Cluster, PATIENCE};
use loadtest::fleet::Fleet;
use rstest::rstest;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

const README: &str = include_str!("../../../README.md");
const BY_HAND: &str = include_str!("../../../deploy/README.md");

#[rstest]
#[case::server_sent_events("/v1/sse?")]
#[case::ndjson("/v1/stream?")]
#[case::long_polling("&wait=25")]
#[case::short_polling("&wait=0")]
#[tokio::test]
async fn what_the_readme_says_about_curl_prints_the_message(#[case] reading: &str) -> Result<()> {
    let cluster = Cluster::builder().start().await?;
    let at = |index, line: &str| line.replace("http://127.0.0.1:8080", cluster.gateway(index));
    let mut sending = paste(at(0, line_with(README, "/v1/messages")?))?;
    let answer = first_line_with(&mut sending, "\"seq\"").await?;
    assert!(answer.contains("\"conversation\":\"alice~bob\""), "{answer}");

    let mut reader = paste(at(1, line_with(README, reading)?))?;
    first_line_with(&mut reader, "\"body\":\"hi\"").await?;
    Ok(())
}

#[tokio::test]
async fn the_cluster_by_hand_hands_a_message_from_one_gateway_to_the_other() -> Result<()> {
    let cluster = Cluster::builder().start().await?;
    let here = |line: &str| {
        line.replace("http://127.0.0.1:8081", cluster.gateway(0))
            .replace("http://127.0.0.1:8082", cluster.gateway(1))
    };
    let mut sending = paste(here(line_with(BY_HAND, "/v1/messages")?))?;
    first_line_with(&mut sending, "\"seq\"").await?;
    let mut reader = paste(here(line_with(BY_HAND, "/v1/poll")?))?;
    first_line_with(&mut reader, "\"body\":\"hi from gw-1\"").await?;
    Ok(())
}

/// The first command of a document that has this in it.
fn line_with(document: &'static str, part: &str) -> Result<&'static str> {
    let mut commands = document.lines().filter(|line| line.contains(part)).filter_map(command);
    commands.next().with_context(|| format!("the document has no curl with {part}"))
}

/// From `curl` on: to the end of the line, or of the table's code.
fn command(line: &str) -> Option<&str> {
    let line = line.find("curl ").map(|start| &line[start..])?;
    line.split('`').next()
}

/// In a shell, as the document has it.
fn paste(line: String) -> Result<Child> {
    // `exec`, so that what is killed at the end is curl and not a shell.
    Command::new("sh")
        .args(["-c", &format!("exec {line}")])
        .env("ALICE", Fleet::issuer().token("alice"))
        .env("BOB", Fleet::issuer().token("bob"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("sh could not be started")
}

async fn first_line_with(child: &mut Child, part: &str) -> Result<String> {
    let output = child.stdout.take().context("its output is piped")?;
    let mut lines = BufReader::new(output).lines();
    let mut heard = String::new();
    let search = async {
        while let Some(line) = lines.next_line().await? {
            if line.contains(part) {
                return Ok(line);
            }
            heard.push_str(&line);
            heard.push('\n');
        }
        bail!("curl ended without {part} (is it installed? `make tools` does it)")
    };
    let found = timeout(PATIENCE, search).await.unwrap_or_else(|_| bail!("curl did not print {part}"));
    found.with_context(|| format!("it printed: {heard}"))
}
