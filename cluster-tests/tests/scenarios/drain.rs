//! Processes are told to stop: people are sent elsewhere, nothing is refused,
//! and nobody who does as it is told feels it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use cluster_tests::{Cluster, PATIENCE, Talk};
use loadtest::client::{Account, Client, Transport};
use testbed::{Balancer, Program, wait};

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
        // The next session stood before the one before it had ended.
        assert_eq!((standing.goaways, standing.closes), (vec!["shutdown".to_owned()], vec![]));
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
async fn a_rolling_restart_is_felt_on_no_transport() -> Result<()> {
    const TRANSPORTS: [Transport; 7] = [
        Transport::WebSocket,
        Transport::WebSocketProtobuf,
        Transport::Sse,
        Transport::Stream,
        Transport::Iframe,
        Transport::LongPoll,
        Transport::LongPollProtobuf,
    ];
    let mut cluster = Cluster::builder().apart().gateway_flags("--drain 30s").start().await?;
    let haproxy = Balancer::start(Program::Haproxy, &cluster.behind_balancer()).await?;
    let balanced =
        |cluster: &Cluster, user: &str| Account { gateway: haproxy.url(), ..cluster.account(user, "d1", 0) };
    let mut people = Vec::new();
    for (index, transport) in TRANSPORTS.into_iter().enumerate() {
        let user = format!("user{index}");
        let account = balanced(&cluster, &user);
        people.push(Arc::new(cluster.person_as(transport, &user, account).await?));
    }
    let talk = Talk::start(&people, &[], Duration::from_millis(40));
    for index in 0..2 {
        cluster.progress(30).await?;
        cluster.gateway_node(index).process()?.terminate()?;
        let status = cluster.gateway_node(index).process()?.ended(PATIENCE).await?;
        assert_eq!(status.code(), Some(0), "{status}");
        cluster.gateway_node(index).restart().await?;
        let (account, name) = (balanced(&cluster, "nobody"), format!("gw-{index}"));
        wait::until_true(PATIENCE, "the balancer uses it again", async || {
            let client = Client::connect(Transport::Sse, &account).await;
            client.is_ok_and(|client| client.welcome().and_then(|frame| frame.text("node")) == Some(&name))
        })
        .await?;
    }
    cluster.progress(30).await?;
    talk.stop().await?;
    cluster.settle(&all(&people), STRICT).await?;
    for (person, transport) in people.iter().zip(TRANSPORTS) {
        let standing = person.standing();
        // A poll goes where the balancer sends it: it may never have waited on a node that stopped.
        let polls = matches!(transport, Transport::LongPoll | Transport::LongPollProtobuf);
        assert!(polls || standing.sessions > 1, "{person}");
        assert_eq!((standing.closes, standing.refusals), (vec![], vec![]), "{person}");
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
