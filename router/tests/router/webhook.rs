//! The webhook: what a receiver gets, and that nobody else notices one that is
//! slow, broken or gone.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use proto::wire::router_client::RouterClient;
use proto::wire::{self, request::Command};
use router::webhook::{Pace, Webhook};
use router::{Config, Service};
use serde_json::Value;
use store::{Bounds, Store};
use testbed::RedisServer;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::gateway::{DEADLINE, Gateway, Running, send, send_as};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// Ends no hold within a test.
const LONG: Duration = Duration::from_secs(600);

/// How a receiver answers.
#[derive(Debug, Clone, Copy)]
enum Answer {
    Status(u16),
    Hang,
}

/// A request that has come.
#[derive(Debug, Clone)]
struct Got {
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn messages(&self) -> Vec<Value> {
        self.json()["messages"].as_array().unwrap().clone()
    }

    fn assert_signed(&self) {
        let timestamp = self.header("switchboard-timestamp");
        let age = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() - timestamp.parse::<u64>().unwrap();
        assert!(age < 60, "{age}");
        let hex = self.header("switchboard-signature").strip_prefix("v1=").unwrap();
        let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
        let signature: Vec<u8> = bytes.collect();
        let signed = [timestamp.as_bytes(), b".", &self.body].concat();
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        hmac::verify(&key, &signed, &signature).expect("the signature is that of the body");
    }
}

/// A small HTTP server: answers as it is told, then with 200.
struct Receiver {
    address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
    _stop: DropGuard,
}

impl Receiver {
    async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let got = Arc::<Mutex<Vec<Got>>>::default();
        let answers = Arc::new(Mutex::new(answers.into_iter().collect::<VecDeque<_>>()));
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let (log, stopped, serving) = (got.clone(), stop.clone(), tasks.clone());
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serve = serve(stream, log.clone(), answers.clone());
                serving.spawn(stopped.clone().run_until_cancelled_owned(serve));
            }
        }));
        Self { address, got, _stop: stop.drop_guard() }
    }

    fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// Waits for so many requests.
    async fn requests(&self, count: usize) -> Vec<Got> {
        let requests = async || {
            let got = self.got();
            (got.len() >= count).then_some(got)
        };
        testbed::wait::until(DEADLINE, "requests", requests).await.unwrap()
    }

    fn webhook(&self) -> Webhook {
        webhook(&format!("http://{}/hook?key=x", self.address))
    }
}

async fn serve(stream: TcpStream, got: Arc<Mutex<Vec<Got>>>, answers: Arc<Mutex<VecDeque<Answer>>>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        assert_eq!(lines[0], "POST /hook?key=x HTTP/1.1");
        let headers: Vec<(String, String)> = lines[1..]
            .iter()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut request = Got { headers, body: Vec::new() };
        request.body = vec![0; request.header("content-length").parse().unwrap()];
        stream.read_exact(&mut request.body).await.unwrap();
        got.lock().unwrap().push(request);
        let answer = answers.lock().unwrap().pop_front().unwrap_or(Answer::Status(200));
        let status = match answer {
            Answer::Status(status) => status,
            Answer::Hang => std::future::pending().await,
        };
        let answer =
            format!("HTTP/1.1 {status} Whatever\r\nlocation: /elsewhere\r\ncontent-length: 2\r\n\r\nok");
        stream.get_mut().write_all(answer.as_bytes()).await.unwrap();
    }
}

fn webhook(url: &str) -> Webhook {
    Webhook {
        url: url.parse().unwrap(),
        secret: SECRET.parse().unwrap(),
        batch: 100,
        timeout: Duration::from_millis(500),
        pace: Pace {
            look: Duration::from_millis(10),
            retry: Duration::from_millis(10),
            longest_retry: Duration::from_millis(50),
            hold: LONG,
        },
    }
}

async fn router(webhook: Webhook) -> Running {
    let bounds = Bounds { unheard: 100, ..Bounds::default() };
    Running::with_bounds(Config { webhook: Some(webhook), ..Config::default() }, bounds).await
}

/// Waits until nothing waits.
async fn all_told(store: &dyn Store) {
    let empty = async || store.unheard().await.unwrap() == 0;
    testbed::wait::until_true(DEADLINE, "an empty queue", empty).await.unwrap();
}

#[tokio::test]
async fn a_message_for_somebody_absent_is_posted_signed() {
    let receiver = Receiver::start([]).await;
    let router = router(receiver.webhook()).await;
    let mut gateway = router.connect().await;
    gateway.ask("alice", send_as("alice~bob", r#"{"a":[1e300,"ü"]}"#, "m-1")).await;
    let got = receiver.requests(1).await.remove(0);
    got.assert_signed();
    assert_eq!(got.header("content-type"), "application/json");
    let text = String::from_utf8(got.body.clone()).unwrap();
    assert!(text.contains(r#""body":{"a":[1e300,"ü"]}"#), "the body as it was sent: {text}");
    let hidden = Command::Send(wire::Send {
        conversation: "alice~bob".into(),
        body: "2".into(),
        client_msg_id: "made-up".into(),
        hidden_id: true,
        session: String::new(),
    });
    gateway.ask("alice", hidden).await;
    let got = receiver.requests(2).await.remove(1);
    let json = got.json();
    assert_eq!(json["id"], got.header("idempotency-key"));
    let message = &json["messages"][0];
    assert_eq!(json["messages"].as_array().unwrap().len(), 1);
    for (field, expected) in [
        ("user", "bob"),
        ("conversation", "alice~bob"),
        ("from", "alice"),
        ("id", "bob alice~bob 0000000000000002"),
    ] {
        assert_eq!(message[field], expected);
    }
    assert_eq!((message["seq"].as_u64(), message["body"].as_u64()), (Some(2), Some(2)));
    assert!(message["time"].as_u64().is_some() && message.get("client_msg_id").is_none());
    all_told(&*router.store).await;
}

#[tokio::test]
async fn what_is_not_taken_is_posted_again_under_the_same_id() {
    let answers = [Answer::Status(500), Answer::Hang, Answer::Status(302), Answer::Status(404)];
    let receiver = Receiver::start(answers).await;
    let router = router(receiver.webhook()).await;
    let mut gateway = router.connect().await;
    gateway.send("alice", "alice~bob", "1").await;
    let got = receiver.requests(5).await;
    for request in &got {
        request.assert_signed();
        assert_eq!(request.header("idempotency-key"), got[0].header("idempotency-key"));
        assert_eq!(request.body, got[0].body);
    }
    all_told(&*router.store).await;
    gateway.send("alice", "alice~bob", "2").await;
    let next = receiver.requests(6).await.remove(5);
    assert_eq!(next.messages()[0]["seq"], 2);
}

#[tokio::test]
async fn a_receiver_that_hangs_or_is_gone_harms_no_send_and_the_queue_is_bounded() {
    let hanging = Receiver::start([Answer::Hang; 1_000]).await;
    let gone = format!("http://127.0.0.1:{}/", testbed::port::free());
    for hook in [hanging.webhook(), webhook(&gone)] {
        let router = router(hook).await;
        let mut gateway = router.connect().await;
        for seq in 1..=150 {
            assert_eq!(gateway.send("alice", "alice~bob", "1").await.seq, seq);
        }
        assert_eq!(router.store.unheard().await.unwrap(), 100);
    }
}

#[tokio::test]
async fn large_messages_are_spread_over_requests() {
    let receiver = Receiver::start([Answer::Status(500)]).await;
    let router = router(receiver.webhook()).await;
    let mut gateway = router.connect().await;
    let body = format!("\"{}\"", "x".repeat(60_000));
    let commands = (0..40).map(|_| ("alice", send("alice~bob", &body))).collect();
    for id in gateway.post_all(commands).await {
        gateway.answer(id).await;
    }
    all_told(&*router.store).await;
    let got = receiver.got();
    assert!(got.iter().all(|request| request.body.len() <= 1 << 20));
    let mut seqs: Vec<u64> =
        got.iter().flat_map(Got::messages).map(|message| message["seq"].as_u64().unwrap()).collect();
    seqs.sort_unstable();
    seqs.dedup();
    assert_eq!(seqs, (1..=40).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_gone_meanwhile_is_not_told() {
    let receiver = Receiver::start([Answer::Hang]).await;
    let hook = Webhook { timeout: Duration::from_secs(2), ..receiver.webhook() };
    let router = router(hook).await;
    let mut gateway = router.connect().await;
    gateway.send("alice", "alice~bob", "1").await;
    receiver.requests(1).await;
    // The teller waits for its answer: this is taken after it.
    gateway.send("alice", "alice~bob", "2").await;
    let recall = wire::Recall { conversation: "alice~bob".into(), seq: 2 };
    gateway.done("alice", Command::Recall(recall)).await;
    gateway.send("alice", "alice~bob", "3").await;
    all_told(&*router.store).await;
    let seqs: Vec<Value> =
        receiver.got()[1..].iter().flat_map(Got::messages).map(|message| message["seq"].clone()).collect();
    assert_eq!(seqs, [1, 3]);
}

#[tokio::test]
async fn what_a_router_did_not_come_to_tell_another_tells() {
    let server = RedisServer::start().await.unwrap();
    let (hanging, receiver) = (Receiver::start([Answer::Hang; 1_000]).await, Receiver::start([]).await);
    let start = async |receiver: &Receiver| {
        let mut hook = receiver.webhook();
        // Held for as long as one request may take, and no longer.
        (hook.timeout, hook.pace.hold) = (Duration::from_millis(1_500), Duration::ZERO);
        let shutdown = CancellationToken::new();
        let mut config = store::Config::new(server.url().parse().unwrap());
        config.bounds.unheard = 100;
        let store = store::open(config, &TaskTracker::new(), shutdown.clone()).await.unwrap();
        let config = Config { webhook: Some(hook), ..Config::default() };
        let service = Service::new(store.clone(), config, shutdown.clone());
        (service, store, shutdown.drop_guard())
    };
    let (first, _store, stop) = start(&hanging).await;
    let mut gateway = Gateway::open(RouterClient::new(first.server())).await.unwrap();
    for _ in 0..5 {
        gateway.send("alice", "alice~bob", "1").await;
    }
    hanging.requests(1).await;
    drop((gateway, first, stop));

    let (_second, store, _stop) = start(&receiver).await;
    all_told(&*store).await;
    let mut seqs: Vec<u64> = receiver
        .got()
        .iter()
        .flat_map(Got::messages)
        .map(|message| message["seq"].as_u64().unwrap())
        .collect();
    seqs.sort_unstable();
    seqs.dedup();
    assert_eq!(seqs, [1, 2, 3, 4, 5]);
}
