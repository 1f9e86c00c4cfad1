//! `send`, and what it leaves.

use proto::wire::{self, reply, request::Command};

use crate::gateway::{Running, body, names, send, send_as};

#[tokio::test]
async fn a_message_is_numbered_and_in_both_inboxes() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let sent = gateway.send("alice", "alice~bob", r#""hi""#).await;
    assert_eq!((sent.seq, sent.position, sent.duplicate), (1, 1, false));
    assert!(sent.time > 1_700_000_000_000 && sent.fingerprint != 0);
    for user in ["alice", "bob"] {
        let inbox = gateway.inbox(user).await;
        assert_eq!(inbox.len(), 1);
        assert_eq!(inbox[0].conversation, "alice~bob");
        assert_eq!(inbox[0].seq, 1);
        assert_eq!(body(&inbox[0]), r#""hi""#);
        let entry = inbox[0].entry.as_ref().unwrap();
        assert_eq!((entry.by.as_str(), entry.time), ("alice", sent.time));
    }
}

#[tokio::test]
async fn the_same_client_id_is_the_same_message() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let ids = gateway
        .post_all(vec![
            ("alice", send_as("alice~bob", "1", "same")),
            ("alice", send_as("alice~bob", "2", "same")),
            ("bob", send_as("alice~bob", "3", "same")),
        ])
        .await;
    let mut seqs = Vec::new();
    for id in ids {
        let reply::Result::Sent(sent) = gateway.answer(id).await else { panic!("refused") };
        seqs.push((sent.seq, sent.duplicate));
    }
    assert_eq!(seqs, [(1, false), (1, true), (2, false)]);
    let bodies: Vec<String> = gateway.inbox("bob").await.iter().map(body).collect();
    assert_eq!(bodies, ["1", "3"]);
}

#[tokio::test]
async fn an_id_that_the_gateway_made_is_shown_to_nobody_and_still_tells_repeats() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let hidden = |id: &str| {
        let Command::Send(send) = send_as("alice~bob", "1", id) else { unreachable!() };
        Command::Send(wire::Send { hidden_id: true, ..send })
    };
    for duplicate in [false, true] {
        let reply::Result::Sent(sent) = gateway.ask("alice", hidden("g-1")).await else { panic!("refused") };
        assert_eq!(sent.duplicate, duplicate);
    }
    gateway.ask("alice", send_as("alice~bob", "2", "mine")).await;
    let ids: Vec<String> = gateway
        .inbox("bob")
        .await
        .into_iter()
        .map(|event| match event.entry.unwrap().what {
            Some(wire::entry::What::Message(message)) => message.client_msg_id,
            _ => panic!("no message"),
        })
        .collect();
    assert_eq!(ids, names(&["", "mine"]));
}

#[tokio::test]
async fn what_is_not_of_the_right_form_is_refused() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    for (user, command, code) in [
        ("alice", send("bob~alice", "1"), "bad_request"),
        ("alice", send("nonsense", "1"), "bad_request"),
        ("al ice", send("alice~bob", "1"), "bad_request"),
        ("alice", send_as("alice~bob", "1", ""), "bad_request"),
        ("alice", send_as("alice~bob", "1", "two words"), "bad_request"),
        ("alice", send("alice~bob", ""), "bad_request"),
        ("alice", send("alice~bob", &"1".repeat(65_537)), "too_large"),
        ("carol", send("alice~bob", "1"), "not_found"),
        ("alice", send("g_00000000000000000000000000", "1"), "not_found"),
    ] {
        assert_eq!(gateway.refused(user, command.clone()).await, code, "{command:?}");
    }
    assert!(gateway.inbox("bob").await.is_empty());
}

#[tokio::test]
async fn the_largest_body_arrives_as_it_was_sent() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let large = format!("\"{}\"", "7".repeat(65_534));
    gateway.send("alice", "alice~bob", &large).await;
    assert_eq!(body(&gateway.inbox("bob").await[0]), large);
}

#[tokio::test]
async fn pipelined_sends_keep_their_order() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let mut ids = Vec::new();
    for frame in 0..10 {
        let frame = (0..50).map(|n| ("alice", send("alice~bob", &(frame * 50 + n).to_string())));
        ids.extend(gateway.post_all(frame.collect()).await);
    }
    for (id, seq) in ids.into_iter().zip(1..) {
        let reply::Result::Sent(sent) = gateway.answer(id).await else { panic!("refused") };
        assert_eq!(sent.seq, seq);
    }
    let bodies: Vec<String> = gateway.inbox("bob").await.iter().map(body).collect();
    assert_eq!(bodies, (0..500).map(|n: u32| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_burst_of_ten_thousand_sends_is_answered_all() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let users: Vec<String> = (0..100).map(|n| format!("user-{n:02}")).collect();
    let mut under_way = Vec::new();
    for frame in 0..20 {
        let sends: Vec<_> = (0..500)
            .map(|n| {
                let from = users[(frame * 7 + n) % 100].as_str();
                let to = proto::ConversationId::direct(&from.parse().unwrap(), &"zoe".parse().unwrap());
                (from, send(to.as_str(), "1"))
            })
            .collect();
        let ids = gateway.post_all(sends.clone()).await;
        under_way.extend(ids.into_iter().zip(sends));
    }
    assert_eq!(under_way.len(), 10_000);
    // On a machine that is busy with other things some wait for too long: they
    // are told, and sent again they are the same message.
    while !under_way.is_empty() {
        let mut again = Vec::new();
        for (id, (from, command)) in under_way {
            match gateway.answer(id).await {
                reply::Result::Sent(_) => {}
                reply::Result::Failure(failure) if failure.code == "unavailable" => {
                    again.push((gateway.post(from, command.clone()).await, (from, command)));
                }
                other => panic!("{other:?}"),
            }
        }
        under_way = again;
    }
    assert_eq!(gateway.inbox("zoe").await.len(), 10_000);
}
