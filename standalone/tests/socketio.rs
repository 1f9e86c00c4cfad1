//! Socket.IO at a whole system: what its clients send and get, packet by packet.
#![allow(clippy::unwrap_used, reason = "a test that meets something unexpected must fail")]

mod system;

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use gateway::caller::auth::token::Token;
use serde_json::{Value, json};
use system::{DEADLINE, Running, origins};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// A client over a WebSocket.
struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn open(running: &Running) -> Self {
        let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket", running.address);
        let mut client = Self(connect_async(url).await.unwrap().0);
        assert!(client.next().await.unwrap().starts_with("0{"));
        client
    }

    /// One that is connected, what it is told of that, and its first frame.
    async fn connect(running: &Running, auth: Value) -> (Self, Value, Value) {
        let mut client = Self::open(running).await;
        client.say(&format!("40{auth}")).await;
        let connected = client.next().await.unwrap();
        let connected = json_of(connected.strip_prefix("40").unwrap_or_else(|| panic!("{connected}")));
        let welcome = client.event().await;
        assert_eq!(welcome[0], "welcome");
        assert_eq!(welcome[2], welcome[1]["cursor"]);
        (client, connected, welcome[1].clone())
    }

    async fn say(&mut self, packet: &str) {
        self.0.send(Message::text(packet)).await.unwrap();
    }

    /// The next packet; nothing at the end.
    async fn next(&mut self) -> Option<String> {
        loop {
            match tokio::time::timeout(DEADLINE, self.0.next()).await.expect("a packet in time") {
                Some(Ok(Message::Text(text))) => return Some(text.to_string()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(other)) => panic!("{other:?}"),
            }
        }
    }

    async fn event(&mut self) -> Value {
        let packet = self.next().await.unwrap();
        json_of(packet.strip_prefix("42").unwrap_or_else(|| panic!("{packet}")))
    }

    /// A command, and its answer.
    async fn ask(&mut self, id: u64, command: Value) -> Value {
        self.say(&format!("42{id}{command}")).await;
        let packet = self.next().await.unwrap();
        let answer = packet.strip_prefix(&format!("43{id}")).unwrap_or_else(|| panic!("{packet}"));
        json_of(answer)[0].clone()
    }
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn auth(running: &Running, user: &str) -> Value {
    json!({ "token": running.token(user, None) })
}

#[tokio::test]
async fn a_command_is_an_event_and_its_answer_the_acknowledgement() {
    let running = Running::start().await;
    let (mut alice, _, welcome) = Client::connect(&running, auth(&running, "alice")).await;
    assert_eq!((&welcome["user"], &welcome["resumed"]), (&json!("alice"), &json!(false)));
    let (mut bob, ..) = Client::connect(&running, auth(&running, "bob")).await;
    let sent = alice.ask(7, json!(["send", { "to": "bob", "body": "hi" }])).await;
    assert_eq!((&sent["type"], &sent["seq"], sent.get("ref")), (&json!("sent"), &json!(1), None));
    // The sender's place moves with an event, for acknowledgements move none.
    assert_eq!(alice.event().await, json!(["cursor", sent["cursor"]]));
    let message = bob.event().await;
    assert_eq!((&message[0], &message[1]["body"]), (&json!("message"), &json!("hi")));
    assert_eq!(message[2], message[1]["cursor"]);
    // Without an acknowledgement the answer is an event, with the `ref` that was given.
    alice.say(r#"42["ping",{"ref":"p"}]"#).await;
    assert_eq!(alice.event().await, json!(["pong", { "type": "pong", "ref": "p" }]));
    assert_eq!(alice.ask(8, json!(["ping"])).await, json!({ "type": "pong" }));
    running.stop().await;
}

#[tokio::test]
async fn what_is_no_command_is_answered_with_an_error() {
    let running = Running::start().await;
    let (mut alice, ..) = Client::connect(&running, auth(&running, "alice")).await;
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep = format!(r#"421["send",{{"to":"bob","body":{deep}}}]"#);
    for (number, command) in [
        json!(["no such command", {}]),
        json!(["send", { "to": "bob" }]),
        json!(["send", "bob", "hi"]),
        json!(["send", "hi"]),
        json!([7]),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = alice.ask(number as u64, command).await;
        assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!("bad_request")), "{answer}");
    }
    alice.say(&deep).await;
    assert!(alice.next().await.unwrap().starts_with(r#"431[{"type":"error","code":"bad_request""#));
    // Bytes.
    alice.say(r#"451-9["send",{"to":"bob","body":{"_placeholder":true,"num":0}}]"#).await;
    alice.0.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    assert!(alice.next().await.unwrap().starts_with(r#"439[{"type":"error","code":"bad_request""#));
    assert_eq!(alice.ask(10, json!(["ping"])).await["type"], "pong");
    running.stop().await;
}

#[tokio::test]
async fn who_is_not_let_in_hears_why() {
    let running = Running::start().await;
    for (auth, code) in [
        (json!({}), "unauthorized"),
        (json!({ "token": "no token" }), "unauthorized"),
        (json!({ "token": 7 }), "bad_request"),
        (json!({ "token": running.token("alice", None), "cursor": "no cursor" }), "bad_request"),
        (json!({ "token": running.token("alice", None), "device": "" }), "bad_request"),
    ] {
        let mut client = Client::open(&running).await;
        client.say(&format!("40{auth}")).await;
        let packet = client.next().await.unwrap();
        let error = json_of(packet.strip_prefix("44").unwrap_or_else(|| panic!("{packet}")));
        assert_eq!(error["data"]["code"], code, "{error}");
        assert_eq!(error["data"]["message"], error["message"]);
        // It may try again on the same connection.
        client.say(&format!("40{}", json!({ "token": running.token("alice", None) }))).await;
        assert!(client.next().await.unwrap().starts_with("40{"));
    }
    let mut client = Client::open(&running).await;
    client.say("40/chat,{}").await;
    assert_eq!(client.next().await.unwrap(), r#"44/chat,{"message":"Invalid namespace"}"#);
    running.stop().await;
}

#[tokio::test]
async fn who_comes_back_misses_and_repeats_nothing() {
    let running = Running::start().await;
    // As a program that gives the same `auth` each time.
    let fixed = json!({ "token": running.token("bob", None), "cursor": "start" });
    let (mut alice, ..) = Client::connect(&running, auth(&running, "alice")).await;
    let (mut bob, first, welcome) = Client::connect(&running, fixed.clone()).await;
    alice.ask(1, json!(["send", { "to": "bob", "body": 1 }])).await;
    let offset = bob.event().await[2].clone();
    drop(bob);
    for number in 2..5 {
        alice.next().await;
        alice.ask(number, json!(["send", { "to": "bob", "body": number }])).await;
    }
    // What a client adds by itself.
    let mut back = fixed.clone();
    back["pid"] = first["pid"].clone();
    back["offset"] = offset;
    let (mut bob, again, resumed) = Client::connect(&running, back.clone()).await;
    assert_eq!(again["pid"], first["pid"], "recovered");
    assert_ne!(again["sid"], first["sid"]);
    assert_eq!((&resumed["resumed"], &resumed["device"]), (&json!(true), &welcome["device"]));
    for number in 2..5 {
        assert_eq!(bob.event().await[1]["body"], number);
    }
    // Another user is not taken for the one before.
    back["token"] = json!(running.token("carol", None));
    let (_carol, other, _) = Client::connect(&running, back).await;
    assert_ne!(other["pid"], first["pid"]);
    // A place that there never was is no recovery, and the client is told.
    let mut lost = fixed;
    lost["pid"] = first["pid"].clone();
    lost["offset"] = json!("99999.zz");
    let (mut bob, new, resumed) = Client::connect(&running, lost).await;
    assert_ne!(new["pid"], first["pid"]);
    assert_eq!(resumed["resumed"], false);
    assert_eq!(bob.event().await[0], "reset");
    running.stop().await;
}

#[tokio::test]
async fn who_is_sent_away_is_told_not_to_come_back_and_whose_token_ends_is_not() {
    let running = Running::start().await;
    let device = json!({ "token": running.token("alice", None), "device": "d1" });
    let (mut first, ..) = Client::connect(&running, device.clone()).await;
    let (mut second, ..) = Client::connect(&running, device).await;
    let goaway = first.event().await;
    assert_eq!((&goaway[0], &goaway[1]["reason"]), (&json!("goaway"), &json!("replaced")));
    assert_eq!(first.next().await.unwrap(), "41");
    let service = format!("Bearer {}", running.token("backend", Some("service")));
    let headers = [("authorization", service.as_str()), ("content-type", "application/json")];
    let kicked = running.raw("POST", "/v1/kick", &headers, br#"{"user":"alice"}"#.to_vec()).await;
    assert_eq!(kicked.status, 200, "{kicked:?}");
    assert_eq!(second.event().await[1]["reason"], "kicked");
    assert_eq!(second.next().await.unwrap(), "41");
    let short = Token { sub: "bob", ttl: Duration::from_secs(1), ..Token::default() };
    let short = json!({ "token": short.sign(&running.secret).unwrap() });
    let (mut bob, ..) = Client::connect(&running, short).await;
    assert_eq!(bob.event().await[1]["reason"], "token_expired");
    assert_eq!(bob.next().await, None);
    running.stop().await;
}

#[tokio::test]
async fn a_node_that_stops_ends_the_connection_and_nothing_more() {
    let running = Running::start().await;
    let (mut alice, ..) = Client::connect(&running, auth(&running, "alice")).await;
    running.stop.cancel();
    assert_eq!(alice.event().await[1]["reason"], "shutdown");
    assert_eq!(alice.next().await, None);
    running.stop().await;
}

#[tokio::test]
async fn a_client_that_polls_does_all_of_it() {
    let running = Running::start().await;
    let opened = running.raw("GET", POLLING, &[], Vec::new()).await;
    let id = json_of(opened.text.strip_prefix('0').unwrap())["sid"].as_str().unwrap().to_owned();
    let client = format!("{POLLING}&sid={id}");
    let post = async |body: String| {
        let answer = running.raw("POST", &client, &[("content-type", "text/plain")], body.into_bytes()).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, "ok"));
    };
    let poll = async || running.raw("GET", &client, &[], Vec::new()).await.text;
    // What is sent behind `connect` waits for it.
    let send = json!(["send", { "to": "alice", "body": "to myself" }]);
    let (auth, polled) = (auth(&running, "alice"), poll());
    let (polled, ()) = tokio::join!(polled, post(format!("40{auth}\u{1e}421{send}")));
    let mut packets: Vec<String> = polled.split('\u{1e}').map(str::to_owned).collect();
    while packets.len() < 4 {
        packets.extend(poll().await.split('\u{1e}').map(str::to_owned));
    }
    assert!(packets[0].starts_with(r#"40{"sid":"#), "{packets:?}");
    assert!(packets[1].starts_with(r#"42["welcome""#), "{packets:?}");
    assert!(packets[2].starts_with(r#"431[{"type":"sent""#), "{packets:?}");
    assert!(packets[3].starts_with(r#"42["cursor""#), "{packets:?}");
    post("1".to_owned()).await;
    running.stop().await;
}

#[tokio::test]
async fn pages_may_ask_with_cookies_and_only_those_that_may_at_all() {
    let running = Running::start().await;
    let page = [("origin", "https://app.example.com")];
    let answer = running.raw("GET", POLLING, &page, Vec::new()).await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example.com"));
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    let preflight = [page[0], ("access-control-request-method", "POST")];
    let answer = running.raw("OPTIONS", POLLING, &preflight, Vec::new()).await;
    assert_eq!((answer.status, answer.header("access-control-allow-credentials")), (200, Some("true")));
    running.stop().await;
    let narrowed =
        |config: &mut standalone::Config| config.gateway.origins = origins(&["https://other.example.com"]);
    let running = Running::start_with(narrowed).await;
    assert_eq!(running.raw("GET", POLLING, &page, Vec::new()).await.status, 403);
    let other = [("origin", "https://other.example.com")];
    assert_eq!(running.raw("GET", POLLING, &other, Vec::new()).await.status, 200);
    running.stop().await;
}
