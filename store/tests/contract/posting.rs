//! Numbering and filing: without holes, in order, once.

use std::collections::BTreeSet;
use std::sync::Arc;

use proto::{ConversationId, Seq};
use store::model::{PostResult, StartPoint};
use tokio::task::JoinSet;

use super::harness::{Done, Kind, assert_no_holes, decoded, for_every_store, keyed, message, texts};

for_every_store![
    the_first_message_makes_the_direct_conversation_and_has_seq_1,
    a_message_is_in_every_members_inbox_as_it_was_posted,
    a_message_to_oneself_is_filed_once,
    numbers_have_no_holes_when_two_routers_post_at_once,
    every_inbox_has_a_conversation_in_its_order_and_once,
    items_of_one_batch_are_numbered_in_the_order_given,
    a_repeat_has_the_first_seq_and_is_delivered_once,
    a_repeat_in_the_same_batch_is_a_repeat,
    a_repeat_in_a_group_is_a_repeat,
    of_concurrent_repeats_one_is_delivered,
    the_same_key_elsewhere_or_by_another_is_no_repeat,
    strangers_cannot_post,
    the_place_is_where_the_sender_finds_it,
    a_body_of_64_kib_comes_back_whole,
    a_group_of_500_gets_every_message,
];

async fn the_first_message_makes_the_direct_conversation_and_has_seq_1(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let conversation = ConversationId::direct(&alice, &bob);
    assert_eq!(stores.one.conversations(std::slice::from_ref(&conversation), None).await.unwrap(), [None]);
    let post = message(&alice, &conversation, "hi");
    let time = post.entries[0].time;
    let done = stores.done(post).await;
    assert_eq!((done.seq, done.time), (Seq(1), time));
    let state = stores.two.conversations(&[conversation], None).await.unwrap().remove(0).unwrap();
    assert_eq!(state.head, Seq(1));
}

async fn a_message_is_in_every_members_inbox_as_it_was_posted(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let post = message(&alice, &ConversationId::direct(&alice, &bob), "hi");
    stores.done(post.clone()).await;
    for user in [&alice, &bob] {
        let inbox = stores.inbox(user).await;
        assert_eq!(inbox.len(), 1);
        assert_eq!(inbox[0].position.0, 1);
        assert_eq!(inbox[0].event.seq, Seq(1));
        assert_eq!(inbox[0].event.conversation, post.conversation);
        assert_eq!(inbox[0].event.entry, decoded(&post));
    }
}

async fn a_message_to_oneself_is_filed_once(kind: Kind) {
    let stores = kind.open().await;
    let alice = stores.user("alice");
    stores.send(&alice, &alice, "a note").await;
    let conversation = ConversationId::direct(&alice, &alice);
    assert_eq!(texts(&stores.inbox(&alice).await, &conversation), [(1, "a note".into())]);
    let state = stores.one.conversations(&[conversation], None).await.unwrap().remove(0).unwrap();
    assert_eq!(state.members.len(), 1);
}

async fn numbers_have_no_holes_when_two_routers_post_at_once(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let conversation = ConversationId::direct(&alice, &bob);
    let mut tasks = JoinSet::new();
    for number in 0..80 {
        let store = if number % 2 == 0 { stores.one.clone() } else { stores.two.clone() };
        let by = if number % 3 == 0 { &bob } else { &alice };
        let post = message(by, &conversation, &number.to_string());
        tasks.spawn(async move { Done::of(store.post(vec![post]).await.unwrap().remove(0)).seq.0 });
    }
    let seqs: BTreeSet<u64> = tasks.join_all().await.into_iter().collect();
    assert_eq!(seqs, (1..=80).collect());
}

async fn every_inbox_has_a_conversation_in_its_order_and_once(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob, carol) = (stores.user("alice"), stores.user("bob"), stores.user("carol"));
    let group = stores.group(&[&alice, &bob, &carol]).await;
    let mut tasks = JoinSet::new();
    for number in 0..40 {
        let store = if number % 2 == 0 { stores.one.clone() } else { stores.two.clone() };
        let by = [&alice, &bob, &carol][number % 3];
        // A direct message with each, so that inboxes hold more than the group.
        let direct = message(by, &ConversationId::direct(&alice, &bob), "aside");
        let mut batch = vec![message(by, &group, &number.to_string())];
        batch.extend((*by != carol).then_some(direct));
        tasks.spawn(async move { store.post(batch).await.unwrap() });
    }
    tasks.join_all().await;
    let first = texts(&stores.inbox(&alice).await, &group);
    assert_eq!(first.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), (1..=40).collect::<Vec<_>>());
    for user in [&alice, &bob, &carol] {
        let inbox = stores.inbox(user).await;
        assert_no_holes(&inbox);
        assert_eq!(texts(&inbox, &group), first);
    }
    let asides = texts(&stores.inbox(&bob).await, &ConversationId::direct(&alice, &bob));
    let expected: Vec<u64> = (1..=asides.len() as u64).collect();
    assert_eq!(asides.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), expected);
}

async fn items_of_one_batch_are_numbered_in_the_order_given(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob, carol) = (stores.user("alice"), stores.user("bob"), stores.user("carol"));
    let (first, second) = (ConversationId::direct(&alice, &bob), ConversationId::direct(&alice, &carol));
    let batch = vec![
        message(&alice, &first, "one"),
        message(&alice, &second, "elsewhere"),
        message(&bob, &first, "two"),
        message(&alice, &first, "three"),
    ];
    let answers = stores.one.post(batch).await.unwrap();
    let seqs: Vec<u64> = answers.into_iter().map(|answer| Done::of(answer).seq.0).collect();
    assert_eq!(seqs, [1, 1, 2, 3]);
    for user in [&alice, &bob] {
        let found = texts(&stores.inbox(user).await, &first);
        assert_eq!(found, [(1, "one".into()), (2, "two".into()), (3, "three".into())]);
    }
}

async fn a_repeat_has_the_first_seq_and_is_delivered_once(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let conversation = ConversationId::direct(&alice, &bob);
    let first = stores.done(keyed(&alice, &conversation, "first body", "m-1")).await;
    stores.send(&alice, &bob, "between").await;
    let mut repeat = keyed(&alice, &conversation, "second body", "m-1");
    Arc::make_mut(&mut repeat.entries)[0].time.0 += 1000;
    let repeated = stores.two.post(vec![repeat]).await.unwrap().remove(0);
    let expected = PostResult::Done { seq: first.seq, time: first.time, duplicate: true, position: None };
    assert_eq!(repeated, expected);
    for user in [&alice, &bob] {
        let found = texts(&stores.inbox(user).await, &conversation);
        assert_eq!(found, [(1, "first body".into()), (2, "between".into())]);
    }
}

async fn a_repeat_in_the_same_batch_is_a_repeat(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let conversation = ConversationId::direct(&alice, &bob);
    let batch = vec![
        keyed(&alice, &conversation, "first", "m-1"),
        keyed(&alice, &conversation, "again", "m-1"),
        keyed(&alice, &conversation, "next", "m-2"),
    ];
    let answers = stores.one.post(batch).await.unwrap();
    assert!(matches!(answers[0], PostResult::Done { seq: Seq(1), duplicate: false, .. }));
    assert!(matches!(answers[1], PostResult::Done { seq: Seq(1), duplicate: true, position: None, .. }));
    assert!(matches!(answers[2], PostResult::Done { seq: Seq(2), duplicate: false, .. }));
    assert_eq!(stores.inbox(&bob).await.len(), 2);
}

async fn a_repeat_in_a_group_is_a_repeat(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let group = stores.group(&[&alice, &bob]).await;
    let first = stores.done(keyed(&alice, &group, "first", "m-1")).await;
    let again = vec![keyed(&alice, &group, "again", "m-1"), keyed(&bob, &group, "next", "m-1")];
    let answers = stores.two.post(again).await.unwrap();
    let expected = PostResult::Done { seq: first.seq, time: first.time, duplicate: true, position: None };
    assert_eq!(answers[0], expected);
    assert!(matches!(answers[1], PostResult::Done { seq: Seq(2), duplicate: false, .. }));
    let found = texts(&stores.inbox(&bob).await, &group);
    assert_eq!(found, [(1, "first".into()), (2, "next".into())]);
}

async fn of_concurrent_repeats_one_is_delivered(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let conversation = ConversationId::direct(&alice, &bob);
    let mut tasks = JoinSet::new();
    for number in 0..30 {
        let store = if number % 2 == 0 { stores.one.clone() } else { stores.two.clone() };
        let post = keyed(&alice, &conversation, "hi", &format!("m-{}", number / 6));
        tasks.spawn(async move { (number / 6, store.post(vec![post]).await.unwrap().remove(0)) });
    }
    let mut fresh = BTreeSet::new();
    let mut seqs = BTreeSet::new();
    for (key, answer) in tasks.join_all().await {
        let PostResult::Done { seq, duplicate, .. } = answer else { panic!("refused: {answer:?}") };
        assert!(duplicate || fresh.insert(key), "two of {key} are new");
        seqs.insert((key, seq));
    }
    assert_eq!(fresh.len(), 5);
    assert_eq!(seqs.len(), 5, "a key has one seq");
    assert_eq!(stores.inbox(&bob).await.len(), 5);
}

async fn the_same_key_elsewhere_or_by_another_is_no_repeat(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob, carol) = (stores.user("alice"), stores.user("bob"), stores.user("carol"));
    let with_bob = ConversationId::direct(&alice, &bob);
    stores.done(keyed(&alice, &with_bob, "a", "m-1")).await;
    let elsewhere = stores.done(keyed(&alice, &ConversationId::direct(&alice, &carol), "b", "m-1")).await;
    assert_eq!(elsewhere.seq, Seq(1));
    let by_bob = stores.done(keyed(&bob, &with_bob, "c", "m-1")).await;
    assert_eq!(by_bob.seq, Seq(2));
}

async fn strangers_cannot_post(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob, mallory) = (stores.user("alice"), stores.user("bob"), stores.user("mallory"));
    let direct = ConversationId::direct(&alice, &bob);
    assert_eq!(stores.post(message(&mallory, &direct, "?")).await, PostResult::NotMember);
    stores.send(&alice, &bob, "hi").await;
    assert_eq!(stores.post(message(&mallory, &direct, "?")).await, PostResult::NotMember);
    let group = stores.group(&[&alice, &bob]).await;
    assert_eq!(stores.post(message(&mallory, &group, "?")).await, PostResult::NotMember);
    let nowhere = ConversationId::new_group(proto::Time(1));
    assert_eq!(stores.post(message(&alice, &nowhere, "?")).await, PostResult::NotMember);
    assert_eq!(stores.inbox(&bob).await.len(), 2, "the message and the group");
    assert_eq!(stores.inbox(&mallory).await, []);
}

async fn the_place_is_where_the_sender_finds_it(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    stores.send(&bob, &alice, "something before").await;
    let post = message(&alice, &ConversationId::direct(&alice, &bob), "hi");
    let position = stores.done(post.clone()).await.position.expect("a new message has a position");
    assert_eq!(position.position.0, 2);
    assert_eq!(position.fingerprint, post.entries[0].fingerprint);
    assert_eq!(stores.inbox(&alice).await[1].event.entry, decoded(&post));
    assert_eq!(stores.look(&alice, StartPoint::Head).await.start, position);
}

async fn a_body_of_64_kib_comes_back_whole(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let body: String = (0..65_536_u32).map(|n| char::from(b'a' + (n.wrapping_mul(n) % 26) as u8)).collect();
    for _ in 0..3 {
        stores.send(&alice, &bob, &body).await;
    }
    let found = texts(&stores.inbox(&bob).await, &ConversationId::direct(&alice, &bob));
    assert_eq!(found.len(), 3);
    assert!(found.iter().all(|(_, text)| *text == body));
}

async fn a_group_of_500_gets_every_message(kind: Kind) {
    let stores = kind.open().await;
    let users: Vec<_> = (0..500).map(|number| stores.user(&format!("u{number}"))).collect();
    let group = stores.group(&users.iter().collect::<Vec<_>>()).await;
    let state =
        stores.one.conversations(std::slice::from_ref(&group), None).await.unwrap().remove(0).unwrap();
    let members: Vec<_> = state.members.into_iter().map(|member| member.user).collect();
    assert_eq!(members, users, "members are in the order of joining");
    let batch = (0..4).map(|n| message(&users[n * 100], &group, &n.to_string())).collect();
    stores.one.post(batch).await.unwrap();
    let expected: Vec<_> = (0..4).map(|n| (n + 1, n.to_string())).collect();
    for user in &users {
        let inbox = stores.inbox(user).await;
        assert_eq!(inbox.len(), 5);
        assert_eq!(texts(&inbox, &group), expected);
    }
}
