//! A gateway is told to stop while sessions of all transports are open on it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use cluster_tests::{Cluster, PATIENCE};
use futures_util::future::try_join_all;
use loadtest::client::http::Http;
use loadtest::client::{Account, Client, Transport};
use serde_json::json;
use testbed::wait;
use tokio::time::timeout;

use crate::TRANSPORTS;
use crate::case::{connect, connections, end, expect, is_stream, is_two_way, poll, say};

#[tokio::test]
async fn every_session_is_told_when_to_come_back_and_goes_on_elsewhere() -> Result<()> {
    let mut cluster = Cluster::builder().gateway_flags("--drain 20s").start().await?;
    let streams: Vec<Transport> = TRANSPORTS.into_iter().filter(|transport| is_stream(*transport)).collect();
    let mut accounts = Vec::new();
    let mut clients = Vec::new();
    for (index, transport) in streams.iter().enumerate() {
        let account = cluster.account("bob", &format!("d{index}"), 0);
        clients.push((*transport, connect(*transport, &account).await?));
        accounts.push(account);
    }
    let account = cluster.account("bob", "poll", 0);
    let (_, cursor) = poll(&mut Http::new(&account)?, "device=poll").await?;
    let mut http = Http::new(&account)?;
    let query = format!("device=poll&wait=45&cursor={cursor}");
    let polling = async {
        let (events, after) = poll(&mut http, &query).await?;
        assert!(events.is_empty(), "{events:?}");
        assert_eq!(after, cursor);
        anyhow::Ok(())
    };
    let admin = cluster.gateway_node(0).admin_url();
    let stopping = async {
        wait::until_true(PATIENCE, "the poll waits", async || {
            connections(&admin, "poll").await.is_ok_and(|count| count == 1)
        })
        .await?;
        cluster.gateway_node(0).process()?.terminate()?;
        let goings = clients.iter_mut().map(|(transport, client)| sent_away(*transport, client));
        try_join_all(goings).await?;
        anyhow::Ok(())
    };
    tokio::try_join!(polling, stopping)?;
    let status = cluster.gateway_node(0).process()?.ended(Duration::from_secs(20)).await?;
    assert_eq!(status.code(), Some(0), "{status}");

    say(&mut Http::new(&cluster.account("alice", "d1", 1))?, "bob", json!("meanwhile")).await?;
    accounts.push(account.from(&cursor));
    let all = streams.into_iter().chain([Transport::LongPoll]).zip(accounts);
    let resumed = all.map(|(transport, account)| resume(transport, account, cluster.gateway(1), &cursor));
    try_join_all(resumed).await?;
    Ok(())
}

async fn sent_away(transport: Transport, client: &mut Client) -> Result<()> {
    let ending = end(client).await.with_context(|| format!("{transport:?}"))?;
    assert_eq!(ending.reason(), "shutdown", "{transport:?}");
    let delay = ending.goaway.as_ref().and_then(|goaway| goaway.number("reconnect_in_ms"));
    assert!(delay.context("a delay")? <= 10_000, "{transport:?} {delay:?}");
    assert_eq!(ending.code, is_two_way(transport).then_some(1012), "{transport:?}");
    Ok(())
}

async fn resume(transport: Transport, mut account: Account, gateway: &str, cursor: &str) -> Result<()> {
    gateway.clone_into(&mut account.gateway);
    let mut client = connect(transport, &account.from(cursor)).await?;
    timeout(PATIENCE, expect(&mut client, 1..=1)).await?.with_context(|| format!("{transport:?}"))
}
