//! From every transport to every other: a device is cut off in the middle of
//! a conversation and goes on elsewhere with its cursor.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use loadtest::client::http::Http;
use loadtest::client::{Account, Transport};
use loadtest::history::{DeviceLog, History};
use serde_json::json;

use crate::case::{Case, connect, event};
use crate::{STRICT, TRANSPORTS};

const MESSAGES: usize = 24;
/// Read before the device is cut off.
const BEFORE: usize = 9;
/// Pairs at a time.
const AT_ONCE: usize = 8;

#[tokio::test]
async fn a_device_changes_from_any_transport_to_any_and_gets_everything_once() -> Result<()> {
    let case = Case::new().await?;
    let pairs = TRANSPORTS.iter().flat_map(|from| TRANSPORTS.iter().map(move |to| (*from, *to)));
    let changes = pairs.enumerate().map(|(index, (from, to))| {
        let case = &case;
        async move { change(case, index, from, to).await.with_context(|| format!("from {from:?} to {to:?}")) }
    });
    let done: Vec<()> = stream::iter(changes).buffer_unordered(AT_ONCE).try_collect().await?;
    ensure!(done.len() == TRANSPORTS.len() * TRANSPORTS.len());
    Ok(())
}

async fn change(case: &Case, index: usize, from: Transport, to: Transport) -> Result<()> {
    let history = History::new();
    let (alice, bob) = (format!("alice{index}"), format!("bob{index}"));
    let mut log = history.device(&case.user(&bob), "d1");
    let here = case.account(&bob, index);
    let elsewhere = case.account(&bob, index + 1);
    tokio::try_join!(say(case, &history, &alice, &bob), read(&mut log, here, elsewhere, from, to))?;
    ensure!(history.settled(STRICT), "something is missing");
    let report = history.check(STRICT);
    ensure!(report.is_clean() && report.received == MESSAGES, "{report}");
    Ok(())
}

/// Writes through both gateways in turn.
async fn say(case: &Case, history: &Arc<History>, alice: &str, bob: &str) -> Result<()> {
    let mut gateways = [case.http(alice, 0)?, case.http(alice, 1)?];
    let conversation = case.conversation(alice, bob);
    for count in 0..MESSAGES {
        let id = format!("{}-{count}", case.user(alice));
        history.sending(&conversation, &id);
        let http: &mut Http = &mut gateways[count % 2];
        let command = json!({"type": "send", "to": case.user(bob), "body": count, "client_msg_id": id});
        let sent = http.command(&command).await?;
        history.acknowledged(&id, sent.number("seq").context("a seq")?);
    }
    Ok(())
}

async fn read(
    log: &mut DeviceLog,
    here: Account,
    elsewhere: Account,
    from: Transport,
    to: Transport,
) -> Result<()> {
    // Whatever has been written before the device is there counts too.
    let mut bob = connect(from, &here.from("start")).await?;
    log.began(bob.cursor());
    for _ in 0..BEFORE {
        log.frame(&event(&mut bob).await?);
    }
    let cursor = bob.cursor().to_owned();
    drop(bob);
    let mut bob = connect(to, &elsewhere.from(&cursor)).await?;
    log.began(&cursor);
    for _ in BEFORE..MESSAGES {
        log.frame(&event(&mut bob).await?);
    }
    Ok(())
}
