//! Engine.IO over WebSockets, and the way from polls to there.

use conformance::Times;
use tokio_tungstenite::tungstenite::Message;

use crate::polling::{UNKNOWN, begin};
use crate::support::{Server, until};

const PATH: &str = "/engine.io/?EIO=4&transport=websocket";

/// Where a polling client's WebSocket goes.
fn websocket(client: &str) -> String {
    client.replace("transport=polling", "transport=websocket")
}

#[tokio::test]
async fn text_and_bytes_come_back_as_they_are() {
    let server = Server::start().await;
    let mut socket = server.websocket(PATH).await;
    let opened = socket.next_text().await;
    let told: serde_json::Value = serde_json::from_str(opened.strip_prefix('0').unwrap()).unwrap();
    assert_eq!(told["upgrades"], serde_json::json!([]));
    socket.text("4hello").await;
    assert_eq!(socket.next_text().await, "4hello");
    socket.bytes(&[1, 2, 3, 4]).await;
    assert_eq!(socket.next().await, Some(Message::binary(vec![1, 2, 3, 4])));
    socket.text("bAQIDBA==").await;
    assert_eq!(socket.next().await, Some(Message::binary(vec![1, 2, 3, 4])), "as in a payload");
    socket.text("6").await;
    socket.text("4").await;
    assert_eq!(socket.next_text().await, "4");
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_packet_closes() {
    let server = Server::start().await;
    for wrong in ["abc", "", "7", "2", "2probe", "1"] {
        let mut socket = server.websocket(PATH).await;
        socket.next_text().await;
        socket.text(wrong).await;
        assert_eq!(socket.next().await, None, "{wrong}");
    }
    let mut socket = server.websocket(PATH).await;
    socket.next_text().await;
    socket.text(&"4".repeat(1_000_001)).await;
    assert_eq!(socket.next().await, None, "too large");
    server.stop().await;
}

#[tokio::test]
async fn the_server_asks_for_signs_of_life_and_lets_go_of_the_silent() {
    let server = Server::with(Times::SUITES).await;
    let mut socket = server.websocket(PATH).await;
    socket.next_text().await;
    for _ in 0..3 {
        assert_eq!(socket.next_text().await, "2");
        socket.text("3").await;
    }
    assert_eq!(socket.next_text().await, "2");
    while let Some(next) = socket.next().await {
        assert_eq!(next, Message::text("2"));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_client_goes_on_over_a_websocket_while_messages_flow() {
    let server = Server::start().await;
    let client = begin(&server).await;
    let mut socket = server.websocket(&websocket(&client)).await;
    let sent: Vec<String> = (0..2_000).map(|number| format!("4{number}")).collect();
    let (before, after) = sent.split_at(1_000);
    assert_eq!(server.post(&client, before.join("\u{1e}")).await.status, 200);
    let mut echoed: Vec<String> = Vec::new();
    // A poll that waits while the WebSocket probes is answered.
    let waiting = server.begin_get(&client).await;
    socket.text("2probe").await;
    assert_eq!(socket.next_text().await, "3probe");
    let mut answer = waiting.answer().await;
    while answer.body != "6" {
        echoed.extend(answer.body.split('\u{1e}').map(str::to_owned));
        answer = server.get(&client).await;
    }
    assert_eq!(server.post(&client, after.join("\u{1e}")).await.status, 200);
    socket.text("5").await;
    while echoed.len() < sent.len() {
        echoed.push(socket.next_text().await);
    }
    assert!(echoed == sent, "each once and in order");
    // It polls no more.
    assert_eq!(server.get(&client).await.status, 400);
    assert_eq!(server.post(&client, "4lost").await.status, 400);
    let mut second = server.websocket(&websocket(&client)).await;
    assert_eq!(second.next().await, None);
    socket.text("4still here").await;
    assert_eq!(socket.next_text().await, "4still here");
    server.stop().await;
}

/// More than the echo keeps: it takes the rest once something of it was read.
fn many() -> Vec<String> {
    (0..20_000).map(|number| format!("4{number}")).collect()
}

/// A client that upgrades polls no more until its POST is answered (as engine.io-client
/// does it).
#[tokio::test]
async fn a_post_waits_for_no_poll_while_its_client_upgrades() {
    let server = Server::start().await;
    for probed_first in [true, false] {
        let client = begin(&server).await;
        let mut socket = server.websocket(&websocket(&client)).await;
        let sent = many();
        let posted = server.post(&client, sent.join("\u{1e}"));
        let upgrading = async {
            socket.text("2probe").await;
            assert_eq!(socket.next_text().await, "3probe");
        };
        if probed_first {
            upgrading.await;
            assert_eq!(posted.await.status, 200);
        } else {
            let (posted, ()) = tokio::join!(posted, upgrading);
            assert_eq!(posted.status, 200);
        }
        socket.text("5").await;
        socket.text("4last").await;
        for packet in &sent {
            assert_eq!(socket.next_text().await, *packet);
        }
        assert_eq!(socket.next_text().await, "4last");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_a_post_has_left_comes_by_polls_if_its_client_does_not_upgrade() {
    let server = Server::start().await;
    let client = begin(&server).await;
    let mut socket = server.websocket(&websocket(&client)).await;
    socket.text("2probe").await;
    assert_eq!(socket.next_text().await, "3probe");
    let mut sent = many();
    assert_eq!(server.post(&client, sent.join("\u{1e}")).await.status, 200);
    drop(socket);
    // The next one waits behind it.
    let more = many();
    let post = server.post(&client, more.join("\u{1e}"));
    sent.extend(more.iter().cloned());
    let mut echoed: Vec<String> = Vec::new();
    let polls = async {
        while echoed.len() < sent.len() {
            let answer = server.get(&client).await;
            assert_eq!(answer.status, 200);
            echoed.extend(answer.body.split('\u{1e}').filter(|packet| *packet != "6").map(str::to_owned));
        }
    };
    let (posted, ()) = tokio::join!(post, polls);
    assert_eq!(posted.status, 200);
    assert!(echoed == sent, "each once and in order");
    server.stop().await;
}

#[tokio::test]
async fn one_websocket_at_a_time_is_tried() {
    let server = Server::start().await;
    let client = begin(&server).await;
    let mut first = server.websocket(&websocket(&client)).await;
    first.text("2probe").await;
    assert_eq!(first.next_text().await, "3probe");
    let mut second = server.websocket(&websocket(&client)).await;
    assert_eq!(second.next().await, None);
    first.text("5").await;
    first.text("4hello").await;
    assert_eq!(first.next_text().await, "4hello");
    server.stop().await;
}

#[tokio::test]
async fn a_websocket_that_is_left_harms_nobody() {
    let server = Server::start().await;
    let client = begin(&server).await;
    for said in [&["2probe"][..], &["2probe", "4early"], &["abc"], &[]] {
        let mut left = server.websocket(&websocket(&client)).await;
        for packet in said {
            left.text(packet).await;
        }
        drop(left);
        // Polls go on, and the next one is tried.
        assert_eq!(server.post(&client, "4hello").await.status, 200);
        let mut answer = server.get(&client).await;
        while answer.body == "6" {
            answer = server.get(&client).await;
        }
        assert_eq!(answer.parts(), (200, "4hello"));
        until(|| async {
            let mut next = server.websocket(&websocket(&client)).await;
            next.text("2probe").await;
            next.next().await.is_some()
        })
        .await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_websocket_with_it() {
    let server = Server::start().await;
    let client = begin(&server).await;
    let mut socket = server.websocket(&websocket(&client)).await;
    socket.text("2probe").await;
    assert_eq!(socket.next_text().await, "3probe");
    assert_eq!(server.post(&client, "1").await.status, 200);
    assert_eq!(socket.next().await, None);
    assert_eq!(server.get(&client).await.parts(), (200, "6"));
    assert_eq!(server.get(&client).await.parts(), UNKNOWN);
    server.stop().await;
}
