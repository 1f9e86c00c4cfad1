//! Signs of life, with a gateway that gives one every second.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use cluster_tests::{Cluster, PATIENCE};
use futures_util::{SinkExt, StreamExt};
use loadtest::client::http::Http;
use loadtest::client::{Account, Lines, Transport, WebSocket};
use serde_json::json;
use testbed::wait;
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::case::{Case, connect, ended, say};

/// Between two heartbeats.
const BEAT: Duration = Duration::from_secs(1);

#[tokio::test]
async fn every_stream_shows_signs_of_life_and_a_silent_peer_is_dropped() -> Result<()> {
    let cluster = Cluster::builder().gateways(1).routers(1).gateway_flags("--heartbeat 1s").start().await?;
    let account = |device: &str| cluster.account("bob", device, 0);
    tokio::try_join!(
        beats(account("d1"), "/v1/sse?device=d1", ":"),
        beats(account("d2"), "/v1/stream?device=d2", ""),
        beats(
            account("d3"),
            "/v1/iframe?device=d3&callback=parent.f",
            "<script>parent.f({\"type\":\"pong\"})</script>"
        ),
        pings(account("d4")),
        silence(account("d5")),
    )?;
    Ok(())
}

/// Three heartbeats after `welcome`, each about a second after the one before.
async fn beats(account: Account, path: &str, beat: &str) -> Result<()> {
    let mut lines = Lines::open(&account, path, &[]).await?;
    while !timeout(PATIENCE, lines.next()).await??.contains("\"heartbeat_ms\":1000") {}
    let begun = Instant::now();
    let mut count = 0;
    while count < 3 {
        let line = timeout(PATIENCE, lines.next()).await.with_context(|| path.to_owned())??;
        match line.as_str() {
            line if line == beat => count += 1,
            // The end of `welcome`; a heartbeat ends no event.
            "" if count == 0 => {}
            other => bail!("{other:?} on {path}"),
        }
    }
    // Slower is the machine's fault, faster would be ours.
    assert!(begun.elapsed() >= BEAT * 2, "{:?} on {path}", begun.elapsed());
    Ok(())
}

/// A peer that answers pings, and does nothing else, stays.
async fn pings(account: Account) -> Result<()> {
    let mut socket = WebSocket::connect(&account).await?.into_stream();
    let begun = Instant::now();
    for _ in 0..4 {
        // The library answers while it reads on.
        let message = timeout(PATIENCE, socket.next()).await?.context("it goes on")??;
        assert!(matches!(message, Message::Ping(_)), "{message:?}");
    }
    assert!(begun.elapsed() >= BEAT * 3);
    socket.send(Message::text(r#"{"type":"ping","ref":"p"}"#)).await?;
    let message = timeout(PATIENCE, socket.next()).await?.context("it goes on")??;
    assert_eq!(message, Message::text(r#"{"type":"pong","ref":"p"}"#));
    Ok(())
}

/// One that does not even read answers no ping.
async fn silence(account: Account) -> Result<()> {
    let socket = WebSocket::connect(&account).await?.into_stream();
    // Read without the library, so that nothing is answered: pings, and then
    // the close frame with its code.
    let mut stream = socket.into_inner();
    let mut received = Vec::new();
    let read = stream.read_to_end(&mut received);
    timeout(PATIENCE, read).await.context("it is not dropped")??;
    let mut frames = Vec::new();
    let mut rest = received.as_slice();
    while let [first, length, tail @ ..] = rest {
        let (payload, tail) = tail.split_at(usize::from(*length));
        frames.push((first & 0x0f, payload));
        rest = tail;
    }
    let (last, pings) = frames.split_last().context("a close frame")?;
    assert!(pings.iter().all(|(opcode, _)| *opcode == 9) && !pings.is_empty(), "{frames:?}");
    assert_eq!((last.0, &last.1[..2]), (8, &4408_u16.to_be_bytes()[..]), "{frames:?}");
    Ok(())
}

/// Where a client can be silent.
const SILENT: [Transport; 8] = [
    Transport::WebSocket,
    Transport::SocketIoWebSocket,
    Transport::SocketIoPolling,
    Transport::SockJsWebSocket,
    Transport::SockJsPolling,
    Transport::Sse,
    Transport::Stream,
    Transport::Iframe,
];

#[tokio::test]
async fn who_goes_silent_is_counted_as_such_and_who_leaves_is_not() -> Result<()> {
    let mut cluster =
        Cluster::builder().gateways(1).routers(1).gateway_flags("--heartbeat 1s").start().await?;
    let admin = cluster.gateway_node(0).admin_url();
    // Who polls over SockJS has no word for it, and just stays away.
    for transport in &SILENT[..4] {
        let client = connect(*transport, &cluster.account("alice", &format!("{transport:?}"), 0)).await?;
        client.close().await;
    }
    let left = async || ended(&admin, "bye").await;
    wait::until_true(PATIENCE, "four have said goodbye", async || left().await.is_ok_and(|count| count == 4))
        .await?;
    let mut silent = Vec::new();
    for transport in SILENT {
        let mut account = cluster.account("bob", &format!("{transport:?}"), 0);
        account.receive_buffer = Some(4_096);
        silent.push(connect(transport, &account).await?);
    }
    // More than buffers of sockets hold: one-way streams are silent by taking nothing.
    let mut carol = Http::new(&cluster.account("carol", "d1", 0))?;
    let body = "x".repeat(60_000);
    for _ in 0..100 {
        say(&mut carol, "bob", json!(body)).await?;
    }
    let lost = async || ended(&admin, "heartbeat_missed").await;
    let counted = wait::until_true(PATIENCE, "all are counted", async || {
        lost().await.is_ok_and(|count| count == SILENT.len() as u64)
    });
    counted.await.with_context(|| cluster.outputs())?;
    assert_eq!(left().await?, 4);
    Ok(())
}

#[tokio::test]
async fn a_client_may_ask_for_a_sign_of_life() -> Result<()> {
    let case = Case::new().await?;
    let mut socket = WebSocket::connect(&case.account("bob", 0)).await?.into_stream();
    socket.send(Message::Ping("are you there".into())).await?;
    let message = timeout(PATIENCE, socket.next()).await?.context("it goes on")??;
    assert_eq!(message, Message::Pong("are you there".into()));
    Ok(())
}
