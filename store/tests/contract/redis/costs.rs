//! What operations cost: calls of Redis, and memory.

use std::time::Duration;

use proto::{ConversationId, Cursor, NodeIncarnation, UserId};
use store::model::{Acknowledge, Change, HandedOut, InboxQuery, PostResult, StartPoint};
use testbed::RedisServer;

use super::{config, key, open, users};
use crate::contract::harness::{Done, changed, earlier, edit, message, react, recall};

#[tokio::test]
async fn a_thousand_acknowledgements_cost_a_handful_of_writes() {
    let server = RedisServer::start().await.unwrap();
    let redis = open(config(server.url())).await;
    let (alice, bob) = users();
    let conversation = ConversationId::direct(&alice, &bob);
    let posts = (0..1_000).map(|_| message(&alice, &conversation, "hi")).collect();
    redis.store.post(posts).await.unwrap();
    let query =
        InboxQuery { user: bob.clone(), after: Cursor::ORIGIN, limit: 1_000, session: None, marks: None };
    let page = redis.store.read_inbox(vec![query]).await.unwrap().remove(0);
    let asked = page.events.iter().map(|filed| {
        let fingerprint = proto::Fingerprint(filed.event.entry.fingerprint);
        Acknowledge::up_to(bob.clone(), Cursor { position: filed.position, fingerprint })
    });
    let asked: Vec<_> = asked.collect();
    assert_eq!(asked.len(), 1_000);
    server.command(&["CONFIG", "RESETSTAT"]).await.unwrap();
    redis.store.acknowledge(asked.clone()).await.unwrap();
    // Pages of 256 events, each with a note, a mark, and the acknowledged
    // position.
    for (command, most) in [("zadd", 4), ("hset", 8), ("pexpire", 1)] {
        let calls = calls(&server, command).await;
        assert!((1..=most).contains(&calls), "{calls} calls of {command}");
    }
    server.command(&["CONFIG", "RESETSTAT"]).await.unwrap();
    redis.store.acknowledge(asked).await.unwrap();
    for command in ["zadd", "hset", "pexpire"] {
        assert_eq!(calls(&server, command).await, 0, "{command} for what is acknowledged already");
    }
}

#[tokio::test]
async fn a_named_acknowledgement_and_a_mark_are_one_call_each() {
    let server = RedisServer::start().await.unwrap();
    let redis = open(config(server.url())).await;
    let (alice, bob) = users();
    let posted = message(&alice, &ConversationId::direct(&alice, &bob), "one");
    let posted = redis.store.post(vec![posted]).await.unwrap().remove(0);
    let PostResult::Done { position: Some(post), .. } = posted else { panic!("{posted:?}") };
    let group = ConversationId::new_group(proto::Time::now());
    let change = Change { add: vec![alice.clone(), bob.clone()], ..Change::default() };
    redis.store.post(vec![changed(&alice, &group, change), message(&alice, &group, "two")]).await.unwrap();
    let head = redis.look(&bob, StartPoint::Head).await.start;
    // The scripts are known to the server after their first use.
    let first = Acknowledge::up_to(alice.clone(), post.cursor);
    let mark = |seq| store::model::Mark {
        conversation: ConversationId::direct(&alice, &bob),
        user: bob.clone(),
        kind: store::model::MarkKind::Read,
        seq: proto::Seq(seq),
    };
    redis.store.acknowledge(vec![first]).await.unwrap();
    redis.store.mark(vec![mark(0)]).await.unwrap();
    server.command(&["CONFIG", "RESETSTAT"]).await.unwrap();
    let acknowledge = Acknowledge::up_to(bob.clone(), head);
    let answer = redis.store.acknowledge(vec![acknowledge]).await.unwrap().remove(0);
    let store::model::AcknowledgeResult::Marks(marks) = answer else { panic!("{answer:?}") };
    assert_eq!(marks.len(), 2, "of the direct conversation and of the group");
    redis.store.mark(vec![mark(1)]).await.unwrap();
    // Besides them the incarnation and the nodes are read once a second.
    let hset = calls(&server, "hset").await;
    assert_eq!((calls(&server, "zadd").await, hset), (5, 4), "notes; marks and a position");
    let messages = (0..50).map(|_| message(&alice, &group, "hi")).collect();
    redis.store.post(messages).await.unwrap();
    let query = InboxQuery { user: bob.clone(), after: head, limit: 50, session: None, marks: None };
    let page = redis.store.read_inbox(vec![query]).await.unwrap().remove(0);
    server.command(&["CONFIG", "RESETSTAT"]).await.unwrap();
    let store = post.store;
    for filed in page.events {
        let fingerprint = proto::Fingerprint(filed.event.entry.fingerprint);
        let cursor = Cursor { position: filed.position, fingerprint };
        let marks = vec![(group.clone(), filed.event.seq)];
        let handed_out = Some(HandedOut { store, marks, position: false });
        let named = Acknowledge { handed_out, ..Acknowledge::up_to(bob.clone(), cursor) };
        redis.store.acknowledge(vec![named]).await.unwrap();
    }
    let scripts = calls(&server, "evalsha").await;
    assert!((50..75).contains(&scripts), "{scripts} scripts for 50 acknowledgements");
    // One write each. The note of a moment ago holds, but for the slowest machine.
    let (writes, notes) = (calls(&server, "hset").await, calls(&server, "zadd").await);
    assert!(writes == 50 && notes < 50, "{writes} marks, {notes} notes");
}

#[tokio::test]
async fn an_event_of_a_week_takes_thirty_bytes_of_an_inbox() {
    const EVENTS: u32 = 1_680;
    let server = RedisServer::start().await.unwrap();
    let redis = open(config(server.url())).await;
    let alice = UserId::parse("alice.doe").unwrap();
    let friends: Vec<_> = (0..6).map(|n| UserId::parse(&format!("friend.{n}")).unwrap()).collect();
    let groups: Vec<_> = friends.iter().map(|_| ConversationId::new_group(proto::Time::now())).collect();
    let members = Change { add: [vec![alice.clone()], friends.clone()].concat(), ..Change::default() };
    let made = groups.iter().map(|group| changed(&alice, group, members.clone())).collect();
    redis.store.post(made).await.unwrap();
    // Four of five in groups, of bodies as in the load test's `mixed`, every six minutes.
    let mut posts = (0..EVENTS).map(|n| {
        let friend = &friends[n as usize / 5 % 6];
        let conversation = match n % 5 {
            0 => ConversationId::direct(&alice, friend),
            group => groups[(n / 5 + group) as usize % 6].clone(),
        };
        let body = "b".repeat([256, 256, 1_024, 256, 4_096, 256, 256][n as usize % 7]);
        earlier(message(friend, &conversation, &body), Duration::from_secs(360) * (EVENTS - n))
    });
    while let batch @ [_, ..] = &*posts.by_ref().take(100).collect::<Vec<_>>() {
        redis.store.post(batch.to_vec()).await.unwrap();
    }
    let inbox = key(&server, "*i:alice.doe").await;
    let events = server.command(&["LLEN", &inbox]).await.unwrap().integer().unwrap();
    assert!(events >= i64::from(EVENTS) - 64, "only {events} events are kept");
    let bytes = server.command(&["MEMORY", "USAGE", &inbox, "SAMPLES", "0"]).await.unwrap();
    let each = bytes.integer().unwrap() as f64 / events as f64;
    assert!(each <= 30.0, "an event takes {each:.1} bytes");
}

/// How often a command ran since the statistics were reset.
pub(super) async fn calls(server: &RedisServer, command: &str) -> u64 {
    let stats = server.info(&["INFO", "commandstats"], &format!("cmdstat_{command}")).await.unwrap();
    let Some(stats) = stats else { return 0 };
    let calls = stats.split(',').find_map(|field| field.strip_prefix("calls=")).unwrap();
    calls.parse().unwrap()
}

/// The keys that hold the states of messages.
async fn keys_of_amendments(server: &RedisServer) -> Vec<String> {
    let mut found = Vec::new();
    for pattern in ["*}a:*", "*}x:*", "*}z:*", "*}r:*"] {
        let keys = server.command(&["KEYS", pattern]).await.unwrap();
        found.extend(keys.items().iter().map(|key| key.text().unwrap().to_owned()));
    }
    found
}

#[tokio::test]
async fn amendments_take_no_room_once_their_messages_are_trimmed() {
    let server = RedisServer::start().await.unwrap();
    let mut config = config(server.url());
    config.bounds.conversation_messages = 4;
    let open = open(config).await;
    let (alice, bob) = users();
    let direct = ConversationId::direct(&alice, &bob);
    for seq in 1..=3 {
        open.send(&alice, &bob, "hi").await.unwrap();
        for post in [edit(&alice, &direct, seq, "ho"), react(&bob, &direct, seq, "👍", true)] {
            Done::of(open.store.post(vec![post]).await.unwrap().remove(0));
        }
    }
    Done::of(open.store.post(vec![recall(&alice, &direct, 2)]).await.unwrap().remove(0));
    assert_eq!(keys_of_amendments(&server).await.len(), 3 + 3);
    for _ in 0..8 {
        open.send(&bob, &alice, "hi").await.unwrap();
    }
    assert_eq!(keys_of_amendments(&server).await, [""; 0]);
    let changes = server.command(&["KEYS", "*}e:*"]).await.unwrap();
    let changes = changes.items()[0].text().unwrap();
    let kept = server.command(&["LLEN", changes]).await.unwrap().integer().unwrap();
    assert!(kept <= 5, "the list of changes has the bound of the log, not {kept}");
}

#[tokio::test]
async fn the_amendments_of_a_group_that_is_gone_go_with_it() {
    let server = RedisServer::start().await.unwrap();
    let open = open(config(server.url())).await;
    let (alice, _) = users();
    let group = ConversationId::new_group(proto::Time::now());
    let make = Change {
        name: Some("name".into()),
        owner: Some(alice.clone()),
        add: vec![alice.clone()],
        ..Change::default()
    };
    let leave = Change { expect: store::model::Version(1), remove: vec![alice.clone()], ..Change::default() };
    for post in [
        changed(&alice, &group, make),
        message(&alice, &group, "hi"),
        edit(&alice, &group, 1, "ho"),
        react(&alice, &group, 1, "👍", true),
        recall(&alice, &group, 1),
        changed(&alice, &group, leave),
    ] {
        Done::of(open.store.post(vec![post]).await.unwrap().remove(0));
    }
    let keys = keys_of_amendments(&server).await;
    assert_eq!(keys.len(), 4);
    for key in keys {
        let left = server.command(&["PTTL", &key]).await.unwrap().integer().unwrap();
        assert!(left > 0, "{key} goes with the group");
    }
}

#[tokio::test]
async fn the_list_of_nodes_is_sent_only_when_it_is_another_one() {
    let server = RedisServer::start().await.unwrap();
    let router = open(config(server.url())).await;
    let later = proto::Time::now().0 + 3_600_000;
    let add = async |node: &NodeIncarnation| {
        let lease = later.to_string();
        server.command(&["ZADD", "{sb}nodes", &lease, node.as_str()]).await.unwrap().ok().unwrap();
        server.command(&["HINCRBY", "{sb}incarnation", "added", "1"]).await.unwrap().ok().unwrap();
    };
    let mut nodes: Vec<_> = (0..500).map(|n| NodeIncarnation::new(&format!("gw-{n}")).unwrap()).collect();
    for node in &nodes {
        add(node).await;
    }
    let read = async |expected: &[NodeIncarnation]| {
        let mut live = router.store.nodes().await.unwrap();
        let mut expected = expected.to_vec();
        live.sort();
        expected.sort();
        assert_eq!(live, expected);
    };
    read(&nodes).await;
    let before = bytes_sent(&server).await;
    for _ in 0..20 {
        read(&nodes).await;
    }
    let twenty = bytes_sent(&server).await - before;
    let list = nodes.iter().map(|node| node.as_str().len() as u64).sum::<u64>();
    assert!(twenty < list, "20 reads of the same list: {twenty} bytes; the list has {list}");
    // One ends, and another is added: as many as before, and yet another list.
    let ended = nodes.remove(7);
    server.command(&["ZREM", "{sb}nodes", ended.as_str()]).await.unwrap().ok().unwrap();
    nodes.push(NodeIncarnation::new("gw-new").unwrap());
    add(&nodes[499]).await;
    read(&nodes).await;
    // One ends: a shorter list.
    server.command(&["ZADD", "{sb}nodes", "1", nodes[3].as_str()]).await.unwrap().ok().unwrap();
    nodes.remove(3);
    read(&nodes).await;
}

/// The bytes that the server has sent to all clients so far.
async fn bytes_sent(server: &RedisServer) -> u64 {
    let sent = server.info(&["INFO", "stats"], "total_net_output_bytes").await.unwrap();
    sent.expect("every server counts them").parse().unwrap()
}
