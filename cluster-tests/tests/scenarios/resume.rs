//! Sessions end and others begin elsewhere: on another node, over another
//! transport, because of another session, because of a token.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use cluster_tests::{Cluster, PATIENCE, StoreKind, Talk};
use loadtest::client::{Client, Close, Error, Transport};
use loadtest::fleet::Fleet;
use rstest::rstest;
use testbed::wait;
use tokio::time::timeout;

use crate::archive::whole;
use crate::{STRICT, all, people};

#[rstest]
#[case::one_call(StoreKind::Single)]
#[case::step_by_step(StoreKind::Steps)]
#[tokio::test]
async fn a_device_goes_on_at_another_node_over_another_transport(#[case] store: StoreKind) -> Result<()> {
    let mut cluster = Cluster::builder().store(store).start().await?;
    let people = people(&cluster, &["alice", "bob", "carol"]).await?;
    let talk = Talk::start(&people, &[], Duration::from_millis(10));
    let bob = &people[1];
    for (gateway, transport) in [
        (0, Transport::ShortPoll),
        (1, Transport::WebSocket),
        (0, Transport::LongPoll),
        (1, Transport::LongPoll),
        (1, Transport::ShortPoll),
        (0, Transport::WebSocket),
    ] {
        cluster.progress(15).await?;
        bob.move_to(gateway, transport).await?;
    }
    talk.stop().await?;
    cluster.settle(&all(&people), STRICT).await?;
    Ok(())
}

#[tokio::test]
async fn a_device_that_was_away_gets_what_it_missed() -> Result<()> {
    let mut cluster = Cluster::builder().start().await?;
    let alice = Arc::new(cluster.person("alice", "d1", 0).await?);
    let mut bob = cluster.connect("bob", "d1", 0).await?;
    alice.say_to("bob").await?;
    let seen = bob.next_event().await?;
    let account = cluster.account("bob", "d1", 1).from(bob.cursor());
    bob.close().await;
    for _ in 0..150 {
        alice.say_to("bob").await?;
    }
    cluster.settle(&[&alice], STRICT).await?;
    let mut bob = Client::connect(Transport::WebSocket, &account).await?;
    for seq in 2..=151 {
        let event = timeout(PATIENCE, bob.next_event()).await??;
        assert_eq!((event.kind(), event.number("seq")), ("message", Some(seq)));
    }
    assert_eq!(seen.number("seq"), Some(1));
    Ok(())
}

#[rstest]
#[case::one_call(StoreKind::Single)]
#[case::step_by_step(StoreKind::Steps)]
#[tokio::test]
async fn who_was_away_for_longer_than_inboxes_reach_is_told_and_reads_the_conversation(
    #[case] store: StoreKind,
) -> Result<()> {
    let cluster = Cluster::builder().store(store).router_flags("--inbox-age 1s").start().await?;
    let mut alice = cluster.connect("alice", "d1", 0).await?;
    let mut bob = cluster.connect("bob", "d1", 0).await?;
    alice.send("bob", "seen".into(), "m1").await?;
    bob.next_event().await?;
    let account = cluster.account("bob", "d1", 1).from(bob.cursor());
    bob.close().await;
    // Inboxes are looked after now and then, as they grow.
    let mut sent: u64 = 1;
    let mut bob = timeout(PATIENCE, async {
        loop {
            for _ in 0..64 {
                sent += 1;
                alice.send("bob", "missed".into(), &format!("m{sent}")).await?;
            }
            let mut bob = Client::connect(Transport::WebSocket, &account).await?;
            let first = bob.next_event().await?;
            if first.kind() == "reset" {
                assert_eq!(first.text("reason"), Some("trimmed"));
                return anyhow::Ok(bob);
            }
            bob.close().await;
        }
    })
    .await??;
    let ids: Vec<_> = (1..=sent).map(|number| format!("m{number}")).collect();
    assert_eq!(whole(&cluster, "bob", "alice~bob").await?, ids);
    alice.send("bob", "on it goes".into(), "last").await?;
    let event = timeout(PATIENCE, bob.next_event()).await??;
    assert_eq!((event.kind(), event.number("seq")), ("message", Some(sent + 1)));
    Ok(())
}

#[tokio::test]
async fn the_newest_session_of_a_device_replaces_the_one_on_another_node() -> Result<()> {
    let cluster = Cluster::builder().start().await?;
    let mut old = cluster.connect("bob", "d1", 0).await?;
    let mut new = cluster.connect("bob", "d1", 1).await?;
    let (reason, close) = end(&mut old).await?;
    assert_eq!((reason.as_str(), close.code), ("replaced", Some(4409)));
    new.send("bob", "to myself".into(), "m1").await?;
    Ok(())
}

#[tokio::test]
async fn a_user_with_too_many_sessions_loses_the_oldest_wherever_it_is() -> Result<()> {
    let cluster = Cluster::builder().router_flags("--max-sessions 3").start().await?;
    let mut sessions = Vec::new();
    for number in 1..=5 {
        sessions.push(cluster.connect("bob", &format!("d{number}"), number).await?);
    }
    for oldest in &mut sessions[..2] {
        let (reason, close) = end(oldest).await?;
        assert_eq!((reason.as_str(), close.code), ("replaced", Some(4409)));
    }
    let mut alice = cluster.connect("alice", "d1", 0).await?;
    alice.send("bob", "to those who are left".into(), "m1").await?;
    for session in &mut sessions[2..] {
        let event = timeout(PATIENCE, session.next_event()).await??;
        assert_eq!((event.kind(), event.number("seq")), ("message", Some(1)));
    }
    Ok(())
}

#[tokio::test]
async fn a_session_ends_when_its_token_does() -> Result<()> {
    let cluster = Cluster::builder().gateways(1).routers(1).start().await?;
    let mut account = cluster.account("bob", "d1", 0);
    account.token = Fleet::issuer().token_for("bob", Duration::from_secs(1));
    let mut session = Client::connect(Transport::WebSocket, &account).await?;
    let (reason, close) = end(&mut session).await?;
    assert_eq!((reason.as_str(), close.code), ("token_expired", Some(4401)));
    // Its leeway of five seconds may have begun only now.
    wait::until_true(PATIENCE, "the expired token is refused", async || {
        let refused = Client::connect(Transport::WebSocket, &account).await;
        matches!(refused, Err(Error::Refused(refusal)) if refusal.status == 401)
    })
    .await?;
    Ok(())
}

/// Reads to the end: the reason of `goaway`, and how the connection closed.
async fn end(client: &mut Client) -> Result<(String, Close)> {
    let mut reason = String::new();
    loop {
        match timeout(PATIENCE, client.next_frame()).await? {
            Ok(frame) if frame.kind() == "goaway" => {
                frame.text("reason").unwrap_or_default().clone_into(&mut reason);
            }
            Ok(_) => {}
            Err(Error::Closed(close)) => return Ok((reason, close)),
            Err(error) => return Err(error.into()),
        }
    }
}
