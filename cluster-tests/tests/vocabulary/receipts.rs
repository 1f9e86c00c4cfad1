//! Receipts: marks that reach whoever they concern, at once, after a resume,
//! and after whatever was lost on the way.

use anyhow::{Context as _, Result};
use cluster_tests::Cluster;
use http::Method;
use loadtest::client::http::Http;
use loadtest::client::{Account, Client, Error, Frame, Transport};
use rstest::rstest;
use serde_json::json;
use tokio::time::timeout;

use crate::scene::{Scene, ask, command, connect, frames_until, of_kind, until};

/// Whether it is this mark of this user, at least so far.
pub(crate) fn is_mark(frame: &Frame, user: &str, kind: &str, seq: u64) -> bool {
    frame.kind() == "receipt"
        && frame.text("user") == Some(user)
        && frame.text("kind") == Some(kind)
        && frame.number("seq").is_some_and(|marked| marked >= seq)
}

#[tokio::test]
async fn an_ack_and_a_resume_say_delivered() -> Result<()> {
    let scene = Scene::new().await?;
    let mut alice = scene.connect("alice", "d1", 0).await?;
    let mut bob = scene.connect("bob", "d1", 1).await?;
    let user = scene.user("bob");
    alice.send(&user, json!(1), "m1").await?;
    of_kind(&mut bob, "message").await?;
    bob.ack().await?;
    let receipt = until(&mut alice, "the first mark", |frame| is_mark(frame, &user, "delivered", 1)).await?;
    assert_eq!(receipt.text("conversation"), Some(scene.conversation("alice", "bob").as_str()));
    assert_eq!(receipt.cursor(), None);

    alice.send(&user, json!(2), "m2").await?;
    of_kind(&mut bob, "message").await?;
    let account = scene.account("bob", "d1", 0).from(bob.cursor());
    let _resumed = connect(Transport::WebSocket, &account).await?;
    until(&mut alice, "the second mark", |frame| is_mark(frame, &user, "delivered", 2)).await?;
    Ok(())
}

#[tokio::test]
async fn read_reaches_the_others_and_the_readers_own_devices() -> Result<()> {
    let scene = Scene::new().await?;
    let mut alice = scene.connect("alice", "d1", 0).await?;
    let mut phone = scene.connect("bob", "phone", 0).await?;
    let mut laptop = scene.connect("bob", "laptop", 1).await?;
    let user = scene.user("bob");
    alice.send(&user, json!(1), "m1").await?;
    of_kind(&mut phone, "message").await?;
    let conversation = scene.conversation("alice", "bob");
    command(&mut phone, json!({"type": "read", "conversation": conversation, "seq": 1})).await?;
    for reader in [&mut alice, &mut laptop] {
        until(reader, "the mark", |frame| is_mark(frame, &user, "read", 1)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_thousand_acknowledgements_are_few_receipts_that_never_go_back() -> Result<()> {
    const MANY: u64 = 1_000;
    let scene = Scene::new().await?;
    let mut alice = scene.connect("alice", "d1", 0).await?;
    let mut bob = scene.connect("bob", "d1", 1).await?;
    let user = scene.user("bob");
    for count in 0..MANY {
        alice.start(json!({"type": "send", "to": user, "body": count})).await?;
    }
    let mut cursors = Vec::new();
    for _ in 0..MANY {
        let event = timeout(cluster_tests::PATIENCE, bob.next_event()).await??;
        cursors.push(event.cursor().context("an event has a cursor")?.to_owned());
    }
    for cursor in cursors {
        bob.start(json!({"type": "ack", "cursor": cursor})).await?;
    }
    let last = |frame: &Frame| is_mark(frame, &user, "delivered", MANY);
    let seen = frames_until(&mut alice, "the last mark", last).await?;
    let marks: Vec<u64> = seen
        .iter()
        .filter(|frame| is_mark(frame, &user, "delivered", 0))
        .filter_map(|frame| frame.number("seq"))
        .collect();
    assert!(marks.is_sorted(), "{marks:?}");
    assert!(marks.len() < 250, "{} receipts", marks.len());
    Ok(())
}

#[rstest]
#[tokio::test]
async fn whoever_writes_has_read_and_all_who_get_the_message_are_told(
    #[values(
        Transport::WebSocket,
        Transport::WebSocketProtobuf,
        Transport::Sse,
        Transport::Stream,
        Transport::Iframe,
        Transport::LongPoll,
        Transport::LongPollProtobuf
    )]
    transport: Transport,
) -> Result<()> {
    let scene = Scene::new().await?;
    let mut alice = scene.http("alice", 0)?;
    let user = scene.user("alice");
    let mut others = Vec::new();
    for (name, gateway) in [("bob", 0), ("bob", 1), ("alice", 1)] {
        let account = scene.account(name, &format!("d{gateway}"), gateway);
        others.push((connect(transport, &account).await?, account));
    }
    for seq in 1..=3 {
        scene.say(&mut alice, "bob", json!(seq)).await?;
        for (reader, account) in &mut others {
            let message = |frame: &Frame| frame.kind() == "message" && frame.number("seq") == Some(seq);
            let mark = |frame: &Frame| is_mark(frame, &user, "read", seq) && frame.cursor().is_none();
            let seen = frames_until(reader, "the mark", mark).await?;
            let before = seen.len().checked_sub(2).and_then(|index| seen.get(index)).context("two frames")?;
            assert!(message(before), "{seen:?}");
            // The position before the third message: a resume brings what it says again.
            if seq == 2 {
                account.cursor = Some(reader.cursor().to_owned());
            }
        }
    }
    // A poller that comes back asks once without waiting, and such an answer has no receipts.
    if matches!(transport, Transport::LongPoll | Transport::LongPollProtobuf) {
        return Ok(());
    }
    for (reader, account) in others {
        reader.close().await;
        let mut again = connect(transport, &account).await?;
        until(&mut again, "the mark of the resume", |frame| is_mark(frame, &user, "read", 3)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_group_is_told_and_what_is_read_is_delivered_everywhere() -> Result<()> {
    let scene = Scene::new().await?;
    let (mut alice, mut bob) = (scene.http("alice", 0)?, scene.http("bob", 1)?);
    let mut carol = scene.connect("carol", "d1", 1).await?;
    let members = [scene.user("bob"), scene.user("carol")];
    let made = ask(&mut alice, json!({"type": "create_group", "name": "all", "members": members})).await?;
    let group = made.text("conversation").context("a group has an id")?.to_owned();
    let direct = scene.conversation("alice", "bob");
    scene.say(&mut alice, "bob", json!("hi")).await?;
    for conversation in [&group, &group, &direct] {
        ask(&mut alice, json!({"type": "send", "conversation": conversation, "body": "hi"})).await?;
    }
    let user = scene.user("alice");
    until(&mut carol, "the mark", |frame| is_mark(frame, &user, "read", 2)).await?;
    for conversation in [&group, &direct] {
        // One below what was written changes nothing, and has been told anyhow.
        ask(&mut alice, json!({"type": "read", "conversation": conversation, "seq": 1})).await?;
        ask(&mut bob, json!({"type": "read", "conversation": conversation, "seq": 1})).await?;
        let list = ask(&mut bob, json!({"type": "members", "conversation": conversation})).await?;
        let marks = |name: &str| {
            let members = list.0["members"].as_array().cloned().unwrap_or_default();
            let member = members.into_iter().find(|member| member["user"] == scene.user(name));
            member.map(|member| (member["delivered_seq"].as_u64(), member["read_seq"].as_u64()))
        };
        assert_eq!(marks("alice"), Some((Some(2), Some(2))), "{list:?}");
        assert_eq!(marks("bob"), Some((Some(1), Some(1))), "{list:?}");
    }
    let list = ask(&mut alice, json!({"type": "conversations"})).await?;
    let with_bob = list.0["conversations"].as_array().cloned().unwrap_or_default();
    let with_bob = with_bob.into_iter().find(|one| one["conversation"] == direct).context("it is listed")?;
    assert_eq!((&with_bob["peer_delivered_seq"], &with_bob["peer_read_seq"]), (&json!(1), &json!(1)));
    Ok(())
}

#[rstest]
#[tokio::test]
async fn a_resume_on_another_node_brings_what_was_marked_meanwhile(
    #[values(
        Transport::WebSocket,
        Transport::WebSocketProtobuf,
        Transport::Sse,
        Transport::Stream,
        Transport::Iframe
    )]
    transport: Transport,
) -> Result<()> {
    let scene = Scene::new().await?;
    let mut alice = scene.connect("alice", "d1", 0).await?;
    alice.send(&scene.user("bob"), json!(1), "m1").await?;
    let cursor = alice.cursor().to_owned();
    alice.close().await;
    read_first(&scene).await?;
    let mut resumed = connect(transport, &scene.account("alice", "d1", 1).from(&cursor)).await?;
    let user = scene.user("bob");
    until(&mut resumed, "the mark", |frame| is_mark(frame, &user, "read", 1)).await?;
    Ok(())
}

#[tokio::test]
async fn a_poll_is_given_the_marks_of_its_resume_with_the_next_event() -> Result<()> {
    let scene = Scene::new().await?;
    let mut alice = scene.http("alice", 0)?;
    let first = alice.request(Method::GET, "/v1/poll?device=d1", None).await?.json()?;
    let cursor = first["cursor"].as_str().context("a cursor")?.to_owned();
    scene.say(&mut alice, "bob", json!(1)).await?;
    read_first(&scene).await?;
    let mut elsewhere = Http::new(&scene.account("alice", "d1", 1))?;
    let path = format!("/v1/poll?device=d1&wait=20&cursor={cursor}");
    let answer =
        timeout(cluster_tests::PATIENCE, elsewhere.request(Method::GET, &path, None)).await??.json()?;
    let events = answer["events"].as_array().context("events")?;
    assert!(events.iter().any(|event| event["type"] == "message"), "{answer}");
    let user = scene.user("bob");
    assert!(events.iter().any(|event| is_mark(&Frame(event.clone()), &user, "read", 1)), "{answer}");
    // They move no cursor: those alone are no reason to answer.
    let at = answer["cursor"].as_str().context("a cursor")?;
    let path = format!("/v1/poll?device=d1&wait=0&cursor={at}");
    let short = alice.request(Method::GET, &path, None).await?.json()?;
    assert_eq!(short["events"], json!([]));
    Ok(())
}

/// Bob reads the first message of his conversation with Alice.
async fn read_first(scene: &Scene) -> Result<()> {
    let conversation = scene.conversation("alice", "bob");
    ask(&mut scene.http("bob", 0)?, json!({"type": "read", "conversation": conversation, "seq": 1})).await?;
    Ok(())
}

/// Alice is connected and has sent Bob, who has no session, a message.
async fn said(cluster: &Cluster) -> Result<(Client, Http)> {
    let mut alice = cluster.connect("alice", "d1", 0).await?;
    alice.send("bob", json!(1), "m1").await?;
    Ok((alice, Http::new(&cluster.account("bob", "d1", 1))?))
}

#[tokio::test]
async fn a_receipt_whose_announcement_was_lost_is_caught_up() -> Result<()> {
    let cluster = Cluster::builder().proxied().start().await?;
    let (mut alice, mut bob) = said(&cluster).await?;
    let about = b"alice~bob";
    let is_about = move |payload: &[u8]| payload.windows(about.len()).any(|window| window == about);
    cluster.proxy().drop_next(u64::MAX, move |pushed| is_about(pushed.payload));
    ask(&mut bob, json!({"type": "read", "conversation": "alice~bob", "seq": 1})).await?;
    until(&mut alice, "the mark", |frame| is_mark(frame, "bob", "read", 1)).await?;
    assert!(cluster.proxy().dropped() >= 1, "the announcement was to be lost");
    Ok(())
}

#[tokio::test]
async fn a_receipt_that_a_killed_router_had_not_announced_is_caught_up() -> Result<()> {
    let mut cluster = Cluster::builder().start().await?;
    let (mut alice, mut bob) = said(&cluster).await?;
    // Whichever router bob's commands go to.
    for (router, seq) in [(0, 1), (1, 2)] {
        ask(&mut bob, json!({"type": "read", "conversation": "alice~bob", "seq": seq})).await?;
        cluster.router_node(router).kill();
        until(&mut alice, "the mark", |frame| is_mark(frame, "bob", "read", seq)).await?;
        cluster.router_node(router).restart().await?;
        alice.send("bob", json!(2), "m2").await?;
    }
    Ok(())
}

/// The acknowledgements that a router was asked for: named, and looked up.
async fn asked(cluster: &mut Cluster) -> Result<(u64, u64)> {
    let admin = Account::new(&cluster.router_node(0).admin_url(), "", "none");
    let answer = Http::new(&admin)?.request(Method::GET, "/metrics", None).await?;
    let text = String::from_utf8(answer.body.to_vec())?;
    let count = |way: &str| {
        let line = text.lines().find(|line| {
            line.starts_with("switchboard_router_acknowledgements_total{") && line.contains(way)
        });
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
    };
    Ok((count("named"), count("looked_up")))
}

#[tokio::test]
async fn an_ack_names_its_marks_where_its_session_was_given_the_messages() -> Result<()> {
    let mut cluster = Cluster::builder().routers(1).start().await?;
    let mut alice = Http::new(&cluster.account("alice", "http", 0))?;
    let mut watching = cluster.connect("alice", "d1", 0).await?;
    let mut bob = cluster.connect("bob", "d1", 1).await?;
    // The first one also says something of what came before this session. Then
    // each is named.
    for seq in 1..=3 {
        ask(&mut alice, json!({"type": "send", "to": "bob", "body": "hi"})).await?;
        of_kind(&mut bob, "message").await?;
        bob.ack().await?;
        until(&mut watching, "the mark", |frame| is_mark(frame, "bob", "delivered", seq)).await?;
        assert_eq!(asked(&mut cluster).await?, (seq - 1, 1));
    }
    // The same again names nothing, and is known.
    let again = json!({"type": "ack", "cursor": bob.cursor()});
    command(&mut bob, again.clone()).await?;
    assert_eq!(asked(&mut cluster).await?, (3, 1));
    // A request over HTTP has no session.
    ask(&mut Http::new(&cluster.account("bob", "d1", 1))?, again).await?;
    assert_eq!(asked(&mut cluster).await?, (3, 2));
    // Nobody was given this cursor.
    let forged =
        timeout(cluster_tests::PATIENCE, bob.command(json!({"type": "ack", "cursor": "3.1"}))).await?;
    assert!(matches!(&forged, Err(Error::Refused(refusal)) if refusal.code == "bad_request"), "{forged:?}");
    assert_eq!(asked(&mut cluster).await?, (3, 3));
    // A session that goes on where all is acknowledged names from the beginning.
    let account = cluster.account("bob", "d1", 0).from(bob.cursor());
    let mut resumed = connect(Transport::WebSocket, &account).await?;
    ask(&mut alice, json!({"type": "send", "to": "bob", "body": "hi"})).await?;
    of_kind(&mut resumed, "message").await?;
    resumed.ack().await?;
    until(&mut watching, "the mark", |frame| is_mark(frame, "bob", "delivered", 4)).await?;
    let (named, looked_up) = asked(&mut cluster).await?;
    // The one that it replaced may have said where it ended.
    assert!((4..=5).contains(&named) && looked_up == 3, "{named} {looked_up}");
    Ok(())
}

#[tokio::test]
async fn what_a_group_acknowledges_together_each_member_hears_of_the_others_and_not_of_itself() -> Result<()>
{
    const NAMES: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];
    let cluster = Cluster::builder().start().await?;
    let mut owner = Http::new(&cluster.account("alice", "http", 0))?;
    let made = json!({"type": "create_group", "name": "tea", "members": NAMES});
    let group = ask(&mut owner, made).await?.text("conversation").context("a group")?.to_owned();
    let mut members = Vec::new();
    for (number, name) in NAMES.into_iter().enumerate() {
        members.push(cluster.connect(name, "d1", number % 2).await?);
    }
    // The first acknowledgement of a session is looked up; the second one names its mark.
    for seq in 1..=2 {
        ask(&mut owner, json!({"type": "send", "conversation": group, "body": seq})).await?;
        for member in &mut members {
            of_kind(member, "message").await?;
            member.ack().await?;
        }
        for (member, own) in members.iter_mut().zip(NAMES) {
            // Who wrote has read it, and so is told to nobody as delivered.
            let mut missing: Vec<_> = NAMES[1..].iter().filter(|name| **name != own).collect();
            while !missing.is_empty() {
                let frame = of_kind(member, "receipt").await?;
                assert!(!is_mark(&frame, own, "delivered", 1), "{own} is told of itself: {frame:?}");
                missing.retain(|name| !is_mark(&frame, name, "delivered", seq));
            }
        }
    }
    // Whoever leaves right behind an acknowledgement has acknowledged.
    ask(&mut owner, json!({"type": "send", "conversation": group, "body": 3})).await?;
    let mut erin = members.pop().context("the last one")?;
    of_kind(&mut erin, "message").await?;
    erin.ack().await?;
    drop(erin);
    until(&mut members[0], "the mark", |frame| is_mark(frame, "erin", "delivered", 3)).await?;
    Ok(())
}
