//! The description of the HTTP resources, against the server that serves it.
#![allow(clippy::unwrap_used, reason = "a test that meets something unexpected must fail")]

mod system;

use gateway::catalogue::RESOURCES;
use serde_json::json;
use system::Running;

const DESCRIPTION: &str = "/v1/openapi.json";

#[tokio::test]
async fn the_description_needs_no_credential() {
    let running = Running::start().await;
    let answer = running.raw("GET", DESCRIPTION, &[], Vec::new()).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(answer.body["openapi"], json!("3.1.0"));
    assert!(answer.body["paths"]["/v1/messages"]["post"].is_object());
}

#[tokio::test]
async fn what_is_described_is_there_and_asks_who_one_is() {
    let running = Running::start().await;
    for resource in RESOURCES {
        let method = resource.method.as_str().to_uppercase();
        let answer = running.raw(&method, resource.path, &[], Vec::new()).await;
        assert_eq!(answer.status, 401, "{method} {}: {answer:?}", resource.path);
    }
}

#[tokio::test]
async fn a_path_has_the_methods_that_are_described_and_no_others() {
    let running = Running::start().await;
    for resource in RESOURCES.iter().filter(|resource| resource.name != "ws") {
        let answer = running.raw("PATCH", resource.path, &[], Vec::new()).await;
        let mut allowed: Vec<&str> = answer.header("allow").unwrap_or_default().split(',').collect();
        allowed.retain(|method| *method != "HEAD");
        let here = RESOURCES.iter().filter(|other| other.path == resource.path);
        let mut described: Vec<String> = here.map(|other| other.method.as_str().to_uppercase()).collect();
        allowed.sort_unstable();
        described.sort_unstable();
        assert_eq!(
            (answer.status, allowed),
            (405, described.iter().map(String::as_str).collect()),
            "{}",
            resource.path
        );
    }
}
