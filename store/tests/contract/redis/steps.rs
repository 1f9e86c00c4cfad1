//! A store that writes step by step repairs what a crash between two steps has
//! left.

use std::time::Duration;

use proto::{ConversationId, Cursor, UserId};
use store::model::{Acknowledge, Change, InboxQuery, PostResult, StartPoint};
use testbed::RedisServer;

use super::{Open, config, interrupted, open, users};
use crate::contract::harness::{Done, changed, edit, message, react, word};

/// Opens a store that writes step by step.
async fn open_stepwise(server: &RedisServer) -> Open {
    open(config(format!("{}?steps=separate", server.url()))).await
}

#[tokio::test]
async fn what_was_left_between_two_steps_ends_filed_for_everyone() {
    let server = RedisServer::start().await.unwrap();
    let open_one = open_stepwise(&server).await;
    let other = open_stepwise(&server).await;
    let (alice, bob) = users();
    let direct = ConversationId::direct(&alice, &bob);
    let mut mended = 0;
    for round in 0..60 {
        interrupted(&open_one, message(&alice, &direct, &round.to_string()), 1 + round % 6).await;
        mended += other.store.repair(Duration::ZERO).await.unwrap();
    }
    assert!(mended > 0, "something was left between two steps");
    // What was on its way when it was dropped has arrived by now.
    other.send(&bob, &alice, "end").await.unwrap();
    other.store.repair(Duration::ZERO).await.unwrap();
    let state = other.store.conversations(&[direct], None).await.unwrap().remove(0).unwrap();
    let (alices, bobs) = (other.inbox(&alice).await, other.inbox(&bob).await);
    assert_eq!(alices, bobs);
    assert_eq!(alices.len() as u64, state.head.0);
    assert_eq!(other.store.repair(Duration::ZERO).await.unwrap(), 0, "nothing is left to mend");
}

/// Nobody repeats it, and nobody has repaired it yet.
#[tokio::test]
async fn what_was_left_between_two_steps_is_filed_by_the_next_message_in_one_call() {
    let server = RedisServer::start().await.unwrap();
    let dying = open_stepwise(&server).await;
    let other = open(config(server.url())).await;
    let (alice, bob) = users();
    let group = ConversationId::new_group(proto::Time::now());
    let add = vec![alice.clone(), bob.clone()];
    let make = Change { owner: Some(alice.clone()), add, ..Change::default() };
    Done::of(other.store.post(vec![changed(&alice, &group, make)]).await.unwrap().remove(0));
    let mut left = 0;
    for conversation in [ConversationId::direct(&alice, &bob), group] {
        for round in 0..36 {
            let lost = message(&alice, &conversation, &format!("{conversation} {round}"));
            interrupted(&dying, lost, 1 + round % 6).await;
            // What was on its way when it was dropped has arrived after this.
            dying.store.ping().await.unwrap();
            let before = other.inbox(&bob).await.len();
            let next = message(&bob, &conversation, "next");
            Done::of(other.store.post(vec![next]).await.unwrap().remove(0));
            let (alices, bobs) = (other.inbox(&alice).await, other.inbox(&bob).await);
            assert_eq!(alices, bobs, "round {round}");
            left += bobs.len() - before - 1;
            let of_it = bobs.iter().filter(|text| text.starts_with(conversation.as_str())).count();
            let nexts = bobs.iter().filter(|text| *text == "next").count()
                - 36 * usize::from(conversation.is_group());
            let state = other.store.conversations(std::slice::from_ref(&conversation), None).await.unwrap();
            assert_eq!(state[0].as_ref().unwrap().head.0 as usize, of_it + nexts, "round {round}");
        }
    }
    assert!(left > 0, "something was left between two steps");
}

#[tokio::test]
async fn who_was_removed_gets_the_removal_although_the_router_died_before() {
    let server = RedisServer::start().await.unwrap();
    let open_one = open_stepwise(&server).await;
    let (alice, bob) = users();
    let mut removed = 0;
    for round in 0..24 {
        let group = ConversationId::new_group(proto::Time::now());
        let make = Change {
            name: Some("name".into()),
            owner: Some(alice.clone()),
            add: vec![alice.clone(), bob.clone()],
            ..Change::default()
        };
        Done::of(open_one.store.post(vec![changed(&alice, &group, make)]).await.unwrap().remove(0));
        let version = store::model::Version(1);
        let remove = Change { expect: version, remove: vec![bob.clone()], ..Change::default() };
        interrupted(&open_one, changed(&alice, &group, remove), 1 + round % 6).await;
        // Waits for whatever of it was under way.
        open_one.store.ping().await.unwrap();
        open_one.store.repair(Duration::ZERO).await.unwrap();
        let state = open_one
            .store
            .conversations(std::slice::from_ref(&group), None)
            .await
            .unwrap()
            .remove(0)
            .unwrap();
        let is_member = state.members.iter().any(|member| member.user == bob);
        let memberships = open_one.store.memberships(&bob).await.unwrap();
        let knows = memberships.iter().any(|membership| membership.conversation == group);
        assert_eq!(is_member, knows, "round {round}");
        removed += usize::from(!is_member);
    }
    assert!(removed > 0, "some removals went through");
}

/// All events of an inbox, as words.
async fn words_of(open: &Open, user: &UserId) -> Vec<String> {
    let after = Cursor::ORIGIN;
    let query = InboxQuery { user: user.clone(), after, limit: 1000, session: None, marks: None };
    let page = open.store.read_inbox(vec![query]).await.unwrap().remove(0);
    assert_eq!(page.reset, None);
    page.events.iter().map(|filed| word(&filed.event)).collect()
}

/// Reactions of one round each, so that each round has one event.
fn reaction(by: &UserId, conversation: &ConversationId, round: usize) -> store::model::Post {
    react(by, conversation, 1, &format!("e{round}-"), true)
}

#[tokio::test]
async fn an_amendment_left_between_two_steps_is_filed_for_everyone_by_its_repeat() {
    let server = RedisServer::start().await.unwrap();
    let open_one = open_stepwise(&server).await;
    let other = open_stepwise(&server).await;
    let (alice, bob) = users();
    let direct = ConversationId::direct(&alice, &bob);
    other.send(&alice, &bob, "one").await.unwrap();
    let (mut unchanged, mut rounds) = (0, 0);
    for round in 0..60 {
        let post = reaction(&alice, &direct, round);
        interrupted(&open_one, post.clone(), 1 + round % 6).await;
        // Waits for whatever of it was under way.
        open_one.store.ping().await.unwrap();
        let posted = other.store.post(vec![post]).await.unwrap().remove(0);
        unchanged += usize::from(posted == PostResult::Unchanged);
        rounds += 1;
        for user in [&alice, &bob] {
            assert_eq!(words_of(&other, user).await.len(), 1 + rounds, "round {round}");
        }
    }
    assert!(unchanged > 0, "some had been numbered before they were repeated");
    assert_eq!(words_of(&other, &alice).await, words_of(&other, &bob).await);
    other.store.repair(Duration::ZERO).await.unwrap();
    assert_eq!(words_of(&other, &bob).await.len(), 1 + rounds);
}

#[tokio::test]
async fn holes_of_amendments_are_closed_without_what_a_member_does_not_see() {
    let server = RedisServer::start().await.unwrap();
    let stepwise = open_stepwise(&server).await;
    // The same data, written in one call: that repairs what the stepwise way
    // left.
    let at_once = open(config(server.url())).await;
    let (alice, bob) = users();
    let carol = UserId::parse("carol").unwrap();
    let group = ConversationId::new_group(proto::Time::now());
    let make = Change {
        name: Some("name".into()),
        owner: Some(alice.clone()),
        add: vec![alice.clone(), bob.clone()],
        ..Change::default()
    };
    let posts = [
        changed(&alice, &group, make),
        message(&alice, &group, "secret"),
        changed(
            &alice,
            &group,
            Change { expect: store::model::Version(1), add: vec![carol.clone()], ..Change::default() },
        ),
        message(&alice, &group, "open"),
    ];
    for post in posts {
        Done::of(at_once.store.post(vec![post]).await.unwrap().remove(0));
    }
    for round in 0..48 {
        let seq = 1 + (round / 2) as u64 % 2;
        interrupted(&stepwise, edit(&alice, &group, seq, &format!("{seq}-{round}")), 1 + round % 6).await;
        stepwise.store.ping().await.unwrap();
        match round % 3 {
            0 => {
                Done::of(
                    at_once
                        .store
                        .post(vec![message(&bob, &group, &round.to_string())])
                        .await
                        .unwrap()
                        .remove(0),
                );
            }
            1 => {
                let post = react(&bob, &group, 2, &round.to_string(), true);
                Done::of(stepwise.store.post(vec![post]).await.unwrap().remove(0));
            }
            _ => {
                stepwise.store.repair(Duration::ZERO).await.unwrap();
            }
        }
    }
    stepwise.store.repair(Duration::ZERO).await.unwrap();
    let (alices, bobs, carols) =
        (words_of(&at_once, &alice).await, words_of(&at_once, &bob).await, words_of(&at_once, &carol).await);
    assert_eq!(alices, bobs);
    // Carol has the same in the same order, except for what she does not see.
    let visible: Vec<_> = bobs[2..].iter().filter(|word| !word.starts_with("edit 1:")).cloned().collect();
    assert_eq!(carols, visible);
    assert!(bobs.iter().any(|word| word.starts_with("edit 1:")), "some edits went through");
    assert_eq!(stepwise.store.repair(Duration::ZERO).await.unwrap(), 0, "nothing is left to mend");
}

#[tokio::test]
async fn an_own_message_is_read_whoever_files_it() {
    let server = RedisServer::start().await.unwrap();
    let stepwise = open_stepwise(&server).await;
    let at_once = open(config(server.url())).await;
    let (alice, bob) = users();
    let direct = ConversationId::direct(&alice, &bob);
    let mut left = 0;
    for round in 0..48 {
        let head = || async {
            let asked = std::slice::from_ref(&direct);
            let found = at_once.store.conversations(asked, Some(&alice)).await.unwrap().remove(0);
            found.map_or((0, 0, 0), |found| {
                let own = found.members.iter().find(|member| member.user == alice).unwrap();
                (found.head.0, own.read.0, found.unread)
            })
        };
        interrupted(&stepwise, message(&alice, &direct, &round.to_string()), 1 + round % 6).await;
        stepwise.store.ping().await.unwrap();
        let (sent, read, _) = head().await;
        // The last one was numbered, and is not in her inbox.
        left += usize::from(read < sent);
        // Another user than the one who wrote it repairs what was left.
        Done::of(at_once.store.post(vec![message(&bob, &direct, "and")]).await.unwrap().remove(0));
        let (head, read, unread) = head().await;
        assert_eq!((head - read, unread), (1, 1), "round {round}: only bob's last is unread");
        let mark = store::model::Mark {
            conversation: direct.clone(),
            user: alice.clone(),
            kind: store::model::MarkKind::Read,
            seq: proto::Seq(head),
        };
        at_once.store.mark(vec![mark]).await.unwrap();
    }
    assert!(left > 0, "something was left to file");
}

#[tokio::test]
async fn what_was_filed_step_by_step_is_acknowledged_where_one_call_does_it_all() {
    let server = RedisServer::start().await.unwrap();
    let separate = open_stepwise(&server).await;
    let redis = open(config(server.url())).await;
    let (alice, bob) = users();
    separate.send(&alice, &bob, "one").await.unwrap();
    let carol = UserId::parse("carol").unwrap();
    redis.send(&carol, &bob, "two").await.unwrap();
    separate.send(&alice, &bob, "three").await.unwrap();
    let cursor = redis.look(&bob, StartPoint::Head).await.start;
    let acknowledge = Acknowledge::up_to(bob.clone(), cursor);
    let answer = redis.store.acknowledge(vec![acknowledge.clone(), acknowledge]).await.unwrap();
    let marks = vec![
        (ConversationId::direct(&alice, &bob), proto::Seq(2)),
        (ConversationId::direct(&bob, &carol), proto::Seq(1)),
    ];
    let none = store::model::AcknowledgeResult::Marks(vec![]);
    assert_eq!(answer, [store::model::AcknowledgeResult::Marks(marks), none]);
}
