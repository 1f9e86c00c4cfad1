//! Peers that take nothing, and whose sessions have ended: they end at once, and
//! not when two heartbeats have shown the peer to be dead.
#![allow(clippy::unwrap_used, reason = "a test that meets something unexpected must fail")]

mod system;

use std::time::Duration;

use gateway::caller::auth::token::Token;
use serde_json::json;
use system::http2::Http2;
use system::{DEADLINE, Running};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";

async fn start() -> Running {
    Running::start_with(|config| {
        // Long after the test, and no limit to how fast the peer is flooded.
        config.gateway.heartbeat = Duration::from_secs(300);
        config.gateway.rates.messages_per_second = 0;
    })
    .await
}

/// A token of bob's that ends soon.
fn bearer(running: &Running, life: Duration) -> String {
    let token = Token { sub: "bob", ttl: life, ..Token::default() };
    format!("Bearer {}", token.sign(&running.secret).unwrap())
}

/// Reads up to `welcome` and then never again.
async fn stuck(running: &Running, path: &str, headers: &str, bearer: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(running.address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer}\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    while !answer.contains("welcome") {
        let mut bytes = [0; 512];
        let read = tokio::time::timeout(DEADLINE, stream.read(&mut bytes)).await.unwrap().unwrap();
        assert!(read > 0, "{answer}");
        answer.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    stream
}

/// More than socket buffers hold.
async fn flood(running: &Running) {
    let body = "x".repeat(60_000);
    for _ in 0..100 {
        let sent = running.post("alice", "/v1/messages", json!({ "to": "bob", "body": body })).await;
        assert_eq!(sent.status, 200, "{sent:?}");
    }
}

async fn kick(running: &Running) {
    let bearer = format!("Bearer {}", running.token("backend", Some("service")));
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let kicked = running.raw("POST", "/v1/kick", &headers, json!({ "user": "bob" }).to_string().into()).await;
    assert_eq!(kicked.status, 200, "{kicked:?}");
}

async fn is_online(running: &Running) -> bool {
    let seen = running.get("alice", "/v1/presence?users=bob").await;
    // Asked too often it does not say: still there.
    if seen.status == 429 {
        return true;
    }
    seen.body["presence"][0]["online"].as_bool().unwrap_or_else(|| panic!("{seen:?}"))
}

/// Waits until bob has no session any more.
async fn until_gone(running: &Running) {
    let gone = async {
        while is_online(running).await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, gone).await.expect("the session ends");
}

async fn kicked(path: &str, headers: &str) {
    let running = start().await;
    let mut peer = stuck(&running, path, headers, &running.bearer("bob")).await;
    flood(&running).await;
    assert!(is_online(&running).await, "{path}");
    kick(&running).await;
    until_gone(&running).await;
    let mut rest = Vec::new();
    let end = tokio::time::timeout(DEADLINE, peer.read_to_end(&mut rest)).await;
    // With an end or a reset.
    let _ = end.unwrap_or_else(|_| panic!("{path} stays open"));
    running.stop().await;
}

#[tokio::test]
async fn a_kick_ends_the_session_and_the_connection() {
    tokio::join!(
        kicked("/v1/ws", UPGRADE),
        kicked("/sockjs/0/b/websocket", UPGRADE),
        kicked("/v1/sse", ""),
        kicked("/v1/stream", ""),
        kicked("/v1/iframe?callback=parent.f", ""),
    );
}

async fn expired(path: &str, headers: &str) {
    let running = start().await;
    let bearer = bearer(&running, Duration::from_secs(5));
    let _peer = stuck(&running, path, headers, &bearer).await;
    flood(&running).await;
    until_gone(&running).await;
    running.stop().await;
}

#[tokio::test]
async fn so_does_the_end_of_the_token() {
    tokio::join!(
        expired("/v1/ws", UPGRADE),
        expired("/sockjs/0/b/websocket", UPGRADE),
        expired("/v1/sse", ""),
        expired("/v1/stream", ""),
        expired("/v1/iframe?callback=parent.f", ""),
    );
}

#[tokio::test]
async fn over_http_2_the_session_ends_although_its_stream_is_left() {
    for path in ["/v1/ws", "/v1/sse"] {
        let running = start().await;
        let stream = TcpStream::connect(running.address).await.unwrap();
        let origin = format!("http://{}", running.address);
        let mut connection = Http2::connect(stream, &origin, &running.tasks).await;
        let bearer = running.bearer("bob");
        let authorization = ("authorization", bearer.as_str());
        // Nothing is read from the stream, so its window is used up.
        let (mut socket, mut events) = (None, None);
        if path == "/v1/ws" {
            socket = connection.open(path, &[("sec-websocket-version", "13"), authorization]).await.ok();
        } else {
            events = Some(connection.get(path, &[authorization]).await);
        }
        assert!(socket.is_some() || events.is_some());
        flood(&running).await;
        kick(&running).await;
        until_gone(&running).await;
        drop((socket, events, connection));
        running.stop().await;
    }
}
