//! What is done with messages after they were sent, and what backends do, over
//! HTTP against a whole system.
#![allow(clippy::unwrap_used, reason = "a test that meets something unexpected must fail")]

mod system;

use serde_json::{Value, json};
use system::http2::{Http2, WebSocket};
use system::{Answer, Running};
use tokio::net::TcpStream;

const MESSAGE: &str = "/v1/conversations/alice~bob/messages/1";
/// A thumb, as a path has it.
const REACTION: &str = "/v1/conversations/alice~bob/messages/1/reactions/%F0%9F%91%8D";

/// Alice has written to bob once.
async fn greeted() -> Running {
    let running = Running::start().await;
    let sent = running.post("alice", "/v1/messages", json!({ "to": "bob", "body": "hi" })).await;
    assert_eq!((sent.status, &sent.body["seq"]), (200, &json!(1)));
    running
}

async fn with_scope(running: &Running, scope: &str, method: &str, path: &str, body: Value) -> Answer {
    let bearer = format!("Bearer {}", running.token("backend", Some(scope)));
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    running.raw(method, path, &headers, body.to_string().into_bytes()).await
}

/// A WebSocket of this user's, welcomed.
async fn socket(running: &Running, user: &str) -> WebSocket {
    let stream = TcpStream::connect(running.address).await.unwrap();
    let mut connection = Http2::connect(stream, &format!("http://{}", running.address), &running.tasks).await;
    let headers = [("sec-websocket-version", "13"), ("authorization", &running.bearer(user))];
    let mut socket = connection.open("/v1/ws", &headers).await.unwrap();
    assert_eq!(socket.next_frame().await["type"], json!("welcome"));
    socket
}

async fn newest(running: &Running, user: &str) -> Value {
    let history = running.get(user, "/v1/conversations/alice~bob/messages").await;
    let list = running.get(user, "/v1/conversations").await;
    let message = history.body["messages"][0].clone();
    assert_eq!(list.body["conversations"][0]["last_message"], message);
    message
}

fn done(answer: &Answer) {
    assert_eq!((answer.status, &answer.body), (200, &json!({})), "{answer:?}");
}

fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.body["code"].as_str()), (status, Some(code)), "{answer:?}");
}

#[tokio::test]
async fn an_edited_message_is_shown_with_its_new_body() {
    let running = greeted().await;
    done(&running.ask("alice", "PUT", MESSAGE, Some(json!({ "body": { "text": "hello" } }))).await);
    for user in ["alice", "bob"] {
        let message = newest(&running, user).await;
        assert_eq!(message["body"], json!({ "text": "hello" }));
        assert!(message["edited"].as_u64().unwrap() >= message["time"].as_u64().unwrap());
    }
    refused(&running.ask("bob", "PUT", MESSAGE, Some(json!({ "body": 1 }))).await, 403, "forbidden");
    refused(&running.ask("carol", "PUT", MESSAGE, Some(json!({ "body": 1 }))).await, 404, "not_found");
    refused(&running.ask("alice", "PUT", MESSAGE, Some(json!({}))).await, 400, "bad_request");
}

#[tokio::test]
async fn a_recalled_message_has_no_body_any_more() {
    let running = greeted().await;
    refused(&running.ask("bob", "DELETE", MESSAGE, None).await, 403, "forbidden");
    done(&running.ask("alice", "DELETE", MESSAGE, None).await);
    let message = newest(&running, "bob").await;
    assert!(message["recalled"].is_u64() && message.get("body").is_none(), "{message}");
}

#[tokio::test]
async fn a_reaction_is_set_and_taken_back() {
    let running = greeted().await;
    done(&running.ask("bob", "PUT", REACTION, None).await);
    assert_eq!(newest(&running, "alice").await["reactions"], json!({ "👍": ["bob"] }));
    done(&running.ask("bob", "DELETE", REACTION, None).await);
    assert!(newest(&running, "alice").await.get("reactions").is_none());
    let long = format!("{MESSAGE}/reactions/{}", "x".repeat(65));
    refused(&running.ask("bob", "PUT", &long, None).await, 400, "bad_request");
    let odd = format!("{MESSAGE}/reactions/%ff");
    refused(&running.ask("bob", "PUT", &odd, None).await, 400, "bad_request");
}

#[tokio::test]
async fn presence_is_answered_in_the_order_asked() {
    let running = Running::start().await;
    let answer = running.get("alice", "/v1/presence?users=carol,bob").await;
    let list = answer.body["presence"].as_array().unwrap();
    let users: Vec<_> = list.iter().map(|one| (&one["user"], &one["online"])).collect();
    assert_eq!(users, [(&json!("carol"), &json!(false)), (&json!("bob"), &json!(false))]);
    let too_many = vec!["u"; 501].join(",");
    let ask = async |query: &str| running.get("alice", &format!("/v1/presence{query}")).await;
    refused(&ask(&format!("?users={too_many}")).await, 400, "bad_request");
    refused(&ask("").await, 400, "bad_request");
    refused(&ask("?users=bob&watch=true").await, 400, "bad_request");
}

#[tokio::test]
async fn publishing_needs_a_scope_and_has_a_number() {
    let running = Running::start().await;
    let path = "/v1/channels/c_news/messages";
    let body = || json!({ "body": [1], "client_msg_id": "m1" });
    refused(&running.post("alice", path, body()).await, 403, "forbidden");
    for (scope, duplicate) in [("publish", None), ("service", Some(true))] {
        let answer = with_scope(&running, scope, "POST", path, body()).await;
        assert_eq!(
            (answer.status, &answer.body["channel"], &answer.body["seq"]),
            (200, &json!("c_news"), &json!(1))
        );
        assert_eq!(answer.body["duplicate"].as_bool(), duplicate);
        assert!(answer.body.get("conversation").is_none());
    }
    let odd = with_scope(&running, "publish", "POST", "/v1/channels/news/messages", body()).await;
    refused(&odd, 400, "bad_request");
}

#[tokio::test]
async fn kicking_needs_the_scope_of_a_backend() {
    let running = Running::start().await;
    let kick = json!({ "user": "bob" });
    refused(&running.post("alice", "/v1/kick", kick.clone()).await, 403, "forbidden");
    refused(&with_scope(&running, "publish", "POST", "/v1/kick", kick.clone()).await, 403, "forbidden");
    done(&with_scope(&running, "service", "POST", "/v1/kick", kick).await);
    let odd = json!({ "user": "bob", "device": "a b" });
    refused(&with_scope(&running, "service", "POST", "/v1/kick", odd).await, 400, "bad_request");
}

#[tokio::test]
async fn amendments_count_as_messages_for_the_rate() {
    let running = Running::start_with(|config| config.gateway.rates.messages_per_second = 1).await;
    let asked = [("PUT", REACTION), ("DELETE", REACTION), ("PUT", MESSAGE), ("DELETE", MESSAGE)];
    for (method, path) in asked {
        refused(&running.ask("alice", method, path, Some(json!({ "body": 1 }))).await, 404, "not_found");
    }
    for (method, path) in asked {
        refused(&running.ask("alice", method, path, Some(json!({ "body": 1 }))).await, 429, "rate_limited");
    }
}

#[tokio::test]
async fn typing_where_one_is_not_a_member_is_refused_each_time() {
    let running = greeted().await;
    let typing = "/v1/conversations/alice~bob/typing";
    for _ in 0..3 {
        done(&running.ask("bob", "POST", typing, None).await);
        refused(&running.ask("carol", "POST", typing, None).await, 404, "not_found");
    }
}

#[tokio::test]
async fn a_session_that_types_often_is_passed_on_once_a_second() {
    let running = greeted().await;
    let (mut alice, mut bob) = (socket(&running, "alice").await, socket(&running, "bob").await);
    for reference in 1..=3 {
        alice.send(&json!({ "type": "typing", "ref": reference, "conversation": "alice~bob" }));
        assert_eq!(alice.next_frame().await, json!({ "type": "ok", "ref": reference }));
    }
    alice.send(&json!({ "type": "send", "to": "bob", "body": "done" }));
    let (mut typing, mut messages) = (0, 0);
    while typing == 0 || messages == 0 {
        match bob.next_frame().await["type"].as_str() {
            Some("typing") => typing += 1,
            Some("message") => messages += 1,
            _ => {}
        }
    }
    assert_eq!((typing, messages), (1, 1));
}

#[tokio::test]
async fn frames_are_refused_like_requests() {
    let running = greeted().await;
    let mut alice = socket(&running, "alice").await;
    for (frame, code) in [
        (json!({ "type": "publish", "channel": "c_news", "body": 1 }), "forbidden"),
        (json!({ "type": "kick", "user": "bob" }), "bad_request"),
        (json!({ "type": "edit", "conversation": "alice~bob", "seq": 2, "body": 1 }), "not_found"),
        (json!({ "type": "react", "conversation": "alice~bob", "seq": 1, "emoji": "+" }), "bad_request"),
        (json!({ "type": "recall", "conversation": "bob~carol", "seq": 1 }), "not_found"),
    ] {
        alice.send(&frame);
        let answer = alice.next_frame().await;
        assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!(code)), "{frame}: {answer}");
    }
}

#[tokio::test]
async fn amendments_reach_the_other_members_sessions() {
    let running = greeted().await;
    let mut bob = socket(&running, "bob").await;
    done(&running.ask("alice", "PUT", MESSAGE, Some(json!({ "body": "hello" }))).await);
    let edited = bob.next_frame().await;
    assert_eq!(
        (&edited["type"], &edited["seq"], &edited["body"]),
        (&json!("edited"), &json!(1), &json!("hello"))
    );
    assert_eq!((&edited["by"], &edited["conversation"]), (&json!("alice"), &json!("alice~bob")));
    done(&running.ask("alice", "PUT", REACTION, None).await);
    let reaction = bob.next_frame().await;
    assert_eq!(
        (&reaction["type"], &reaction["emoji"], &reaction["on"]),
        (&json!("reaction"), &json!("👍"), &json!(true))
    );
    done(&running.ask("alice", "DELETE", MESSAGE, None).await);
    let recalled = bob.next_frame().await;
    assert_eq!((&recalled["type"], &recalled["seq"]), (&json!("recalled"), &json!(1)));
    assert!([&edited, &reaction, &recalled].iter().all(|frame| frame["cursor"].is_string()));
}

#[tokio::test]
async fn a_new_token_changes_what_a_live_session_may() {
    let running = Running::start().await;
    let mut alice = socket(&running, "alice").await;
    let publish = json!({ "type": "publish", "channel": "c_news", "body": 1 });
    for (scope, answer) in [(None, "error"), (Some("publish"), "sent"), (None, "error")] {
        alice.send(&json!({ "type": "auth", "token": running.token("alice", scope) }));
        assert_eq!(alice.next_frame().await["type"], json!("ok"));
        alice.send(&publish);
        assert_eq!(alice.next_frame().await["type"], json!(answer), "{scope:?}");
    }
}
