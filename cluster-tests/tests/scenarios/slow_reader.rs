//! A reader that stops reading: it lags, others do not, memory stays bounded.

use std::time::{Duration, Instant};

use anyhow::Result;
use cluster_tests::Cluster;
use loadtest::client::Transport;
use testbed::Memory;
use tokio::time::sleep;

use crate::STRICT;

const BODY: usize = 16 * 1024;
/// Less than an inbox keeps: beyond that the reader would be told `behind`.
///
/// 96 MB of bodies. What may be filled on the way to the reader (the bus, the session's
/// queue, the allocator's spare) takes up to 30 MB, sooner or later; were the bodies
/// kept for the reader, all of them would be there at the end.
const MESSAGES: u64 = 6000;
const PAUSE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_reader_that_stops_for_ten_seconds_costs_no_memory_and_misses_nothing() -> Result<()> {
    let mut cluster = Cluster::builder().gateways(2).routers(1).start().await?;
    let alice = cluster.person("alice", "d1", 0).await?;
    let carol = cluster.person("carol", "d1", 1).await?;
    let mut account = cluster.account("bob", "d1", 1);
    account.receive_buffer = Some(4096);
    let bob = cluster.person_as(Transport::WebSocket, "bob", account).await?;
    // So that what comes with the first messages is not counted as growth.
    for _ in 0..50 {
        alice.say_much_to("bob", BODY).await?;
    }
    cluster.settle(&[&alice, &bob, &carol], STRICT).await?;

    let gateway = cluster.fleet.gateway_pids()[1];
    let before = Memory::of(gateway)?.resident;
    bob.stop_reading().await?;
    let stopped = Instant::now();
    for _ in 0..MESSAGES / 50 {
        for _ in 0..50 {
            alice.say_much_to("bob", BODY).await?;
        }
        carol.say_to("alice").await?;
        alice.answered_but(20).await?;
        carol.answered_but(0).await?;
    }
    alice.answered_but(0).await?;
    sleep(PAUSE.saturating_sub(stopped.elapsed())).await;
    let grown = Memory::of(gateway)?.resident.saturating_sub(before) / 1024;
    let sent = MESSAGES * BODY as u64 / 1024;
    println!("its gateway grew by {grown} KiB while {sent} KiB were sent to it");
    assert!(grown < sent / 2, "its gateway grew by {grown} KiB while {sent} KiB were sent to it");

    bob.read_on().await?;
    cluster.settle(&[&alice, &bob, &carol], STRICT).await?;
    assert_eq!(bob.standing().sessions, 1, "{bob}");
    Ok(())
}
