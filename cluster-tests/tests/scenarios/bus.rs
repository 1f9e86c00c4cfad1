//! The bus loses announcements, the last one too, or goes deaf: a delay, and
//! nothing else.

use std::time::Duration;

use anyhow::Result;
use cluster_tests::{Cluster, StoreKind, Talk};
use rstest::rstest;
use tokio::time::sleep;

use crate::{STRICT, all, people, settle_without_a_break};

const USERS: [&str; 3] = ["alice", "bob", "carol"];
const EVERY: Duration = Duration::from_millis(10);

#[rstest]
#[case::one_call(StoreKind::Single)]
#[case::step_by_step(StoreKind::Steps)]
#[tokio::test]
async fn every_tenth_announcement_lost_is_a_delay_and_nothing_else(#[case] store: StoreKind) -> Result<()> {
    let mut cluster = Cluster::builder().store(store).proxied().start().await?;
    let people = people(&cluster, &USERS).await?;
    cluster.proxy().drop_every(10, |_| true);
    let talk = Talk::start(&people, &[], EVERY);
    cluster.progress(200).await?;
    talk.stop().await?;
    cluster.settle(&all(&people), STRICT).await?;
    assert!(cluster.proxy().dropped() >= 5, "{} were dropped", cluster.proxy().dropped());
    Ok(())
}

#[rstest]
#[case::one_call(StoreKind::Single)]
#[case::step_by_step(StoreKind::Steps)]
#[tokio::test]
async fn the_last_announcement_lost_is_noticed_without_another_one(#[case] store: StoreKind) -> Result<()> {
    let mut cluster = Cluster::builder().store(store).proxied().start().await?;
    let people = people(&cluster, &["alice", "bob"]).await?;
    people[0].say_to("bob").await?;
    cluster.settle(&all(&people), STRICT).await?;
    let lost = b"alice.d1-1";
    cluster
        .proxy()
        .drop_next(u64::MAX, move |pushed| pushed.payload.windows(lost.len()).any(|window| window == lost));
    assert_eq!(people[0].say_to("bob").await?.as_bytes(), lost);
    cluster.settle(&all(&people), STRICT).await?;
    assert!(cluster.proxy().dropped() >= 1, "the announcement was to be lost");
    Ok(())
}

#[tokio::test]
async fn a_subscription_that_is_cut_is_made_again_and_nothing_is_missed() -> Result<()> {
    let mut cluster = Cluster::builder().proxied().start().await?;
    let people = people(&cluster, &USERS).await?;
    let talk = Talk::start(&people, &[], EVERY);
    for _ in 0..3 {
        cluster.progress(40).await?;
        cluster.proxy().cut();
    }
    cluster.progress(40).await?;
    talk.stop().await?;
    settle_without_a_break(&mut cluster, &people).await
}

#[tokio::test]
async fn a_subscription_that_goes_deaf_is_a_delay_and_nothing_else() -> Result<()> {
    let mut cluster = Cluster::builder().proxied().start().await?;
    let people = people(&cluster, &USERS).await?;
    let talk = Talk::start(&people, &[], EVERY);
    cluster.progress(40).await?;
    cluster.proxy().hold();
    // How long the fault lasts; nothing is waited for.
    sleep(Duration::from_secs(4)).await;
    cluster.proxy().heal();
    cluster.progress(40).await?;
    talk.stop().await?;
    cluster.settle(&all(&people), STRICT).await?;
    Ok(())
}
