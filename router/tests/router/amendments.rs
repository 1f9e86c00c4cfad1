//! `edit`, `recall` and `react`: who may do what, what is refused, and repeats.

use proto::wire::{self, entry::What, reply, request::Command};

use crate::gateway::{Gateway, Running, body, names};

fn keyed_edit(conversation: &str, seq: u64, body: &str, key: &str) -> Command {
    Command::Edit(wire::Edit {
        conversation: conversation.into(),
        seq,
        body: body.to_owned().into(),
        key: key.into(),
    })
}

/// With a key of its own.
fn edit(conversation: &str, seq: u64, body: &str) -> Command {
    keyed_edit(conversation, seq, body, &format!("{seq}-{}", &body[..body.len().min(32)]))
}

fn recall(conversation: &str, seq: u64) -> Command {
    Command::Recall(wire::Recall { conversation: conversation.into(), seq })
}

fn react(conversation: &str, seq: u64, emoji: &str, on: bool) -> Command {
    Command::React(wire::React { conversation: conversation.into(), seq, emoji: emoji.into(), on })
}

fn all(conversation: &str, seq: u64) -> [Command; 3] {
    [edit(conversation, seq, "1"), recall(conversation, seq), react(conversation, seq, "👍", true)]
}

async fn history(gateway: &mut Gateway, user: &str, conversation: &str) -> Vec<wire::Event> {
    let query = wire::History { conversation: conversation.into(), ..Default::default() };
    match gateway.ask(user, Command::History(query)).await {
        reply::Result::History(page) => page.messages,
        other => panic!("{other:?}"),
    }
}

async fn summary(gateway: &mut Gateway, user: &str) -> wire::Summary {
    match gateway.ask(user, Command::Conversations(wire::Conversations::default())).await {
        reply::Result::Conversations(mut page) => page.conversations.remove(0),
        other => panic!("{other:?}"),
    }
}

/// What the events of an inbox are, without the changes of groups.
async fn events(gateway: &mut Gateway, user: &str) -> Vec<What> {
    let whats = gateway.inbox(user).await.into_iter().filter_map(|event| event.entry?.what);
    whats.filter(|what| !matches!(what, What::Change(_))).collect()
}

#[tokio::test]
async fn the_sender_edits_and_everyone_sees_it() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    gateway.send("alice", "alice~bob", "1").await;
    gateway.done("alice", edit("alice~bob", 1, "2")).await;
    for user in ["alice", "bob"] {
        let shown = history(&mut gateway, user, "alice~bob").await.remove(0);
        assert_eq!(body(&shown), "2");
        assert!(shown.state.as_ref().unwrap().edited > 0);
        let last = summary(&mut gateway, user).await.last_message.unwrap();
        assert_eq!(last, shown);
        let events = events(&mut gateway, user).await;
        assert_eq!(events[1], What::Edited(wire::Edited { seq: 1, body: "2".into() }));
    }
}

#[tokio::test]
async fn nobody_but_the_sender_edits() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let group = gateway.group("alice", "tea", &["bob", "carol"]).await;
    gateway.send("bob", &group, "1").await;
    gateway.send("bob", "alice~bob", "1").await;
    for (user, conversation) in [("alice", group.as_str()), ("carol", &group), ("alice", "alice~bob")] {
        assert_eq!(gateway.refused(user, edit(conversation, 1, "2")).await, "forbidden", "{user}");
    }
    assert_eq!(body(&history(&mut gateway, "carol", &group).await[0]), "1");
}

#[tokio::test]
async fn the_sender_and_the_owner_recall() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let group = gateway.group("alice", "tea", &["bob", "carol"]).await;
    for _ in 0..2 {
        gateway.send("bob", &group, "1").await;
        gateway.send("bob", "alice~bob", "1").await;
    }
    assert_eq!(gateway.refused("carol", recall(&group, 1)).await, "forbidden");
    assert_eq!(gateway.refused("alice", recall("alice~bob", 1)).await, "forbidden");
    gateway.done("bob", recall(&group, 1)).await;
    gateway.done("alice", recall(&group, 2)).await;
    gateway.done("bob", recall("alice~bob", 1)).await;
    for shown in history(&mut gateway, "carol", &group).await {
        assert_eq!(body(&shown), "");
        assert!(shown.state.unwrap().recalled > 0);
    }
}

#[tokio::test]
async fn any_member_reacts_and_takes_it_back() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let group = gateway.group("alice", "tea", &["bob", "carol"]).await;
    gateway.send("alice", &group, "1").await;
    for (user, emoji, on) in
        [("bob", "👍", true), ("carol", "🎉", true), ("alice", "👍", true), ("carol", "🎉", false)]
    {
        gateway.done(user, react(&group, 1, emoji, on)).await;
    }
    let state = history(&mut gateway, "carol", &group).await.remove(0).state.unwrap();
    let expected = wire::Reactions { emoji: "👍".into(), users: names(&["bob", "alice"]) };
    assert_eq!(state.reactions, [expected]);
    let told = events(&mut gateway, "bob").await;
    assert_eq!(told[4], What::Reaction(wire::Reaction { seq: 1, emoji: "🎉".into(), on: false }));
}

#[tokio::test]
async fn whoever_is_no_member_is_told_of_no_conversation() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let group = gateway.group("alice", "tea", &["bob"]).await;
    gateway.send("alice", &group, "1").await;
    gateway.send("alice", "alice~bob", "1").await;
    for conversation in [group.as_str(), "alice~bob", "g_00000000000000000000000000"] {
        for command in all(conversation, 1) {
            let answer = gateway.ask("mallory", command.clone()).await;
            let reply::Result::Failure(failure) = answer else { panic!("{command:?}: {answer:?}") };
            let said = (failure.code.as_str(), failure.message.as_str());
            assert_eq!(said, ("not_found", "no such conversation"), "{command:?}");
        }
    }
}

#[tokio::test]
async fn a_message_that_is_not_there_is_not_found() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let group = gateway.group("alice", "tea", &[]).await;
    gateway.send("alice", &group, "1").await;
    let add =
        wire::AddMembers { conversation: group.clone(), members: names(&["bob"]), ..Default::default() };
    gateway.done("alice", Command::AddMembers(add)).await;
    gateway.send("alice", "alice~bob", "1").await;
    for (user, conversation, seq) in [
        ("alice", "alice~bob", 0),
        ("alice", "alice~bob", 2),
        ("alice", "alice~bob", 1 << 53),
        ("alice", "alice~carol", 1),
        ("bob", group.as_str(), 1),
    ] {
        for command in all(conversation, seq) {
            assert_eq!(gateway.refused(user, command.clone()).await, "not_found", "{command:?}");
        }
    }
}

#[tokio::test]
async fn a_recalled_message_is_neither_edited_nor_reacted_to() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    gateway.send("alice", "alice~bob", "1").await;
    gateway.done("alice", recall("alice~bob", 1)).await;
    assert_eq!(gateway.refused("alice", edit("alice~bob", 1, "2")).await, "conflict");
    assert_eq!(gateway.refused("bob", react("alice~bob", 1, "👍", true)).await, "conflict");
}

#[tokio::test]
async fn commands_of_the_wrong_form_are_refused() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    gateway.send("alice", "alice~bob", "1").await;
    let large = format!("\"{}\"", "x".repeat(65_535));
    for (command, code) in [
        (edit("alice~bob", 1, ""), "bad_request"),
        (edit("alice~bob", 1, &large), "too_large"),
        (keyed_edit("alice~bob", 1, "2", ""), "bad_request"),
        (edit("no conversation", 1, "2"), "bad_request"),
        (recall("no conversation", 1), "bad_request"),
        (react("alice~bob", 1, "", true), "bad_request"),
        (react("alice~bob", 1, &"é".repeat(33), true), "bad_request"),
        (react("alice~bob", 1, "👍\n", true), "bad_request"),
        (react("no conversation", 1, "👍", true), "bad_request"),
    ] {
        assert_eq!(gateway.refused("alice", command).await, code);
    }
    let largest = format!("\"{}\"", "x".repeat(65_534));
    gateway.done("alice", edit("alice~bob", 1, &largest)).await;
    gateway.done("alice", react("alice~bob", 1, &"é".repeat(16), true)).await;
}

#[tokio::test]
async fn a_command_that_is_repeated_is_done_once() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    gateway.send("alice", "alice~bob", "1").await;
    let commands = [
        ("alice", keyed_edit("alice~bob", 1, "2", "k")),
        ("bob", react("alice~bob", 1, "👍", true)),
        ("bob", react("alice~bob", 1, "👍", false)),
        ("alice", recall("alice~bob", 1)),
    ];
    for (user, command) in commands {
        gateway.done(user, command.clone()).await;
        gateway.done(user, command).await;
    }
    assert_eq!(events(&mut gateway, "bob").await.len(), 5);
}

#[tokio::test]
async fn what_is_recalled_is_not_unread() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    for _ in 0..4 {
        gateway.send("alice", "alice~bob", "1").await;
    }
    gateway.done("alice", recall("alice~bob", 1)).await;
    gateway.done("alice", recall("alice~bob", 3)).await;
    assert_eq!(summary(&mut gateway, "bob").await.unread, 2);
    gateway.done("bob", Command::Read(wire::Read { conversation: "alice~bob".into(), seq: 2 })).await;
    assert_eq!(summary(&mut gateway, "bob").await.unread, 1);
    assert_eq!(summary(&mut gateway, "alice").await.unread, 0);
}

#[tokio::test]
async fn a_group_is_changed_under_a_stream_of_reactions() {
    let router = Running::start().await;
    let mut one = router.connect().await;
    let mut other = router.in_process().await;
    let group = one.group("alice", "tea", &["bob"]).await;
    one.send("alice", &group, "1").await;
    let mut changes = Vec::new();
    let mut reactions = Vec::new();
    for number in 0..8 {
        for emoji in 0..20 {
            reactions.push(other.post("bob", react(&group, 1, &format!("{number}-{emoji}"), true)).await);
        }
        let members = names(&[&format!("user-{number}")]);
        let add = Command::AddMembers(wire::AddMembers {
            conversation: group.clone(),
            members,
            ..Default::default()
        });
        changes.push(one.post("alice", add).await);
    }
    for id in reactions {
        assert!(matches!(other.answer(id).await, reply::Result::Done(_)));
    }
    let mut made = 0;
    for id in changes {
        // They race with each other, but not with reactions.
        made += usize::from(matches!(one.answer(id).await, reply::Result::Done(_)));
    }
    assert_eq!(one.members("bob", &group).await.1.len(), 2 + made);
    assert!(made > 0);
    // Who came later sees none of what was reacted to before.
    assert_eq!(events(&mut one, "user-0").await, []);
}

#[tokio::test]
async fn pipelined_edits_end_in_the_order_in_which_they_were_sent() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    gateway.send("alice", "alice~bob", "0").await;
    let commands: Vec<_> =
        (1..=200).map(|number| ("alice", edit("alice~bob", 1, &number.to_string()))).collect();
    for id in gateway.post_all(commands).await {
        assert!(matches!(gateway.answer(id).await, reply::Result::Done(_)));
    }
    let mut told = events(&mut gateway, "bob").await.into_iter();
    assert!(matches!(told.next(), Some(What::Message(_))));
    for number in 1..=200 {
        let edited = wire::Edited { seq: 1, body: number.to_string().into() };
        assert_eq!(told.next(), Some(What::Edited(edited)));
    }
    assert_eq!(body(&history(&mut gateway, "bob", "alice~bob").await[0]), "200");
}

#[tokio::test]
async fn an_edit_and_a_recall_may_follow_right_behind_the_send() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    let commands: Vec<_> = (1..=60)
        .flat_map(|seq| {
            let send = Command::Send(wire::Send {
                conversation: "alice~bob".into(),
                body: "0".into(),
                client_msg_id: format!("m{seq}"),
                ..Default::default()
            });
            let last = if seq % 2 == 0 { recall("alice~bob", seq) } else { edit("alice~bob", seq, "2") };
            [send, edit("alice~bob", seq, "1"), last].map(|command| ("alice", command))
        })
        .collect();
    for id in gateway.post_all(commands).await {
        let answer = gateway.answer(id).await;
        assert!(matches!(answer, reply::Result::Done(_) | reply::Result::Sent(_)), "{answer:?}");
    }
    for shown in history(&mut gateway, "bob", "alice~bob").await {
        assert_eq!(body(&shown), if shown.seq % 2 == 0 { "" } else { "2" }, "{}", shown.seq);
    }
}

#[tokio::test]
async fn whoever_may_not_is_told_before_what_became_of_the_message() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    gateway.send("alice", "alice~bob", "1").await;
    gateway.done("alice", recall("alice~bob", 1)).await;
    assert_eq!(gateway.refused("bob", edit("alice~bob", 1, "2")).await, "forbidden");
    assert_eq!(gateway.refused("bob", recall("alice~bob", 1)).await, "forbidden");
    assert_eq!(events(&mut gateway, "bob").await.len(), 2);
}

#[tokio::test]
async fn a_late_repeat_of_an_edit_does_not_undo_the_next_one() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    gateway.send("alice", "alice~bob", "1").await;
    for (text, key) in [("2", "a"), ("3", "b"), ("2", "a")] {
        gateway.done("alice", keyed_edit("alice~bob", 1, text, key)).await;
    }
    assert_eq!(body(&history(&mut gateway, "bob", "alice~bob").await[0]), "3");
}

#[tokio::test]
async fn pipelined_reactions_keep_their_order() {
    let router = Running::start().await;
    let mut gateway = router.connect().await;
    gateway.send("alice", "alice~bob", "1").await;
    let commands: Vec<_> =
        (0..41).map(|number| ("bob", react("alice~bob", 1, "👍", number % 2 == 0))).collect();
    for id in gateway.post_all(commands).await {
        assert!(matches!(gateway.answer(id).await, reply::Result::Done(_)));
    }
    assert_eq!(events(&mut gateway, "alice").await.len(), 1 + 41);
    let state = history(&mut gateway, "alice", "alice~bob").await.remove(0).state.unwrap();
    assert_eq!(state.reactions.len(), 1);
}
