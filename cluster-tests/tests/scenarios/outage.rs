//! Redis hangs, dies, or comes back without its last writes.

use std::time::Duration;

use anyhow::Result;
use cluster_tests::{Cluster, PATIENCE, StoreKind, Talk};
use loadtest::client::{Client, Transport};
use loadtest::history::Allowed;
use rstest::rstest;
use tokio::time::{sleep, timeout};

use crate::{STRICT, people, settle_without_a_break};

const USERS: [&str; 3] = ["alice", "bob", "carol"];
const EVERY: Duration = Duration::from_millis(10);

#[rstest]
#[case::one_call(StoreKind::Single)]
#[case::step_by_step(StoreKind::Steps)]
#[tokio::test]
async fn sessions_outlive_a_redis_that_hangs_for_five_seconds(#[case] store: StoreKind) -> Result<()> {
    let mut cluster = Cluster::builder().store(store).start().await?;
    let people = people(&cluster, &USERS).await?;
    let talk = Talk::start(&people, &[], EVERY);
    cluster.progress(50).await?;
    cluster.redis().stop()?;
    // How long the fault lasts; nothing is waited for.
    sleep(Duration::from_secs(5)).await;
    cluster.redis().cont()?;
    cluster.progress(50).await?;
    talk.stop().await?;
    settle_without_a_break(&mut cluster, &people).await
}

#[rstest]
#[case::one_call(StoreKind::Single)]
#[case::step_by_step(StoreKind::Steps)]
#[tokio::test]
async fn nothing_acknowledged_is_lost_when_redis_is_killed_and_comes_back(
    #[case] store: StoreKind,
) -> Result<()> {
    let mut cluster = Cluster::builder().store(store).start().await?;
    let people = people(&cluster, &USERS).await?;
    let talk = Talk::start(&people, &[], EVERY);
    for _ in 0..2 {
        cluster.progress(50).await?;
        cluster.redis().kill();
        // How long the fault lasts; nothing is waited for.
        sleep(Duration::from_secs(1)).await;
        cluster.redis().restart().await?;
    }
    cluster.progress(50).await?;
    talk.stop().await?;
    settle_without_a_break(&mut cluster, &people).await
}

/// `again` messages are written after the loss of five: fewer leave clients
/// beyond the head, more leave them on an event that is another one now.
#[rstest]
#[case::fewer_than_were_lost(StoreKind::Single, 3)]
#[case::more_than_were_lost(StoreKind::Single, 8)]
#[case::more_than_were_lost_step_by_step(StoreKind::Steps, 8)]
#[tokio::test]
async fn whoever_saw_what_redis_forgot_is_told_and_nobody_else(
    #[case] store: StoreKind,
    #[case] again: usize,
) -> Result<()> {
    let mut cluster = Cluster::builder().store(store).start().await?;
    let alice = cluster.person("alice", "d1", 0).await?;
    let bob = cluster.person("bob", "d1", 1).await?;
    let mut behind = cluster.connect("bob", "behind", 0).await?;
    for _ in 0..10 {
        alice.say_to("bob").await?;
    }
    cluster.settle(&[&alice, &bob], STRICT).await?;
    for _ in 0..10 {
        timeout(PATIENCE, behind.next_event()).await??;
    }
    let account = cluster.account("bob", "behind", 1).from(behind.cursor());
    behind.close().await;

    let copy = cluster.redis().copy_data().await?;
    let copied = cluster.history.moment();
    for _ in 0..5 {
        alice.say_to("bob").await?;
    }
    cluster.settle(&[&alice, &bob], STRICT).await?;
    cluster.redis().put_back(&copy).await?;
    cluster.history.forgotten_since(copied);
    for _ in 0..again {
        alice.say_to("bob").await?;
    }
    for person in [&alice, &bob] {
        person.until("told of the rewriting", |standing| !standing.resets.is_empty()).await?;
        assert_eq!(person.standing().resets, ["rewritten"], "{person}");
    }
    cluster.settle(&[&alice, &bob], Allowed { reset: true }).await?;

    let mut behind = Client::connect(Transport::WebSocket, &account).await?;
    for seq in (11..).take(again) {
        let event = timeout(PATIENCE, behind.next_event()).await??;
        assert_eq!((event.kind(), event.number("seq")), ("message", Some(seq)));
    }
    Ok(())
}
