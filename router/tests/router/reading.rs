//! `history` and `conversations`.

use proto::wire::{self, reply, request::Command};

use crate::gateway::{Gateway, Running, body, names};

async fn history(gateway: &mut Gateway, user: &str, query: wire::History) -> (Vec<u64>, bool) {
    match gateway.ask(user, Command::History(query)).await {
        reply::Result::History(page) => (page.messages.iter().map(|event| event.seq).collect(), page.more),
        other => panic!("{other:?}"),
    }
}

async fn conversations(gateway: &mut Gateway, user: &str, limit: u32, page: &str) -> wire::ConversationsPage {
    let query = wire::Conversations { limit, page: page.to_owned() };
    match gateway.ask(user, Command::Conversations(query)).await {
        reply::Result::Conversations(page) => page,
        other => panic!("{other:?}"),
    }
}

fn query(before: Option<u64>, after: Option<u64>, limit: u32) -> wire::History {
    wire::History { conversation: "alice~bob".into(), before, after, limit }
}

#[tokio::test]
async fn history_is_read_from_the_end_or_next_to_a_seq() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    for number in 1..=9 {
        gateway.send("alice", "alice~bob", &number.to_string()).await;
    }
    for (asked, seqs, more) in [
        (query(None, None, 3), vec![7, 8, 9], true),
        (query(None, None, 0), (1..=9).collect(), false),
        (query(Some(7), None, 3), vec![4, 5, 6], true),
        (query(Some(3), None, 200), vec![1, 2], false),
        (query(None, Some(2), 3), vec![3, 4, 5], true),
        (query(None, Some(7), 3), vec![8, 9], false),
        (query(None, Some(9), 3), vec![], false),
    ] {
        assert_eq!(history(&mut gateway, "bob", asked.clone()).await, (seqs, more), "{asked:?}");
    }
}

#[tokio::test]
async fn history_beyond_its_limits_is_refused() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    gateway.send("alice", "alice~bob", "1").await;
    for asked in [query(None, None, 201), query(Some(1), Some(1), 5)] {
        assert_eq!(gateway.refused("bob", Command::History(asked)).await, "bad_request");
    }
    let other = Command::History(query(None, None, 5));
    assert_eq!(gateway.refused("carol", other).await, "not_found");
}

#[tokio::test]
async fn conversations_come_newest_activity_first_and_in_pages() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let group = gateway.group("alice", "tea", &["bob"]).await;
    for conversation in ["alice~bob", "alice~carol", "alice~dave", "alice~bob"] {
        gateway.send("alice", conversation, "1").await;
    }
    let mut seen = Vec::new();
    let mut page = String::new();
    loop {
        let answer = conversations(&mut gateway, "alice", 2, &page).await;
        assert!(answer.conversations.len() <= 2);
        seen.extend(answer.conversations.into_iter().map(|summary| summary.conversation));
        page = answer.page;
        if page.is_empty() {
            break;
        }
    }
    assert_eq!(seen, ["alice~bob", "alice~dave", "alice~carol", group.as_str()]);

    let all = conversations(&mut gateway, "alice", 0, "").await;
    assert_eq!((all.conversations.len(), all.page.as_str()), (4, ""));
    assert_eq!(all.conversations[3].name, "tea");
    assert!(conversations(&mut gateway, "nobody", 10, "").await.conversations.is_empty());
}

#[tokio::test]
async fn a_summary_says_how_far_everyone_is() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    gateway.send("alice", "alice~bob", "1").await;
    gateway.send("bob", "alice~bob", "2").await;
    gateway.send("alice", "alice~bob", "3").await;
    gateway.send("alice", "alice~bob", "4").await;

    let of_bob = conversations(&mut gateway, "bob", 10, "").await.conversations.remove(0);
    // Sending implies having read up to one's own message.
    assert_eq!((of_bob.head_seq, of_bob.read_seq, of_bob.unread), (4, 2, 2));
    assert_eq!(of_bob.peer_read_seq, 4);
    assert_eq!(body(of_bob.last_message.as_ref().unwrap()), "4");

    gateway.done("bob", Command::Read(wire::Read { conversation: "alice~bob".into(), seq: 3 })).await;
    let of_bob = conversations(&mut gateway, "bob", 10, "").await.conversations.remove(0);
    assert_eq!((of_bob.read_seq, of_bob.unread), (3, 1));
    let of_alice = conversations(&mut gateway, "alice", 10, "").await.conversations.remove(0);
    assert_eq!((of_alice.peer_read_seq, of_alice.unread), (3, 0));
}

#[tokio::test]
async fn a_joiner_has_read_what_came_before_and_sees_none_of_it() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let group = gateway.group("alice", "tea", &[]).await;
    gateway.send("alice", &group, "1").await;
    let add =
        wire::AddMembers { conversation: group.clone(), members: names(&["bob"]), ..Default::default() };
    gateway.done("alice", Command::AddMembers(add)).await;

    let summary = conversations(&mut gateway, "bob", 10, "").await.conversations.remove(0);
    assert_eq!((summary.head_seq, summary.read_seq, summary.unread), (1, 1, 0));
    assert_eq!(summary.last_message, None);
    let all = wire::History { conversation: group.clone(), ..Default::default() };
    assert_eq!(history(&mut gateway, "bob", all.clone()).await, (vec![], false));

    gateway.send("alice", &group, "2").await;
    let summary = conversations(&mut gateway, "bob", 10, "").await.conversations.remove(0);
    assert_eq!(summary.unread, 1);
    assert_eq!(history(&mut gateway, "bob", all).await, (vec![2], false));
}

#[tokio::test]
async fn a_group_that_was_left_is_not_listed() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let group = gateway.group("alice", "tea", &["bob"]).await;
    let leave = wire::RemoveMember { conversation: group, user: "bob".into() };
    gateway.done("bob", Command::RemoveMember(leave)).await;
    assert!(conversations(&mut gateway, "bob", 10, "").await.conversations.is_empty());
    assert_eq!(conversations(&mut gateway, "alice", 10, "").await.conversations.len(), 1);
}

#[tokio::test]
async fn conversations_beyond_their_limits_are_refused() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    for (limit, page) in [(201, ""), (10, "not a page"), (10, "-1")] {
        let query = wire::Conversations { limit, page: page.into() };
        assert_eq!(gateway.refused("alice", Command::Conversations(query)).await, "bad_request");
    }
}
