//! Acknowledgements whose marks the gateway names.

use std::time::Duration;

use proto::{ConversationId, Cursor, Fingerprint, Position, Seq, StoreIncarnation, UserId};
use store::Store;
use store::model::{
    Acknowledge, AcknowledgeResult, Change, HandedOut, InboxQuery, MarkKind, MarksQuery, MarksSince,
    PostResult, StartPoint,
};

use super::harness::{Kind, Stores, for_every_store, message};

for_every_store![
    named_marks_are_set_and_told_once,
    the_highest_of_several_named_marks_counts_whatever_their_order,
    of_two_routers_that_name_marks_at_once_the_highest_counts,
    a_named_mark_beyond_the_head_is_passed_over,
    a_named_mark_of_who_is_no_member_is_passed_over,
    marks_named_in_another_incarnation_are_looked_up,
    named_marks_are_noted_for_whoever_is_told,
    who_joins_between_two_named_marks_is_told_of_the_second,
    the_position_moves_when_it_is_told_and_only_forward,
];

/// A direct conversation of the first two users and a group of all of them, with so
/// many messages by the first in each.
async fn written(stores: &Stores, users: &[&UserId], messages: usize) -> (ConversationId, ConversationId) {
    let direct = ConversationId::direct(users[0], users[1]);
    let group = stores.group(users).await;
    for id in [&direct, &group] {
        for _ in 0..messages {
            stores.done(message(users[0], id, "hi")).await;
        }
    }
    (direct, group)
}

/// The store's incarnation.
async fn incarnation(stores: &Stores) -> StoreIncarnation {
    let (probe, other) = (stores.user("probe"), stores.user("other"));
    match stores.post(message(&probe, &ConversationId::direct(&probe, &other), "hi")).await {
        PostResult::Done { position: Some(own), .. } => own.store,
        other => panic!("{other:?}"),
    }
}

/// Names marks at a position that moves nothing.
fn named(store: StoreIncarnation, user: &UserId, marks: &[(&ConversationId, u64)]) -> Acknowledge {
    let marks = marks.iter().map(|(conversation, seq)| ((*conversation).clone(), Seq(*seq))).collect();
    let handed_out = Some(HandedOut { store, marks, position: false });
    Acknowledge { handed_out, ..Acknowledge::up_to(user.clone(), Cursor::ORIGIN) }
}

fn moved(marks: &[(&ConversationId, u64)]) -> AcknowledgeResult {
    let marks = marks.iter().map(|(conversation, seq)| ((*conversation).clone(), Seq(*seq)));
    AcknowledgeResult::Marks(marks.collect())
}

async fn one(store: &dyn Store, item: Acknowledge) -> AcknowledgeResult {
    store.acknowledge(vec![item]).await.unwrap().remove(0)
}

async fn delivered(stores: &Stores, conversation: &ConversationId, user: &UserId) -> u64 {
    let state = stores.two.conversations(std::slice::from_ref(conversation), None).await.unwrap().remove(0);
    let members = state.unwrap().members;
    members.into_iter().find(|member| member.user == *user).unwrap().delivered.0
}

/// How far the reader is told, now, that somebody is in a conversation.
async fn told(stores: &Stores, reader: &UserId, of: &UserId, conversation: &ConversationId) -> Option<u64> {
    let after = stores.look(reader, StartPoint::Head).await.start;
    let since = MarksSince::Within(Duration::from_secs(3600));
    let marks = Some(MarksQuery { since, after: 0 });
    let query = InboxQuery { user: reader.clone(), after, limit: 10, session: None, marks };
    let page = stores.two.read_inbox(vec![query]).await.unwrap().remove(0);
    let mark = page.marks.into_iter().find(|mark| {
        mark.user == *of && mark.conversation == *conversation && mark.kind == MarkKind::Delivered
    });
    mark.map(|mark| mark.seq.0)
}

async fn named_marks_are_set_and_told_once(kind: Kind) {
    let stores = kind.open().await;
    let store = incarnation(&stores).await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let (direct, group) = written(&stores, &[&alice, &bob], 3).await;
    let oneself = ConversationId::direct(&bob, &bob);
    stores.done(message(&bob, &oneself, "hi")).await;
    let all = [(&direct, 2), (&oneself, 1), (&group, 3)];
    assert_eq!(one(&*stores.one, named(store, &bob, &all)).await, moved(&all));
    assert_eq!(one(&*stores.two, named(store, &bob, &all)).await, moved(&[]));
    assert_eq!(delivered(&stores, &direct, &bob).await, 2);
    assert_eq!(delivered(&stores, &group, &bob).await, 3);
    let more = [(&direct, 3), (&group, 2)];
    assert_eq!(one(&*stores.two, named(store, &bob, &more)).await, moved(&[(&direct, 3)]));
    assert_eq!(delivered(&stores, &direct, &bob).await, 3);
    assert_eq!(one(&*stores.one, named(store, &bob, &[])).await, moved(&[]));
}

async fn the_highest_of_several_named_marks_counts_whatever_their_order(kind: Kind) {
    let stores = kind.open().await;
    let store = incarnation(&stores).await;
    let (alice, bob, carol) = (stores.user("alice"), stores.user("bob"), stores.user("carol"));
    let (direct, group) = written(&stores, &[&alice, &bob, &carol], 6).await;
    // Bob has two devices; carol acknowledges in the same batch.
    let batch = [2, 5, 4].map(|seq| named(store, &bob, &[(&direct, seq), (&group, seq)]));
    let batch = batch.into_iter().chain([named(store, &carol, &[(&group, 6)])]).collect();
    let answers = stores.one.acknowledge(batch).await.unwrap();
    let told: Vec<_> = answers
        .into_iter()
        .flat_map(|answer| match answer {
            AcknowledgeResult::Marks(marks) => marks,
            AcknowledgeResult::NoSuchPosition => panic!("a named mark has no position"),
        })
        .collect();
    // The embedded store may tell each step of the way.
    for expected in [(direct.clone(), Seq(5)), (group.clone(), Seq(5)), (group.clone(), Seq(6))] {
        assert!(told.contains(&expected), "{told:?}");
    }
    for id in [&direct, &group] {
        assert_eq!(delivered(&stores, id, &bob).await, 5);
    }
    assert_eq!(delivered(&stores, &group, &carol).await, 6);
}

async fn of_two_routers_that_name_marks_at_once_the_highest_counts(kind: Kind) {
    let stores = kind.open().await;
    let store = incarnation(&stores).await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let direct = ConversationId::direct(&alice, &bob);
    let group = stores.group(&[&alice, &bob]).await;
    for id in [&direct, &group] {
        let posts = (0..40).map(|_| message(&alice, id, "hi")).collect();
        stores.one.post(posts).await.unwrap();
    }
    let run = async |router: &dyn Store, seqs: Vec<u64>| {
        for seq in seqs {
            one(router, named(store, &bob, &[(&direct, seq), (&group, 41 - seq)])).await;
        }
    };
    let (even, odd) = (1..=40).partition(|seq| seq % 2 == 0);
    tokio::join!(run(&*stores.one, even), run(&*stores.two, odd));
    for id in [&direct, &group] {
        assert_eq!(delivered(&stores, id, &bob).await, 40);
    }
}

async fn a_named_mark_beyond_the_head_is_passed_over(kind: Kind) {
    let stores = kind.open().await;
    let store = incarnation(&stores).await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let (direct, group) = written(&stores, &[&alice, &bob], 1).await;
    let empty = ConversationId::direct(&bob, &stores.user("carol"));
    let all = [(&direct, 2), (&group, 2), (&empty, 1)];
    assert_eq!(one(&*stores.one, named(store, &bob, &all)).await, moved(&[]));
    for id in [&direct, &group] {
        stores.done(message(&alice, id, "hi")).await;
        assert_eq!(delivered(&stores, id, &bob).await, 0, "not even when the head has come there");
    }
    assert_eq!(one(&*stores.one, named(store, &bob, &all)).await, moved(&all[..2]));
}

async fn a_named_mark_of_who_is_no_member_is_passed_over(kind: Kind) {
    let stores = kind.open().await;
    let store = incarnation(&stores).await;
    let (alice, bob, mallory) = (stores.user("alice"), stores.user("bob"), stores.user("mallory"));
    let (direct, group) = written(&stores, &[&alice, &bob], 1).await;
    let both = [(&direct, 1), (&group, 1)];
    assert_eq!(one(&*stores.one, named(store, &mallory, &both)).await, moved(&[]));
    stores.change(&alice, &group, Change { remove: vec![bob.clone()], ..Change::default() }).await;
    assert_eq!(one(&*stores.one, named(store, &bob, &both)).await, moved(&both[..1]));
}

async fn marks_named_in_another_incarnation_are_looked_up(kind: Kind) {
    let stores = kind.open().await;
    let store = incarnation(&stores).await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let direct = ConversationId::direct(&alice, &bob);
    for _ in 0..3 {
        stores.send(&alice, &bob, "hi").await;
    }
    let head = stores.look(&bob, StartPoint::Head).await.start;
    let lost = Cursor { position: Position(2), fingerprint: Fingerprint(head.fingerprint.0 ^ 1) };
    for other in [StoreIncarnation(store.0 ^ 1), StoreIncarnation::default()] {
        let item = Acknowledge { cursor: lost, ..named(other, &bob, &[(&direct, 3)]) };
        assert_eq!(one(&*stores.one, item).await, AcknowledgeResult::NoSuchPosition);
        assert_eq!(delivered(&stores, &direct, &bob).await, 0);
    }
    let item = Acknowledge { cursor: head, ..named(StoreIncarnation(1), &bob, &[(&direct, 1)]) };
    assert_eq!(one(&*stores.one, item).await, moved(&[(&direct, 3)]));
}

async fn named_marks_are_noted_for_whoever_is_told(kind: Kind) {
    let stores = kind.open().await;
    let store = incarnation(&stores).await;
    let (alice, bob, carol) = (stores.user("alice"), stores.user("bob"), stores.user("carol"));
    let (direct, group) = written(&stores, &[&alice, &bob, &carol], 4).await;
    // The second change comes right behind the first.
    for seq in [1, 3] {
        one(&*stores.one, named(store, &bob, &[(&direct, seq), (&group, seq)])).await;
        assert_eq!(told(&stores, &alice, &bob, &direct).await, Some(seq));
        assert_eq!(told(&stores, &alice, &bob, &group).await, Some(seq));
        assert_eq!(told(&stores, &carol, &bob, &group).await, Some(seq));
    }
    one(&*stores.two, named(store, &carol, &[(&group, 4)])).await;
    assert_eq!(told(&stores, &bob, &carol, &group).await, Some(4));
}

async fn who_joins_between_two_named_marks_is_told_of_the_second(kind: Kind) {
    let stores = kind.open().await;
    let store = incarnation(&stores).await;
    let (alice, bob, carol) = (stores.user("alice"), stores.user("bob"), stores.user("carol"));
    let group = stores.group(&[&alice, &bob]).await;
    stores.done(message(&alice, &group, "hi")).await;
    one(&*stores.one, named(store, &bob, &[(&group, 1)])).await;
    stores.change(&alice, &group, Change { add: vec![carol.clone()], ..Change::default() }).await;
    stores.done(message(&alice, &group, "hi")).await;
    one(&*stores.one, named(store, &bob, &[(&group, 2)])).await;
    assert_eq!(told(&stores, &carol, &bob, &group).await, Some(2));
}

async fn the_position_moves_when_it_is_told_and_only_forward(kind: Kind) {
    let stores = kind.open().await;
    let store = incarnation(&stores).await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let direct = ConversationId::direct(&alice, &bob);
    for _ in 0..4 {
        stores.send(&alice, &bob, "hi").await;
    }
    let events = stores.inbox(&bob).await;
    let cursor = |index: usize| Cursor {
        position: events[index].position,
        fingerprint: Fingerprint(events[index].event.entry.fingerprint),
    };
    let is_acknowledged =
        async |index: usize| stores.look(&bob, StartPoint::Cursor(cursor(index))).await.acknowledged;
    let at = |index: usize, seq: u64, position: bool| {
        let item = named(store, &bob, &[(&direct, seq)]);
        let handed_out = item.handed_out.map(|named| HandedOut { position, ..named });
        Acknowledge { handed_out, ..Acknowledge::up_to(bob.clone(), cursor(index)) }
    };
    one(&*stores.one, at(1, 2, false)).await;
    assert!(!is_acknowledged(0).await);
    one(&*stores.one, at(2, 3, true)).await;
    assert!(is_acknowledged(2).await && !is_acknowledged(3).await);
    one(&*stores.one, at(0, 1, true)).await;
    assert!(is_acknowledged(2).await);
    // What is looked up begins there: the mark of another device's message.
    assert_eq!(one(&*stores.one, Acknowledge::up_to(bob.clone(), cursor(3))).await, moved(&[(&direct, 4)]));
    let beyond = Cursor { position: Position(9), ..cursor(3) };
    let item = Acknowledge { cursor: beyond, ..at(3, 4, true) };
    one(&*stores.one, item).await;
    for text in ["five", "six"] {
        stores.send(&alice, &bob, text).await;
    }
    let head = stores.look(&bob, StartPoint::Head).await.start;
    assert!(!stores.look(&bob, StartPoint::Cursor(head)).await.acknowledged, "a position of a lost history");
}
