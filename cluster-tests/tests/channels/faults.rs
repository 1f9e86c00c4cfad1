//! Announcements that are lost, subscriptions that are cut, nodes that end,
//! readers that are slow.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use cluster_tests::{Cluster, PATIENCE, StoreKind};
use loadtest::client::Transport;
use rstest::rstest;
use serde_json::json;
use testbed::{Reply, wait};
use tokio::time::timeout;

use crate::scene::{Publisher, command, connect, expect, next, subscriber, until_kind};

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
    expect(&mut alice, [2]).await?;
    assert!(cluster.proxy().dropped() >= 1, "the announcement was to be lost");
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

#[tokio::test]
async fn a_redis_that_is_killed_and_comes_back_is_a_delay_and_nothing_else() -> Result<()> {
    let mut cluster = Cluster::builder().start().await?;
    let mut publisher = Publisher::new(&cluster, "c_news")?;
    let mut alice = subscriber(&cluster, "alice", "c_news", 0).await?;
    let mut seen = 0;
    for _ in 0..2 {
        for _ in 0..10 {
            publisher.publish_anyhow().await?;
        }
        cluster.redis().kill();
        cluster.redis().restart().await?;
        let mut last = 0;
        for _ in 0..10 {
            last = publisher.publish_anyhow().await?;
        }
        expect(&mut alice, seen + 1..=last).await?;
        seen = last;
    }
    Ok(())
}

#[tokio::test]
async fn a_store_that_lost_its_last_publications_does_not_silence_the_channel() -> Result<()> {
    let mut cluster = Cluster::builder().start().await?;
    let mut publisher = Publisher::new(&cluster, "c_news")?;
    let mut alice = subscriber(&cluster, "alice", "c_news", 0).await?;
    publisher.publish(10).await?;
    let copy = cluster.redis().copy_data().await?;
    publisher.publish(100).await?;
    expect(&mut alice, 1..=110).await?;
    cluster.redis().put_back(&copy).await?;
    let reset = until_kind(&mut alice, "channel_reset").await?;
    assert_eq!((reset.text("reason"), reset.number("seq")), (Some("rewritten"), Some(10)));
    let first = timeout(PATIENCE, async {
        loop {
            publisher.publish_anyhow().await?;
            if let Ok(frame) = timeout(Duration::from_millis(100), next(&mut alice)).await {
                return frame?.number("seq").context("a seq");
            }
        }
    })
    .await
    .context("the channel is silent")??;
    assert!(first <= 110, "{first}");
    let last = publisher.publish_anyhow().await?;
    expect(&mut alice, first + 1..=last).await?;
    Ok(())
}

#[tokio::test]
async fn a_node_leaves_a_channel_that_nobody_reads_and_joins_it_again() -> Result<()> {
    let mut cluster = Cluster::builder().start().await?;
    let mut publisher = Publisher::new(&cluster, "c_news")?;
    for turn in 0..2 {
        let mut alice = subscriber(&cluster, "alice", "c_news", 0).await?;
        let mut bob =
            connect(Transport::Sse, &cluster.account("bob", "d1", 0).with_channels("c_news")).await?;
        publisher.publish(2).await?;
        expect(&mut alice, turn * 4 + 1..=turn * 4 + 2).await?;
        expect(&mut bob, turn * 4 + 1..=turn * 4 + 2).await?;
        assert_eq!(audiences(&mut cluster).await?, 1);
        command(&mut alice, json!({"type": "unsubscribe", "channel": "c_news"})).await?;
        drop(bob);
        wait::until_true(PATIENCE, "the node leaves the channel", async || {
            audiences(&mut cluster).await.is_ok_and(|count| count == 0)
        })
        .await?;
        publisher.publish(2).await?;
    }
    Ok(())
}

/// Channels that some node is told of.
async fn audiences(cluster: &mut Cluster) -> Result<usize> {
    match cluster.redis().command(&["KEYS", "*o:c_news*"]).await? {
        Reply::List(keys) => Ok(keys.len()),
        other => bail!("{other:?} instead of a list"),
    }
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
    let reference = alice.start(json!({"type": "subscribe", "channel": "c_news", "after": 1})).await?;
    let reset = until_kind(&mut alice, "channel_reset").await?;
    assert_eq!((reset.text("channel"), reset.text("reason")), (Some("c_news"), Some("trimmed")));
    assert_eq!((reset.cursor(), reset.answers()), (None, None));
    let answer = until_kind(&mut alice, "ok").await?;
    assert_eq!(answer.answers(), Some(reference));
    let first = crate::scene::seqs(&answer);
    assert!(first.first().is_some_and(|seq| *seq > 2), "{first:?}");
    assert_eq!(first.first().map(|seq| seq - 1), reset.number("seq"));
    let last = first.last().copied().unwrap_or_default();
    expect(&mut alice, last + 1..=1_100).await?;
    publisher.publish(1).await?;
    expect(&mut alice, [1_101]).await?;
    Ok(())
}

#[tokio::test]
async fn a_place_beyond_the_head_is_said_to_be_rewritten() -> Result<()> {
    let cluster = Cluster::builder().start().await?;
    let mut publisher = Publisher::new(&cluster, "c_news")?;
    publisher.publish(3).await?;
    let mut alice = connect(Transport::WebSocket, &cluster.account("alice", "d1", 0)).await?;
    alice.start(json!({"type": "subscribe", "channel": "c_news", "after": 700})).await?;
    let reset = until_kind(&mut alice, "channel_reset").await?;
    assert_eq!((reset.text("reason"), reset.number("seq")), (Some("rewritten"), Some(3)));
    let answer = until_kind(&mut alice, "ok").await?;
    assert_eq!((answer.number("seq"), crate::scene::seqs(&answer)), (Some(3), Vec::new()));
    publisher.publish(1).await?;
    expect(&mut alice, [4]).await?;
    Ok(())
}
