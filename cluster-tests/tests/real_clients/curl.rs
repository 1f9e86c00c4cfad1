//! The README's lines for curl, pasted into a shell, do what they say.

use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use cluster_tests::{Cluster, PATIENCE};
use loadtest::fleet::Fleet;
use rstest::rstest;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

const README: &str = include_str!("../../../README.md");

#[rstest]
#[case::server_sent_events("/v1/sse?")]
#[case::ndjson("/v1/stream?")]
#[case::long_polling("&wait=25")]
#[case::short_polling("&wait=0")]
#[tokio::test]
async fn what_the_readme_says_about_curl_prints_the_message(#[case] reading: &str) -> Result<()> {
    let cluster = Cluster::builder().start().await?;
    let mut sending = paste(&cluster, line_with("/v1/messages")?)?;
    let answer = first_line_with(&mut sending, "\"seq\"").await?;
    assert!(answer.contains("\"conversation\":\"alice~bob\""), "{answer}");

    let mut reader = paste(&cluster, line_with(reading)?)?;
    first_line_with(&mut reader, "\"body\":\"hi from gw-1\"").await?;
    Ok(())
}

/// The last of the README's commands that has this in it: those of the table
/// of transports come after the introduction's.
fn line_with(part: &str) -> Result<&'static str> {
    let mut commands = README.lines().filter(|line| line.contains(part)).filter_map(command);
    commands.next_back().with_context(|| format!("the README has no curl with {part}"))
}

/// From `curl` on: to the end of the line, or of the table's code.
fn command(line: &str) -> Option<&str> {
    let line = line.find("curl ").map(|start| &line[start..])?;
    line.split('`').next()
}

/// In a shell, as the README has it, at the gateways that run here.
fn paste(cluster: &Cluster, line: &str) -> Result<Child> {
    let line = line
        .replace("http://127.0.0.1:8081", cluster.gateway(0))
        .replace("http://127.0.0.1:8082", cluster.gateway(1));
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
