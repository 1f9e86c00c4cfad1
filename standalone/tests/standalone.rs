//! What standalone adds: its own secret, `POST /dev/token`, and a clean end.
#![allow(clippy::unwrap_used, reason = "a test that meets something unexpected must fail")]

mod system;

use clap::{Args as _, FromArgMatches as _};
use serde_json::json;
use standalone::Args;
use system::Running;

fn args(more: &[&str]) -> Args {
    let command = Args::augment_args(clap::Command::new("standalone"));
    let all = ["standalone"].iter().chain(more);
    Args::from_arg_matches(&command.try_get_matches_from(all).unwrap()).unwrap()
}

#[tokio::test]
async fn what_is_acknowledged_is_there_after_a_stop_and_the_secret_is_the_same() {
    let running = Running::start().await;
    let token = running.token("alice", None);
    assert_eq!(
        running.post("alice", "/v1/messages", json!({ "to": "bob", "body": "kept" })).await.status,
        200
    );
    let folder = running.stop().await;

    let running = Running::start_in(folder, |_| {}).await;
    let bearer = format!("Bearer {token}");
    let path = "/v1/conversations/alice~bob/messages";
    let history = running.raw("GET", path, &[("authorization", &bearer)], Vec::new()).await;
    assert_eq!(history.body["messages"][0]["body"], json!("kept"), "{history:?}");
}

#[tokio::test]
async fn the_same_process_works_on_redis() {
    let redis = testbed::RedisServer::start().await.unwrap();
    let url = redis.url().parse().unwrap();
    let running = Running::start_with(|config| config.store.url = url).await;
    assert_eq!(running.post("alice", "/v1/messages", json!({ "to": "bob", "body": 1 })).await.status, 200);
    let polled = running.get("bob", "/v1/poll?cursor=start&wait=0").await;
    let events = polled.body["events"].as_array().cloned().unwrap_or_default();
    assert!(events.iter().any(|event| event["from"] == json!("alice")), "{polled:?}");
    running.stop().await;
}

#[tokio::test]
async fn a_token_from_the_dev_route_is_believed() {
    let running = Running::start().await;
    let ask = async |headers: &[(&str, &str)], body: &str| {
        running.raw("POST", "/dev/token", headers, body.as_bytes().to_vec()).await
    };
    let answer = ask(&[], r#"{"user":"carol","device":"phone","scope":"service"}"#).await;
    assert_eq!(
        (answer.status, &answer.body["user"], &answer.body["expires_in"]),
        (200, &json!("carol"), &json!(86_400))
    );
    let bearer = format!("Bearer {}", answer.body["token"].as_str().unwrap());
    let listed =
        running.raw("GET", "/v1/conversations?as=dave", &[("authorization", &bearer)], Vec::new()).await;
    assert_eq!(listed.status, 200);
    for (headers, body, status) in [
        (&[][..], "{}", 400),
        (&[], r#"{"user":"a b"}"#, 400),
        (&[], r#"{"user":"carol","scope":"service admin"}"#, 400),
        (&[("origin", "https://evil.example")], r#"{"user":"carol"}"#, 403),
    ] {
        assert_eq!(ask(headers, body).await.status, status, "{body}");
    }
}

#[tokio::test]
async fn with_a_secret_of_ones_own_there_is_no_dev_route_and_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("--store=embedded:{}", folder.path().join("data").display());
    let given = args(&[&store, "--jwt-secret=0123456789abcdef0123456789abcdef", "--listen=0.0.0.0:0"]);
    assert!(given.check().unwrap().dev.is_none());
    assert!(!folder.path().join("data/jwt-secret").exists());

    let running = Running::start_without_dev().await;
    assert_eq!(running.raw("POST", "/dev/token", &[], br#"{"user":"a"}"#.to_vec()).await.status, 404);
    assert_eq!(running.get("alice", "/v1/conversations").await.status, 200);
}

#[test]
fn without_a_secret_only_loopback_is_possible() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("--store=embedded:{}", folder.path().display());
    let wrong = args(&[&store, "--listen=0.0.0.0:8080"]).check().unwrap_err().0;
    assert!(wrong.starts_with("--listen: without --jwt-secret") && wrong.contains("0.0.0.0:8080"), "{wrong}");
    assert!(args(&[&store, "--listen=[::1]:8080"]).check().is_ok());
}
