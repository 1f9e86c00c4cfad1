//! WebSockets over HTTP/2 (RFC 8441) against a whole system, by prior knowledge
//! and over TLS.
#![allow(clippy::unwrap_used, reason = "a test that meets something unexpected must fail")]

mod system;

use serde_json::json;
use system::Running;
use system::http2::{Http2, Received, WebSocket};
use tokio::net::TcpStream;

const VERSION: (&str, &str) = ("sec-websocket-version", "13");

async fn plain(running: &Running) -> Http2 {
    let stream = TcpStream::connect(running.address).await.unwrap();
    Http2::connect(stream, &format!("http://{}", running.address), &running.tasks).await
}

async fn open(connection: &mut Http2, running: &Running, user: &str) -> WebSocket {
    let bearer = running.bearer(user);
    connection.open("/v1/ws", &[VERSION, ("authorization", &bearer)]).await.unwrap()
}

/// Welcome, a message there and back, the peer's copy, and the close.
async fn converse(running: &Running, mut connection: Http2) {
    // Both on one connection.
    let mut alice = open(&mut connection, running, "alice").await;
    let mut bob = open(&mut connection, running, "bob").await;
    for (socket, user) in [(&mut alice, "alice"), (&mut bob, "bob")] {
        let welcome = socket.next_frame().await;
        assert_eq!((&welcome["type"], &welcome["user"]), (&json!("welcome"), &json!(user)));
    }
    // Longer than a short frame's length can say.
    let body = "x".repeat(1_000);
    alice.send(&json!({ "type": "send", "ref": 7, "to": "bob", "body": body }));
    let sent = alice.next_frame().await;
    assert_eq!((&sent["type"], &sent["ref"], &sent["seq"]), (&json!("sent"), &json!(7), &json!(1)), "{sent}");
    let message = bob.next_frame().await;
    assert_eq!((&message["type"], &message["body"]), (&json!("message"), &json!(body)));
    let receipt = bob.next_frame().await;
    assert_eq!((&receipt["type"], &receipt["user"]), (&json!("receipt"), &json!("alice")), "{receipt}");

    alice.close(1000);
    assert_eq!(alice.next().await, Received::Close(1000));
    assert_eq!(alice.next().await, Received::End);
    // The other stream goes on.
    bob.send(&json!({ "type": "ping", "ref": "p" }));
    assert_eq!(bob.next_frame().await, json!({ "type": "pong", "ref": "p" }));
}

#[tokio::test]
async fn it_works_by_prior_knowledge() {
    let running = Running::start().await;
    converse(&running, plain(&running).await).await;
}

#[tokio::test]
async fn it_works_over_tls() {
    let running = Running::start_with(|config| config.gateway.tls = Some(system::tls::certificate())).await;
    let stream = system::tls::connect(running.address, &["h2"]).await;
    let connection = Http2::connect(stream, "https://localhost", &running.tasks).await;
    converse(&running, connection).await;
}

#[tokio::test]
async fn the_end_of_a_session_has_its_close_code() {
    let running = Running::start().await;
    let mut connection = plain(&running).await;
    let mut socket = open(&mut connection, &running, "alice").await;
    socket.next_frame().await;
    running.stop.cancel();
    let goaway = socket.next_frame().await;
    assert_eq!((&goaway["type"], &goaway["reason"]), (&json!("goaway"), &json!("shutdown")));
    assert_eq!(socket.next().await, Received::Close(1012));
    running.stop().await;
}

#[tokio::test]
async fn who_may_not_is_refused_before_the_stream_begins() {
    let running =
        Running::start_with(|config| config.gateway.origins = system::origins(&["https://app.example.com"]))
            .await;
    let mut connection = plain(&running).await;
    let bearer = running.bearer("alice");
    let authorization = ("authorization", bearer.as_str());
    let own = format!("http://{}", running.address);
    for (headers, status) in [
        (&[VERSION][..], 401),
        (&[authorization], 426),
        (&[("sec-websocket-version", "8"), authorization], 426),
        (&[VERSION, authorization, ("sec-websocket-protocol", "chat")], 400),
        (&[VERSION, authorization, ("origin", "https://evil.example")], 403),
        (&[VERSION, authorization, ("origin", "https://app.example.com")], 200),
        (&[VERSION, authorization, ("origin", &own)], 200),
    ] {
        let opened = connection.open("/v1/ws", headers).await;
        let answered = opened.map_or_else(|status| status.as_u16(), |_| 200);
        assert_eq!(answered, status, "{headers:?}");
    }
}
