//! Requests and frames that two readers could understand differently are refused,
//! and no answer is more than it says, whatever a browser makes of it.
#![allow(clippy::unwrap_used, reason = "a test that meets something unexpected must fail")]

mod system;

use std::time::Duration;

use bytes::Bytes;
use h2::client::{self, SendRequest};
use http::Request;
use system::{DEADLINE, Running};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The head of the answer.
async fn ask(running: &Running, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(request).await.unwrap();
    until(&mut stream, |bytes| bytes.windows(4).any(|end| end == b"\r\n\r\n")).await
}

/// What comes until enough has.
async fn until(stream: &mut TcpStream, enough: impl Fn(&[u8]) -> bool) -> String {
    let mut bytes = Vec::new();
    let reading = async {
        while !enough(&bytes) {
            assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "closed after {bytes:?}");
        }
    };
    timeout(DEADLINE, reading).await.expect("an answer comes");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn a_body_is_coded_in_one_way() {
    let running = Running::start().await;
    for codings in [
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity, chunked\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let request = format!("POST /v1/messages HTTP/1.1\r\nHost: x\r\n{codings}\r\n0\r\n\r\n");
        let answer = ask(&running, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{codings}: {answer}");
    }
    let old = "POST /v1/messages HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert!(ask(&running, old.as_bytes()).await.starts_with("HTTP/1.1 400 "));
    let good = "POST /v1/nothing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\nConnection: close\r\n\r\n0\r\n\r\n";
    assert!(ask(&running, good.as_bytes()).await.starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn a_host_is_one_and_is_one() {
    let running = Running::start().await;
    for host in [
        "",
        "Host:\r\n",
        "Host: a\r\nHost: a\r\n",
        "Host: a b\r\n",
        "Host: u@a\r\n",
        "Host: a/b\r\n",
        "Host: a:port\r\n",
        "Host: a:70000\r\n",
        "Host: a,b\r\n",
        "Host: [::1\r\n",
        "Host: <script>\r\n",
        "Host: \x01\r\n",
    ] {
        let request = format!("GET /v1/nothing HTTP/1.1\r\n{host}\r\n");
        let answer = ask(&running, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{host:?}: {answer}");
    }
    for host in ["a", "a.b:8080", "[::1]:8080", "127.0.0.1", "gateway_1"] {
        let request = format!("GET /v1/nothing HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        assert!(ask(&running, request.as_bytes()).await.starts_with("HTTP/1.1 404 "), "{host}");
    }
    assert!(ask(&running, b"GET /v1/nothing HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 404 "));
}

#[tokio::test]
async fn an_absurd_body_is_refused_before_it_is_asked_for() {
    let running = Running::start().await;
    let token = running.token("alice", None);
    let bearer = running.bearer("alice");
    let polling = running.raw("GET", "/socket.io/?EIO=4&transport=polling", &[], Vec::new()).await.text;
    let id = polling.split('"').nth(3).unwrap().to_owned();
    let opened = running.raw("POST", &format!("/sockjs/0/s/xhr?token={token}"), &[], Vec::new()).await;
    assert_eq!(opened.text, "o\n");
    for path in [
        "/v1/messages".to_owned(),
        format!("/socket.io/?EIO=4&transport=polling&sid={id}"),
        format!("/sockjs/0/s/xhr_send?token={token}"),
    ] {
        for length in ["2000000", "9223372036854775807", "18446744073709551615", "99999999999999999999999"] {
            let mut stream = TcpStream::connect(running.address).await.unwrap();
            let request = format!(
                "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer}\r\nExpect: 100-continue\r\n\
                 Content-Length: {length}\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).await.unwrap();
            let answer = until(&mut stream, |bytes| bytes.windows(4).any(|end| end == b"\r\n\r\n")).await;
            // 431 is hyper's answer to a number that is none of 64 bits.
            let refused = ["HTTP/1.1 413 ", "HTTP/1.1 400 ", "HTTP/1.1 431 "]
                .iter()
                .any(|status| answer.starts_with(status));
            assert!(refused, "{path} {length}: {answer}");
        }
    }
}

async fn http2(running: &Running) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(running.address).await.unwrap();
    let (sender, connection) = client::handshake(stream).await.unwrap();
    running.tasks.spawn(connection);
    sender
}

/// The status of the answer to a request without a body.
async fn status(sender: &SendRequest<Bytes>, request: Request<()>) -> Result<u16, h2::Error> {
    let (response, _) = sender.clone().ready().await?.send_request(request, true)?;
    let response = timeout(DEADLINE, response).await.expect("an answer comes, or an end")?;
    Ok(response.status().as_u16())
}

#[tokio::test]
async fn over_http_2_the_host_is_the_authority() {
    let running = Running::start().await;
    let sender = http2(&running).await;
    let request = |authority: &str, host: &[&str]| {
        let mut request = Request::get(format!("http://{authority}/v1/nothing"));
        for host in host {
            request = request.header("host", *host);
        }
        request.body(()).unwrap()
    };
    for (authority, host, expected) in [
        ("a:80", &[][..], 404),
        ("a:80", &["a:80"], 404),
        ("a:80", &["A:80"], 404),
        ("a:80", &["b:80"], 400),
        ("a:80", &["a:80", "a:80"], 400),
        ("a:80", &[""], 400),
        ("u@a", &[], 400),
    ] {
        assert_eq!(
            status(&sender, request(authority, host)).await.unwrap(),
            expected,
            "{authority} {host:?}"
        );
    }
}

#[tokio::test]
async fn an_http_2_connection_that_asks_for_nothing_allowed_is_ended() {
    let running = Running::start_with(|config| {
        config.gateway.limits.header_timeout = Duration::from_millis(300);
        config.gateway.limits.handshake_timeout = Duration::from_millis(300);
    })
    .await;
    let (used, unused) = (http2(&running).await, http2(&running).await);
    let get = |path: &str| Request::get(format!("http://{}{path}", running.address));
    let stream = get("/v1/stream").header("authorization", running.bearer("alice")).body(()).unwrap();
    let (response, _) = used.clone().ready().await.unwrap().send_request(stream, true).unwrap();
    let mut frames = timeout(DEADLINE, response).await.unwrap().unwrap().into_body();
    // However often it asks.
    let refused = async {
        loop {
            match status(&unused, get("/v1/poll").body(()).unwrap()).await {
                Ok(status) => assert_eq!(status, 401),
                Err(error) => break error,
            }
        }
    };
    let error = timeout(DEADLINE, refused).await.expect("it is ended");
    assert!(error.is_go_away() || error.is_io(), "{error}");
    // The other one has a stream, and goes on.
    assert!(
        timeout(DEADLINE, frames.data())
            .await
            .unwrap()
            .unwrap()
            .unwrap()
            .starts_with(b"{\"type\":\"welcome\"")
    );
    assert_eq!(status(&used, get("/v1/poll").body(()).unwrap()).await.unwrap(), 401);
    drop(frames);
    let closed = async { while status(&used, get("/v1/poll").body(()).unwrap()).await.is_ok() {} };
    timeout(DEADLINE, closed).await.expect("it is ended once its stream is");
}

#[tokio::test]
async fn a_frame_s_length_takes_as_few_bytes_as_it_can() {
    let running = Running::start().await;
    for (number, frame) in [
        &[0x81, 0x80 | 126, 0, 2, 0, 0, 0, 0, b'{', b'}'][..],
        &[0x81, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, b'{', b'}'],
        // A ping, whose length never takes more than a byte.
        &[0x89, 0x80 | 126, 0, 0, 0, 0, 0, 0],
    ]
    .into_iter()
    .enumerate()
    {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let upgrade = format!(
            "GET /v1/ws?device=d{number} HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
            running.bearer("alice")
        );
        stream.write_all(upgrade.as_bytes()).await.unwrap();
        stream.write_all(frame).await.unwrap();
        // A close frame with 1002.
        until(&mut stream, |bytes| bytes.windows(2).any(|code| code == 1002_u16.to_be_bytes())).await;
    }
}

#[tokio::test]
async fn whatever_a_browser_may_show_is_what_it_says_and_runs_nothing() {
    let running = Running::start_with(|config| {
        config.gateway.sockjs_client = Some("https://cdn.test/sockjs.js".parse().unwrap());
    })
    .await;
    let token = running.token("alice", None);
    for (path, policy) in [
        ("/", "default-src 'none'; script-src 'self'"),
        ("/page.js", "default-src 'none'; script-src 'self'"),
        ("/v1/nothing", "default-src 'none'; frame-ancestors 'none'"),
        ("/v1/openapi.json", "default-src 'none'; frame-ancestors 'none'"),
        ("/v1/conversations?token=", "default-src 'none'; frame-ancestors 'none'"),
        ("/v1/conversations", "default-src 'none'; frame-ancestors 'none'"),
        ("/v1/poll?wait=0&cursor=start&token=", "default-src 'none'; frame-ancestors 'none'"),
        ("/v1/poll?wait=1&cursor=start&token=", "default-src 'none'; frame-ancestors 'none'"),
        ("/v1/poll?wait=0&cursor=start&callback=f&token=", "default-src 'none'; frame-ancestors 'none'"),
        ("/v1/stream?token=", "default-src 'none'; frame-ancestors 'none'"),
        ("/v1/sse?token=", "default-src 'none'; frame-ancestors 'none'"),
        ("/v1/iframe?callback=parent.f&token=", "default-src 'none'; script-src 'unsafe-inline'"),
        ("/socket.io/?EIO=4&transport=polling", "default-src 'none'; frame-ancestors 'none'"),
        ("/socket.io/?EIO=3", "default-src 'none'; frame-ancestors 'none'"),
        ("/sockjs", "default-src 'none'; frame-ancestors 'none'"),
        ("/sockjs/info", "default-src 'none'; frame-ancestors 'none'"),
        ("/sockjs/iframe.html", "default-src 'none'; script-src 'sha256-"),
        ("/sockjs/0/a/htmlfile?c=f&token=", "default-src 'none'; script-src 'unsafe-inline'"),
        ("/sockjs/0/b/eventsource?token=", "default-src 'none'; frame-ancestors 'none'"),
    ] {
        let path = if path.ends_with("token=") { format!("{path}{token}") } else { path.to_owned() };
        for old in [false, true] {
            let mut stream = TcpStream::connect(running.address).await.unwrap();
            let version = if old { "1.0" } else { "1.1" };
            let request = format!("GET {path} HTTP/{version}\r\nHost: x\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let head = until(&mut stream, |bytes| bytes.windows(4).any(|end| end == b"\r\n\r\n")).await;
            let head = head.to_ascii_lowercase();
            let head = head.split("\r\n\r\n").next().unwrap();
            let of = |name: &str| -> Vec<&str> {
                head.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect()
            };
            assert_eq!(of("x-content-type-options"), ["nosniff"], "{path}: {head}");
            let policies = of("content-security-policy");
            assert!(policies.len() == 1 && policies[0].starts_with(policy), "{path}: {head}");
        }
    }
    // The page of a script that sends (JSONP) shows the answer in an iframe of its own.
    let opened = running.raw("POST", &format!("/sockjs/0/c/xhr?token={token}"), &[], Vec::new()).await;
    assert_eq!(opened.text, "o\n");
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let path = format!("/sockjs/0/c/jsonp_send?token={token}");
    let sent = running.raw("POST", &path, &form, b"d=%5B%22%7B%7D%22%5D".to_vec()).await;
    assert_eq!(
        (sent.status, sent.header("content-security-policy")),
        (200, Some("default-src 'none'")),
        "{sent:?}"
    );
    let refused = ask(&running, b"GET / HTTP/1.1\r\n\r\n").await;
    assert!(
        refused.contains("nosniff") && refused.contains("content-security-policy: default-src 'none'"),
        "{refused}"
    );
}
