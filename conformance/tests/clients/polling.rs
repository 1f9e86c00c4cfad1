//! Engine.IO over polls, and what is done to harm such servers.

use conformance::Times;

use crate::support::{Answer, Server, until};

const PATH: &str = "/engine.io/?EIO=4&transport=polling";
pub(crate) const UNKNOWN: (u16, &str) = (400, r#"{"code":1,"message":"Session ID unknown"}"#);
const BAD: (u16, &str) = (400, r#"{"code":3,"message":"Bad request"}"#);

/// A client that polls: where its requests go.
pub(crate) async fn begin(server: &Server) -> String {
    let opened = server.get(PATH).await;
    assert_eq!(opened.status, 200, "{opened:?}");
    let opened: serde_json::Value = serde_json::from_str(opened.body.strip_prefix('0').unwrap()).unwrap();
    format!("{PATH}&sid={}", opened["sid"].as_str().unwrap())
}

#[tokio::test]
async fn a_client_is_given_an_id_and_its_times() {
    let server = Server::with(Times::SUITES).await;
    let opened = server.get(PATH).await;
    let text = opened.body.strip_prefix('0').unwrap();
    let told: serde_json::Value = serde_json::from_str(text).unwrap();
    let times = (&told["pingInterval"], &told["pingTimeout"], &told["maxPayload"]);
    assert_eq!(times, (&300.into(), &200.into(), &1_000_000.into()));
    assert_eq!(told["upgrades"], serde_json::json!(["websocket"]));
    let (random, node) = told["sid"].as_str().unwrap().split_once('.').unwrap();
    assert_eq!((random.len(), node), (22, "conformance"));
    assert!(opened.head.contains("content-type: text/plain; charset=utf-8"), "{opened:?}");
    assert!(opened.head.contains("cache-control: no-store"), "{opened:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_request_that_is_refused_says_why_in_numbers() {
    let server = Server::start().await;
    let transport = (400, r#"{"code":0,"message":"Transport unknown"}"#);
    let method = (400, r#"{"code":2,"message":"Bad handshake method"}"#);
    let version = (400, r#"{"code":5,"message":"Unsupported protocol version"}"#);
    for (target, expected) in [
        ("/engine.io/?EIO=4", transport),
        ("/engine.io/?EIO=4&transport=abc", transport),
        ("/engine.io/?transport=polling", version),
        ("/engine.io/?EIO=3&transport=polling", version),
        ("/engine.io/?EIO=4&transport=polling&sid=abc", UNKNOWN),
        ("/engine.io/?EIO=4&transport=websocket&sid=abc", UNKNOWN),
        ("/engine.io/?EIO=4&transport=websocket", BAD),
        ("/engine.io/?EIO=4&transport=polling&transport=polling", BAD),
    ] {
        assert_eq!(server.get(target).await.parts(), expected, "{target}");
    }
    assert_eq!(server.post(PATH, "").await.parts(), method);
    let client = begin(&server).await;
    let put = server.send(&format!("PUT {client} HTTP/1.1"), b"").await.answer().await;
    assert_eq!(put.parts(), BAD);
    server.stop().await;
}

#[tokio::test]
async fn packets_come_in_a_post_and_go_in_the_next_poll() {
    let server = Server::start().await;
    let client = begin(&server).await;
    let payload = "4one\u{1e}4€\u{1e}bAQIDBA==\u{1e}4";
    let posted = server.post(&client, payload).await;
    assert_eq!(posted.parts(), (200, "ok"));
    assert_eq!(server.get(&client).await.parts(), (200, payload));
    server.stop().await;
}

#[tokio::test]
async fn an_answer_has_no_more_packets_than_every_client_takes() {
    let server = Server::start().await;
    let client = begin(&server).await;
    let sent: Vec<String> = (0..100).map(|number| format!("4{number}")).collect();
    assert_eq!(server.post(&client, &sent.join("\u{1e}")).await.parts(), (200, "ok"));
    let mut came = Vec::new();
    while came.len() < sent.len() {
        let answer = server.get(&client).await;
        let packets: Vec<_> = answer.body.split('\u{1e}').map(str::to_owned).collect();
        assert!(packets.len() <= 16, "{answer:?}");
        came.extend(packets);
    }
    assert_eq!(came, sent);
    server.stop().await;
}

#[tokio::test]
async fn a_poll_waits_for_what_comes() {
    let server = Server::start().await;
    let client = begin(&server).await;
    let waiting = server.begin_get(&client).await;
    assert_eq!(server.post(&client, "4hello").await.status, 200);
    assert_eq!(waiting.answer().await.parts(), (200, "4hello"));
    server.stop().await;
}

#[tokio::test]
async fn who_answers_signs_of_life_stays() {
    let server = Server::with(Times::SUITES).await;
    let client = begin(&server).await;
    for _ in 0..3 {
        assert_eq!(server.get(&client).await.parts(), (200, "2"));
        assert_eq!(server.post(&client, "3").await.parts(), (200, "ok"));
    }
    server.stop().await;
}

#[tokio::test]
async fn who_does_not_answer_is_let_go() {
    let server = Server::with(Times::SUITES).await;
    let client = begin(&server).await;
    assert_eq!(server.get(&client).await.parts(), (200, "2"));
    // A poll that waits meanwhile is ended.
    assert_eq!(server.get(&client).await.parts(), (200, "1"));
    assert_eq!(server.get(&client).await.parts(), UNKNOWN);
    // One that never comes, and says that it lives without being asked.
    let client = begin(&server).await;
    let said = || async { server.post(&client, "3").await };
    until(|| async { said().await.parts() == UNKNOWN }).await;
    server.stop().await;
}

#[tokio::test]
async fn who_leaves_is_gone_and_its_poll_ends() {
    let server = Server::start().await;
    let client = begin(&server).await;
    let waiting = server.begin_get(&client).await;
    assert_eq!(server.post(&client, "1\u{1e}4not heard any more").await.parts(), (200, "ok"));
    assert_eq!(waiting.answer().await.parts(), (200, "6"));
    assert_eq!(server.get(&client).await.parts(), UNKNOWN);
    server.stop().await;
}

#[tokio::test]
async fn two_polls_at_once_end_the_client() {
    let server = Server::start().await;
    let client = begin(&server).await;
    let (one, other) = (server.begin_get(&client).await, server.begin_get(&client).await);
    let (one, other) = (one.answer().await, other.answer().await);
    let mut both = [one.parts(), other.parts()];
    both.sort_unstable();
    assert_eq!(both, [(200, "1"), BAD]);
    assert_eq!(server.get(&client).await.parts(), UNKNOWN);
    server.stop().await;
}

#[tokio::test]
async fn two_posts_at_once_end_the_client() {
    let server = Server::start().await;
    let client = begin(&server).await;
    let head = format!("POST {client} HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 100");
    let mut half = server.send(&head, b"").await;
    half.is_read().await;
    assert_eq!(server.post(&client, "4hello").await.parts(), BAD);
    assert_eq!(server.get(&client).await.parts(), UNKNOWN);
    server.stop().await;
}

#[tokio::test]
async fn who_gives_up_a_request_is_gone() {
    let server = Server::start().await;
    let client = begin(&server).await;
    let waiting = server.begin_get(&client).await;
    drop(waiting);
    // `noop` is heard and means nothing.
    until(|| async { server.post(&client, "6").await.parts() == UNKNOWN }).await;
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_packet_ends_its_client_and_nobody_else() {
    let server = Server::start().await;
    let other = begin(&server).await;
    for wrong in ["abc", "", "7", "b!", "4a\u{1e}", "2", "\u{1e}\u{1e}"] {
        let client = begin(&server).await;
        assert_eq!(server.post(&client, wrong).await.parts(), BAD, "{wrong}");
        assert_eq!(server.get(&client).await.parts(), UNKNOWN, "{wrong}");
    }
    let client = begin(&server).await;
    assert_eq!(server.post(&client, b"4\xff").await.parts(), BAD);
    let client = begin(&server).await;
    let head =
        format!("POST {client} HTTP/1.1\r\ncontent-type: application/octet-stream\r\ncontent-length: 2");
    assert_eq!(server.send(&head, b"4a").await.answer().await.parts(), BAD);
    assert_eq!(server.post(&other, "4still here").await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_post_beyond_the_limit_is_refused_before_it_is_read() {
    let server = Server::start().await;
    let client = begin(&server).await;
    let large = |answer: Answer| assert_eq!(answer.status, 413, "{answer:?}");
    let head = format!("POST {client} HTTP/1.1\r\ncontent-length: 100000000");
    large(server.send(&head, b"4").await.answer().await);
    // Of a length that is not told beforehand.
    let head = format!("POST {client} HTTP/1.1\r\ntransfer-encoding: chunked");
    let body = format!("{:x}\r\n{}\r\n", 1_000_001, "4".repeat(1_000_001));
    large(server.send(&head, body.as_bytes()).await.answer().await);
    let most = "4".repeat(1_000_000);
    assert_eq!(server.post(&client, &most).await.status, 200);
    assert_eq!(server.get(&client).await.body, most);
    server.stop().await;
}

#[tokio::test]
async fn thousands_of_packets_in_one_post_come_one_by_one() {
    let server = Server::start().await;
    let client = begin(&server).await;
    let packets: Vec<String> = (0..100_000).map(|number| format!("4{number}")).collect();
    let payload = packets.join("\u{1e}");
    let head = format!("POST {client} HTTP/1.1\r\ncontent-length: {}", payload.len());
    let posted = server.send(&head, payload.as_bytes()).await;
    let mut echoed: Vec<String> = Vec::new();
    while echoed.len() < packets.len() {
        let answer = server.get(&client).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        echoed.extend(answer.body.split('\u{1e}').map(str::to_owned));
    }
    assert_eq!(posted.answer().await.parts(), (200, "ok"));
    assert!(echoed == packets, "in their order");
    server.stop().await;
}
