//! A system that stops and its peers that do not want it to.
#![allow(clippy::unwrap_used, reason = "a test that meets something unexpected must fail")]

mod system;

use std::time::Duration;

use serde_json::json;
use system::http2::Http2;
use system::{DEADLINE, Running};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";

/// A client with little room that reads the beginning of the answer and then
/// never again.
async fn stuck(running: &Running) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(running.address).await.unwrap();
    let bearer = running.bearer("bob");
    let request = format!("GET /v1/ws HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer}\r\n{UPGRADE}\r\n");
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

const DRAIN: Duration = Duration::from_secs(1);

async fn start() -> Running {
    Running::start_with(|config| {
        // Of itself no peer is found dead until long after the drain.
        config.gateway.heartbeat = Duration::from_secs(60);
        config.gateway.rates.messages_per_second = 0;
        config.router.drain = DRAIN;
    })
    .await
}

#[tokio::test]
async fn stopping_does_not_wait_for_a_web_socket_that_takes_nothing() {
    let running = start().await;
    let mut reader = stuck(&running).await;
    flood(&running).await;
    tokio::time::timeout(DEADLINE, running.stop()).await.expect("it stops");
    let mut rest = Vec::new();
    let _ =
        tokio::time::timeout(DEADLINE, reader.read_to_end(&mut rest)).await.expect("the socket is closed");
}

#[tokio::test]
async fn nor_for_one_over_http_2() {
    let running = start().await;
    let stream = TcpStream::connect(running.address).await.unwrap();
    let mut connection = Http2::connect(stream, &format!("http://{}", running.address), &running.tasks).await;
    let bearer = running.bearer("bob");
    let headers = [("sec-websocket-version", "13"), ("authorization", bearer.as_str())];
    // Nothing is read from its stream, so its window stays used up.
    let _socket = connection.open("/v1/ws", &headers).await.unwrap();
    flood(&running).await;
    tokio::time::timeout(DEADLINE, running.stop()).await.expect("it stops");
}
