//! One-time tickets against a whole system.
#![allow(clippy::unwrap_used, reason = "a test that meets something unexpected must fail")]

mod system;

use serde_json::json;
use system::Running;

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
