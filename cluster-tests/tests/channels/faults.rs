//! Announcements that are lost, subscriptions that are cut, nodes that end,
//! readers that are slow.

use std::time::{Duration, Instant};

use anyhow::Result;
use cluster_tests::{Cluster, StoreKind};
use loadtest::client::Transport;
use rstest::rstest;
use serde_json::json;

use crate::scene::{Publisher, command, connect, expect, subscriber};

#[rstest]
#[case::one_call(StoreKind::Single)]
#[case::step_by_step(StoreKind::Steps)]
#[tokio::test]
async fn lost_announcements_are_read_from_the_log(#[case] store: StoreKind) -> Result<()> {
    let cluster = Cluster::builder().store(store).proxied().start().await?;
    let mut publisher = Publisher::new(&cluster, "c_news")?;
    let mut alice = subscriber(&cluster, "alice", "c_news", 0).await?;
    let mut bob = subscriber(&cluster, "bob", "c_news", 1).await?;
    cluster.proxy().drop_every(7, |pushed| pushed.payload.windows(6).any(|window| window == b"c_news"));
    publisher.publish(100).await?;
    expect(&mut alice, 1..=100).await?;
    expect(&mut bob, 1..=100).await?;
    assert!(cluster.proxy().dropped() >= 10, "{} were dropped", cluster.proxy().dropped());
    Ok(())
}

#[rstest]
#[case::one_call(StoreKind::Single)]
#[case::step_by_step(StoreKind::Steps)]
#[tokio::test]
async fn the_last_publication_lost_is_noticed_without_another_one(#[case] store: StoreKind) -> Result<()> {
    let cluster = Cluster::builder().store(store).proxied().start().await?;
    let mut publisher = Publisher::new(&cluster, "c_news")?;
    let mut alice = subscriber(&cluster, "alice", "c_news", 0).await?;
    publisher.publish(1).await?;
    expect(&mut alice, [1]).await?;
    cluster.proxy().drop_next(u64::MAX, |pushed| pushed.payload.windows(6).any(|window| window == b"c_news"));
    publisher.publish(1).await?;
    let published = Instant::now();
    expect(&mut alice, [2]).await?;
    assert!(cluster.proxy().dropped() >= 1, "the announcement was to be lost");
    assert!(published.elapsed() < Duration::from_secs(6), "it took {:?}", published.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_bus_that_is_cut_is_a_delay_and_nothing_else() -> Result<()> {
    let cluster = Cluster::builder().proxied().start().await?;
    let mut publisher = Publisher::new(&cluster, "c_news")?;
    let mut alice = subscriber(&cluster, "alice", "c_news", 0).await?;
    for turn in 0..3 {
        publisher.publish(20).await?;
        cluster.proxy().cut();
        publisher.publish(20).await?;
        expect(&mut alice, turn * 40 + 1..=turn * 40 + 40).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_router_that_ends_is_a_delay_and_nothing_else() -> Result<()> {
    let mut cluster = Cluster::builder().start().await?;
    let mut publisher = Publisher::new(&cluster, "c_news")?;
    let mut alice = subscriber(&cluster, "alice", "c_news", 0).await?;
    publisher.publish(5).await?;
    cluster.router_node(0).kill();
    publisher.publish(5).await?;
    expect(&mut alice, 1..=10).await?;
    let answer = command(&mut alice, json!({"type": "subscribe", "channel": "c_other"})).await?;
    assert_eq!(answer.number("seq"), Some(0));
    Ok(())
}

const BODY: usize = 16 * 1024;
/// Far more than sockets and queues hold.
const FILL: u64 = 900;

#[tokio::test]
async fn a_slow_subscriber_harms_no_other_and_gets_everything_later() -> Result<()> {
    let cluster = Cluster::builder().start().await?;
    let mut publisher = Publisher::new(&cluster, "c_news")?;
    let mut account = cluster.account("bob", "d1", 0);
    account.receive_buffer = Some(4096);
    let mut bob = connect(Transport::WebSocket, &account).await?;
    command(&mut bob, json!({"type": "subscribe", "channel": "c_news"})).await?;
    let mut alice = subscriber(&cluster, "alice", "c_news", 0).await?;
    for seq in 1..=FILL {
        publisher.publish_bytes(BODY).await?;
        expect(&mut alice, [seq]).await?;
    }
    expect(&mut bob, 1..=FILL).await?;
    publisher.publish(1).await?;
    expect(&mut bob, [FILL + 1]).await?;
    Ok(())
}

#[tokio::test]
async fn what_the_log_no_longer_has_is_left_out_and_the_rest_comes() -> Result<()> {
    let cluster = Cluster::builder().start().await?;
    let mut publisher = Publisher::new(&cluster, "c_news")?;
    publisher.publish(1_100).await?;
    let mut alice = connect(Transport::WebSocket, &cluster.account("alice", "d1", 0)).await?;
    let answer = command(&mut alice, json!({"type": "subscribe", "channel": "c_news", "after": 1})).await?;
    let first = crate::scene::seqs(&answer);
    assert!(first.first().is_some_and(|seq| *seq > 2), "{first:?}");
    let last = first.last().copied().unwrap_or_default();
    expect(&mut alice, last + 1..=1_100).await?;
    publisher.publish(1).await?;
    expect(&mut alice, [1_101]).await?;
    Ok(())
}
