//! Requests and frames that are half sent: what they weigh together is bounded,
//! and so is what one user's weigh.
#![allow(clippy::unwrap_used, reason = "a test that meets something unexpected must fail")]

mod system;

use bytes::Bytes;
use serde_json::json;
use system::http2::{Http2, Received};
use system::{DEADLINE, Running};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The least that can be asked for; a user has an eighth of it: two of the
/// bodies below, and not three.
const HELD: usize = 4 << 20;
const BODY: usize = 250_000;
const HALF: usize = 200_000;

async fn small() -> Running {
    Running::start_with(|config| config.gateway.limits.max_request_bytes_held = HELD).await
}

/// A request that is half sent.
async fn begin(running: &Running, user: &str) -> TcpStream {
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let bearer = running.bearer(user);
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer}\r\nContent-Length: {BODY}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&[b' '; HALF]).await.unwrap();
    stream
}

async fn head(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    while !text.contains("\r\n\r\n") {
        let mut bytes = [0; 1_024];
        let read = timeout(DEADLINE, stream.read(&mut bytes)).await.expect("an answer comes").unwrap();
        assert!(read > 0, "closed after {text:?}");
        text.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    text
}

#[tokio::test]
async fn one_user_who_sends_slowly_is_refused_and_nobody_else() {
    let running = small().await;
    let mut answers = JoinSet::new();
    for _ in 0..4 {
        let mut stream = begin(&running, "alice").await;
        answers.spawn(async move { (head(&mut stream).await, stream) });
    }
    // Two of the four have room; the others are answered before they have ended.
    for _ in 0..2 {
        let (refused, _) = timeout(DEADLINE, answers.join_next()).await.unwrap().unwrap().unwrap();
        assert!(refused.starts_with("HTTP/1.1 429 ") && refused.contains("retry-after: 1"), "{refused}");
    }
    let sent =
        running.post("bob", "/v1/messages", json!({ "to": "carol", "body": "x".repeat(60_000) })).await;
    assert_eq!(sent.status, 200);
    // Half a request that is given up makes room again.
    answers.shutdown().await;
    let whole =
        async || running.post("alice", "/v1/messages", json!({ "to": "bob", "body": 1 })).await.status;
    assert_eq!(whole().await, 200);
    let freed = async {
        loop {
            let mut stream = begin(&running, "alice").await;
            stream.write_all(&[b' '; BODY - HALF]).await.unwrap();
            // Blanks are no JSON: it was read to its end.
            if head(&mut stream).await.starts_with("HTTP/1.1 400 ") {
                break;
            }
        }
    };
    timeout(DEADLINE, freed).await.expect("there is room again");
}

#[tokio::test]
async fn all_of_them_together_are_bounded_and_what_comes_whole_is_served() {
    let running = small().await;
    let mut answers = JoinSet::new();
    for number in 0..24 {
        let mut stream = begin(&running, &format!("user-{number}")).await;
        answers.spawn(async move { (head(&mut stream).await, stream) });
    }
    let (refused, _) = timeout(DEADLINE, answers.join_next()).await.unwrap().unwrap().unwrap();
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 1"), "{refused}");
    let sent = running.post("bob", "/v1/messages", json!({ "to": "carol", "body": "hi" })).await;
    assert_eq!(sent.status, 200);
}

#[tokio::test]
async fn bodies_over_http_2_count() {
    let running = small().await;
    let stream = TcpStream::connect(running.address).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    running.tasks.spawn(connection);
    let mut sender = sender.ready().await.unwrap();
    let mut answers = JoinSet::new();
    for _ in 0..4 {
        let request = http::Request::post(format!("http://{}/v1/messages", running.address))
            .header("authorization", running.bearer("alice"))
            .body(())
            .unwrap();
        let (answer, mut body) = sender.send_request(request, false).unwrap();
        body.send_data(Bytes::from_static(&[b' '; HALF]), false).unwrap();
        answers.spawn(async move { (answer.await.unwrap().status().as_u16(), body) });
        sender = sender.ready().await.unwrap();
    }
    for _ in 0..2 {
        let (status, _) = timeout(DEADLINE, answers.join_next()).await.unwrap().unwrap().unwrap();
        assert_eq!(status, 429);
    }
}

#[tokio::test]
async fn frames_of_websockets_count() {
    let running = small().await;
    let stream = TcpStream::connect(running.address).await.unwrap();
    let mut connection = Http2::connect(stream, &format!("http://{}", running.address), &running.tasks).await;
    let bearer = running.bearer("alice");
    let headers = [("sec-websocket-version", "13"), ("authorization", &bearer)];
    let mut answers = JoinSet::new();
    for device in 0..3 {
        let mut socket = connection.open(&format!("/v1/ws?device=d{device}"), &headers).await.unwrap();
        assert_eq!(socket.next_frame().await["type"], "welcome");
        // A message of which the last piece does not come.
        for piece in 0..4 {
            socket.write(u8::from(piece == 0), &[b' '; 60_000]);
        }
        answers.spawn(async move { (socket.next().await, socket) });
    }
    let (first, mut socket) = timeout(DEADLINE, answers.join_next()).await.unwrap().unwrap().unwrap();
    let Received::Frame(error) = first else { panic!("{first:?}") };
    assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("rate_limited")), "{error}");
    assert!(error["retry_after_ms"].as_u64().is_some_and(|wait| wait > 0), "{error}");
    assert_eq!(socket.next().await, Received::Close(1013));
    // The others go on.
    let bob = [("sec-websocket-version", "13"), ("authorization", &*running.bearer("bob"))];
    let mut other = connection.open("/v1/ws", &bob).await.unwrap();
    assert_eq!(other.next_frame().await["type"], "welcome");
    assert_eq!(answers.len(), 2);
}
