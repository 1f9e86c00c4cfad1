//! The fault matrix in short: some of its rows, some seconds at random, and that
//! the checker behind them notices what it is there for. `make faults` runs all.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use cluster_tests::faults::{self, long};
use cluster_tests::{Cluster, Deceit, PATIENCE, Person};
use loadtest::history::{Allowed, Report};
use rstest::rstest;
use testbed::wait;

const STRICT: Allowed = Allowed { reset: false };

#[rstest]
#[case::a_gateway_beyond_its_lease("partition-gateway-redis")]
#[case::a_bus_that_cannot_be_relied_on("bus")]
#[case::half_open_connections("half-open-router-redis")]
#[tokio::test]
async fn a_row_of_the_matrix_passes(#[case] name: &str) -> Result<()> {
    let row = faults::rows().into_iter().find(|row| row.name == name).context("no such row")?;
    let seed = rand::random_range(0..1_000_000);
    println!("seed {seed}");
    let outcome = faults::run(&row, seed).await;
    assert_eq!(outcome.failure, None, "{}", faults::table(std::slice::from_ref(&outcome)));
    Ok(())
}

#[tokio::test]
async fn faults_at_random_are_survived_for_some_seconds() -> Result<()> {
    let seed = rand::random_range(0..1_000_000);
    println!("seed {seed}");
    let outcomes = long::run(Duration::from_secs(20), seed, |line| println!("{line}")).await?;
    assert!(outcomes.iter().all(|outcome| outcome.failure.is_none()), "{}", faults::table(&outcomes));
    Ok(())
}

/// What cannot fail is no test: a device that deceives the history once is found out,
/// and every other is not accused.
#[rstest]
#[case::lost(Deceit::Loses, Report::missing)]
#[case::repeated(Deceit::Repeats, Report::repeated)]
#[case::reordered(Deceit::Reorders, Report::reordered)]
#[tokio::test]
async fn what_happens_to_one_event_is_noticed(
    #[case] deceit: Deceit,
    #[case] count: fn(&Report) -> usize,
) -> Result<()> {
    let mut cluster = Cluster::builder().routers(1).start().await?;
    let alice = Arc::new(cluster.person("alice", "d1", 0).await?);
    let bob: Arc<Person> = Arc::new(cluster.person("bob", "d1", 1).await?);
    alice.say_to("bob").await?;
    cluster.settle(&[&alice, &bob], STRICT).await?;
    bob.deceive(deceit).await?;
    // The next order comes after that one.
    bob.watch(&[]).await?;
    bob.say_to("alice").await?;
    alice.until("told", |standing| standing.received == 1).await?;
    for _ in 0..3 {
        alice.say_to("bob").await?;
    }
    bob.until("told", |standing| standing.received == 4).await?;
    let lost = usize::from(deceit == Deceit::Loses);
    wait::until_true(PATIENCE, "everything else is there", async || {
        alice.unanswered() == 0 && bob.unanswered() == 0 && cluster.history.outstanding(STRICT) == lost
    })
    .await?;
    let report = cluster.history.check(STRICT);
    assert!(count(&report) > 0, "{report}");
    assert!(!report.to_string().contains("alice/d1 got"), "{report}");
    Ok(())
}
