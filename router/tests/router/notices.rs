//! What is told and not kept: receipts and typing; and `read`.

use proto::wire::{self, Cursor, notice::What, receipt::Kind, request::Command};

use crate::gateway::{Ear, Running};

fn read(conversation: &str, seq: u64) -> Command {
    Command::Read(wire::Read { conversation: conversation.into(), seq })
}

fn typing(conversation: &str) -> Command {
    Command::Typing(wire::SayTyping { conversation: conversation.into() })
}

async fn receipt(ear: &mut Ear) -> (Vec<String>, wire::Receipt) {
    let notice = ear.notice().await;
    match notice.what {
        Some(What::Receipts(wire::Receipts { conversation, marks })) => {
            let [wire::MovedMark { user, kind, seq }] = <[_; 1]>::try_from(marks).expect("one mark");
            (notice.users, wire::Receipt { conversation, user, kind, seq })
        }
        other => panic!("{other:?}"),
    }
}

async fn typist(ear: &mut Ear) -> (Vec<String>, String) {
    let notice = ear.notice().await;
    match notice.what {
        Some(What::Typing(typing)) => (notice.users, typing.user),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_ack_makes_a_delivered_receipt_for_the_other() {
    let router = Running::start().await;
    let mut ear = router.listen("gw-1").await;
    let mut gateway = router.connect().await;
    gateway.attach("alice", "phone", "s-1", &ear).await;
    for number in 1..=3 {
        gateway.send("alice", "alice~bob", &number.to_string()).await;
    }
    let last = gateway.inbox("bob").await.pop().unwrap();
    let cursor = Cursor { position: 3, fingerprint: last.entry.unwrap().fingerprint };
    gateway
        .done(
            "bob",
            Command::Ack(wire::Ack { device: "phone".into(), cursor: Some(cursor), ..wire::Ack::default() }),
        )
        .await;

    let (users, receipt) = receipt(&mut ear).await;
    assert_eq!(users, ["alice"]);
    assert_eq!((receipt.conversation.as_str(), receipt.user.as_str()), ("alice~bob", "bob"));
    assert_eq!((receipt.kind(), receipt.seq), (Kind::Delivered, 3));
}

#[tokio::test]
async fn reading_is_told_to_the_other_and_to_ones_own_devices() {
    let router = Running::start().await;
    let (mut here, mut there) = (router.listen("gw-1").await, router.listen("gw-2").await);
    let mut gateway = router.connect().await;
    gateway.attach("alice", "phone", "s-1", &here).await;
    gateway.attach("bob", "phone", "s-2", &there).await;
    gateway.attach("bob", "laptop", "s-3", &there).await;
    gateway.send("alice", "alice~bob", "1").await;
    gateway.done("bob", read("alice~bob", 1)).await;
    for (ear, user) in [(&mut here, "alice"), (&mut there, "bob")] {
        let (users, receipt) = receipt(ear).await;
        assert_eq!(users, [user]);
        assert_eq!((receipt.user.as_str(), receipt.kind(), receipt.seq), ("bob", Kind::Read, 1));
    }
}

#[tokio::test]
async fn reading_beyond_the_head_is_refused_and_reading_less_changes_nothing() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    for number in 1..=3 {
        gateway.send("alice", "alice~bob", &number.to_string()).await;
    }
    assert_eq!(gateway.refused("bob", read("alice~bob", 4)).await, "bad_request");
    gateway.done("bob", read("alice~bob", 3)).await;
    gateway.done("bob", read("alice~bob", 1)).await;
    assert_eq!(gateway.refused("carol", read("alice~bob", 1)).await, "not_found");
    let query = Command::Members(wire::Members { conversation: "alice~bob".into() });
    let wire::reply::Result::Members(list) = gateway.ask("alice", query).await else { panic!() };
    assert_eq!(list.members[1].read_seq, 3);
}

#[tokio::test]
async fn in_groups_up_to_100_the_others_are_told_and_in_larger_ones_only_ones_own_devices() {
    let router = Running::start().await;
    let mut ear = router.listen("gw-1").await;
    let mut gateway = router.connect().await;
    gateway.attach("alice", "phone", "s-1", &ear).await;
    gateway.attach("bob", "phone", "s-2", &ear).await;
    let many: Vec<String> = (0..99).map(|n| format!("user-{n:02}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).chain(["bob"]).collect();
    let large = gateway.group("alice", "large", &many).await;
    let small = gateway.group("alice", "small", &["bob", "carol"]).await;
    for (group, told) in [(large, vec!["bob"]), (small, vec!["alice", "bob"])] {
        gateway.send("alice", &group, "1").await;
        gateway.done("bob", read(&group, 1)).await;
        let (users, receipt) = receipt(&mut ear).await;
        assert_eq!((users, receipt.conversation), (told.into_iter().map(String::from).collect(), group));
    }
}

#[tokio::test]
async fn a_burst_of_marks_becomes_one_receipt_with_the_newest() {
    let router = Running::start().await;
    let mut ear = router.listen("gw-1").await;
    let mut gateway = router.connect().await;
    gateway.attach("alice", "phone", "s-1", &ear).await;
    for number in 1..=20 {
        gateway.send("alice", "alice~bob", &number.to_string()).await;
    }
    let marks = (1..=20).map(|seq| ("bob", read("alice~bob", seq))).collect();
    for id in gateway.post_all(marks).await {
        gateway.answer(id).await;
    }
    let mut receipts = 1;
    while receipt(&mut ear).await.1.seq < 20 {
        receipts += 1;
    }
    assert!(receipts < 20, "{receipts} receipts");
}

#[tokio::test]
async fn typing_is_told_to_the_others_once_a_node() {
    let router = Running::start().await;
    let mut ear = router.listen("gw-1").await;
    let mut gateway = router.connect().await;
    for (user, session) in [("alice", "s-1"), ("bob", "s-2"), ("carol", "s-3")] {
        gateway.attach(user, "phone", session, &ear).await;
    }
    gateway.attach("bob", "laptop", "s-4", &ear).await;
    gateway.done("alice", typing("alice~bob")).await;
    assert_eq!(typist(&mut ear).await, (vec!["bob".into()], "alice".into()));

    let group = gateway.group("alice", "tea", &["bob", "carol"]).await;
    gateway.done("carol", typing(&group)).await;
    let (users, by) = typist(&mut ear).await;
    assert_eq!((users, by.as_str()), (vec!["alice".into(), "bob".into()], "carol"));
    assert_eq!(gateway.refused("carol", typing("alice~bob")).await, "not_found");
}

#[tokio::test]
async fn whoever_reads_on_gets_the_marks_that_changed_meanwhile() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let sent = gateway.send("alice", "alice~bob", "1").await;
    let cursor = Cursor { position: sent.position, fingerprint: sent.fingerprint };
    gateway.done("bob", read("alice~bob", 1)).await;
    let asked = |marks_since, marks_within_ms| {
        Command::ReadInbox(wire::ReadInbox {
            after: Some(cursor),
            marks_since,
            marks_within_ms,
            ..Default::default()
        })
    };
    for (since, within) in [(Some(cursor), None), (None, Some(60_000))] {
        let wire::reply::Result::Inbox(page) = gateway.ask("alice", asked(since, within)).await else {
            panic!()
        };
        assert_eq!((page.events.len(), page.head, page.marks_next), (0, 1, 0));
        let bobs: Vec<_> = page.marks.iter().filter(|mark| mark.user == "bob").collect();
        assert_eq!(bobs.len(), 1);
        assert_eq!(
            (bobs[0].conversation.as_str(), bobs[0].kind(), bobs[0].seq),
            ("alice~bob", Kind::Read, 1)
        );
    }
    let wire::reply::Result::Inbox(page) = gateway.ask("alice", asked(None, None)).await else { panic!() };
    assert!(page.marks.is_empty(), "nobody asked");
}

#[tokio::test]
async fn a_burst_of_acknowledgements_becomes_a_handful_of_receipts() {
    let router = Running::start().await;
    let mut ear = router.listen("gw-1").await;
    let mut gateway = router.connect().await;
    gateway.attach("alice", "phone", "s-1", &ear).await;
    for number in 0..200 {
        gateway.send("alice", "alice~bob", &number.to_string()).await;
    }
    let cursors = gateway.inbox("bob").await;
    let acks = (1..).zip(cursors).map(|(position, event)| {
        let cursor = Some(Cursor { position, fingerprint: event.entry.unwrap().fingerprint });
        ("bob", Command::Ack(wire::Ack { device: "phone".into(), cursor, ..wire::Ack::default() }))
    });
    for id in gateway.post_all(acks.collect()).await {
        gateway.answer(id).await;
    }
    let mut receipts = 1;
    while receipt(&mut ear).await.1.seq < 200 {
        receipts += 1;
    }
    assert!(receipts <= 5, "{receipts} receipts");
}
