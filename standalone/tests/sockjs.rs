//! SockJS (PROTOCOL.md §6) against a whole system: our frames in its messages.
#![allow(clippy::unwrap_used, reason = "a test that meets something unexpected must fail")]

mod system;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use system::{Answer, DEADLINE, Running, origins};
use tokio_tungstenite::tungstenite::Message;

/// A session that polls.
struct Polling<'a> {
    running: &'a Running,
    /// Its path and query.
    path: &'static str,
    query: String,
    /// Frames that have come and were not asked for yet.
    frames: std::collections::VecDeque<Value>,
    /// The close frame.
    close: Option<String>,
}

impl<'a> Polling<'a> {
    async fn open(running: &'a Running, user: &str, path: &'static str, more: &str) -> Self {
        let query = format!("token={}{more}", running.token(user, None));
        let mut polling = Self { running, path, query, frames: Default::default(), close: None };
        assert_eq!(polling.poll().await, "o\n");
        polling
    }

    async fn ask(&self, way: &str, body: &str) -> Answer {
        let path = format!("/sockjs/0/{}/{way}?{}", self.path, self.query);
        self.running.raw("POST", &path, &[], body.as_bytes().to_vec()).await
    }

    async fn poll(&mut self) -> String {
        let answer = self.ask("xhr", "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        if let Some(array) = answer.text.strip_prefix('a') {
            let messages: Vec<String> = serde_json::from_str(array).unwrap();
            self.frames.extend(messages.iter().map(|frame| serde_json::from_str::<Value>(frame).unwrap()));
        } else if answer.text.starts_with('c') {
            self.close = Some(answer.text.trim().to_owned());
        }
        answer.text
    }

    /// The next frame of this type.
    async fn next(&mut self, kind: &str) -> Value {
        loop {
            while let Some(frame) = self.frames.pop_front() {
                if frame["type"] == kind {
                    return frame;
                }
            }
            assert_eq!(self.close, None, "before a {kind}");
            self.poll().await;
        }
    }

    async fn send(&self, frames: &[Value]) {
        let messages: Vec<String> = frames.iter().map(Value::to_string).collect();
        let answer = self.ask("xhr_send", &json!(messages).to_string()).await;
        assert_eq!(answer.status, 204, "{answer:?}");
    }
}

#[tokio::test]
async fn each_message_is_a_frame_and_sessions_are_like_any_other() {
    let running = Running::start().await;
    let mut alice = Polling::open(&running, "alice", "a", "&device=d1").await;
    let welcome = alice.next("welcome").await;
    assert_eq!((&welcome["user"], &welcome["device"]), (&json!("alice"), &json!("d1")));
    let url = format!("ws://{}/sockjs/0/b/websocket?token={}", running.address, running.token("bob", None));
    let (mut bob, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    assert_eq!(bob.next().await.unwrap().unwrap(), Message::text("o"));
    let sends = [1, 2].map(
        |n| json!({ "type": "send", "ref": n, "to": "bob", "body": n, "client_msg_id": format!("m{n}") }),
    );
    alice.send(&sends).await;
    for seq in [1, 2] {
        let sent = alice.next("sent").await;
        assert_eq!((&sent["ref"], &sent["seq"]), (&json!(seq), &json!(seq)));
    }
    let mut bodies = Vec::new();
    while bodies.len() < 2 {
        let said = tokio::time::timeout(DEADLINE, bob.next()).await.unwrap().unwrap().unwrap();
        let Some(array) = said.to_text().unwrap().strip_prefix('a') else { continue };
        let frames: Vec<String> = serde_json::from_str(array).unwrap();
        let frames = frames.iter().map(|frame| serde_json::from_str::<Value>(frame).unwrap());
        bodies.extend(frames.filter(|frame| frame["type"] == "message").map(|frame| frame["body"].clone()));
    }
    assert_eq!(bodies, [1, 2]);
    let ping = json!({ "type": "ping", "ref": "p" }).to_string();
    bob.send(Message::text(json!([ping]).to_string())).await.unwrap();
    let pong = tokio::time::timeout(DEADLINE, async {
        loop {
            let said = bob.next().await.unwrap().unwrap();
            if said.to_text().is_ok_and(|text| text.contains("pong")) {
                return;
            }
        }
    });
    pong.await.unwrap();
}

#[tokio::test]
async fn who_comes_back_with_a_cursor_misses_and_repeats_nothing() {
    let running = Running::start().await;
    let mut bob = Polling::open(&running, "bob", "first", "&device=d1").await;
    let send = |n: u64| running.post("alice", "/v1/messages", json!({ "to": "bob", "body": n }));
    let mut cursor = bob.next("welcome").await["cursor"].as_str().unwrap().to_owned();
    for n in 1..=3 {
        send(n).await;
    }
    while let Some(message) = Some(bob.next("message").await) {
        cursor = message["cursor"].as_str().unwrap().to_owned();
        if message["body"] == 2 {
            break;
        }
    }
    send(4).await;
    let mut back = Polling::open(&running, "bob", "second", &format!("&device=d1&cursor={cursor}")).await;
    assert_eq!(back.next("welcome").await["resumed"], json!(true));
    send(5).await;
    for n in 3..=5 {
        assert_eq!(back.next("message").await["body"], json!(n));
    }
    // The one before it has been replaced by the same device.
    assert_eq!(bob.next("goaway").await["reason"], json!("replaced"));
    while bob.close.is_none() {
        bob.poll().await;
    }
    assert_eq!(bob.close.unwrap(), r#"c[4409,"replaced"]"#);
}

#[tokio::test]
async fn every_request_says_who_asks() {
    let running = Running::start().await;
    for path in ["/sockjs/0/a/xhr", "/sockjs/0/a/xhr_send", "/sockjs/0/a/xhr_streaming?token=x"] {
        assert_eq!(running.raw("POST", path, &[], b"[]".to_vec()).await.status, 401, "{path}");
    }
    let mut alice = Polling::open(&running, "alice", "a", "").await;
    alice.next("welcome").await;
    let as_bob = format!("/sockjs/0/a/xhr_send?token={}", running.token("bob", None));
    assert_eq!(running.raw("POST", &as_bob, &[], br#"["{}"]"#.to_vec()).await.status, 404);
    let wrong = format!("/sockjs/0/c/xhr?token={}&cursor=wrong!", running.token("alice", None));
    assert_eq!(running.raw("POST", &wrong, &[], Vec::new()).await.status, 400);
}

#[tokio::test]
async fn bad_frames_are_answered_and_too_many_end_the_session() {
    let running = Running::start().await;
    let mut alice = Polling::open(&running, "alice", "a", "").await;
    alice.next("welcome").await;
    let deep = "[".repeat(10_000);
    let answer = alice.ask("xhr_send", &json!(["no json", "[]", deep]).to_string()).await;
    assert_eq!(answer.status, 204);
    alice.send(&[json!({ "type": "nothing", "ref": 1 }), json!({ "type": "ping", "ref": 2 })]).await;
    for _ in 0..3 {
        let error = alice.next("error").await;
        assert_eq!((&error["code"], &error["ref"]), (&json!("bad_request"), &Value::Null));
    }
    assert_eq!(alice.next("error").await["ref"], json!(1));
    assert_eq!(alice.next("pong").await["ref"], json!(2));
    // More than may be under way at once: the request waits until answers have gone.
    let path = format!("/sockjs/0/a/xhr_send?{}", alice.query);
    let many = json!(vec!["no json"; 101]).to_string().into_bytes();
    let polling = async {
        while alice.close.is_none() {
            alice.poll().await;
        }
        alice.close
    };
    let (sent, close) = tokio::join!(running.raw("POST", &path, &[], many), polling);
    assert_eq!((sent.status, close.as_deref()), (204, Some(r#"c[4400,"bad_frames"]"#)));
}

#[tokio::test]
async fn a_kick_is_told_and_then_the_end() {
    let running = Running::start().await;
    let mut alice = Polling::open(&running, "alice", "a", "").await;
    alice.next("welcome").await;
    let token = format!("Bearer {}", running.token("backend", Some("service")));
    let headers = [("authorization", &*token), ("content-type", "application/json")];
    let kick = running.raw("POST", "/v1/kick", &headers, br#"{"user":"alice"}"#.to_vec()).await;
    assert_eq!(kick.status, 200);
    assert_eq!(alice.next("goaway").await["reason"], json!("kicked"));
    while alice.close.is_none() {
        alice.poll().await;
    }
    assert_eq!(alice.close.unwrap(), r#"c[4403,"kicked"]"#);
}

/// A poll is refused by its token; only one that waited at that moment is told.
#[tokio::test]
async fn a_revocation_is_told_and_then_the_end_and_later_polls_are_refused() {
    let running = Running::start().await;
    let mut polling = Polling::open(&running, "alice", "a", "&device=d1").await;
    polling.next("welcome").await;
    let token = running.token("alice", None);
    let url = format!("ws://{}/sockjs/0/b/websocket?token={token}&device=d2", running.address);
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("o"));
    let bearer = format!("Bearer {}", running.token("backend", Some("service")));
    let headers = [("authorization", &*bearer), ("content-type", "application/json")];
    let done = running.raw("POST", "/v1/revoke", &headers, br#"{"user":"alice"}"#.to_vec()).await;
    assert_eq!(done.status, 200);
    let mut said = Vec::new();
    while let Some(Ok(message)) = tokio::time::timeout(DEADLINE, socket.next()).await.unwrap() {
        said.extend(message.to_text().map(str::to_owned));
    }
    let told = said.iter().position(|text| text.contains("goaway") && text.contains("revoked"));
    let closed = said.iter().position(|text| text == r#"c[4410,"revoked"]"#);
    assert!(told.is_some() && told < closed, "{said:?}");
    for way in ["xhr", "xhr_send"] {
        let answer = polling.ask(way, r#"["{}"]"#).await;
        assert_eq!((answer.status, &*answer.text), (401, "the token has been revoked"), "{way}");
    }
}

#[tokio::test]
async fn pages_of_other_origins_are_answered_as_sockjs_demands_unless_that_is_narrowed() {
    let info = |origin: &'static str, running: &Running| {
        let headers = vec![("origin", origin)];
        let address = running.address;
        async move {
            let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new());
            let client = client.build_http::<http_body_util::Full<hyper::body::Bytes>>();
            let mut request = http::Request::get(format!("http://{address}/sockjs/info"));
            for (name, value) in headers {
                request = request.header(name, value);
            }
            client.request(request.body(Default::default()).unwrap()).await.unwrap()
        }
    };
    let open = Running::start().await;
    let answer = info("https://page.test", &open).await;
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://page.test");
    assert_eq!(answer.headers()["access-control-allow-credentials"], "true");
    assert_eq!(open.get("alice", "/v1/conversations").await.header("access-control-allow-origin"), Some("*"));
    assert_eq!(
        open.raw("GET", "/sockjs/iframe.html", &[], Vec::new()).await.status,
        404,
        "no client's URL is given"
    );
    let narrowed = Running::start_with(|config| {
        config.gateway.origins = origins(&["https://page.test"]);
        config.gateway.sockjs_client = Some("https://cdn.test/sockjs.js".parse().unwrap());
    });
    let narrowed = narrowed.await;
    assert_eq!(info("https://page.test", &narrowed).await.status(), 200);
    assert_eq!(info("https://other.test", &narrowed).await.status(), 403);
    let token = narrowed.token("alice", None);
    let jsonp = format!("/sockjs/0/a/jsonp?c=f&token={token}");
    assert_eq!(narrowed.raw("GET", &jsonp, &[], Vec::new()).await.status, 404);
    let page = narrowed.raw("GET", "/sockjs/iframe.html", &[], Vec::new()).await;
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.contains("frame-ancestors 'self' https://page.test")
            && policy.contains("https://cdn.test/sockjs.js")
    );
}

#[tokio::test]
async fn a_script_may_poll_where_every_page_may() {
    let running = Running::start().await;
    running.post("alice", "/v1/messages", json!({ "to": "bob", "body": "</script>" })).await;
    let path = "/v1/poll?cursor=start&wait=0&callback=page.on_events";
    let answer = running.get("bob", path).await;
    assert_eq!(answer.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let json =
        answer.text.strip_prefix("/**/page.on_events(").and_then(|text| text.strip_suffix(");")).unwrap();
    assert!(!json.contains('<'), "{json}");
    let events: Value = serde_json::from_str(json).unwrap();
    assert_eq!(events["events"][0]["body"], json!("</script>"));
    let cursor = events["cursor"].as_str().unwrap();
    // One that waits is answered in the same form.
    let waiting = format!("/v1/poll?cursor={cursor}&wait=25&callback=f");
    let (answer, _) = tokio::join!(
        running.get("bob", &waiting),
        running.post("alice", "/v1/messages", json!({ "to": "bob", "body": 2 }))
    );
    assert!(answer.text.starts_with("/**/f({\"events\":[{\"type\":\"message\""), "{}", answer.text);
    for callback in ["", "a(b)", "1a", "alert%281%29"] {
        let wrong = running.get("bob", &format!("/v1/poll?callback={callback}")).await;
        assert_eq!((wrong.status, &wrong.body["code"]), (400, &json!("bad_request")), "{callback}");
    }
    let narrowed =
        Running::start_with(|config| config.gateway.origins = origins(&["https://page.test"])).await;
    assert_eq!(narrowed.get("bob", "/v1/poll?callback=f").await.status, 403);
}
