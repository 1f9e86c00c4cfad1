//! Processes are told to stop: people are sent elsewhere, nothing is refused.

use std::time::Duration;

use anyhow::Result;
use cluster_tests::{Cluster, PATIENCE, Talk};

use crate::{STRICT, all, people};

const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];
const EVERY: Duration = Duration::from_millis(10);

#[tokio::test]
async fn a_gateway_that_stops_sends_its_people_elsewhere_and_ends_in_time() -> Result<()> {
    let drain = Duration::from_secs(15);
    let mut cluster = Cluster::builder().gateway_flags("--drain 15s").start().await?;
    let people = people(&cluster, &USERS).await?;
    let talk = Talk::start(&people, &[], EVERY);
    cluster.progress(50).await?;
    cluster.gateway_node(0).process()?.terminate()?;
    let status = cluster.gateway_node(0).process()?.ended(drain).await?;
    assert_eq!(status.code(), Some(0), "{status}");
    for person in [&people[0], &people[2]] {
        person.until("elsewhere", |standing| standing.sessions == 2 && standing.connected).await?;
        let standing = person.standing();
        assert_eq!((standing.goaways, standing.closes), (vec!["shutdown".to_owned()], vec![1012]));
    }
    cluster.progress(50).await?;
    talk.stop().await?;
    cluster.settle(&all(&people), STRICT).await?;
    for person in [&people[1], &people[3]] {
        assert_eq!(person.standing().sessions, 1, "{person}");
    }
    Ok(())
}

#[tokio::test]
async fn a_router_that_stops_is_not_noticed() -> Result<()> {
    let mut cluster = Cluster::builder().start().await?;
    let people = people(&cluster, &USERS).await?;
    let talk = Talk::start(&people, &[], EVERY);
    cluster.progress(50).await?;
    cluster.router_node(0).process()?.terminate()?;
    let status = cluster.router_node(0).process()?.ended(PATIENCE).await?;
    assert_eq!(status.code(), Some(0), "{status}");
    cluster.progress(50).await?;
    talk.stop().await?;
    cluster.settle(&all(&people), STRICT).await?;
    for person in &people {
        let standing = person.standing();
        assert_eq!((standing.sessions, standing.refusals), (1, vec![]), "{person}");
    }
    Ok(())
}
