//! Revoked tokens are refused, and their sessions end, against a whole system.
#![allow(clippy::unwrap_used, reason = "a test that meets something unexpected must fail")]

mod system;

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use gateway::caller::auth::token::Token;
use jsonwebtoken::{EncodingKey, Header};
use proto::Time;
use serde_json::{Value, json};
use system::{Answer, DEADLINE, Running};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

/// A token of these claims that ends in ten minutes.
fn token(running: &Running, mut claims: Value) -> String {
    claims["exp"] = json!(Time::now().seconds() + 600);
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(running.secret.bytes()))
        .unwrap()
}

async fn look(running: &Running, token: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    running.raw("GET", "/v1/conversations", &[("authorization", &bearer)], Vec::new()).await
}

async fn revoke(running: &Running, body: Value) -> Answer {
    let bearer = format!("Bearer {}", running.token("backend", Some("service")));
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    running.raw("POST", "/v1/revoke", &headers, body.to_string().into_bytes()).await
}

/// Waits until the gateway has heard of a revocation of this token.
async fn refused(running: &Running, token: &str) {
    let heard = async {
        loop {
            let answer = look(running, token).await;
            if answer.status == 401 {
                assert_eq!(answer.body["message"], json!("the token has been revoked"));
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), heard).await.expect("the token is refused");
}

#[tokio::test]
async fn a_users_tokens_are_refused_and_later_ones_are_not() {
    let running = Running::start().await;
    let second = Time::now().seconds();
    let without = token(&running, json!({ "sub": "alice" }));
    let same = token(&running, json!({ "sub": "alice", "iat": second }));
    let next = token(&running, json!({ "sub": "alice", "iat": second + 1 }));
    let far = token(&running, json!({ "sub": "alice", "iat": second + 86_400 }));
    let odd = token(&running, json!({ "sub": "alice", "iat": "now" }));
    let bob = token(&running, json!({ "sub": "bob" }));
    for token in [&without, &same, &next, &far, &odd, &bob] {
        assert_eq!(look(&running, token).await.status, 200);
    }
    let done = revoke(&running, json!({ "user": "alice", "before": second * 1_000 })).await;
    assert_eq!((done.status, done.body), (200, json!({})));
    for token in [&without, &same, &far, &odd] {
        refused(&running, token).await;
    }
    for token in [&next, &bob] {
        assert_eq!(look(&running, token).await.status, 200);
    }
}

#[tokio::test]
async fn one_token_is_revoked_by_its_id_also_a_backends_and_a_restart_keeps_it() {
    let running = Running::start().await;
    let sign = |sub, jti, scope: Option<&str>| {
        let scope = scope.map(str::to_owned);
        let ttl = Duration::from_secs(600);
        Token { sub, jti: Some(jti), scope, ttl, ..Token::default() }.sign(&running.secret).unwrap()
    };
    let (one, other) = (sign("alice", "t-1", None), sign("alice", "t-2", None));
    let backend = sign("backend", "b-1", Some("service"));
    for jti in ["t-1", "b-1"] {
        let until = Time::now().0 + 600_000;
        assert_eq!(revoke(&running, json!({ "jti": jti, "until": until })).await.status, 200);
    }
    let secret = running.secret.clone();
    for token in [&one, &backend] {
        refused(&running, token).await;
    }
    assert_eq!(look(&running, &other).await.status, 200);
    let again = Running::start_in(running.stop().await, |config| config.dev = Some(secret)).await;
    for token in [&one, &backend] {
        refused(&again, token).await;
    }
    assert_eq!(look(&again, &other).await.status, 200);
}

#[tokio::test]
async fn what_is_revoked_buys_no_ticket_and_a_ticket_ends_with_its_token_or_its_user() {
    let running = Running::start().await;
    let user = running.post("alice", "/v1/tickets", json!({})).await;
    let bearer = format!("Bearer {}", running.token("backend", Some("service")));
    let headers = [("authorization", bearer.as_str())];
    let bought = running.raw("POST", "/v1/tickets?as=alice", &headers, Vec::new()).await;
    let old = running.token("alice", None);
    assert_eq!(revoke(&running, json!({ "user": "alice" })).await.status, 200);
    refused(&running, &old).await;
    let bearer = format!("Bearer {old}");
    let another = running.raw("POST", "/v1/tickets", &[("authorization", &bearer)], Vec::new()).await;
    assert_eq!(another.status, 401);
    for ticket in [user, bought] {
        let path = format!("/v1/conversations?ticket={}", ticket.body["ticket"].as_str().unwrap());
        let answer = running.raw("GET", &path, &[], Vec::new()).await;
        assert_eq!((answer.status, &answer.body["message"]), (401, &json!("the token has been revoked")));
    }
}

#[tokio::test]
async fn an_open_session_is_not_renewed_with_a_revoked_token_and_goes_on_with_its_own() {
    let running = Running::start().await;
    let [own, revoked, other] =
        ["t-1", "t-2", "t-3"].map(|jti| token(&running, json!({ "sub": "alice", "jti": jti })));
    let url = format!("ws://{}/v1/ws?token={own}", running.address);
    let mut socket = connect_async(url).await.unwrap().0;
    assert_eq!(revoke(&running, json!({ "jti": "t-2" })).await.status, 200);
    refused(&running, &revoked).await;
    let mut said = Vec::new();
    for (reference, token) in [&revoked, &other, &revoked].into_iter().enumerate() {
        let auth = json!({ "type": "auth", "token": token, "ref": reference });
        socket.send(Message::text(auth.to_string())).await.unwrap();
        let answer = loop {
            let next = tokio::time::timeout(DEADLINE, socket.next()).await.expect("an answer comes");
            let Message::Text(text) = next.unwrap().unwrap() else { continue };
            let frame: Value = serde_json::from_str(&text).unwrap();
            if frame["ref"] == reference {
                break frame;
            }
        };
        said.push(answer["message"].as_str().or(answer["type"].as_str()).unwrap().to_owned());
    }
    assert_eq!(said, ["the token has been revoked", "ok", "the token has been revoked"]);
    // It ends with the token that it has now, and not with that it began with.
    assert_eq!(revoke(&running, json!({ "jti": "t-1" })).await.status, 200);
    refused(&running, &own).await;
    assert_eq!(revoke(&running, json!({ "jti": "t-3" })).await.status, 200);
    let mut told = Vec::new();
    let close = loop {
        let next = tokio::time::timeout(DEADLINE, socket.next()).await.expect("the session ends");
        match next.unwrap().unwrap() {
            Message::Text(text) => told.push(serde_json::from_str::<Value>(&text).unwrap()),
            Message::Close(close) => break close.unwrap(),
            _ => {}
        }
    };
    let reasons: Vec<&Value> =
        told.iter().filter(|frame| frame["type"] == "goaway").map(|frame| &frame["reason"]).collect();
    assert_eq!((reasons, u16::from(close.code)), (vec![&json!("revoked")], 4410));
    assert_eq!(look(&running, &other).await.status, 401);
}

#[tokio::test]
async fn only_a_backend_revokes_and_what_it_says_is_checked() {
    let running = Running::start().await;
    assert_eq!(running.post("alice", "/v1/revoke", json!({ "user": "alice" })).await.status, 403);
    let ahead = Time::now().0 + 3_600_000;
    for wrong in [
        json!({}),
        json!({ "user": "alice", "jti": "t" }),
        json!({ "user": "a b" }),
        json!({ "jti": "" }),
        json!({ "jti": "x".repeat(257) }),
        json!({ "jti": "a\nb" }),
        json!({ "user": "alice", "until": ahead }),
        json!({ "jti": "t", "before": 1 }),
        json!({ "user": "alice", "before": ahead }),
        json!({ "user": "alice", "before": -1 }),
    ] {
        let answer = revoke(&running, wrong.clone()).await;
        assert_eq!((answer.status, answer.body["code"].as_str()), (400, Some("bad_request")), "{wrong}");
    }
    // A token that has ended need not be kept.
    assert_eq!(revoke(&running, json!({ "jti": "t", "until": 1 })).await.status, 200);
    assert_eq!(look(&running, &running.token("alice", None)).await.status, 200);
}

#[tokio::test]
async fn one_revocation_too_many_is_a_conflict() {
    let running = Running::start_with(|config| config.store.bounds.revocations = 1).await;
    assert_eq!(revoke(&running, json!({ "jti": "t-1" })).await.status, 200);
    let full = revoke(&running, json!({ "jti": "t-2" })).await;
    assert_eq!((full.status, full.body["code"].as_str()), (409, Some("conflict")));
}
