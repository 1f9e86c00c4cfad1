//! A gateway is told to stop while sessions of all transports are open on it.

use anyhow::{Context as _, Result};
use cluster_tests::{Cluster, PATIENCE};
use loadtest::client::http::Http;
use loadtest::client::{Account, Client, Transport};
use serde_json::json;
use testbed::wait;
use tokio::time::timeout;

use crate::TRANSPORTS;
use crate::case::{Ending, connect, connections, end, event, is_stream, is_two_way, poll, say};

#[tokio::test]
async fn every_session_is_served_until_it_has_gone_elsewhere() -> Result<()> {
    // So long that a session which nobody replaces would stay for 10 seconds.
    let mut cluster = Cluster::builder().gateway_flags("--drain 40s").start().await?;
    let streams: Vec<Transport> = TRANSPORTS.into_iter().filter(|transport| is_stream(*transport)).collect();
    let mut clients = Vec::new();
    for (index, transport) in streams.iter().enumerate() {
        let account = cluster.account("bob", &format!("d{index}"), 0);
        clients.push((*transport, connect(*transport, &account).await?, account));
    }
    let account = cluster.account("carol", "poll", 0);
    let (_, cursor) = poll(&mut Http::new(&account)?, "device=poll").await?;
    let mut http = Http::new(&account)?;
    let query = format!("device=poll&wait=45&cursor={cursor}");
    let polling = async {
        let (events, after) = poll(&mut http, &query).await?;
        let [goaway] = &events[..] else { anyhow::bail!("{events:?}") };
        assert_eq!(goaway.text("reason"), Some("shutdown"));
        // It was answered when its time was over: nothing is left of that.
        assert_eq!(goaway.number("reconnect_in_ms"), Some(0));
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
        for (transport, client, _) in &mut clients {
            told(client).await.with_context(|| format!("{transport:?}"))?;
        }
        // Nobody has left yet, and all go on: down and, where there is a way, up.
        let mut alice = Http::new(&cluster.account("alice", "d1", 1))?;
        for (transport, client, account) in clients {
            say(&mut alice, "bob", json!("still here")).await?;
            let leaving = leave(transport, client, account, cluster.gateway(1).to_owned());
            leaving.await.with_context(|| format!("{transport:?}"))?;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(polling, stopping)?;
    let status = cluster.gateway_node(0).process()?.ended(PATIENCE).await?;
    assert_eq!(status.code(), Some(0), "{status}");
    Ok(())
}

async fn told(client: &mut Client) -> Result<()> {
    loop {
        let frame = timeout(PATIENCE, client.next_frame()).await??;
        if frame.kind() == "goaway" {
            assert_eq!(frame.text("reason"), Some("shutdown"));
            let delay = frame.number("reconnect_in_ms").context("a delay")?;
            assert!(delay <= 5_000, "{delay}");
            return Ok(());
        }
    }
}

/// Reads a message and says something over a session that was sent away, and
/// then goes on elsewhere, before it lets go.
async fn leave(transport: Transport, mut old: Client, mut account: Account, gateway: String) -> Result<()> {
    let message = event(&mut old).await?;
    assert_eq!((message.kind(), message.text("from")), ("message", Some("alice")));
    if is_two_way(transport) {
        let sent =
            timeout(PATIENCE, old.send("dave", json!("from here"), &format!("{transport:?}"))).await??;
        assert_eq!(sent.kind(), "sent");
    }
    account.gateway = gateway;
    let _new = connect(transport, &account.from(old.cursor())).await?;
    // Replaced, as it was told to be: it hears of nothing else.
    let Ending { goaway, code } = end(&mut old).await?;
    assert!(goaway.is_none(), "{goaway:?}");
    assert_eq!(code, is_two_way(transport).then_some(1012));
    Ok(())
}

#[tokio::test]
async fn whoever_stays_is_ended_in_time() -> Result<()> {
    let mut cluster = Cluster::builder().gateways(1).routers(1).gateway_flags("--drain 4s").start().await?;
    let mut clients = Vec::new();
    for (index, transport) in TRANSPORTS.into_iter().filter(|transport| is_stream(*transport)).enumerate() {
        clients
            .push((transport, connect(transport, &cluster.account("bob", &format!("d{index}"), 0)).await?));
    }
    cluster.gateway_node(0).process()?.terminate()?;
    for (transport, client) in &mut clients {
        let ending = end(client).await?;
        assert_eq!(ending.reason(), "shutdown", "{transport:?}");
        assert_eq!(ending.code, is_two_way(*transport).then_some(1012), "{transport:?}");
    }
    let status = cluster.gateway_node(0).process()?.ended(PATIENCE).await?;
    assert_eq!(status.code(), Some(0), "{status}");
    Ok(())
}
