//! Edits, recalls and reactions: events that everybody gets, and the state that
//! `history` shows.

use anyhow::{Context as _, Result};
use loadtest::client::{Client, Frame, Transport};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::scene::{Scene, ask, command, connect, of_kind, refusal};

/// The only message of the conversation, as `history` shows it.
async fn shown(client: &mut Client, conversation: &str) -> Result<Value> {
    let page = command(client, json!({"type": "history", "conversation": conversation})).await?;
    let messages = page.0["messages"].as_array().context("a history has messages")?;
    anyhow::ensure!(messages.len() == 1, "{messages:?}");
    Ok(messages[0].clone())
}

#[tokio::test]
async fn amendments_reach_everybody_on_every_node_and_history_shows_what_they_made() -> Result<()> {
    let scene = Scene::new().await?;
    let mut alice = scene.connect("alice", "d1", 0).await?;
    let mut tablet = scene.connect("alice", "d2", 1).await?;
    let mut bob = scene.connect("bob", "d1", 1).await?;
    let conversation = scene.conversation("alice", "bob");
    alice.send(&scene.user("bob"), json!("helo"), "m1").await?;
    of_kind(&mut bob, "message").await?;

    let edit = json!({"type": "edit", "conversation": conversation, "seq": 1, "body": "hello"});
    command(&mut alice, edit).await?;
    for reader in [&mut bob, &mut tablet] {
        let edited = of_kind(reader, "edited").await?;
        assert_eq!((edited.number("seq"), &edited.0["body"]), (Some(1), &json!("hello")));
        assert_eq!(edited.text("by"), Some(scene.user("alice").as_str()));
        assert!(edited.cursor().is_some());
    }
    let react = json!({"type": "react", "conversation": conversation, "seq": 1, "emoji": "👍", "on": true});
    command(&mut bob, react).await?;
    for reader in [&mut alice, &mut tablet] {
        let reaction = of_kind(reader, "reaction").await?;
        assert_eq!((reaction.text("emoji"), &reaction.0["on"]), (Some("👍"), &json!(true)));
        assert_eq!(reaction.text("user"), Some(scene.user("bob").as_str()));
    }
    let state = shown(&mut bob, &conversation).await?;
    assert_eq!(state["body"], "hello");
    assert!(state["edited"].is_u64(), "{state}");
    assert_eq!(state["reactions"], json!({"👍": [scene.user("bob")]}));

    command(&mut alice, json!({"type": "recall", "conversation": conversation, "seq": 1})).await?;
    for reader in [&mut bob, &mut tablet] {
        assert_eq!(of_kind(reader, "recalled").await?.number("seq"), Some(1));
    }
    let state = shown(&mut tablet, &conversation).await?;
    assert!(state["recalled"].is_u64() && state.get("body").is_none(), "{state}");
    Ok(())
}

#[rstest]
#[tokio::test]
async fn catching_up_brings_amendments_at_their_place_over_every_transport(
    #[values(
        Transport::WebSocket,
        Transport::WebSocketProtobuf,
        Transport::Sse,
        Transport::Stream,
        Transport::Iframe,
        Transport::LongPoll,
        Transport::LongPollProtobuf,
        Transport::ShortPoll
    )]
    transport: Transport,
) -> Result<()> {
    let scene = Scene::new().await?;
    let mut alice = scene.http("alice", 0)?;
    let conversation = scene.conversation("alice", "bob");
    scene.say(&mut alice, "bob", json!("one")).await?;
    scene.say(&mut alice, "bob", json!("two")).await?;
    let amended = |kind: &str, seq: u64| json!({"type": kind, "conversation": conversation, "seq": seq});
    let mut edit = amended("edit", 1);
    edit["body"] = json!("ONE");
    ask(&mut alice, edit).await?;
    let mut react = amended("react", 2);
    (react["emoji"], react["on"]) = (json!("❤"), json!(true));
    ask(&mut alice, react.clone()).await?;
    react["on"] = json!(false);
    ask(&mut alice, react).await?;
    ask(&mut alice, amended("recall", 2)).await?;
    scene.say(&mut alice, "bob", json!("three")).await?;

    let mut bob = connect(transport, &scene.account("bob", "d1", 1).from("start")).await?;
    let expected = [
        ("message", 1),
        ("message", 2),
        ("edited", 1),
        ("reaction", 2),
        ("reaction", 2),
        ("recalled", 2),
        ("message", 3),
    ];
    let mut seen: Vec<Frame> = Vec::new();
    for _ in expected {
        let event = timeout(cluster_tests::PATIENCE, bob.next_event()).await;
        seen.push(event.with_context(|| format!("seen {seen:?}"))??);
    }
    let kinds: Vec<_> =
        seen.iter().map(|frame| (frame.kind(), frame.number("seq").unwrap_or_default())).collect();
    assert_eq!(kinds, expected);
    assert_eq!(seen[2].0["body"], "ONE");
    assert_eq!((&seen[3].0["on"], &seen[4].0["on"]), (&json!(true), &json!(false)));
    Ok(())
}

#[tokio::test]
async fn only_the_sender_amends_and_only_members_react() -> Result<()> {
    let scene = Scene::new().await?;
    let (mut alice, mut bob, mut eve) =
        (scene.http("alice", 0)?, scene.http("bob", 1)?, scene.http("eve", 1)?);
    let conversation = scene.conversation("alice", "bob");
    scene.say(&mut alice, "bob", json!("mine")).await?;
    let edit = json!({"type": "edit", "conversation": conversation, "seq": 1, "body": "yours"});
    let recall = json!({"type": "recall", "conversation": conversation, "seq": 1});
    let react = json!({"type": "react", "conversation": conversation, "seq": 1, "emoji": "x", "on": true});
    assert_eq!(refusal(&mut bob, edit).await?, "forbidden");
    assert_eq!(refusal(&mut bob, recall).await?, "forbidden");
    assert_eq!(refusal(&mut eve, react).await?, "not_found");
    Ok(())
}
