//! One-time tickets against a whole system.
#![allow(clippy::unwrap_used, reason = "a test that meets something unexpected must fail")]

mod system;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gateway::caller::auth::token::Token;
use serde_json::json;
use system::Running;

const UPGRADE: [(&str, &str); 4] = [
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
];

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
        let token = Token { sub: "alice", device: None, scope: None, aud: None, iss: None, ttl };
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
