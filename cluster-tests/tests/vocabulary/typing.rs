//! `typing`: for the others who are there, and kept nowhere.

use anyhow::Result;
use loadtest::client::Transport;
use serde_json::json;

use crate::scene::{Scene, command, connect, frames_until, of_kind};

#[tokio::test]
async fn typing_is_shown_to_others_and_neither_to_oneself_nor_later() -> Result<()> {
    let scene = Scene::new().await?;
    let mut alice = scene.connect("alice", "d1", 0).await?;
    let mut tablet = scene.connect("alice", "d2", 1).await?;
    let mut bob = scene.connect("bob", "d1", 1).await?;
    alice.send(&scene.user("bob"), json!("hi"), "m1").await?;
    of_kind(&mut bob, "message").await?;
    let conversation = scene.conversation("alice", "bob");
    command(&mut alice, json!({"type": "typing", "conversation": conversation})).await?;
    let typing = of_kind(&mut bob, "typing").await?;
    let expected = json!({"type": "typing", "conversation": conversation, "user": scene.user("alice")});
    assert_eq!(typing.0, expected);

    // Whatever came of it has come before the next message.
    bob.send(&scene.user("alice"), json!("yes?"), "m2").await?;
    let second = |frame: &loadtest::client::Frame| frame.number("seq") == Some(2);
    for own in [&mut alice, &mut tablet] {
        let seen = frames_until(own, "the answer", second).await?;
        assert!(seen.iter().all(|frame| frame.kind() != "typing"), "{seen:?}");
    }
    let account = scene.account("bob", "d2", 0).from("start");
    let mut later = connect(Transport::WebSocket, &account).await?;
    let seen = frames_until(&mut later, "the answer", second).await?;
    assert!(seen.iter().all(|frame| frame.kind() != "typing"), "{seen:?}");
    Ok(())
}
