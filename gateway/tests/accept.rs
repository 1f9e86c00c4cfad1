//! The accept loop over real sockets: what is bounded, what is refused, and how
//! it stops.
#![allow(clippy::unwrap_used, reason = "a test that meets something unexpected must fail")]

mod limits;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::IntoResponse as _;
use axum::routing::{any, get};
use gateway::accept::Acceptor;
use gateway::accept::long_response;
use gateway::config::{Limits, Proxies};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use limits::limits;

const DEADLINE: Duration = Duration::from_secs(20);

/// A stream that ends after all, which those of the gateway may do too.
fn news() -> impl futures_util::Stream<Item = Result<bytes::Bytes, std::io::Error>> {
    futures_util::stream::iter(["one", "", "two"].map(|part| Ok(bytes::Bytes::from_static(part.as_bytes()))))
}

/// Whether what a stream comes from has ended.
struct Over(bool);

impl long_response::Source for Over {
    fn is_over(&self) -> bool {
        self.0
    }
}

fn endless() -> impl futures_util::Stream<Item = Result<bytes::Bytes, std::io::Error>> {
    futures_util::stream::repeat_with(|| Ok(bytes::Bytes::from_static(&[b'x'; 4_096])))
}

struct Server {
    address: SocketAddr,
    acceptor: Arc<Acceptor>,
    stop: CancellationToken,
    /// Lets `/wait` answer.
    go: Arc<Notify>,
    tasks: TaskTracker,
}

impl Server {
    async fn start(limits: Limits) -> Self {
        Self::start_with(limits, DEADLINE).await
    }

    async fn start_with(limits: Limits, heartbeat: Duration) -> Self {
        Self::start_behind(Proxies::none(), limits, heartbeat).await
    }

    async fn start_behind(proxies: Proxies, limits: Limits, heartbeat: Duration) -> Self {
        let go = Arc::new(Notify::new());
        let waits = go.clone();
        let routes = axum::Router::new()
            .route("/peer", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }))
            .route("/echo", any(|body: String| async move { body }))
            .route("/refuse", any(async || (axum::http::StatusCode::PAYLOAD_TOO_LARGE, "refused")))
            .route("/endless", get(async || axum::body::Body::from_stream(endless())))
            .route(
                "/news",
                any(async || {
                    long_response::endless(Body::from_stream(news()).into_response(), Arc::new(Over(false)))
                }),
            )
            .route(
                "/yesterday",
                get(async || {
                    long_response::endless(Body::from_stream(endless()).into_response(), Arc::new(Over(true)))
                }),
            )
            .route(
                "/poll",
                any({
                    let go = go.clone();
                    async move || {
                        long_response::deferred(async move {
                            go.notified().await;
                            ([("x-answer", "polled")], "it").into_response()
                        })
                    }
                }),
            )
            .layer(axum::middleware::map_response(async |mut response: axum::response::Response| {
                response.headers_mut().insert("x-layer", "outer".parse().unwrap());
                response
            }))
            .route(
                "/wait",
                get(move || {
                    let go = waits.clone();
                    async move {
                        go.notified().await;
                        "done"
                    }
                }),
            )
            .route(
                "/ws",
                any(|upgrade: axum::extract::ws::WebSocketUpgrade| async move {
                    upgrade.on_upgrade(|mut socket| async move {
                        // Ends when the client does.
                        while let Some(Ok(message)) = socket.recv().await {
                            let _ = socket.send(message).await;
                        }
                    })
                }),
            );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (acceptor, stop, tasks) = (
            Arc::new(Acceptor::new(routes, &limits, proxies, heartbeat, None)),
            CancellationToken::new(),
            TaskTracker::new(),
        );
        let (running, stopped) = (acceptor.clone(), stop.clone());
        tasks.spawn(async move { running.run(listener, &stopped).await });
        Self { address, acceptor, stop, go, tasks }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends this on a connection of its own, and reads until it closes.
    async fn ask(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        read_to_end(&mut stream).await
    }

    async fn until_open(&self, connections: usize) {
        let deadline = Instant::now() + DEADLINE;
        while self.acceptor.counts().open != connections {
            assert!(Instant::now() < deadline, "{:?} open", self.acceptor.counts());
            tokio::task::yield_now().await;
        }
    }
}

/// What comes until the server closes; a reset is an end as well.
async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut bytes)).await;
    let _ = read.expect("the server closes the connection");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What comes until `end` has come.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    while !text.contains(end) {
        let mut bytes = [0; 1_024];
        let read =
            tokio::time::timeout(DEADLINE, stream.read(&mut bytes)).await.expect("an answer comes").unwrap();
        assert!(read > 0, "closed after {text:?}");
        text.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    text
}

const GET: &str = "GET /peer HTTP/1.1\r\nHost: x\r\n\r\n";
const GET_AND_CLOSE: &str = "GET /peer HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

fn upgrade(more: &str) -> String {
    format!("GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{more}\r\n")
}

const GOOD_UPGRADE: &str = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";

#[tokio::test]
async fn a_request_is_served_and_knows_its_peer() {
    let server = Server::start(limits()).await;
    let mut stream = server.connect().await;
    let own = stream.local_addr().unwrap().to_string();
    stream.write_all(GET_AND_CLOSE.as_bytes()).await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(&own), "{answer}");
    server.until_open(0).await;
}

#[tokio::test]
async fn a_header_that_never_ends_is_cut() {
    let server = Server::start(Limits { header_timeout: Duration::from_millis(200), ..limits() }).await;
    for half in ["GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", "GET /peer HTTP/1.1\r\nHost: x\r\n\r\nGET /pe"] {
        let mut stream = server.connect().await;
        stream.write_all(half.as_bytes()).await.unwrap();
        read_to_end(&mut stream).await;
    }
    server.until_open(0).await;
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed_in_time() {
    let server = Server::start(Limits { handshake_timeout: Duration::from_millis(200), ..limits() }).await;
    // The last is where hyper waits for the rest of HTTP/2's first line, with no
    // time limit of its own.
    for begun in ["", "G", "PRI * HTTP/2.0\r\n"] {
        let mut stream = server.connect().await;
        stream.write_all(begun.as_bytes()).await.unwrap();
        assert_eq!(read_to_end(&mut stream).await, "", "{begun:?}");
    }
    // One that had its first request in time may go on.
    let mut stream = server.connect().await;
    stream.write_all(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut idle = server.connect().await;
    read_to_end(&mut idle).await;
    server.go.notify_one();
    assert!(read_until(&mut stream, "done").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn connections_are_limited_for_each_address_and_in_all() {
    for limits in [
        Limits { max_connections_per_address: Some(2), ..limits() },
        Limits { max_connections: 2, ..limits() },
    ] {
        let server = Server::start(limits).await;
        let first = server.connect().await;
        let _second = server.connect().await;
        server.until_open(2).await;
        let mut third = server.connect().await;
        let refused = read_to_end(&mut third).await;
        assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("too many connections"), "{refused}");
        assert_eq!(server.acceptor.counts().refused, 1);
        drop(first);
        server.until_open(1).await;
        assert!(server.ask(GET_AND_CLOSE).await.starts_with("HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn an_event_source_without_a_slot_is_told_to_come_back() {
    let server = Server::start(Limits { max_connections: 1, ..limits() }).await;
    let _only = server.connect().await;
    server.until_open(1).await;
    let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\nOrigin: http://page.test\r\n\r\n");
    let answer = server.ask(&ask("/v1/sse?token=t")).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("content-type: text/event-stream"), "{head}");
    // Without this its page's browser would take the answer for a fault and give up.
    assert!(head.contains("access-control-allow-origin: *"), "{head}");
    let retry = body.lines().find_map(|line| line.strip_prefix("retry: ")).unwrap();
    assert!((1_000..5_000).contains(&retry.parse::<u32>().unwrap()), "{body}");
    assert!(!body.contains("event:") && !body.contains("data:") && !body.contains("\n\n"), "{body}");
    // Everybody else understands a 503.
    assert!(server.ask(&ask("/v1/stream")).await.starts_with("HTTP/1.1 503"));
}

#[tokio::test]
async fn before_it_is_closed_an_idle_connection_takes_one_request_more() {
    let server = Server::start(limits()).await;
    let mut idle = server.connect().await;
    idle.write_all(GET.as_bytes()).await.unwrap();
    assert!(!read_until(&mut idle, "127.0.0.1").await.contains("connection: close"));
    server.stop.cancel();
    let acceptor = server.acceptor.clone();
    let left = server.tasks.spawn(async move { acceptor.last_requests().await });
    tokio::task::yield_now().await;
    // Also behind an answer that has lasted.
    server.go.notify_one();
    idle.write_all(b"GET /poll HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let answer = read_to_end(&mut idle).await;
    assert!(answer.contains("connection: close") && answer.ends_with("it"), "{answer}");
    tokio::time::timeout(DEADLINE, left).await.expect("no connection is left").unwrap();
}

#[tokio::test]
async fn what_nobody_takes_is_given_up_when_its_source_is_over() {
    let server = Server::start(limits()).await;
    let mut reader = server.connect().await;
    reader.write_all(b"GET /yesterday HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    read_until(&mut reader, "\r\n\r\n").await;
    server.until_open(0).await;
}

#[tokio::test]
async fn an_upgraded_socket_keeps_its_slot() {
    let server = Server::start(limits()).await;
    let mut stream = server.connect().await;
    stream.write_all(upgrade(GOOD_UPGRADE).as_bytes()).await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    // A masked text frame and its echo: the connection's own task has ended by
    // then.
    stream.write_all(&[0x81, 0x81, 0, 0, 0, 0, b'x']).await.unwrap();
    read_until(&mut stream, "x").await;
    assert_eq!(server.acceptor.counts().open, 1);
    drop(stream);
    server.until_open(0).await;
}

#[tokio::test]
async fn what_two_readers_could_understand_differently_is_refused() {
    let server = Server::start(limits()).await;
    let post = |headers: &str| format!("POST /echo HTTP/1.1\r\nHost: x\r\n{headers}\r\n0\r\n\r\n");
    for (request, status, says) in [
        (post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400, "not both"),
        (post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), 400, "not both"),
        (post("Content-Length: 5\r\nContent-Length: 5\r\n"), 400, "one Content-Length"),
        (post("Content-Length: 5\r\nContent-Length: 6\r\n"), 400, ""),
        (post("Content-Length: five\r\n"), 400, ""),
        (post(&format!("Content-Length: {}5\r\n", "0".repeat(60))), 400, "plain number"),
        (post("Transfer-Encoding: gzip\r\n"), 400, ""),
        (post("Host: y\r\n"), 400, "one Host"),
        ("GET /peer HTTP/1.1\r\n\r\n".to_owned(), 400, "has a Host"),
        (post("Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"), 400, "one Authorization"),
        (post("Origin: https://a\r\nOrigin: https://b\r\n"), 400, "one Origin"),
        (post("Content-Type: text/plain\r\nContent-Type: text/html\r\n"), 400, "one Content-Type"),
        (post("Last-Event-ID: 1.a\r\nLast-Event-ID: 2.b\r\n"), 400, "one Last-Event-ID"),
        ("GET http://y/peer HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 400, "host of its target"),
        (upgrade("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c2hvcnQ=\r\n"), 400, "16 bytes"),
        (upgrade("Sec-WebSocket-Version: 13\r\n"), 400, "16 bytes"),
        (
            upgrade("Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"),
            426,
            "must be 13",
        ),
        (format!("GET /peer HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "x".repeat(9_000)), 431, ""),
        (format!("GET /peer HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(150)), 431, ""),
    ] {
        let answer = server.ask(&request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        assert!(answer.contains(says), "{request}: {answer}");
        assert_eq!(answer.contains(r#"{"code":"bad_request","message":""#), !says.is_empty(), "{answer}");
    }
}

/// The client writes all of its request before it reads anything, as most do.
async fn write_then_read(server: &Server, head: &str, body: usize) -> std::io::Result<String> {
    let mut stream = server.connect().await;
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&vec![b'x'; body]).await?;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await;
    read.expect("the server closes the connection")?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn a_refused_body_is_read_on_so_that_the_refusal_is_seen() {
    const BODY: usize = 8 << 20;
    let server = Server::start(limits()).await;
    let post = |path: &str, framing: &str| format!("POST {path} HTTP/1.1\r\nHost: x\r\n{framing}\r\n");
    let length = format!("Content-Length: {BODY}\r\n");
    let chunk = format!("Transfer-Encoding: chunked\r\n\r\n{BODY:x}\r\n");
    for (head, status) in [
        (post("/refuse", &length), 413),
        (post("/refuse", &chunk), 413),
        (post("/never", &length), 404),
        (post("/peer", &length), 405),
        (post("/refuse", &format!("{length}{length}")), 400),
        (post("/refuse", &format!("{length}Host: y\r\n")), 400),
        (post("/refuse", &format!("{length}X-Long: {}\r\n", "x".repeat(9_000))), 431),
    ] {
        let answer = write_then_read(&server, &head, BODY).await;
        let answer = answer.unwrap_or_else(|error| panic!("{head}: {error}"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {answer}");
    }
    server.until_open(0).await;
}

#[tokio::test]
async fn a_refused_body_is_not_read_for_ever() {
    let server = Server::start(limits()).await;
    let mut stream = server.connect().await;
    let head = "POST /refuse HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let flood = async { while stream.write_all(&[b'x'; 65_536]).await.is_ok() {} };
    tokio::time::timeout(DEADLINE, flood).await.expect("the server has had enough");
    server.until_open(0).await;
}

#[tokio::test]
async fn a_refused_body_over_http_2_is_answered_and_the_connection_goes_on() {
    let server = Server::start(limits()).await;
    let stream = hyper_util::rt::TokioIo::new(server.connect().await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), stream).await.unwrap();
    server.tasks.spawn(connection);
    for _ in 0..4 {
        let request = http::Request::post(format!("http://{}/refuse", server.address))
            .body(Body::from(vec![b'x'; 8 << 20]))
            .unwrap();
        let answer = tokio::time::timeout(DEADLINE, sender.send_request(request)).await;
        assert_eq!(answer.expect("an answer comes").unwrap().status(), 413);
    }
    let request = http::Request::get(format!("http://{}/peer", server.address)).body(Body::empty()).unwrap();
    let answer = tokio::time::timeout(DEADLINE, sender.send_request(request)).await;
    assert_eq!(answer.expect("an answer comes").unwrap().status(), 200);
}

#[tokio::test]
async fn a_bad_request_is_found_behind_good_ones_on_the_same_connection() {
    let server = Server::start(limits()).await;
    let mut stream = server.connect().await;
    stream
        .write_all(
            b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        )
        .await
        .unwrap();
    read_until(&mut stream, "abc").await;
    stream.write_all(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\ndef").await.unwrap();
    read_until(&mut stream, "def").await;
    let smuggled =
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    stream.write_all(format!("{smuggled}{GET}").as_bytes()).await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    assert!(answer.contains("not both"), "{answer}");
}

#[tokio::test]
async fn http_2_by_prior_knowledge_is_served() {
    let server = Server::start(limits()).await;
    let stream = hyper_util::rt::TokioIo::new(server.connect().await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), stream).await.unwrap();
    server.tasks.spawn(connection);
    let request = http::Request::get(format!("http://{}/peer", server.address))
        .body(axum::body::Body::empty())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, http::Version::HTTP_2));
    server.go.notify_one();
    let poll = http::Request::get(format!("http://{}/poll", server.address))
        .body(axum::body::Body::empty())
        .unwrap();
    let answer = sender.send_request(poll).await.unwrap();
    assert!(answer.headers()["x-answer"] == "polled" && answer.headers()["x-layer"] == "outer");
    let too_long = http::Request::get(format!("http://{}/peer", server.address))
        .header("x-long", "x".repeat(9_000))
        .body(axum::body::Body::empty())
        .unwrap();
    // Refused by whichever side looks first: the server has said its limit.
    let refused = sender.send_request(too_long).await;
    assert!(refused.as_ref().map_or(true, |response| response.status() == 431), "{refused:?}");
}

/// Where the kernel can be told how long it may try.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_stream_whose_reader_takes_nothing_ends() {
    let server = Server::start_with(limits(), Duration::from_millis(500)).await;
    let mut reader = server.connect().await;
    reader.write_all(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    read_until(&mut reader, "\r\n\r\n").await;
    server.until_open(0).await;
}

#[tokio::test]
async fn stopping_ends_idle_connections_at_once_and_waits_for_requests() {
    let server = Server::start(limits()).await;
    let mut idle = server.connect().await;
    idle.write_all(GET.as_bytes()).await.unwrap();
    read_until(&mut idle, "127.0.0.1").await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    server.until_open(2).await;

    server.stop.cancel();
    let acceptor = server.acceptor.clone();
    let finished = server.tasks.spawn(async move { acceptor.finish(DEADLINE).await });
    assert_eq!(read_to_end(&mut idle).await, "");
    assert!(TcpStream::connect(server.address).await.is_err());
    assert!(!finished.is_finished());
    server.go.notify_one();
    let answer = read_to_end(&mut busy).await;
    assert!(answer.ends_with("done"), "{answer}");
    tokio::time::timeout(DEADLINE, finished).await.expect("nothing is left").unwrap();
    assert_eq!(server.acceptor.counts().open, 0);
}

#[tokio::test]
async fn stopping_waits_no_longer_than_it_may() {
    let server = Server::start(limits()).await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    server.until_open(1).await;
    server.stop.cancel();
    server.acceptor.finish(Duration::from_millis(100)).await;
    assert_eq!(read_to_end(&mut busy).await, "");
}

#[tokio::test]
async fn stopping_closes_upgraded_sockets_too_in_the_end() {
    let server = Server::start(limits()).await;
    // The peer that only waits, and the one that takes nothing.
    let mut silent = server.connect().await;
    silent.write_all(upgrade(GOOD_UPGRADE).as_bytes()).await.unwrap();
    read_until(&mut silent, "\r\n\r\n").await;
    let full = server.connect().await;
    let (mut reads, mut writes) = full.into_split();
    writes.write_all(upgrade(GOOD_UPGRADE).as_bytes()).await.unwrap();
    let mut answered = [0; 12];
    reads.read_exact(&mut answered).await.unwrap();
    // Echoes fill the way back until nothing moves any more.
    let mut frame = vec![0x82, 0xfe, 0xff, 0xff, 0, 0, 0, 0];
    frame.resize(8 + 0xffff, 0);
    while tokio::time::timeout(Duration::from_millis(500), writes.write_all(&frame)).await.is_ok() {}

    server.stop.cancel();
    server.acceptor.finish(Duration::from_millis(100)).await;
    assert_eq!(server.acceptor.counts().open, 0);
    assert_eq!(read_to_end(&mut silent).await, "");
}

#[tokio::test]
async fn an_endless_answer_comes_in_chunks_and_the_connection_goes_on() {
    let server = Server::start(limits()).await;
    let mut stream = server.connect().await;
    for head in ["GET /news HTTP/1.1", "POST /news HTTP/1.1", "POST /news HTTP/1.1\r\nContent-Length: 0"] {
        stream.write_all(format!("{head}\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let answer = read_until(&mut stream, "0\r\n\r\n").await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        for line in ["transfer-encoding: chunked", "x-layer: outer", "date: "] {
            assert!(head.contains(line), "{head}");
        }
        assert_eq!(body, "3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n");
        stream.write_all(GET.as_bytes()).await.unwrap();
        assert!(read_until(&mut stream, "127.0.0.1").await.starts_with("HTTP/1.1 200 OK"));
    }
}

#[tokio::test]
async fn a_deferred_answer_comes_later_and_requests_behind_it_wait() {
    let server = Server::start(limits()).await;
    let mut stream = server.connect().await;
    let both = format!("GET /poll HTTP/1.1\r\nHost: x\r\n\r\n{GET}");
    // Byte by byte: part of the next request is read while the first waits.
    for byte in both.as_bytes() {
        stream.write_all(&[*byte]).await.unwrap();
    }
    server.go.notify_one();
    let answers = read_until(&mut stream, "127.0.0.1").await;
    let (head, rest) = answers.split_once("\r\n\r\nit").unwrap();
    for line in ["HTTP/1.1 200 OK", "content-length: 2", "x-answer: polled", "x-layer: outer"] {
        assert!(head.contains(line), "{head}");
    }
    assert!(!head.contains("connection"), "{head}");
    assert!(rest.starts_with("HTTP/1.1 200 OK"), "{rest}");
}

#[tokio::test]
async fn whoever_asks_to_close_is_closed_after_the_answer() {
    let server = Server::start(limits()).await;
    server.go.notify_one();
    let answer = server.ask("GET /poll HTTP/1.1\r\nHost: x\r\nConnection: x, Close\r\n\r\nGET /never").await;
    assert!(answer.contains("connection: close") && answer.ends_with("it"), "{answer}");
    server.until_open(0).await;
}

#[tokio::test]
async fn answers_that_last_keep_the_rules_of_other_requests() {
    let server = Server::start(limits()).await;
    for (request, ends) in [
        ("HEAD /poll HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "\r\n\r\n"),
        ("GET /poll HTTP/1.0\r\nHost: x\r\n\r\n", "\r\n\r\nit"),
        ("GET /poll HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab", "\r\n\r\nit"),
        ("GET /news HTTP/1.0\r\nHost: x\r\n\r\n", "\r\n\r\nonetwo"),
        ("POST /poll HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab", "\r\n\r\nit"),
    ] {
        server.go.notify_one();
        let answer = server.ask(request).await;
        assert!(answer.contains(" 200 OK\r\n") && answer.ends_with(ends), "{request}: {answer}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_a_waiting_answer_is_noticed() {
    let server = Server::start(limits()).await;
    let (mut gone, mut half) = (server.connect().await, server.connect().await);
    for stream in [&mut gone, &mut half] {
        stream.write_all(b"GET /poll HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    }
    server.until_open(2).await;
    drop(gone);
    half.shutdown().await.unwrap();
    server.until_open(0).await;
}

#[tokio::test]
async fn what_is_wrong_behind_a_waiting_answer_is_still_found() {
    let server = Server::start(limits()).await;
    let wrong = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx";
    let mut stream = server.connect().await;
    stream.write_all(b"GET /poll HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    stream.write_all(wrong.as_bytes()).await.unwrap();
    server.go.notify_one();
    assert!(read_to_end(&mut stream).await.contains("400 Bad Request"));
}

#[tokio::test]
async fn stopping_waits_for_a_deferred_answer_and_closes() {
    let server = Server::start(limits()).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /poll HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    server.until_open(1).await;
    let ((), answer) = tokio::join!(server.acceptor.finish(DEADLINE), async {
        server.go.notify_one();
        read_to_end(&mut stream).await
    });
    assert!(answer.is_empty() || answer.ends_with("it"), "{answer}");
}

#[tokio::test]
async fn a_connection_that_idles_after_a_lasting_answer_is_closed_in_time() {
    let server = Server::start(Limits { header_timeout: Duration::from_millis(200), ..limits() }).await;
    server.go.notify_one();
    assert!(server.ask("GET /poll HTTP/1.1\r\nHost: x\r\n\r\n").await.ends_with("it"));
    server.until_open(0).await;
}
