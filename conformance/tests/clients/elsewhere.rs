//! Requests that come to another server than the one that has their session.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use conformance::Among;
use daemon::internal_tls::{InternalTls, InternalTlsArgs};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{PATIENT, Server, bound, until};

const UNKNOWN: (u16, &str) = (400, r#"{"code":1,"message":"Session ID unknown"}"#);

fn url(address: SocketAddr, tls: Option<&InternalTls>) -> String {
    format!("{}://{address}", if tls.is_some() { "https" } else { "http" })
}

/// Two servers that know each other.
struct Two {
    one: Server,
    two: Server,
    /// Where two reaches one.
    peer: SocketAddr,
}

impl Two {
    async fn start() -> Self {
        Self::with(1_000, None, None).await
    }

    /// Where two passes on so many requests at once.
    async fn with(requests: usize, tls_of_one: Option<InternalTls>, tls_of_two: Option<InternalTls>) -> Self {
        let among = |node: &str, other: &str, address, tls: Option<InternalTls>| Among {
            node: node.to_owned(),
            others: BTreeMap::from([(other.to_owned(), url(address, tls.as_ref()))]),
            requests,
            tls,
        };
        let ((one, peer), (two, peer_two)) = (bound().await, bound().await);
        let of_one = among("one", "two", peer_two, tls_of_one);
        let of_two = among("two", "one", peer, tls_of_two);
        Self {
            one: Server::among(Some((one, of_one)), PATIENT).await,
            two: Server::among(Some((two, of_two)), PATIENT).await,
            peer,
        }
    }

    async fn stop(self) {
        self.one.stop().await;
        self.two.stop().await;
    }
}

/// The target of requests of a session that has begun at this server.
async fn begin(server: &Server) -> String {
    let opened = server.get("/engine.io/?EIO=4&transport=polling").await;
    let opened: serde_json::Value = serde_json::from_str(&opened.body[1..]).unwrap();
    format!("/engine.io/?EIO=4&transport=polling&sid={}", opened["sid"].as_str().unwrap())
}

#[tokio::test]
async fn polls_may_come_to_either_server() {
    let servers = Two::start().await;
    let target = begin(&servers.one).await;
    for number in 0..20 {
        let (here, there) = match number % 2 {
            0 => (&servers.one, &servers.two),
            _ => (&servers.two, &servers.one),
        };
        let poll = here.begin_get(&target).await;
        assert_eq!(there.post(&target, format!("4{number}")).await.parts(), (200, "ok"));
        let answer = poll.answer().await;
        assert_eq!(answer.parts(), (200, &*format!("4{number}")));
        let of_origins = answer.head.matches("access-control-allow-credentials").count();
        assert_eq!(of_origins, 1, "{}", answer.head);
        assert_eq!(answer.head.matches("\ndate:").count(), 1, "{}", answer.head);
    }
    servers.stop().await;
}

#[tokio::test]
async fn a_websocket_takes_over_through_the_other_server() {
    let servers = Two::start().await;
    let target = begin(&servers.one).await;
    let mut socket = servers.two.websocket(&target.replace("polling", "websocket")).await;
    socket.text("2probe").await;
    assert_eq!(socket.next_text().await, "3probe");
    socket.text("5").await;
    let large = "x".repeat(900_000);
    for number in 0..20 {
        socket.text(&format!("4{number}{large}")).await;
        socket.bytes(large.as_bytes()).await;
        assert_eq!(socket.next_text().await, format!("4{number}{large}"));
        assert_eq!(socket.next().await, Some(Message::binary(large.clone().into_bytes())));
    }
    // Which polls no more.
    assert_eq!(servers.two.get(&target).await.status, 400);
    servers.one.stop().await;
    assert_eq!(socket.next().await, None);
    servers.two.stop().await;
}

#[tokio::test]
async fn a_server_that_stops_lets_go_of_what_it_passes_on() {
    let servers = Two::start().await;
    let target = begin(&servers.one).await;
    let mut socket = servers.two.websocket(&target.replace("polling", "websocket")).await;
    socket.text("2probe").await;
    assert_eq!(socket.next_text().await, "3probe");
    servers.two.stop().await;
    assert_eq!(socket.next().await, None);
    // It never took over, so polls go on.
    let poll = servers.one.begin_get(&target).await;
    assert_eq!(servers.one.post(&target, "4more").await.parts(), (200, "ok"));
    assert!(poll.answer().await.status == 200);
    servers.one.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_a_poll_is_gone_everywhere() {
    let servers = Two::with(1, None, None).await;
    let target = begin(&servers.one).await;
    let other = begin(&servers.one).await;
    let poll = servers.two.begin_get(&target).await;
    // It is passed on, for nothing else is.
    until(async || servers.two.post(&other, "6").await.status == 503).await;
    assert_eq!(servers.one.post(&target, "6").await.parts(), (200, "ok"));
    drop(poll);
    until(async || servers.one.post(&target, "6").await.parts() == UNKNOWN).await;
    until(async || servers.two.post(&other, "6").await.status == 200).await;
    servers.stop().await;
}

#[tokio::test]
async fn sockjs_sessions_are_one_whichever_server_is_asked() {
    let servers = Two::start().await;
    // The name decides which of the two has it: of eight each has some.
    for name in 0..8 {
        let target = |way: &str| format!("/echo/000/session-{name}/{way}");
        assert_eq!(servers.one.post(&target("xhr"), "").await.parts(), (200, "o\n"));
        for number in 0..4 {
            let message = format!(r#"["{number}"]"#);
            assert_eq!(servers.two.post(&target("xhr_send"), &message).await.status, 204);
            let server = if number % 2 == 0 { &servers.one } else { &servers.two };
            let answer = server.post(&target("xhr"), "").await;
            assert_eq!(answer.parts(), (200, &*format!("a{message}\n")));
        }
    }
    assert_eq!(servers.one.post("/echo/000/nobody/xhr_send", "[]").await.status, 404);
    assert_eq!(servers.two.post("/echo/000/nobody/xhr_send", "[]").await.status, 404);
    servers.stop().await;
}

#[tokio::test]
async fn what_another_server_has_passed_on_is_not_passed_on_again() {
    let servers = Two::start().await;
    let target = begin(&servers.two).await;
    let client: Client<_, Full<bytes::Bytes>> =
        Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let ask = async |client_address: Option<&str>| {
        let mut request = Request::post(format!("http://{}{target}", servers.peer));
        if let Some(address) = client_address {
            request = request.header("switchboard-client", address);
        }
        let response = client.request(request.body(Full::from("4hi")).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    };
    let (status, body) = ask(Some("192.0.2.1:1")).await;
    assert_eq!((status, &*body), UNKNOWN);
    // Who says no client's address is no server of ours.
    assert_eq!(ask(None).await.0, 400);
    // A client's port does not care what it says of itself.
    assert_eq!(servers.one.post(&target, "4hi").await.parts(), (200, "ok"));
    drop(client);
    servers.stop().await;
}

#[tokio::test]
async fn a_server_that_does_not_answer_holds_up_nobody_else() {
    // The kernel takes connections; nobody ever reads of them.
    let (_silent, silent) = bound().await;
    let refusing = SocketAddr::from((Ipv4Addr::LOCALHOST, testbed::port::free()));
    let ((one, _), (two, address)) = (bound().await, bound().await);
    let others = BTreeMap::from([
        ("silent".to_owned(), url(silent, None)),
        ("refusing".to_owned(), url(refusing, None)),
        // Where another one answers.
        ("three".to_owned(), url(address, None)),
        ("two".to_owned(), url(address, None)),
    ]);
    let among = |node: &str, others| Among { node: node.to_owned(), others, requests: 100, tls: None };
    let one = Server::among(Some((one, among("one", others))), PATIENT).await;
    let two = Server::among(Some((two, among("two", BTreeMap::new()))), PATIENT).await;
    let of = |node: &str| format!("/engine.io/?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAAAA.{node}");
    let stuck = one.begin_get(&of("silent")).await;
    let target = begin(&two).await;
    assert_eq!(one.post(&target, "4hi").await.parts(), (200, "ok"));
    for node in ["refusing", "three", "nobody", "one"] {
        assert_eq!(one.get(&of(node)).await.parts(), UNKNOWN, "{node}");
    }
    assert_eq!(stuck.answer().await.parts(), UNKNOWN);
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn no_more_is_passed_on_than_may_be() {
    let servers = Two::with(1, None, None).await;
    let target = begin(&servers.one).await;
    let other = begin(&servers.one).await;
    let waiting = servers.two.begin_get(&target).await;
    until(async || servers.two.post(&other, "4").await.status == 503).await;
    assert_eq!(servers.one.post(&target, "4done").await.parts(), (200, "ok"));
    assert_eq!(waiting.answer().await.parts(), (200, "4done"));
    until(async || servers.two.post(&other, "4").await.status == 200).await;
    servers.stop().await;
}

fn tls_of(folder: &Path, name: &str, authority: &str) -> InternalTls {
    let file = |name: String| Some(folder.join(name));
    let args = InternalTlsArgs {
        internal_tls_cert: file(format!("{name}.cert.pem")),
        internal_tls_key: file(format!("{name}.key.pem")),
        internal_tls_ca: file(format!("{authority}.ca.pem")),
        internal_tls_name: if name == "other" { "other" } else { "switchboard" }.to_owned(),
        internal_insecure: false,
    };
    args.check().unwrap().unwrap()
}

#[tokio::test]
async fn only_servers_with_a_certificate_of_ours_talk_to_each_other() {
    let of = |name: &str, authority: &str| Some(tls_of(&testbed::certificates(), name, authority));
    for (one, other, reached) in [
        (of("ours", "ours"), of("renewed", "ours"), true),
        (of("ours", "ours"), None, false),
        (of("ours", "ours"), of("other", "ours"), false),
        (of("ours", "ours"), of("theirs", "theirs"), false),
        // Only one of the two believes the other.
        (of("ours", "ours"), of("theirs", "both"), false),
        (of("ours", "both"), of("theirs", "theirs"), false),
    ] {
        let what = format!("{one:?} {other:?}");
        let servers = Two::with(1_000, one, other).await;
        for (here, there) in [(&servers.one, &servers.two), (&servers.two, &servers.one)] {
            let target = begin(here).await;
            let answer = there.post(&target, "4hi").await;
            assert_eq!(answer.parts(), if reached { (200, "ok") } else { UNKNOWN }, "{what}");
        }
        servers.stop().await;
    }
}

#[tokio::test]
async fn a_certificate_that_is_renewed_is_shown_to_those_who_come_then() {
    let folder = tempfile::tempdir().unwrap();
    let copy = |from: &str, to: &str| {
        std::fs::copy(testbed::certificates().join(from), folder.path().join(to)).unwrap();
    };
    copy("ours.ca.pem", "now.ca.pem");
    copy("ours.cert.pem", "now.cert.pem");
    copy("ours.key.pem", "now.key.pem");
    let tls = tls_of(folder.path(), "now", "now");
    let mut tasks = JoinSet::new();
    tasks.spawn(tls.clone().follow());
    let (listener, address) = bound().await;
    let (serving, client) = (tls, tls_of(&testbed::certificates(), "ours", "ours"));
    tasks.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let _ = serving.accept(stream).await;
        }
    });
    let shown = async || {
        let stream = client.connect(TcpStream::connect(address).await.unwrap()).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone()
    };
    let first = shown().await;
    // In the middle the two do not belong together: the first one stays.
    copy("renewed.cert.pem", "now.cert.pem");
    copy("renewed.key.pem", "now.key.pem");
    until(async || shown().await != first).await;
}
