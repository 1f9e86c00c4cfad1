//! Gateways and routers die in the middle of everything, without a word.

use std::time::Duration;

use anyhow::Result;
use cluster_tests::{Cluster, PATIENCE, StoreKind, Talk};
use rstest::rstest;

use crate::{STRICT, all, people, settle_without_a_break};

const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];
const EVERY: Duration = Duration::from_millis(10);

#[rstest]
#[case::one_call(StoreKind::Single)]
#[case::step_by_step(StoreKind::Steps)]
#[tokio::test]
async fn nothing_is_lost_or_repeated_when_gateways_are_killed_in_turn(
    #[case] store: StoreKind,
) -> Result<()> {
    let mut cluster = Cluster::builder().gateways(3).store(store).start().await?;
    let people = people(&cluster, &USERS).await?;
    let group = cluster.group(&USERS).await?;
    let talk = Talk::start(&people, &[group], EVERY);
    for gateway in 0..3 {
        cluster.progress(30).await?;
        cluster.gateway_node(gateway).kill();
        cluster.progress(30).await?;
        cluster.gateway_node(gateway).restart().await?;
    }
    talk.stop().await?;
    cluster.settle(&all(&people), STRICT).await?;
    let sessions: usize = people.iter().map(|person| person.standing().sessions).sum();
    assert!(sessions > people.len(), "somebody had to reconnect");
    Ok(())
}

#[rstest]
#[case::one_call(StoreKind::Single)]
#[case::step_by_step(StoreKind::Steps)]
#[tokio::test]
async fn nobody_is_disconnected_when_routers_are_killed_in_turn(#[case] store: StoreKind) -> Result<()> {
    let mut cluster = Cluster::builder().store(store).start().await?;
    let people = people(&cluster, &USERS).await?;
    let group = cluster.group(&USERS).await?;
    let talk = Talk::start(&people, &[group], EVERY);
    for router in [0, 1, 0] {
        cluster.progress(30).await?;
        cluster.router_node(router).kill();
        cluster.progress(30).await?;
        cluster.router_node(router).restart().await?;
    }
    talk.stop().await?;
    settle_without_a_break(&mut cluster, &people).await
}

#[tokio::test]
async fn nothing_is_lost_or_repeated_when_a_gateway_and_a_router_die_at_once() -> Result<()> {
    let mut cluster = Cluster::builder().start().await?;
    let people = people(&cluster, &USERS).await?;
    let talk = Talk::start(&people, &[], EVERY);
    for index in [0, 1] {
        cluster.progress(30).await?;
        cluster.gateway_node(index).kill();
        cluster.router_node(index).kill();
        cluster.progress(30).await?;
        cluster.router_node(index).restart().await?;
        cluster.gateway_node(index).restart().await?;
    }
    talk.stop().await?;
    cluster.settle(&all(&people), STRICT).await?;
    Ok(())
}

/// The only router ends itself at the step; the next one finishes what it began.
#[rstest]
#[case::in_one_call_before_anything(StoreKind::Single, "begun")]
#[case::in_one_call_told_to_nobody(StoreKind::Single, "filed")]
#[case::in_one_call_after_everything(StoreKind::Single, "announced")]
#[case::begun(StoreKind::Steps, "begun")]
#[case::numbered(StoreKind::Steps, "numbered")]
#[case::filed_for_some(StoreKind::Steps, "filed-some")]
#[case::filed(StoreKind::Steps, "filed")]
#[case::announced(StoreKind::Steps, "announced")]
#[case::in_a_redis_cluster_numbered(StoreKind::Cluster, "numbered")]
#[case::in_a_redis_cluster_filed_for_some(StoreKind::Cluster, "filed-some")]
#[tokio::test]
async fn a_message_ends_filed_for_all_or_none_wherever_its_router_dies(
    #[case] store: StoreKind,
    #[case] step: &str,
) -> Result<()> {
    let mut cluster = Cluster::builder().store(store).start().await?;
    let people = people(&cluster, &USERS).await?;
    let group = cluster.group(&USERS).await?;
    let flags = ["--fail-at", step];
    cluster.router_node(0).set_flags(&flags);
    cluster.router_node(0).restart().await?;
    // A gateway with little to do uses one router, and this must be the one.
    cluster.router_node(1).kill();
    let talk = Talk::start(&people, &[group], EVERY);
    let status = cluster.router_node(0).process()?.ended(PATIENCE).await?;
    assert!(!status.success(), "it was to crash: {status}");
    cluster.router_node(1).restart().await?;
    cluster.progress(30).await?;
    cluster.router_node(0).unset_flags(&flags);
    cluster.router_node(0).restart().await?;
    cluster.progress(30).await?;
    talk.stop().await?;
    cluster.settle(&all(&people), STRICT).await?;
    Ok(())
}

/// Nobody repeats the message: its router has told nobody of it, and the gateway
/// of its sender dies, too.
#[tokio::test]
async fn a_message_that_its_router_told_nobody_reaches_who_is_there() -> Result<()> {
    let mut cluster = Cluster::builder().start().await?;
    let alice = cluster.person("alice", "d1", 0).await?;
    let bob = cluster.person("bob", "d1", 1).await?;
    alice.say_to("bob").await?;
    cluster.settle(&[&alice, &bob], STRICT).await?;
    let before = bob.standing().received;
    let flags = ["--fail-at", "filed"];
    cluster.router_node(0).set_flags(&flags);
    cluster.router_node(0).restart().await?;
    cluster.router_node(1).kill();
    alice.say_to("bob").await?;
    cluster.router_node(0).process()?.ended(PATIENCE).await?;
    cluster.gateway_node(0).kill();
    cluster.router_node(1).restart().await?;
    bob.until("what nobody told", |standing| standing.received > before).await?;
    cluster.gateway_node(0).restart().await?;
    cluster.settle(&[&alice, &bob], STRICT).await?;
    Ok(())
}
