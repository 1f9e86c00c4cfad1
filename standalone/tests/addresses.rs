//! What one client's address holds open is bounded, also behind proxies: by
//! X-Forwarded-For of those that are trusted, or by the PROXY protocol.
#![allow(clippy::unwrap_used, reason = "a test that meets something unexpected must fail")]

mod system;

use std::net::SocketAddr;

use gateway::config::{Networks, Proxies, ProxyProtocol};
use h2::client;
use system::http2::Http2;
use system::{DEADLINE, Running};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What an address may hold of each kind.
const MOST: usize = 2;

async fn behind(trusted: &[&str], protocol: ProxyProtocol) -> Running {
    let trusted = Networks::new(trusted.iter().map(|text| text.parse().unwrap()).collect());
    Running::start_with(|config| {
        config.gateway.proxies = Proxies { trusted, protocol };
        config.gateway.limits.max_connections_per_address = Some(MOST);
    })
    .await
}

/// Behind a proxy that is on this host.
async fn behind_trusted() -> Running {
    behind(&["127.0.0.1"], ProxyProtocol::Off).await
}

/// A request of alice's, as a proxy passes it on.
fn request(running: &Running, path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\n{more}\r\n", running.bearer("alice"))
}

/// The beginning of what is answered; all of it where the connection ends.
async fn head(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let reading = async {
        while !bytes.windows(4).any(|end| end == b"\r\n\r\n")
            && stream.read_buf(&mut bytes).await.unwrap_or(0) > 0
        {}
    };
    timeout(DEADLINE, reading).await.expect("an answer or an end comes");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Asks on a connection of its own, which is returned with the beginning of the answer.
async fn ask_after(running: &Running, first: &[u8], request: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    // Whoever is refused may have gone before it is written.
    let _ = stream.write_all(&[first, request.as_bytes()].concat()).await;
    let head = head(&mut stream).await;
    (stream, head)
}

async fn stream_of(running: &Running, client: &str) -> (TcpStream, String) {
    let more = format!("X-Forwarded-For: {client}\r\n");
    ask_after(running, b"", &request(running, "/v1/stream", &more)).await
}

fn is_served(answer: &(TcpStream, String)) -> bool {
    answer.1.starts_with("HTTP/1.1 200 ") || answer.1.starts_with("HTTP/1.1 101 ")
}

fn assert_refused((_, head): &(TcpStream, String)) {
    assert!(head.starts_with("HTTP/1.1 429 ") && head.contains("\r\nretry-after: 1\r\n"), "{head}");
}

#[tokio::test]
async fn of_one_client_behind_a_trusted_proxy_only_so_much_is_open() {
    let running = behind_trusted().await;
    let (one, _two) = (stream_of(&running, "192.0.2.1").await, stream_of(&running, "192.0.2.1:4711").await);
    assert!(is_served(&one) && is_served(&_two));
    // Whatever the client wrote before its address.
    assert_refused(&stream_of(&running, "203.0.113.9, 192.0.2.1").await);
    // An EventSource is told to come back.
    let more = "X-Forwarded-For: 192.0.2.1\r\n";
    let (_, events) = ask_after(&running, b"", &request(&running, "/v1/sse", more)).await;
    assert!(events.starts_with("HTTP/1.1 200 ") && events.contains("text/event-stream"), "{events}");
    // Others are not concerned, and of IPv6 a /64 is one.
    let others = [stream_of(&running, "192.0.2.2").await, stream_of(&running, "2001:db8::1").await];
    assert!(others.iter().all(is_served));
    let same = stream_of(&running, "[2001:db8::ffff]:80").await;
    assert!(is_served(&same));
    assert_refused(&stream_of(&running, "2001:db8::2").await);
    // What has ended makes room.
    drop(one);
    let again = async { while !is_served(&stream_of(&running, "192.0.2.1").await) {} };
    timeout(DEADLINE, again).await.expect("there is room again");
}

#[tokio::test]
async fn an_address_that_a_proxy_does_not_say_is_the_proxy_s() {
    let running = behind_trusted().await;
    let held = [stream_of(&running, "unknown").await, stream_of(&running, "192.0.2.1,").await];
    assert!(held.iter().all(is_served));
    assert_refused(&stream_of(&running, "nobody").await);
    assert!(is_served(&stream_of(&running, "192.0.2.1").await));
}

#[tokio::test]
async fn whoever_is_no_trusted_proxy_has_its_own_address_whatever_it_says() {
    let running = behind(&["10.0.0.0/8"], ProxyProtocol::Off).await;
    let held = [stream_of(&running, "192.0.2.1").await, stream_of(&running, "192.0.2.2").await];
    assert!(held.iter().all(is_served));
    let (_, refused) = stream_of(&running, "192.0.2.3").await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 1"), "{refused}");
}

#[tokio::test]
async fn a_websocket_is_open_until_it_has_ended() {
    let running = behind_trusted().await;
    let upgrade = "X-Forwarded-For: 192.0.2.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let open = async || ask_after(&running, b"", &request(&running, "/v1/ws", upgrade)).await;
    let (one, two) = (open().await, open().await);
    assert!(is_served(&one) && is_served(&two));
    assert_refused(&open().await);
    drop(one);
    let again = async { while !is_served(&open().await) {} };
    timeout(DEADLINE, again).await.expect("there is room again");
}

#[tokio::test]
async fn a_proxy_mixes_clients_on_one_connection_of_http_2() {
    let running = behind_trusted().await;
    let stream = TcpStream::connect(running.address).await.unwrap();
    let base = format!("http://{}", running.address);
    let mut connection = Http2::connect(stream, &base, &running.tasks).await;
    let bearer = running.bearer("alice");
    let from = |client: &'static str| {
        [("sec-websocket-version", "13"), ("authorization", bearer.as_str()), ("x-forwarded-for", client)]
    };
    let one = connection.open("/v1/ws", &from("192.0.2.1")).await.unwrap();
    let _two = connection.get("/v1/stream", &from("192.0.2.1")).await;
    assert_eq!(
        connection.open("/v1/ws", &from("192.0.2.1")).await.err().map(|status| status.as_u16()),
        Some(429)
    );
    assert!(connection.open("/v1/ws", &from("192.0.2.2")).await.is_ok());
    drop(one);
    let again = async { while connection.open("/v1/ws", &from("192.0.2.1")).await.is_err() {} };
    timeout(DEADLINE, again).await.expect("there is room again");
}

#[tokio::test]
async fn streams_of_one_client_s_own_http_2_connection_are_bounded_too() {
    let running = behind(&[], ProxyProtocol::Off).await;
    let stream = TcpStream::connect(running.address).await.unwrap();
    let (mut sender, connection) = client::handshake(stream).await.unwrap();
    running.tasks.spawn(connection);
    let mut held = Vec::new();
    for expected in [200, 200, 429] {
        let request = http::Request::get(format!("http://{}/v1/stream", running.address))
            .header("authorization", running.bearer("alice"));
        sender = sender.ready().await.unwrap();
        let (response, _) = sender.send_request(request.body(()).unwrap(), true).unwrap();
        let response = timeout(DEADLINE, response).await.unwrap().unwrap();
        assert_eq!(response.status().as_u16(), expected);
        held.push(response);
    }
}

#[tokio::test]
async fn sessions_between_requests_are_bounded_too() {
    let running = behind_trusted().await;
    let token = running.token("alice", None);
    let from = |client: &'static str| [("x-forwarded-for", client)];
    for (kind, method, path) in [
        ("Socket.IO", "GET", "/socket.io/?EIO=4&transport=polling&n={n}".to_owned()),
        ("SockJS", "POST", format!("/sockjs/0/s{{n}}/xhr?token={token}")),
    ] {
        let begin = async |n: usize, client| {
            running.raw(method, &path.replace("{n}", &n.to_string()), &from(client), Vec::new()).await
        };
        // Of all kinds together: each begins at an address of its own.
        let client = if kind == "SockJS" { "192.0.2.1" } else { "192.0.2.2" };
        for n in 0..MOST {
            assert_eq!(begin(n, client).await.status, 200, "{kind}");
        }
        let refused = begin(MOST, client).await;
        assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")), "{kind}: {refused:?}");
        assert_eq!(begin(MOST + 1, "192.0.2.3").await.status, 200, "{kind}");
    }
    // They are forgotten, and make room: SockJS's after five seconds.
    let path = format!("/sockjs/0/later/xhr?token={token}");
    let again = async {
        while running.raw("POST", &path, &from("192.0.2.1"), Vec::new()).await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, again).await.expect("there is room again");
}

/// A PROXY header, version 2, of this client (§2.2).
fn proxy_header(client: &str) -> Vec<u8> {
    let client: SocketAddr = client.parse().unwrap();
    let SocketAddr::V4(client) = client else { panic!("IPv4 here") };
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    bytes.extend(client.ip().octets());
    bytes.extend([10, 0, 0, 1]);
    bytes.extend(client.port().to_be_bytes());
    bytes.extend([0, 80]);
    bytes
}

const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

#[tokio::test]
async fn connections_are_of_whom_the_proxy_header_says() {
    let running = behind(&["127.0.0.0/8"], ProxyProtocol::On).await;
    let open = async |client| {
        ask_after(
            &running,
            &proxy_header(client),
            &request(&running, "/v1/stream", "X-Forwarded-For: 1.1.1.1\r\n"),
        )
        .await
    };
    let held = [open("192.0.2.1:1").await, open("192.0.2.1:2").await];
    assert!(held.iter().all(is_served));
    let (_, refused) = open("192.0.2.1:3").await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 1"), "{refused}");
    assert!(is_served(&open("192.0.2.2:1").await));
    // The balancer itself asks whether the server is there.
    assert!(is_served(&ask_after(&running, LOCAL, &request(&running, "/v1/stream", "")).await));
}

#[tokio::test]
async fn where_proxies_introduce_clients_nobody_comes_without() {
    let running = behind(&["127.0.0.1"], ProxyProtocol::On).await;
    let plain = request(&running, "/v1/poll?wait=0", "");
    for first in [&b""[..], b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n", b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0"]
    {
        assert_eq!(ask_after(&running, first, &plain).await.1, "", "{first:?}");
    }
    let strangers = behind(&["10.0.0.0/8"], ProxyProtocol::On).await;
    assert_eq!(ask_after(&strangers, &proxy_header("192.0.2.1:1"), &plain).await.1, "");
    // And where none are expected, a header is no request.
    let direct = behind(&[], ProxyProtocol::Off).await;
    assert!(ask_after(&direct, &proxy_header("192.0.2.1:1"), &plain).await.1.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn tls_begins_behind_the_proxy_header() {
    let running = Running::start_with(|config| {
        config.gateway.tls = Some(system::tls::certificate());
        config.gateway.proxies.protocol = ProxyProtocol::On;
    })
    .await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(&proxy_header("192.0.2.1:1")).await.unwrap();
    let mut stream = system::tls::over(stream, &["http/1.1"]).await;
    stream.write_all(b"GET /v1/nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 404 "));
}
