//! The HTTP resources of PROTOCOL.md §5 against a whole system.
#![allow(clippy::unwrap_used, reason = "a test that meets something unexpected must fail")]

mod system;

use serde_json::{Value, json};
use system::{Answer, Running};

/// Alice has written to bob once.
async fn greeted() -> Running {
    let running = Running::start().await;
    let sent = running
        .post("alice", "/v1/messages", json!({ "to": "bob", "body": "hi", "client_msg_id": "m1" }))
        .await;
    assert_eq!(
        (sent.status, &sent.body["conversation"], &sent.body["seq"]),
        (200, &json!("alice~bob"), &json!(1))
    );
    running
}

fn refused(answer: &Answer, status: u16, code: &str, says: &str) {
    assert_eq!((answer.status, answer.body["code"].as_str()), (status, Some(code)), "{answer:?}");
    assert!(answer.body["message"].as_str().unwrap().contains(says), "{answer:?}");
}

#[tokio::test]
async fn a_message_sent_is_in_the_history_of_both_and_a_repeat_is_the_same() {
    let running = greeted().await;
    let again = running
        .post(
            "alice",
            "/v1/messages",
            json!({ "conversation": "alice~bob", "body": 2, "client_msg_id": "m1" }),
        )
        .await;
    assert_eq!((again.body["seq"].as_u64(), again.body["duplicate"].as_bool()), (Some(1), Some(true)));
    for user in ["alice", "bob"] {
        let history = running.get(user, "/v1/conversations/alice~bob/messages?limit=5").await;
        let messages = history.body["messages"].as_array().unwrap();
        assert_eq!(messages.len(), 1);
        assert_eq!((&messages[0]["body"], &messages[0]["from"]), (&json!("hi"), &json!("alice")));
        assert!(messages[0].get("type").is_none() && history.body["more"] == json!(false));
    }
    refused(&running.get("carol", "/v1/conversations/alice~bob/messages").await, 404, "not_found", "");
}

#[tokio::test]
async fn read_and_typing_and_ack_answer_with_nothing() {
    let running = greeted().await;
    let read = running.post("bob", "/v1/conversations/alice~bob/read", json!({ "seq": 1 })).await;
    assert_eq!((read.status, read.body), (200, json!({})));
    let list = running.get("bob", "/v1/conversations").await;
    assert_eq!(
        (&list.body["conversations"][0]["unread"], &list.body["conversations"][0]["read_seq"]),
        (&json!(0), &json!(1))
    );
    let typing = running.ask("bob", "POST", "/v1/conversations/alice~bob/typing", None).await;
    assert_eq!((typing.status, typing.body), (200, json!({})));
    let polled = running.get("bob", "/v1/poll?cursor=start&wait=0").await;
    let ack = running.post("bob", "/v1/ack?device=phone", json!({ "cursor": polled.body["cursor"] })).await;
    assert_eq!((ack.status, ack.body), (200, json!({})));
    refused(
        &running.post("bob", "/v1/conversations/alice~bob/read", json!({ "seq": 9 })).await,
        400,
        "bad_request",
        "",
    );
}

#[tokio::test]
async fn a_group_is_made_renamed_joined_and_left() {
    let running = Running::start().await;
    let made =
        running.post("alice", "/v1/conversations", json!({ "name": "team", "members": ["bob"] })).await;
    let group = made.body["conversation"].as_str().unwrap().to_owned();
    let path = |rest: &str| format!("/v1/conversations/{group}{rest}");
    let users = async || -> Vec<Value> {
        let members = running.get("alice", &path("/members")).await;
        members.body["members"].as_array().unwrap().iter().map(|member| member["user"].clone()).collect()
    };
    assert_eq!(running.post("bob", &path("/members"), json!({ "members": ["carol"] })).await.status, 200);
    assert_eq!(users().await.len(), 3);
    let name = Some(json!({ "name": "squad" }));
    assert_eq!(running.ask("alice", "PUT", &path(""), name.clone()).await.status, 200);
    refused(&running.ask("bob", "PUT", &path(""), name).await, 403, "forbidden", "");
    refused(&running.ask("bob", "DELETE", &path("/members/carol"), None).await, 403, "forbidden", "");
    assert_eq!(running.ask("bob", "DELETE", &path("/members/bob"), None).await.status, 200);
    assert_eq!(running.ask("alice", "DELETE", &path("/members/carol"), None).await.status, 200);
    assert_eq!(users().await, [json!("alice")]);
    let list = running.get("alice", "/v1/conversations?limit=1").await;
    assert_eq!(list.body["conversations"][0]["name"], json!("squad"));
}

#[tokio::test]
async fn a_member_who_is_a_reader_is_told_so_and_does_not_write() {
    let running = Running::start().await;
    let group = json!({ "name": "news", "members": ["bob", "carol"], "role": "reader" });
    let made = running.post("alice", "/v1/conversations", group).await;
    let path =
        |rest: &str| format!("/v1/conversations/{}{rest}", made.body["conversation"].as_str().unwrap());
    let message = json!({ "conversation": made.body["conversation"], "body": "hi" });
    refused(&running.post("bob", "/v1/messages", message.clone()).await, 403, "forbidden", "reader");
    let role = |role: &str| Some(json!({ "role": role }));
    refused(&running.ask("bob", "PUT", &path("/members/bob"), role("admin")).await, 403, "forbidden", "");
    refused(
        &running.ask("alice", "PUT", &path("/members/bob"), role("king")).await,
        400,
        "bad_request",
        "`role`",
    );
    refused(&running.ask("alice", "PUT", &path("/members/bob"), None).await, 400, "bad_request", "`role`");
    assert_eq!(running.ask("alice", "PUT", &path("/members/bob"), role("admin")).await.status, 200);
    assert_eq!(running.post("bob", "/v1/messages", message).await.status, 200);
    let members = running.get("carol", &path("/members")).await;
    let roles: Vec<_> = members.body["members"].as_array().unwrap().iter().map(|one| &one["role"]).collect();
    assert_eq!(roles, ["owner", "admin", "reader"]);
    let told = running.get("carol", "/v1/poll?cursor=start&wait=0").await;
    let told: Vec<_> = told.body["events"].as_array().unwrap().iter().collect();
    assert_eq!((&told[0]["change"], &told[0]["role"]), (&json!("created"), &json!("reader")));
    let changed = json!({ "change": "role_changed", "user": "bob", "role": "admin", "by": "alice" });
    for (field, value) in changed.as_object().unwrap() {
        assert_eq!(&told[1][field], value, "{field}");
    }
}

#[tokio::test]
async fn the_path_counts_and_not_the_body() {
    let running = greeted().await;
    let body = json!({ "conversation": "alice~zoe", "seq": 1 });
    assert_eq!(running.post("bob", "/v1/conversations/alice~bob/read", body).await.status, 200);
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said() {
    let running = greeted().await;
    let post = async |body: Value| running.post("alice", "/v1/messages", body).await;
    refused(&post(json!({ "to": "b c", "body": 1 })).await, 400, "bad_request", "`to` must be");
    refused(&post(json!([])).await, 400, "bad_request", "JSON object");
    refused(&post(json!({ "to": "bob", "body": "x".repeat(65_536) })).await, 413, "too_large", "65536");
    refused(&post(json!({ "to": "bob", "body": "x".repeat(262_144) })).await, 413, "too_large", "262144");
    let list = |query: &str| format!("/v1/conversations?{query}");
    refused(&running.get("alice", &list("limit=0")).await, 400, "bad_request", "`limit`");
    refused(
        &running.get("alice", &list("limit=1&limit=2")).await,
        400,
        "bad_request",
        "`limit` is given twice",
    );
    refused(&running.get("alice", &list("device=a%20b")).await, 400, "bad_request", "`device` must be");
    refused(&running.get("alice", "/v1/conversations/%ff/members").await, 400, "bad_request", "UTF-8");
    refused(
        &running.get("alice", "/v1/conversations/nobody/members").await,
        400,
        "bad_request",
        "`conversation`",
    );
    refused(&running.get("alice", "/v1/none").await, 404, "not_found", "nothing at this path");
    let patch = running.ask("alice", "PATCH", "/v1/conversations", None).await;
    refused(&patch, 405, "bad_request", "no such method");
    assert_eq!(patch.header("allow"), Some("GET,HEAD,POST"));
}

#[tokio::test]
async fn bodies_are_json_or_text_in_utf_8() {
    let running = Running::start().await;
    let send = async |content_type: &str, body: &[u8]| {
        let headers = [("content-type", content_type), ("authorization", &running.bearer("alice"))];
        running.raw("POST", "/v1/messages", &headers, body.to_vec()).await
    };
    let good = br#"{"to":"bob","body":1}"#;
    assert_eq!(send("text/plain;charset=UTF-8", good).await.status, 200);
    refused(&send("application/x-www-form-urlencoded", good).await, 415, "bad_request", "Content-Type");
    refused(
        &send("application/json", b"{\"to\":\"bob\",\"body\":\"\xff\"}").await,
        400,
        "bad_request",
        "UTF-8",
    );
}

#[tokio::test]
async fn the_header_counts_before_the_query_and_no_credential_is_401() {
    let running = Running::start().await;
    let get =
        async |path: String, headers: &[(&str, &str)]| running.raw("GET", &path, headers, Vec::new()).await;
    let path = "/v1/conversations";
    let good = running.token("alice", None);
    assert_eq!(get(format!("{path}?token={good}"), &[]).await.status, 200);
    let bearer = running.bearer("alice");
    assert_eq!(get(format!("{path}?token=x"), &[("authorization", &bearer)]).await.status, 200);
    refused(
        &get(format!("{path}?token={good}"), &[("authorization", "Bearer x")]).await,
        401,
        "unauthorized",
        "not a JWT",
    );
    refused(&get(path.to_owned(), &[]).await, 401, "unauthorized", "no credential");
    refused(&get(path.to_owned(), &[("authorization", "Basic eDp5")]).await, 401, "unauthorized", "Bearer");
    refused(&get("/v1/ws".to_owned(), &[]).await, 401, "unauthorized", "no credential");
}

#[tokio::test]
async fn a_backend_acts_for_a_user_and_nobody_else_does() {
    let running = Running::start().await;
    let service = format!("Bearer {}", running.token("backend", Some("service")));
    let body = br#"{"to":"bob","body":"from a backend"}"#.to_vec();
    for (path, named) in [("/v1/messages?as=alice", None), ("/v1/messages", Some("alice"))] {
        let mut headers = vec![("authorization", service.as_str()), ("content-type", "application/json")];
        headers.extend(named.map(|user| ("switchboard-as", user)));
        let sent = running.raw("POST", path, &headers, body.clone()).await;
        assert_eq!((sent.status, &sent.body["conversation"]), (200, &json!("alice~bob")), "{sent:?}");
    }
    refused(&running.get("carol", "/v1/conversations?as=alice").await, 403, "forbidden", "`service`");
    let odd =
        running.raw("GET", "/v1/conversations?as=a%20b", &[("authorization", &service)], Vec::new()).await;
    refused(&odd, 400, "bad_request", "`as` must be");
}

#[tokio::test]
async fn pages_of_other_origins_may_ask() {
    let running = Running::start().await;
    let origin = ("origin", "https://app.example.com");
    let preflight = [
        origin,
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "authorization"),
    ];
    let answer = running.raw("OPTIONS", "/v1/conversations/x", &preflight, Vec::new()).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some("*")));
    assert_eq!(answer.header("access-control-allow-headers"), Some("authorization"));
    let refused = running.raw("GET", "/v1/conversations", &[origin], Vec::new()).await;
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (401, Some("*")));
    assert_eq!(refused.header("access-control-expose-headers"), Some("etag,retry-after"));
}

#[tokio::test]
async fn where_origins_are_named_others_are_refused() {
    let running = Running::start_with(|config| {
        config.gateway.origins =
            gateway::config::Origins::new(vec!["https://*.example.com".parse().unwrap()]);
    })
    .await;
    let ask = async |origin: &str, path: &str, more: &[(&str, &str)]| {
        let headers: Vec<_> = [("origin", origin)].iter().chain(more).copied().collect();
        running.raw("GET", path, &headers, Vec::new()).await
    };
    let (good, evil) = ("https://app.example.com", "https://evil.org");
    assert_eq!(ask(good, "/v1/conversations", &[]).await.header("access-control-allow-origin"), Some(good));
    assert_eq!(ask(evil, "/v1/conversations", &[]).await.header("access-control-allow-origin"), None);
    let upgrade = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
    ];
    let token = running.token("alice", None);
    let path = format!("/v1/ws?token={token}");
    refused(&ask(evil, &path, &upgrade).await, 403, "forbidden", "origin");
    assert_eq!(ask(good, &path, &upgrade).await.status, 101);
}

#[tokio::test]
async fn who_sends_too_fast_is_told_when_to_go_on() {
    let running = Running::start_with(|config| config.gateway.rates.messages_per_second = 1).await;
    for _ in 0..4 {
        assert_eq!(
            running.post("alice", "/v1/messages", json!({ "to": "bob", "body": 1 })).await.status,
            200
        );
    }
    let answer = running.post("alice", "/v1/messages", json!({ "to": "bob", "body": 1 })).await;
    refused(&answer, 429, "rate_limited", "a second");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.body["retry_after_ms"], 1_000);
}
