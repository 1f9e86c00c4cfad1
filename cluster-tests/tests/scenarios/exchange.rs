//! Nothing fails: who gets what, on different nodes and on every kind of store.

use std::time::Duration;

use anyhow::{Context as _, Result};
use cluster_tests::{Cluster, StoreKind, Talk};
use loadtest::client::http::Http;
use rstest::rstest;
use serde_json::json;

use crate::{STRICT, all, people};

#[rstest]
#[case::one_call(StoreKind::Single)]
#[case::step_by_step(StoreKind::Steps)]
#[case::redis_cluster(StoreKind::Cluster)]
#[tokio::test]
async fn people_on_different_nodes_get_everything_once_and_in_order(#[case] store: StoreKind) -> Result<()> {
    let mut cluster = Cluster::builder().store(store).start().await?;
    let people = people(&cluster, &["alice", "bob"]).await?;
    for _ in 0..40 {
        people[0].say_to("bob").await?;
        people[1].say_to("alice").await?;
    }
    let report = cluster.settle(&all(&people), STRICT).await?;
    assert_eq!(report.acknowledged, 80);
    assert_ne!(people[0].standing().node, people[1].standing().node);
    Ok(())
}

#[rstest]
#[case::one_call(StoreKind::Single)]
#[case::step_by_step(StoreKind::Steps)]
#[case::redis_cluster(StoreKind::Cluster)]
#[tokio::test]
async fn groups_and_pairs_at_once_keep_their_order_for_everyone(#[case] store: StoreKind) -> Result<()> {
    let mut cluster = Cluster::builder().gateways(3).store(store).start().await?;
    let people = people(&cluster, &["alice", "bob", "carol", "dave"]).await?;
    let groups = [
        cluster.group(&["alice", "bob", "carol", "dave"]).await?,
        cluster.group(&["carol", "bob", "alice", "dave"]).await?,
    ];
    let talk = Talk::start(&people, &groups, Duration::from_millis(5));
    cluster.progress(200).await?;
    talk.stop().await?;
    cluster.settle(&all(&people), STRICT).await?;
    Ok(())
}

#[rstest]
#[case::one_call(StoreKind::Single)]
#[case::step_by_step(StoreKind::Steps)]
#[tokio::test]
async fn every_device_of_both_users_gets_everything(#[case] store: StoreKind) -> Result<()> {
    let mut cluster = Cluster::builder().store(store).start().await?;
    let phone = cluster.person("alice", "phone", 0).await?;
    let laptop = cluster.person("alice", "laptop", 1).await?;
    let tablet = cluster.person("bob", "tablet", 0).await?;
    let desk = cluster.person("bob", "desk", 1).await?;
    for _ in 0..20 {
        phone.say_to("bob").await?;
        laptop.say_to("bob").await?;
        tablet.say_to("alice").await?;
    }
    let report = cluster.settle(&[&phone, &laptop, &tablet, &desk], STRICT).await?;
    assert_eq!(report.received, 60 * 4);
    Ok(())
}

#[rstest]
#[case::one_call(StoreKind::Single)]
#[case::step_by_step(StoreKind::Steps)]
#[tokio::test]
async fn one_id_through_two_gateways_at_once_is_one_message(#[case] store: StoreKind) -> Result<()> {
    let mut cluster = Cluster::builder().store(store).start().await?;
    let bob = cluster.person("bob", "d1", 0).await?;
    let mut one = Http::new(&cluster.account("alice", "d1", 0))?;
    let mut other = Http::new(&cluster.account("alice", "d1", 1))?;
    for count in 0..30 {
        let id = format!("twice-{count}");
        let command = json!({"type": "send", "to": "bob", "body": count, "client_msg_id": id});
        cluster.history.sending("alice~bob", &id);
        let (first, second) = tokio::try_join!(one.command(&command), other.command(&command))?;
        let duplicates = [&first, &second].iter().filter(|sent| sent.0["duplicate"] == true).count();
        assert_eq!(duplicates, 1, "{first:?} {second:?}");
        for sent in [first, second] {
            cluster.history.acknowledged(&id, sent.number("seq").context("a seq")?);
        }
    }
    let report = cluster.settle(&[&bob], STRICT).await?;
    assert_eq!(report.received, 30);
    Ok(())
}
