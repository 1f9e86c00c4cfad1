//! Pages of other origins: CORS with its preflight, framing, and WebSockets, for
//! which there is no CORS.
#![allow(clippy::unwrap_used, reason = "a test that meets something unexpected must fail")]

mod system;

use serde_json::json;
use system::{Answer, Running};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

const ALLOWED: [&str; 3] = ["https://app.example.com", "https://a.test", "https://a.b.test"];
const REFUSED: [&str; 7] = [
    "https://evil.example",
    "https://-.test",
    "https://a..test",
    "http://app.example.com",
    "https://app.example.com.evil.example",
    "https://test",
    "null",
];

async fn narrowed() -> Running {
    let origins = system::origins(&["https://app.example.com", "https://*.test"]);
    Running::start_with(|config| config.gateway.origins = origins).await
}

fn allows(answer: &Answer) -> Option<&str> {
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    answer.header("access-control-allow-origin")
}

#[tokio::test]
async fn every_route_has_a_preflight() {
    let running = Running::start().await;
    let asked = "authorization,content-type,if-none-match,last-event-id,switchboard-as";
    for (method, path) in [
        ("POST", "/v1/messages"),
        ("POST", "/v1/tickets"),
        ("GET", "/v1/sse"),
        ("GET", "/v1/stream"),
        ("GET", "/v1/poll"),
        ("PUT", "/v1/conversations/alice~bob/messages/1"),
        ("DELETE", "/v1/conversations/alice~bob/messages/1/reactions/x"),
        ("POST", "/v1/nothing/here"),
    ] {
        let headers = [
            ("origin", "https://app.example.com"),
            ("access-control-request-method", method),
            ("access-control-request-headers", asked),
        ];
        // No credentials: a browser sends none with it.
        let answer = running.raw("OPTIONS", path, &headers, Vec::new()).await;
        assert_eq!((answer.status, allows(&answer)), (200, Some("*")), "{path}: {answer:?}");
        assert!(answer.header("access-control-allow-methods").unwrap().contains(method), "{path}");
        assert_eq!(answer.header("access-control-allow-headers"), Some(asked), "{path}");
        assert_eq!(answer.header("access-control-max-age"), Some("7200"), "{path}");
    }
}

#[tokio::test]
async fn answers_may_be_read_by_every_page_unless_narrowed() {
    let running = Running::start().await;
    let bearer = running.bearer("alice");
    let headers = [("authorization", bearer.as_str()), ("origin", "https://anywhere.example")];
    let answer = running.raw("GET", "/v1/poll", &headers, Vec::new()).await;
    assert_eq!((answer.status, allows(&answer)), (200, Some("*")));
    assert!(answer.header("access-control-expose-headers").unwrap().contains("etag"));
    // A page must see why it was refused, too.
    let answer = running.raw("GET", "/v1/poll", &headers[1..], Vec::new()).await;
    assert_eq!((answer.status, allows(&answer)), (401, Some("*")));
}

#[tokio::test]
async fn narrowed_only_the_pages_of_the_list_may_read() {
    let running = narrowed().await;
    let bearer = running.bearer("alice");
    let ask = async |method, origin| {
        let headers = [
            ("authorization", bearer.as_str()),
            ("origin", origin),
            ("access-control-request-method", "GET"),
        ];
        running.raw(method, "/v1/conversations", &headers, Vec::new()).await
    };
    for method in ["GET", "OPTIONS"] {
        for origin in ALLOWED {
            let answer = ask(method, origin).await;
            assert_eq!((answer.status, allows(&answer)), (200, Some(origin)));
            // Caches must not give one origin's answer to another.
            assert!(answer.header("vary").unwrap().contains("origin"), "{answer:?}");
        }
        for origin in REFUSED {
            assert_eq!(allows(&ask(method, origin).await), None, "{origin}");
        }
    }
}

#[tokio::test]
async fn narrowed_a_web_socket_of_another_page_is_refused() {
    let running = narrowed().await;
    let bearer = running.bearer("alice");
    let own = format!("http://{}", running.address);
    let upgrade = [
        ("authorization", bearer.as_str()),
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
    ];
    let ask = async |origin: Option<&str>| {
        let headers: Vec<_> = upgrade.into_iter().chain(origin.map(|origin| ("origin", origin))).collect();
        running.raw("GET", "/v1/ws", &headers, Vec::new()).await
    };
    for origin in REFUSED {
        let answer = ask(Some(origin)).await;
        assert_eq!((answer.status, &answer.body["code"]), (403, &json!("forbidden")), "{origin}");
    }
    for origin in ALLOWED.into_iter().map(Some).chain([None, Some(own.as_str())]) {
        assert_eq!(ask(origin).await.status, 101, "{origin:?}");
    }
}

#[tokio::test]
async fn narrowed_a_page_from_elsewhere_is_refused_before_anything_is_done() {
    let running = narrowed().await;
    let bearer = running.bearer("alice");
    let headers = |origin| [("authorization", bearer.as_str()), ("origin", origin)];
    let send = br#"{"to":"bob","body":1}"#.to_vec();
    let refused = running.raw("POST", "/v1/messages", &headers("https://evil.example"), send.clone()).await;
    assert_eq!((refused.status, &refused.body["code"]), (403, &json!("forbidden")));
    let sent = running.raw("POST", "/v1/messages", &headers("https://a.test"), send).await;
    assert_eq!((sent.status, &sent.body["seq"]), (200, &json!(1)), "{sent:?}");
}

/// What a request with these lines gets, as one line.
async fn status(running: &Running, lines: &str) -> String {
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let bearer = running.bearer("alice");
    let request = format!("GET /v1/conversations HTTP/1.1\r\nauthorization: {bearer}\r\n{lines}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = BufReader::new(stream).lines();
    let line = tokio::time::timeout(system::DEADLINE, answer.next_line()).await;
    line.expect("an answer comes").unwrap().unwrap()
}

#[tokio::test]
async fn narrowed_a_name_that_was_pointed_here_is_no_page_of_ours() {
    let running = narrowed().await;
    for (host, status_line) in [
        ("evil.example:8080", "HTTP/1.1 403 Forbidden"),
        ("localhost.evil.example", "HTTP/1.1 403 Forbidden"),
        ("10.0.0.5:8080", "HTTP/1.1 200 OK"),
        ("localhost:8080", "HTTP/1.1 200 OK"),
        ("[::1]:8080", "HTTP/1.1 200 OK"),
    ] {
        let lines = format!("host: {host}\r\norigin: http://{host}\r\n");
        assert_eq!(status(&running, &lines).await, status_line, "{host}");
    }
}

#[tokio::test]
async fn of_two_origins_neither_counts() {
    let (open, narrowed) = (Running::start().await, narrowed().await);
    let lines = "host: a\r\norigin: https://app.example.com\r\norigin: https://evil.example\r\n";
    for running in [&open, &narrowed] {
        assert_eq!(status(running, lines).await, "HTTP/1.1 400 Bad Request");
    }
}

#[tokio::test]
async fn narrowed_the_iframe_says_who_may_frame_it() {
    let running = narrowed().await;
    let policy = running.head("alice", "/v1/iframe?callback=parent.f").await;
    assert_eq!(
        policy.get("content-security-policy").unwrap(),
        "default-src 'none'; script-src 'unsafe-inline'; frame-ancestors 'self' https://app.example.com https://*.test"
    );
    let open = Running::start().await;
    let policy = open.head("alice", "/v1/iframe?callback=parent.f").await;
    assert_eq!(
        policy.get("content-security-policy").unwrap(),
        "default-src 'none'; script-src 'unsafe-inline'"
    );
}
