//! What tokens allow, and one-time tickets, against a whole system.
#![allow(clippy::unwrap_used, reason = "a test that meets something unexpected must fail")]

mod system;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{SinkExt as _, StreamExt as _};
use gateway::caller::auth::token::Token;
use proto::Names;
use serde_json::{Value, json};
use system::{DEADLINE, Running};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

const UPGRADE: [(&str, &str); 4] = [
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
];

/// Only public channels are everybody's, and nobody sees who is online.
async fn narrowed() -> Running {
    Running::start_with(|config| {
        let everybody = &mut config.gateway.auth.everybody;
        everybody.subscribe = Names::parse(["c_public.*"]).unwrap();
        everybody.presence = Names::of([]);
    })
    .await
}

async fn ticket(running: &Running, user: &str) -> String {
    let issued = running.post(user, "/v1/tickets", json!({})).await;
    issued.body["ticket"].as_str().unwrap().to_owned()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test]
async fn a_ticket_opens_one_connection_for_its_user() {
    let running = Running::start().await;
    let issued = running.post("alice", "/v1/tickets", json!({})).await;
    assert_eq!((issued.status, &issued.body["expires_in"]), (200, &json!(30)));
    let path = format!("/v1/conversations?ticket={}", issued.body["ticket"].as_str().unwrap());
    let first = running.raw("GET", &path, &[], Vec::new()).await;
    assert_eq!((first.status, &first.body), (200, &json!({ "conversations": [] })));
    let second = running.raw("GET", &path, &[], Vec::new()).await;
    assert_eq!((second.status, second.body["code"].as_str()), (401, Some("unauthorized")));
    assert!(second.body["message"].as_str().unwrap().contains("ticket"), "{second:?}");
}

#[tokio::test]
async fn what_is_no_ticket_is_unauthorized() {
    let running = Running::start().await;
    for ticket in
        ["", "x", "0123456789abcdef0123456789abcdef", "%2e%2e", "0123456789ABCDEF0123456789ABCDE%2F"]
    {
        let answer = running.raw("GET", &format!("/v1/conversations?ticket={ticket}"), &[], Vec::new()).await;
        assert_eq!((answer.status, answer.body["code"].as_str()), (401, Some("unauthorized")), "{ticket}");
    }
}

#[tokio::test]
async fn a_backend_gets_a_ticket_for_a_user_that_allows_nothing_more() {
    let running = Running::start().await;
    let bearer = format!("Bearer {}", running.token("backend", Some("service")));
    let ticket = async || {
        let headers = [("authorization", bearer.as_str())];
        let issued = running.raw("POST", "/v1/tickets?as=alice", &headers, Vec::new()).await;
        issued.body["ticket"].as_str().unwrap().to_owned()
    };
    let json = [("content-type", "application/json")];
    let send = br#"{"to":"bob","body":1}"#.to_vec();
    let sent = running.raw("POST", &format!("/v1/messages?ticket={}", ticket().await), &json, send).await;
    assert_eq!((sent.status, &sent.body["conversation"]), (200, &json!("alice~bob")), "{sent:?}");
    let acting = format!("/v1/conversations?as=bob&ticket={}", ticket().await);
    assert_eq!(running.raw("GET", &acting, &[], Vec::new()).await.status, 403);
    let kick = format!("/v1/kick?ticket={}", ticket().await);
    assert_eq!(running.raw("POST", &kick, &json, br#"{"user":"bob"}"#.to_vec()).await.status, 403);
}

#[tokio::test]
async fn a_ticket_cannot_buy_another_and_stays_good() {
    let running = Running::start().await;
    let ticket = ticket(&running, "alice").await;
    let bought = running.raw("POST", &format!("/v1/tickets?ticket={ticket}"), &[], Vec::new()).await;
    assert_eq!((bought.status, &bought.body["code"]), (403, &json!("forbidden")), "{bought:?}");
    let used = running.raw("GET", &format!("/v1/conversations?ticket={ticket}"), &[], Vec::new()).await;
    assert_eq!(used.status, 200, "{used:?}");
}

#[tokio::test]
async fn a_ticket_ends_with_its_token() {
    let running = Running::start().await;
    let issue = async |left: u64| {
        let ttl = Duration::from_secs(left);
        let token = Token { sub: "alice", ttl, ..Token::default() };
        let bearer = format!("Bearer {}", token.sign(&running.secret).unwrap());
        running.raw("POST", "/v1/tickets", &[("authorization", &bearer)], Vec::new()).await
    };
    let issued = issue(20).await;
    assert!((15..=20).contains(&issued.body["expires_in"].as_u64().unwrap()), "{issued:?}");
    // The token itself is still taken for its leeway, but buys nothing.
    let refused = issue(0).await;
    assert_eq!((refused.status, &refused.body["message"]), (401, &json!("the token has expired")));
    // And what it has bought is over when it is.
    let begun = now();
    let issued = issue(2).await;
    let path = format!("/v1/conversations?ticket={}", issued.body["ticket"].as_str().unwrap());
    while now() < begun + 3 {
        tokio::task::yield_now().await;
    }
    let late = running.raw("GET", &path, &[], Vec::new()).await;
    assert_eq!((late.status, &late.body["code"]), (401, &json!("unauthorized")), "{late:?}");
}

#[tokio::test]
async fn a_refused_request_does_not_use_up_its_ticket() {
    let running = Running::start_with(|config| {
        config.gateway.origins = system::origins(&["https://app.example.com"]);
    })
    .await;
    let foreign = [("origin", "https://evil.example")];
    let plain: &[(&str, &str)] = &[];
    let websocket: &[(&str, &str)] = &UPGRADE;
    let foreign_websocket = [websocket, &foreign].concat();
    let json = [("content-type", "application/json")];
    let body = |text: &str| text.as_bytes().to_vec();
    for (method, path, headers, body, status) in [
        ("GET", "/v1/sse?cursor=nonsense&", plain, body(""), 400),
        ("GET", "/v1/stream?pad=x&", plain, body(""), 400),
        ("GET", "/v1/iframe?callback=1x&", plain, body(""), 400),
        ("GET", "/v1/poll?limit=0&", plain, body(""), 400),
        ("GET", "/v1/poll?cursor=start&channels=x&", plain, body(""), 400),
        ("GET", "/v1/ws?", plain, body(""), 400),
        ("GET", "/v1/ws?device=a%20b&", websocket, body(""), 400),
        ("GET", "/v1/ws?", &foreign_websocket, body(""), 403),
        ("GET", "/v1/sse?", &foreign, body(""), 403),
        ("GET", "/v1/conversations?as=bob&", plain, body(""), 403),
        ("GET", "/v1/conversations?limit=0&", plain, body(""), 400),
        ("GET", "/v1/conversations/bob~carol/messages?", plain, body(""), 404),
        ("GET", "/v1/nothing?", plain, body(""), 404),
        ("DELETE", "/v1/messages?", plain, body(""), 405),
        ("POST", "/v1/messages?", &json, body("{"), 400),
        ("POST", "/v1/messages?", &[("content-type", "text/html")], body("<p>"), 415),
        ("POST", "/v1/kick?", &json, body(r#"{"user":"bob"}"#), 403),
        ("POST", "/v1/channels/c_news/messages?", &json, body(r#"{"body":1}"#), 403),
    ] {
        let ticket = ticket(&running, "alice").await;
        let refused = running.raw(method, &format!("{path}ticket={ticket}"), headers, body).await;
        assert_eq!(refused.status, status, "{method} {path}: {refused:?}");
        let used = running.raw("GET", &format!("/v1/conversations?ticket={ticket}"), &[], Vec::new()).await;
        assert_eq!(used.status, 200, "{method} {path}: {used:?}");
        let again = running.raw("GET", &format!("/v1/conversations?ticket={ticket}"), &[], Vec::new()).await;
        assert_eq!(again.status, 401, "{method} {path}: {again:?}");
    }
}

#[tokio::test]
async fn a_token_allows_what_it_claims_beside_what_everybody_may() {
    let running = narrowed().await;
    let token = |subscribe: &[&'static str], presence: &[&'static str]| {
        let (subscribe, presence) = (subscribe.to_vec(), presence.to_vec());
        let ttl = Duration::from_secs(600);
        Token { sub: "alice", subscribe, presence, ttl, ..Token::default() }.sign(&running.secret).unwrap()
    };
    let (plain, team) = (token(&[], &[]), token(&["c_team.*"], &["bob"]));
    // By token and by ticket alike.
    let bearer = format!("Bearer {team}");
    let issued = running.raw("POST", "/v1/tickets", &[("authorization", &bearer)], Vec::new()).await;
    let ticket = issued.body["ticket"].as_str().unwrap().to_owned();
    for (credential, path, status) in [
        (format!("token={plain}"), "/v1/poll?cursor=start&wait=0&channels=c_team.1", 403),
        (format!("token={plain}"), "/v1/poll?cursor=start&wait=0&channels=c_public.1", 200),
        (format!("token={team}"), "/v1/poll?cursor=start&wait=0&channels=c_public.1,c_team.1", 200),
        (format!("token={plain}"), "/v1/sse?channels=c_public.1,c_other", 403),
        (format!("token={team}"), "/v1/stream?channels=c_other", 403),
        (format!("token={plain}"), "/v1/presence?users=alice", 200),
        (format!("token={plain}"), "/v1/presence?users=alice,bob", 403),
        (format!("token={team}"), "/v1/presence?users=alice,bob", 200),
        (format!("token={team}"), "/v1/presence?users=carol", 403),
        (format!("ticket={ticket}"), "/v1/presence?users=carol", 403),
        (format!("ticket={ticket}"), "/v1/presence?users=bob", 200),
    ] {
        let answer = running.raw("GET", &format!("{path}&{credential}"), &[], Vec::new()).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        if status == 403 {
            assert_eq!(answer.body["code"], "forbidden", "{answer:?}");
        }
    }
    let service = format!("Bearer {}", running.token("backend", Some("service")));
    let all =
        running.raw("GET", "/v1/presence?users=carol", &[("authorization", &service)], Vec::new()).await;
    assert_eq!(all.status, 200, "{all:?}");
    running.stop().await;
}

#[tokio::test]
async fn a_connection_may_what_its_newest_token_allows() {
    let running = narrowed().await;
    let ttl = Duration::from_secs(600);
    let plain = Token { sub: "alice", device: Some("d1"), ttl, ..Token::default() };
    let team =
        Token { subscribe: vec!["c_team.*"], sub: "alice", device: Some("d1"), ttl, ..Token::default() };
    let [plain, team] = [plain, team].map(|token| token.sign(&running.secret).unwrap());
    let url = format!("ws://{}/v1/ws?token={plain}", running.address);
    let mut socket = connect_async(url).await.unwrap().0;
    let subscribe = json!({ "type": "subscribe", "channel": "c_team.1", "ref": 1 });
    let mut answers = Vec::new();
    let watch = json!({ "type": "presence", "users": ["bob"], "watch": true, "ref": 1 });
    for command in [&subscribe, &watch, &json!({ "type": "auth", "token": team, "ref": 1 }), &subscribe] {
        socket.send(Message::text(command.to_string())).await.unwrap();
        let answer = loop {
            let next = tokio::time::timeout(DEADLINE, socket.next()).await.expect("an answer comes");
            let Message::Text(text) = next.unwrap().unwrap() else { continue };
            let frame: Value = serde_json::from_str(&text).unwrap();
            if frame["ref"] == 1 {
                break frame;
            }
        };
        answers.push(answer["code"].as_str().unwrap_or("ok").to_owned());
    }
    assert_eq!(answers, ["forbidden", "forbidden", "ok", "ok"]);
    running.stop().await;
}
