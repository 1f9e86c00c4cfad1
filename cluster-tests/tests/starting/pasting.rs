//! What standalone prints first: the lines to paste do what they say.

use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use testbed::{Binaries, Process, Profile, port, wait};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use super::DEADLINE;

/// All that is indented, which is what a reader copies.
fn lines_to_paste(output: &str) -> String {
    output
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .fold(String::new(), |all, line| all + line + "\n")
}

#[tokio::test]
async fn the_lines_that_standalone_prints_bring_a_message() -> Result<()> {
    let binaries = tokio::task::spawn_blocking(|| Binaries::build(Profile::Debug)).await??;
    let address = format!("127.0.0.1:{}", port::free());
    let admin = format!("127.0.0.1:{}", port::free());
    let arguments = [format!("--listen={address}"), format!("--admin-listen={admin}")];
    // Its data goes to a folder of its own, where it runs.
    let standalone = Process::spawn("standalone", &binaries.standalone(), &arguments)?;
    let printed = || standalone.output();
    wait::until_true(DEADLINE, "it prints what to try", async || {
        printed().contains("--oauth2-bearer \"$BOB\"\n")
    })
    .await
    .with_context(printed)?;
    assert!(printed().contains(&format!("\nChat page: http://{address}/ ")), "{}", printed());

    let mut shell = Command::new("sh")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("sh could not be started")?;
    let mut input = shell.stdin.take().context("its input is piped")?;
    input.write_all(lines_to_paste(&printed()).as_bytes()).await?;
    drop(input);
    let output = shell.stdout.take().context("its output is piped")?;
    let mut heard = String::new();
    let arrives = async {
        let mut lines = BufReader::new(output).lines();
        while let Some(line) = lines.next_line().await? {
            if line.contains("\"type\":\"message\"") && line.contains("\"body\":\"hi\"") {
                return Ok(line);
            }
            heard.push_str(&line);
            heard.push('\n');
        }
        bail!("the shell ended without the message (is curl installed? `make tools` does it)")
    };
    let arrived = timeout(DEADLINE, arrives).await.unwrap_or_else(|_| bail!("the message did not arrive"));
    let arrived = arrived.with_context(|| format!("it printed: {heard}"))?;
    assert!(arrived.contains("\"from\":\"alice\""), "{arrived}");
    Ok(())
}
