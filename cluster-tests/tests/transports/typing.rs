//! What is not kept: it comes to those who are there, and moves no cursor.
//! Between short polls nobody is there.

use std::time::Duration;

use anyhow::Result;
use cluster_tests::PATIENCE;
use loadtest::client::{Client, Frame, Transport};
use rstest::rstest;
use serde_json::json;
use tokio::time::timeout;

use crate::case::{Case, expect};

/// The next frame that does not only say how far somebody has read.
async fn unless_receipt(client: &mut Client) -> Result<Frame> {
    loop {
        let frame = client.next_frame().await?;
        if frame.kind() != "receipt" {
            return Ok(frame);
        }
    }
}

#[rstest]
#[tokio::test]
async fn typing_reaches_those_who_are_there_and_moves_no_cursor(
    #[values(
        Transport::WebSocket,
        Transport::WebSocketProtobuf,
        Transport::Sse,
        Transport::Stream,
        Transport::Iframe,
        Transport::LongPoll,
        Transport::LongPollProtobuf
    )]
    transport: Transport,
) -> Result<()> {
    let case = Case::new().await?;
    let mut bob = case.connect(transport, "bob", 0).await?;
    let mut alice = case.http("alice", 1)?;
    case.say(&mut alice, "bob", json!("hello")).await?;
    expect(&mut bob, 1..=1).await?;
    let cursor = bob.cursor().to_owned();
    let conversation = case.conversation("alice", "bob");
    // Somebody who is typing says so again and again: a poll may be
    // between two requests.
    let typing = async {
        let mut clock = tokio::time::interval(Duration::from_millis(200));
        loop {
            clock.tick().await;
            alice.command(&json!({"type": "typing", "conversation": conversation})).await?;
        }
    };
    let seen = tokio::select! {
        ended = typing => return ended,
        frame = timeout(PATIENCE, unless_receipt(&mut bob)) => frame??,
    };
    assert_eq!(seen.0, json!({"type": "typing", "conversation": conversation, "user": case.user("alice")}));
    assert_eq!(bob.cursor(), cursor);
    Ok(())
}
