//! The description of the HTTP resources, against the server that serves it.
#![allow(clippy::unwrap_used, reason = "a test that meets something unexpected must fail")]

mod system;

use gateway::http::catalogue::RESOURCES;
use serde_json::{Value, json};
use system::Running;

const DESCRIPTION: &str = "/v1/openapi.json";
/// In the examples.
const EXAMPLE_GROUP: &str = "g_01JD3Z7XQ4N8K2M5P6R9T0VWYB";
const EXAMPLE_CURSOR: &str = "7.k2";

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

/// Alice has written ten messages to bob and has a group with him and carol;
/// its id, and a cursor of hers.
async fn world() -> (Running, String, String) {
    let running = Running::start().await;
    for number in 0..10 {
        let answer = running.post("alice", "/v1/messages", json!({"to": "bob", "body": number})).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let group = json!({"name": "Friends", "members": ["bob", "carol"]});
    let group = running.post("alice", "/v1/conversations", group).await;
    let first = running.get("alice", "/v1/poll?wait=0").await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (running, text(&group.body["conversation"]), text(&first.body["cursor"]))
}

/// The example of a parameter as its URL has it: lists joined by commas.
fn written(example: &Value) -> String {
    let one = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let text = match example {
        Value::Array(items) => items.iter().map(one).collect::<Vec<_>>().join(","),
        value => one(value),
    };
    text.bytes()
        .map(|byte| match byte {
            b'-' | b'.' | b'_' | b'~' | b',' => char::from(byte).to_string(),
            byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// What an example cannot know is put in: the group's id, and a cursor.
#[tokio::test]
async fn the_examples_of_all_requests_are_taken() {
    let document = gateway::http::openapi::document();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            // An upgrade is tested where WebSockets are.
            if id == "ws" {
                continue;
            }
            let (running, group, cursor) = world().await;
            let real = |text: String| text.replace(EXAMPLE_GROUP, &group).replace(EXAMPLE_CURSOR, &cursor);
            let none = Vec::new();
            let parameters = operation["parameters"].as_array().unwrap_or(&none);
            // That of all resources; `as` is for backends, and would be another user.
            let mut place = format!("{path}?device=phone");
            let mut each = Vec::new();
            for parameter in parameters.iter().filter(|parameter| parameter.get("name").is_some()) {
                let (name, value) = (parameter["name"].as_str().unwrap(), written(&parameter["example"]));
                match (parameter["in"].as_str().unwrap(), parameter["required"].as_bool().unwrap()) {
                    ("path", _) => place = place.replace(&format!("{{{name}}}"), &value),
                    (_, true) => place.push_str(&format!("&{name}={value}")),
                    // Some exclude each other.
                    _ => each.push(format!("&{name}={value}")),
                }
            }
            each.push(String::new());
            let body = operation.pointer("/requestBody/content/application~1json/example");
            let body = body.map(|example| real(example.to_string()));
            let stream = operation["responses"]["200"]["content"].get("application/json").is_none();
            for more in each {
                let place = real(format!("{place}{more}"));
                if stream {
                    running.head("alice", &place).await;
                    continue;
                }
                let token = format!("Bearer {}", running.token("alice", Some("service")));
                let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
                let bytes = body.clone().unwrap_or_default().into_bytes();
                let answer = running.raw(&method.to_uppercase(), &place, &headers, bytes).await;
                assert_eq!(answer.status, 200, "{method} {place} {body:?}: {answer:?}");
            }
        }
    }
}

/// The other schema of a message has an example, too.
#[tokio::test]
async fn a_message_to_a_conversation_is_taken_as_its_example_has_it() {
    let (running, ..) = world().await;
    let document = gateway::http::openapi::document();
    let example = document["components"]["schemas"]["MessageToConversation"]["examples"][0].clone();
    let answer = running.post("alice", "/v1/messages", example).await;
    assert_eq!((answer.status, &answer.body["conversation"]), (200, &json!("alice~bob")), "{answer:?}");
}
