//! Where a message is that a device should have and has not: what its
//! conversation's log and its user's inbox say when they are asked.

use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use super::Servers;
use crate::client::http::Http;
use crate::client::{Account, Poll, Result};
use crate::history::Violation;

/// Time for all questions about one message.
const PATIENCE: Duration = Duration::from_secs(10);

/// Violations that are looked into, at most.
const MOST: usize = 4;

/// What is known of the first missing messages, a line each.
pub(super) async fn testify(servers: &Servers, violations: &[Violation]) -> Vec<String> {
    let mut lines = Vec::new();
    for violation in violations {
        let Violation::Missing { device, conversation, seq, .. } = violation else { continue };
        if conversation.starts_with("c_") || lines.len() == MOST {
            continue;
        }
        let user = device.split('/').next().unwrap_or_default();
        let found = timeout(PATIENCE, look(servers, user, conversation, *seq)).await;
        let text = match found {
            Ok(Ok(text)) => text,
            Ok(Err(error)) => format!("could not be asked: {error}"),
            Err(_) => "no answer in time".to_owned(),
        };
        lines.push(format!("{conversation} #{seq} asked for as {user}: {text}"));
    }
    lines
}

async fn look(servers: &Servers, user: &str, conversation: &str, seq: u64) -> Result<String> {
    let token = servers.issuer.token(user);
    let account = Account::new(servers.gateway(0), &token, "witness");
    let mut http = Http::new(&account)?;
    let query =
        json!({"type": "history", "conversation": conversation, "after": seq.saturating_sub(1), "limit": 1});
    let log = http.command(&query).await?;
    let logged = log.0["messages"].as_array().is_some_and(|all| all.iter().any(|m| m["seq"] == seq));
    let mut inbox = Poll::connect(&account.from("start"), 0).await?;
    let (mut position, mut last) = (None, String::new());
    loop {
        let frames = inbox.poll_once().await?;
        if frames.is_empty() {
            break;
        }
        for frame in frames {
            if frame.text("conversation") == Some(conversation) && frame.number("seq") == Some(seq) {
                position = frame.cursor().map(str::to_owned);
            }
            last = frame.cursor().unwrap_or(&last).to_owned();
        }
    }
    let inbox =
        position.map_or("not in the inbox".to_owned(), |position| format!("in the inbox at {position}"));
    Ok(format!("{} the log, {inbox}, which ends at {last}", if logged { "in" } else { "not in" }))
}
