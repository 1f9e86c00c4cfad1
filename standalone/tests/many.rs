//! One message to many users at once, which backends may send.
#![allow(clippy::unwrap_used, reason = "a test that meets something unexpected must fail")]

mod system;

use serde_json::{Value, json};
use system::http2::Http2;
use system::{Answer, Running};
use tokio::net::TcpStream;

async fn send(running: &Running, scope: Option<&str>, body: &Value) -> Answer {
    let bearer = format!("Bearer {}", running.token("shop", scope));
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    running.raw("POST", "/v1/messages", &headers, body.to_string().into_bytes()).await
}

fn users(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("user-{number}")).collect()
}

/// The conversation, the seq and whether it is a repeat of each result.
fn sent(results: &Value) -> Vec<(&str, u64, bool)> {
    let results = results.as_array().unwrap();
    results
        .iter()
        .map(|result| {
            assert_eq!(result["type"], "sent", "{result}");
            let (conversation, seq) = (result["conversation"].as_str(), result["seq"].as_u64());
            (conversation.unwrap(), seq.unwrap(), result["duplicate"] == true)
        })
        .collect()
}

#[tokio::test]
async fn each_has_it_alone_and_the_results_are_in_the_order_asked() {
    let running = Running::start().await;
    let mut to = users(1_000);
    to.reverse();
    let body = json!({ "to": to, "body": { "sale": true }, "client_msg_id": "sale-1" });
    let answer = send(&running, Some("service"), &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let conversations: Vec<String> = to.iter().map(|user| format!("shop~{user}")).collect();
    let expected: Vec<_> = conversations.iter().map(|id| (id.as_str(), 1, false)).collect();
    assert_eq!(sent(&answer.body["results"]), expected);
    for user in ["user-0", "user-999"] {
        let polled = running.get(user, "/v1/poll?cursor=start&wait=0").await;
        let events = polled.body["events"].as_array().unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!((&events[0]["from"], &events[0]["body"]), (&json!("shop"), &json!({ "sale": true })));
        assert_eq!(events[0]["client_msg_id"], "sale-1");
    }
}

#[tokio::test]
async fn a_repeat_of_the_whole_is_a_duplicate_for_those_who_have_it() {
    let running = Running::start().await;
    let ask = |to: &[String]| json!({ "to": to, "body": 1, "client_msg_id": "m" });
    let first = send(&running, Some("service"), &ask(&users(3))).await;
    let again = send(&running, Some("service"), &ask(&users(5))).await;
    assert_eq!((first.status, again.status), (200, 200));
    let flags: Vec<bool> = sent(&again.body["results"]).iter().map(|(_, _, duplicate)| *duplicate).collect();
    assert_eq!(flags, [true, true, true, false, false]);
    // Without an id of the client's every one is new.
    let bare = json!({ "to": users(2), "body": 1 });
    for seq in 2..=3 {
        let answer = send(&running, Some("service"), &bare).await;
        assert!(sent(&answer.body["results"]).iter().all(|(_, at, repeat)| (*at, *repeat) == (seq, false)));
    }
}

#[tokio::test]
async fn a_list_that_is_not_as_it_should_be_is_refused_as_a_whole() {
    let running = Running::start().await;
    for (scope, to, status, said) in [
        (None, json!(["alice"]), 403, "scope `service`"),
        (Some("publish"), json!(["alice"]), 403, "scope `service`"),
        (Some("service"), json!([]), 400, "1 to 1000 users"),
        (Some("service"), json!(users(1_001)), 400, "1 to 1000 users"),
        (Some("service"), json!(["alice", "bob", "alice"]), 400, "alice twice"),
        (Some("service"), json!(["alice", "not a user"]), 400, "`to[1]`"),
    ] {
        let answer = send(&running, scope, &json!({ "to": to, "body": 1 })).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.body["message"].as_str().unwrap().contains(said), "{answer:?}");
    }
    let polled = running.get("alice", "/v1/poll?cursor=start&wait=0").await;
    assert_eq!(polled.body["events"], json!([]), "nothing was sent");
    let large = json!({ "to": ["alice"], "body": "x".repeat(65_535) });
    assert_eq!(send(&running, Some("service"), &large).await.status, 413);
}

#[tokio::test]
async fn large_bodies_to_many_arrive_too() {
    let running = Running::start().await;
    let body = json!({ "to": users(100), "body": "x".repeat(65_000) });
    let answer = send(&running, Some("service"), &body).await;
    assert_eq!(sent(&answer.body["results"]).len(), 100);
}

#[tokio::test]
async fn over_a_websocket_it_is_one_answer_among_others() {
    let running = Running::start().await;
    let stream = TcpStream::connect(running.address).await.unwrap();
    let mut connection = Http2::connect(stream, &format!("http://{}", running.address), &running.tasks).await;
    let bearer = format!("Bearer {}", running.token("shop", Some("service")));
    let headers = [("sec-websocket-version", "13"), ("authorization", &bearer)];
    let mut socket = connection.open("/v1/ws", &headers).await.unwrap();
    assert_eq!(socket.next_frame().await["type"], "welcome");
    socket.send(&json!({ "type": "send", "ref": "many", "to": users(20), "body": 1, "as": "alice" }));
    let answer = socket.next_frame().await;
    assert_eq!((&answer["type"], &answer["ref"]), (&json!("ok"), &json!("many")), "{answer}");
    assert_eq!(sent(&answer["results"])[19], ("alice~user-19", 1, false));
    // Its own goes out as any message: each copy at its place.
    socket.send(&json!({ "type": "send", "ref": 2, "to": ["shop", "bob"], "body": 2 }));
    let (mut copies, mut answers) = (0, 0);
    while (copies, answers) != (2, 1) {
        let frame = socket.next_frame().await;
        match frame["type"].as_str().unwrap() {
            "message" => copies += 1,
            "ok" => answers += 1,
            "receipt" => {}
            other => panic!("{other}: {frame}"),
        }
    }
    socket.send(&json!({ "type": "send", "ref": 3, "to": ["bob", "bob"], "body": 2 }));
    let refused = loop {
        // The receipts of the copies may come a little later.
        let frame = socket.next_frame().await;
        if frame["type"] != "receipt" {
            break frame;
        }
    };
    assert_eq!((&refused["code"], &refused["ref"]), (&json!("bad_request"), &json!(3)));
}
