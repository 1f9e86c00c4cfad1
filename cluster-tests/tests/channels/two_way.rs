//! `subscribe` and `unsubscribe`.

use anyhow::Result;
use cluster_tests::{Cluster, PATIENCE, StoreKind};
use loadtest::client::{Error, Transport};
use rstest::rstest;
use serde_json::json;
use tokio::time::timeout;

use crate::scene::{Publisher, command, connect, expect, next, seqs, subscriber};

#[rstest]
#[case::one_call(StoreKind::Single)]
#[case::step_by_step(StoreKind::Steps)]
#[case::redis_cluster(StoreKind::Cluster)]
#[tokio::test]
async fn subscribers_on_every_node_get_each_publication_in_order(#[case] store: StoreKind) -> Result<()> {
    let cluster = Cluster::builder().store(store).start().await?;
    let mut publisher = Publisher::new(&cluster, "c_news")?;
    publisher.publish(3).await?;
    let mut alice = subscriber(&cluster, "alice", "c_news", 0).await?;
    let mut bob = subscriber(&cluster, "bob", "c_news", 1).await?;
    publisher.publish(50).await?;
    expect(&mut alice, 4..=53).await?;
    expect(&mut bob, 4..=53).await?;
    Ok(())
}

#[rstest]
#[case::json(Transport::WebSocket)]
#[case::protobuf(Transport::WebSocketProtobuf)]
#[tokio::test]
async fn a_publication_has_the_fields_of_the_protocol(#[case] transport: Transport) -> Result<()> {
    let cluster = Cluster::builder().start().await?;
    let mut alice = connect(transport, &cluster.account("alice", "d1", 0)).await?;
    let answer = command(&mut alice, json!({"type": "subscribe", "channel": "c_news"})).await?;
    assert_eq!((answer.number("seq"), seqs(&answer)), (Some(0), vec![]));
    Publisher::new(&cluster, "c_news")?.publish(1).await?;
    let frame = next(&mut alice).await?;
    assert_eq!((frame.text("channel"), frame.text("from")), (Some("c_news"), Some("publisher")));
    assert_eq!((frame.number("seq"), &frame.0["body"]), (Some(1), &json!(1)));
    assert!(frame.number("time").is_some() && frame.cursor().is_none());
    Ok(())
}

#[tokio::test]
async fn what_was_published_since_a_place_comes_first_and_all_of_it() -> Result<()> {
    let cluster = Cluster::builder().start().await?;
    let mut publisher = Publisher::new(&cluster, "c_news")?;
    publisher.publish(130).await?;
    let mut alice = connect(Transport::WebSocket, &cluster.account("alice", "d1", 1)).await?;
    let answer = command(&mut alice, json!({"type": "subscribe", "channel": "c_news", "after": 10})).await?;
    assert_eq!(answer.number("seq"), Some(130));
    let first = seqs(&answer);
    assert_eq!(first, (11..11 + first.len() as u64).collect::<Vec<_>>());
    assert!(!first.is_empty());
    publisher.publish(5).await?;
    expect(&mut alice, 11 + first.len() as u64..=135).await?;

    // Subscribed again: without a position nothing changes, with one it goes on from there.
    command(&mut alice, json!({"type": "subscribe", "channel": "c_news"})).await?;
    publisher.publish(1).await?;
    expect(&mut alice, [136]).await?;
    let answer = command(&mut alice, json!({"type": "subscribe", "channel": "c_news", "after": 134})).await?;
    assert_eq!(seqs(&answer), [135, 136]);
    publisher.publish(1).await?;
    expect(&mut alice, [137]).await?;
    Ok(())
}

#[tokio::test]
async fn nothing_is_missed_or_repeated_while_others_publish() -> Result<()> {
    let cluster = Cluster::builder().start().await?;
    let mut publisher = Publisher::new(&cluster, "c_news")?;
    publisher.publish(1).await?;
    let publishing = async {
        publisher.publish(200).await?;
        anyhow::Ok(())
    };
    let reading = async {
        for (user, gateway, after) in [("alice", 0, Some(0)), ("bob", 1, None), ("carol", 1, Some(1))] {
            let mut client = connect(Transport::WebSocket, &cluster.account(user, "d1", gateway)).await?;
            let answer =
                command(&mut client, json!({"type": "subscribe", "channel": "c_news", "after": after}))
                    .await?;
            let first = seqs(&answer);
            let from = first.first().copied().or(answer.number("seq").map(|seq| seq + 1)).unwrap_or(0);
            if let Some(after) = after {
                assert_eq!(from, after + 1);
            }
            assert_eq!(first, (from..from + first.len() as u64).collect::<Vec<_>>());
            expect(&mut client, from + first.len() as u64..=from + 30).await?;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(publishing, reading)?;
    Ok(())
}

#[tokio::test]
async fn nothing_comes_after_the_answer_to_unsubscribe() -> Result<()> {
    let cluster = Cluster::builder().start().await?;
    let mut publisher = Publisher::new(&cluster, "c_news")?;
    let mut other = Publisher::new(&cluster, "c_other")?;
    let mut alice = subscriber(&cluster, "alice", "c_news", 0).await?;
    command(&mut alice, json!({"type": "subscribe", "channel": "c_other"})).await?;
    publisher.publish(2).await?;
    expect(&mut alice, [1, 2]).await?;
    command(&mut alice, json!({"type": "unsubscribe", "channel": "c_news"})).await?;
    publisher.publish(2).await?;
    other.publish(1).await?;
    let frame = next(&mut alice).await?;
    assert_eq!(frame.text("channel"), Some("c_other"));
    command(&mut alice, json!({"type": "unsubscribe", "channel": "c_news"})).await?;
    let answer = command(&mut alice, json!({"type": "subscribe", "channel": "c_news", "after": 2})).await?;
    assert_eq!(seqs(&answer), [3, 4]);
    Ok(())
}

#[tokio::test]
async fn a_subscription_too_many_is_a_conflict_and_a_bad_name_a_bad_request() -> Result<()> {
    let cluster =
        Cluster::builder().gateways(1).routers(1).gateway_flags("--max-subscriptions 2").start().await?;
    let mut alice = connect(Transport::WebSocket, &cluster.account("alice", "d1", 0)).await?;
    for (channel, code) in [
        ("c_1", None),
        ("c_2", None),
        ("c_1", None),
        ("c_3", Some("conflict")),
        ("news", Some("bad_request")),
    ] {
        let answer =
            timeout(PATIENCE, alice.command(json!({"type": "subscribe", "channel": channel}))).await?;
        let refused = match answer {
            Ok(_) => None,
            Err(Error::Refused(refusal)) => Some(refusal.code),
            Err(error) => return Err(error.into()),
        };
        assert_eq!(refused.as_deref(), code, "{channel}");
    }
    command(&mut alice, json!({"type": "unsubscribe", "channel": "c_1"})).await?;
    command(&mut alice, json!({"type": "subscribe", "channel": "c_3"})).await?;
    Ok(())
}
