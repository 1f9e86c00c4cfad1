//! What polls have of their own: the first one, limits, tags, the protobuf
//! form, and sessions that go on between polls.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use cluster_tests::PATIENCE;
use http::Method;
use loadtest::client::Frame;
use loadtest::client::http::{Answer, Http};
use loadtest::history::History;
use prost::Message as _;
use proto::wire::client;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::STRICT;
use crate::case::{Case, poll};

#[tokio::test]
async fn the_first_poll_says_at_once_where_the_inbox_ends() -> Result<()> {
    let case = Case::new().await?;
    case.say(&mut case.http("alice", 0)?, "bob", json!("before")).await?;
    let mut bob = case.http("bob", 1)?;
    let (events, cursor) = poll(&mut bob, "device=d1&wait=45").await?;
    assert!(events.is_empty());
    case.say(&mut case.http("alice", 0)?, "bob", json!("after")).await?;
    let (events, _) = poll(&mut bob, &format!("device=d1&wait=45&cursor={cursor}")).await?;
    assert_eq!(messages(&events), 1);
    assert_eq!(events.iter().find_map(|event| event.text("body")), Some("after"));
    Ok(())
}

#[tokio::test]
async fn a_limit_bounds_the_answer_and_the_rest_follows() -> Result<()> {
    let case = Case::new().await?;
    let mut alice = case.http("alice", 0)?;
    for count in 1..=5 {
        case.say(&mut alice, "bob", json!(count)).await?;
    }
    for wait in [0, 20] {
        let mut bob = case.http("bob", 1)?;
        let mut cursor = "start".to_owned();
        let mut counts = Vec::new();
        for _ in 0..3 {
            let query = format!("device=d{wait}&wait={wait}&limit=2&cursor={cursor}");
            let (events, after) = poll(&mut bob, &query).await?;
            counts.push(messages(&events));
            cursor = after;
        }
        assert_eq!(counts, [2, 2, 1]);
    }
    Ok(())
}

#[tokio::test]
async fn a_known_tag_is_answered_with_304_until_something_is_new() -> Result<()> {
    let case = Case::new().await?;
    let mut bob = case.http("bob", 1)?;
    let first = get(&mut bob, "/v1/poll?device=d1&wait=0", &[]).await?;
    let tag = tag(&first)?;
    let cursor = first.json()?["cursor"].as_str().context("a cursor")?.to_owned();
    assert_eq!(tag, format!("\"{cursor}\""));
    for (wait, known) in [(0, tag.clone()), (0, format!("\"x\", W/{tag}")), (1, tag.clone()), (0, "*".into())]
    {
        let path = format!("/v1/poll?device=d1&wait={wait}&cursor={cursor}");
        let begun = Instant::now();
        let answer = get(&mut bob, &path, &[("if-none-match", &known)]).await?;
        assert_eq!((answer.status, answer.body.len()), (304, 0), "{known}");
        assert_eq!(self::tag(&answer)?, tag);
        assert!(begun.elapsed().as_millis() >= 1_000 * wait);
    }
    let path = format!("/v1/poll?device=d1&wait=0&cursor={cursor}");
    assert_eq!(get(&mut bob, &path, &[("if-none-match", "\"other\"")]).await?.status, 200);
    case.say(&mut case.http("alice", 0)?, "bob", json!("new")).await?;
    let answer = get(&mut bob, &path, &[("if-none-match", &tag)]).await?;
    assert_eq!(answer.status, 200);
    assert_ne!(self::tag(&answer)?, tag);
    Ok(())
}

#[tokio::test]
async fn a_message_goes_up_and_comes_down_as_protobuf() -> Result<()> {
    let case = Case::new().await?;
    let protobuf = ("content-type", "application/x-protobuf");
    let send = client::Send {
        to: Some(case.user("bob")),
        body: Some(Bytes::from_static(b"{\"a\":1}")),
        ..Default::default()
    };
    let body = Bytes::from(send.encode_to_vec());
    let answer =
        case.http("alice", 0)?.request_bytes(Method::POST, "/v1/messages", body, &[protobuf]).await?;
    assert_eq!((answer.status, &answer.headers["content-type"]), (200, &"application/x-protobuf".parse()?));
    assert_eq!(client::Sent::decode(answer.body)?.seq, 1);

    let mut bob = case.http("bob", 1)?;
    let accept = [("accept", "application/x-protobuf")];
    let answer = get(&mut bob, "/v1/poll?device=d1&wait=0&cursor=start", &accept).await?;
    let polled = client::Poll::decode(answer.body)?;
    let frame = polled.events.iter().find(|event| event.cursor.is_some()).context("an event")?;
    assert_eq!(frame.cursor.as_deref(), Some(polled.cursor.as_str()));
    assert!(matches!(&frame.frame, Some(client::frame::Frame::Message(message))
        if message.body == "{\"a\":1}" && message.from == case.user("alice")));

    let mut backend = case.account("alice", 1);
    backend.token = crate::case::issuer().token_with_scope(&case.user("alice"), "service");
    let to_many = vec![case.user("carol"), case.user("bob")];
    let many = client::Send { to: None, to_many, ..send };
    let many = Bytes::from(many.encode_to_vec());
    let answer = Http::new(&backend)?.request_bytes(Method::POST, "/v1/messages", many, &[protobuf]).await?;
    assert_eq!((answer.status, &answer.headers["content-type"]), (200, &"application/x-protobuf".parse()?));
    let results = client::Results::decode(answer.body)?.results;
    let seqs = results.into_iter().map(|result| match result.result {
        Some(client::result::Result::Sent(sent)) => sent.seq,
        other => panic!("{other:?}"),
    });
    assert_eq!(seqs.collect::<Vec<_>>(), [1, 2]);
    Ok(())
}

#[tokio::test]
async fn polls_that_hop_between_gateways_lose_and_repeat_nothing() -> Result<()> {
    const MESSAGES: usize = 80;
    let case = Case::new().await?;
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let history = History::new();
    let mut log = history.device(&case.user("bob"), "d1");
    let conversation = case.conversation("alice", "bob");
    let say = async {
        let mut alice = [case.http("alice", 0)?, case.http("alice", 1)?];
        for count in 0..MESSAGES {
            let id = format!("{}-{count}", case.user("alice"));
            history.sending(&conversation, &id);
            let command = json!({"type": "send", "to": case.user("bob"), "body": 1, "client_msg_id": id});
            let sent = alice[count % 2].command(&command).await?;
            history.acknowledged(&id, sent.number("seq").context("a seq")?);
        }
        anyhow::Ok(())
    };
    let hop = async {
        let mut bob = [case.http("bob", 0)?, case.http("bob", 1)?];
        let (mut cursor, mut received) = ("start".to_owned(), 0);
        while received < MESSAGES {
            let limit = random.random_range(1..5);
            let query = format!("device=d1&wait=10&limit={limit}&cursor={cursor}");
            let (events, after) = poll(&mut bob[random.random_range(0..2)], &query).await?;
            received += messages(&events);
            events.iter().for_each(|frame| log.frame(frame));
            cursor = after;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(say, hop)?;
    let report = history.check(STRICT);
    assert!(report.is_clean() && report.received == MESSAGES, "{report}");
    Ok(())
}

/// Beside them there are the receipts of their senders.
fn messages(events: &[Frame]) -> usize {
    events.iter().filter(|event| event.kind() == "message").count()
}

async fn get(http: &mut Http, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
    Ok(timeout(PATIENCE, http.request_with(Method::GET, path, None, headers)).await??)
}

fn tag(answer: &Answer) -> Result<String> {
    Ok(answer.headers.get("etag").context("an ETag")?.to_str()?.to_owned())
}
