//! `attach`, `detach`, `read_inbox` and `ack`.

use proto::wire::{self, Cursor, ResetReason, Standing, reply, request::Command};

use crate::gateway::{Gateway, Running};

async fn look_up(gateway: &mut Gateway, user: &str, from: Option<wire::attach::From>) -> wire::Attached {
    match gateway.ask(user, Command::Attach(wire::Attach { from, ..Default::default() })).await {
        reply::Result::Attached(attached) => attached,
        other => panic!("{other:?}"),
    }
}

async fn page(gateway: &mut Gateway, user: &str, query: wire::ReadInbox) -> wire::InboxPage {
    match gateway.ask(user, Command::ReadInbox(query)).await {
        reply::Result::Inbox(page) => page,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_place_is_looked_up_without_a_session() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let first = gateway.send("bob", "alice~bob", "1").await;
    gateway.send("bob", "alice~bob", "2").await;

    let head = look_up(&mut gateway, "bob", None).await;
    assert_eq!((head.start.unwrap().position, head.resumed, head.head), (2, false, 2));

    let start = look_up(&mut gateway, "bob", Some(wire::attach::From::Start(true))).await;
    assert_eq!((start.start.unwrap().position, start.resumed), (0, true));

    let cursor = Cursor { position: first.position, fingerprint: first.fingerprint };
    let resumed = look_up(&mut gateway, "bob", Some(wire::attach::From::Cursor(cursor))).await;
    assert_eq!((resumed.start, resumed.resumed, resumed.reset), (Some(cursor), true, 0));

    let other = Cursor { fingerprint: cursor.fingerprint ^ 2, ..cursor };
    let reset = look_up(&mut gateway, "bob", Some(wire::attach::From::Cursor(other))).await;
    assert_eq!(reset.reset(), ResetReason::Rewritten);
    assert_eq!((reset.start.unwrap().position, reset.resumed), (2, false));
}

#[tokio::test]
async fn a_device_that_attaches_again_replaces_its_session_and_the_old_one_is_told() {
    let router = Running::start().await;
    let (mut old, new) = (router.listen("gw-1").await, router.listen("gw-2").await);
    let mut gateway = router.connect().await;
    gateway.attach("alice", "phone", "s-1", &old).await;
    gateway.attach("alice", "laptop", "s-2", &old).await;
    gateway.attach("alice", "phone", "s-3", &new).await;

    let notice = old.notice().await;
    assert_eq!((notice.users, notice.session.as_str()), (vec!["alice".to_owned()], "s-1"));
    assert!(matches!(notice.what, Some(wire::notice::What::Replaced(_))));

    for (session, device, standing) in [
        ("s-1", "phone", Standing::Superseded),
        ("s-2", "laptop", Standing::Registered),
        ("s-3", "phone", Standing::Registered),
        ("s-4", "tablet", Standing::Missing),
    ] {
        let query = wire::ReadInbox { session: session.into(), device: device.into(), ..Default::default() };
        assert_eq!(page(&mut gateway, "alice", query).await.standing(), standing, "{session}");
    }
}

#[tokio::test]
async fn an_attach_that_is_repeated_replaces_nobody() {
    let router = Running::start().await;
    let mut ear = router.listen("gw-1").await;
    let mut gateway = router.connect().await;
    gateway.attach("alice", "phone", "s-1", &ear).await;
    gateway.attach("alice", "phone", "s-1", &ear).await;
    gateway.attach("alice", "phone", "s-2", &ear).await;
    // The first thing heard is about the session that another one replaced.
    assert_eq!(ear.notice().await.session, "s-1");
    gateway.attach("alice", "phone", "s-3", &ear).await;
    assert_eq!(ear.notice().await.session, "s-2");
}

#[tokio::test]
async fn a_session_that_is_detached_is_gone_and_no_other() {
    let router = Running::start().await;
    let ear = router.listen("gw-1").await;
    let mut gateway = router.connect().await;
    gateway.attach("alice", "phone", "s-1", &ear).await;
    gateway.attach("alice", "laptop", "s-2", &ear).await;
    for session in ["s-1", "s-1", "unknown"] {
        gateway.done("alice", Command::Detach(wire::Detach { session: session.into() })).await;
    }
    for (session, device, standing) in
        [("s-1", "phone", Standing::Missing), ("s-2", "laptop", Standing::Registered)]
    {
        let query = wire::ReadInbox { session: session.into(), device: device.into(), ..Default::default() };
        assert_eq!(page(&mut gateway, "alice", query).await.standing(), standing, "{session}");
    }
}

#[tokio::test]
async fn pages_of_an_inbox_have_a_limit_and_no_holes() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    for number in 0..5 {
        gateway.send("alice", "alice~bob", &number.to_string()).await;
    }
    let first = page(&mut gateway, "bob", wire::ReadInbox { limit: 2, ..Default::default() }).await;
    let positions: Vec<u64> = first.events.iter().map(|filed| filed.position).collect();
    assert_eq!((positions, first.head), (vec![1, 2], 5));
    assert_eq!(gateway.inbox("bob").await.len(), 5);
}

#[tokio::test]
async fn a_page_of_large_bodies_fits_in_a_frame() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let large = format!("\"{}\"", "7".repeat(65_534));
    for _ in 0..40 {
        gateway.send("alice", "alice~bob", &large).await;
    }
    let first = page(&mut gateway, "bob", wire::ReadInbox { limit: 1_000, ..Default::default() }).await;
    assert!((1..40).contains(&first.events.len()), "{}", first.events.len());
    assert_eq!(gateway.inbox("bob").await.len(), 40);
}

#[tokio::test]
async fn a_reader_whose_place_was_rewritten_is_told_where_to_go_on() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    gateway.send("alice", "alice~bob", "1").await;
    let beyond = Cursor { position: 9, fingerprint: 9 };
    let page = page(&mut gateway, "bob", wire::ReadInbox { after: Some(beyond), ..Default::default() }).await;
    assert_eq!(page.reset(), ResetReason::Rewritten);
    assert_eq!((page.restart.unwrap().position, page.events.len()), (1, 0));
}

#[tokio::test]
async fn an_ack_of_a_place_that_is_not_there_is_refused() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let sent = gateway.send("bob", "alice~bob", "1").await;
    let ack = |cursor| Command::Ack(wire::Ack { device: "phone".into(), cursor, ..wire::Ack::default() });
    let cursor = Cursor { position: sent.position, fingerprint: sent.fingerprint };
    gateway.done("bob", ack(Some(cursor))).await;
    gateway.done("bob", ack(Some(cursor))).await;
    gateway.done("bob", ack(Some(Cursor::default()))).await;
    let beyond = Some(Cursor { position: 7, fingerprint: 1 });
    assert_eq!(gateway.refused("bob", ack(beyond)).await, "bad_request");
    assert_eq!(gateway.refused("bob", ack(None)).await, "bad_request");
}

#[tokio::test]
async fn sessions_of_the_wrong_form_are_refused() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    for (session, device, node) in [("", "d", "n"), ("s", "", "n"), ("s", "d d", "n"), ("s", "d", "n n")] {
        let attach =
            wire::Attach { session: session.into(), device: device.into(), node: node.into(), from: None };
        assert_eq!(gateway.refused("alice", Command::Attach(attach)).await, "bad_request");
    }
    let detach = Command::Detach(wire::Detach { session: String::new() });
    assert_eq!(gateway.refused("alice", detach).await, "bad_request");
}
