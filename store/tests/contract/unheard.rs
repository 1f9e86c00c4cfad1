//! Messages for members without a session: given out at least once, to one
//! router at a time, in order, and bounded.

use std::time::Duration;

use proto::{ConversationId, NodeIncarnation, UserId};
use store::Bounds;
use store::model::{Change, Detach, Location, UnheardMessage};
use testbed::RedisServer;

use super::harness::{Kind, Stores, for_every_store, keyed, message};

for_every_store![
    a_message_for_a_member_without_a_session_is_kept,
    one_with_a_session_the_sender_and_changes_are_not,
    a_session_that_has_ended_does_not_count,
    sessions_on_dead_nodes_do_not_count,
    what_is_held_is_given_to_nobody_else_and_comes_again,
    what_has_been_told_comes_no_more,
    they_come_in_the_order_of_filing,
    only_so_many_are_kept_and_the_oldest_go,
    a_repeat_keeps_its_id,
    it_is_off_by_default,
];

/// Long enough that nothing comes again in a test.
const HOLD: Duration = Duration::from_secs(600);

/// The queue is one for a whole store: each test has its own server.
async fn open(kind: Kind, unheard: u64) -> Stores {
    kind.open_alone(Bounds { unheard, ..Bounds::default() }).await
}

async fn take(stores: &Stores, limit: usize) -> Vec<UnheardMessage> {
    stores.two.take_unheard(limit, HOLD).await.unwrap()
}

/// User and seq.
fn named(unheard: &[UnheardMessage]) -> Vec<(UserId, u64)> {
    unheard.iter().map(|one| (one.user.clone(), one.seq.0)).collect()
}

async fn a_message_for_a_member_without_a_session_is_kept(kind: Kind) {
    let own = open(kind, 100).await;
    let (alice, bob, carol) = (own.user("alice"), own.user("bob"), own.user("carol"));
    own.send(&alice, &bob, "hi").await;
    let taken = take(&own, 10).await;
    assert_eq!(named(&taken), [(bob.clone(), 1)]);
    assert_eq!(taken[0].conversation, ConversationId::direct(&alice, &bob));
    let group = own.group(&[&alice, &bob, &carol]).await;
    own.done(message(&carol, &group, "hi all")).await;
    let mut users = named(&take(&own, 10).await);
    users.sort();
    assert_eq!(users, [(alice, 1), (bob, 1)]);
    assert_eq!(own.one.unheard().await.unwrap(), 3);
}

async fn one_with_a_session_the_sender_and_changes_are_not(kind: Kind) {
    let own = open(kind, 100).await;
    let (alice, bob) = (own.user("alice"), own.user("bob"));
    let node = own.node("gw").await;
    own.attach(&bob, &node.location("phone")).await;
    own.send(&alice, &bob, "hi").await;
    own.send(&alice, &alice, "a note").await;
    let group = own.group(&[&alice, &bob]).await;
    own.change(&alice, &group, Change { name: Some("new".into()), ..Change::default() }).await;
    assert_eq!(take(&own, 10).await, []);
}

async fn a_session_that_has_ended_does_not_count(kind: Kind) {
    let own = open(kind, 100).await;
    let (alice, bob) = (own.user("alice"), own.user("bob"));
    let node = own.node("gw").await;
    let (phone, laptop) = (node.location("phone"), node.location("laptop"));
    for location in [&phone, &laptop] {
        own.attach(&bob, location).await;
    }
    own.one.detach(vec![Detach { user: bob.clone(), session: phone.session }]).await.unwrap();
    own.send(&alice, &bob, "one is left").await;
    own.one.detach(vec![Detach { user: bob.clone(), session: laptop.session }]).await.unwrap();
    own.send(&alice, &bob, "none is left").await;
    assert_eq!(named(&take(&own, 10).await), [(bob, 2)]);
}

async fn sessions_on_dead_nodes_do_not_count(kind: Kind) {
    let own = open(kind, 100).await;
    let (alice, bob) = (own.user("alice"), own.user("bob"));
    for device in ["phone", "laptop"] {
        let mut gone = own.node("gw").await.location(device);
        gone.node = NodeIncarnation::new("gone").unwrap();
        own.attach(&bob, &Location { ..gone }).await;
    }
    own.send(&alice, &bob, "hi").await;
    assert_eq!(named(&take(&own, 10).await), [(bob, 1)]);
}

async fn what_is_held_is_given_to_nobody_else_and_comes_again(kind: Kind) {
    let own = open(kind, 100).await;
    let (alice, bob) = (own.user("alice"), own.user("bob"));
    own.send(&alice, &bob, "hi").await;
    let hold = Duration::from_millis(300);
    let taken = own.one.take_unheard(10, hold).await.unwrap();
    let at = std::time::Instant::now();
    let again = testbed::wait::until(Duration::from_secs(20), "the end of the hold", async || {
        let again = own.two.take_unheard(10, hold).await.unwrap();
        (!again.is_empty()).then_some(again)
    });
    assert_eq!(again.await.unwrap(), taken, "with the same id");
    // Its clock began a little earlier.
    assert!(at.elapsed() > hold / 2, "{:?}", at.elapsed());
}

async fn what_has_been_told_comes_no_more(kind: Kind) {
    let own = open(kind, 100).await;
    let (alice, bob) = (own.user("alice"), own.user("bob"));
    own.send(&alice, &bob, "one").await;
    own.send(&alice, &bob, "two").await;
    let taken = own.one.take_unheard(1, Duration::ZERO).await.unwrap();
    own.two.heard(&taken).await.unwrap();
    own.two.heard(&taken).await.unwrap();
    assert_eq!(named(&take(&own, 10).await), [(bob, 2)]);
    assert_eq!(own.one.unheard().await.unwrap(), 1);
}

async fn they_come_in_the_order_of_filing(kind: Kind) {
    let own = open(kind, 1000).await;
    let (alice, bob) = (own.user("alice"), own.user("bob"));
    let conversation = ConversationId::direct(&alice, &bob);
    own.one.post((1..=30).map(|n| message(&alice, &conversation, &n.to_string())).collect()).await.unwrap();
    for n in 31..=40 {
        own.send(&alice, &bob, &n.to_string()).await;
    }
    let mut seqs = Vec::new();
    for limit in [7, 7, 100] {
        seqs.extend(take(&own, limit).await.iter().map(|one| one.seq.0));
    }
    assert_eq!(seqs, (1..=40).collect::<Vec<_>>());
}

async fn only_so_many_are_kept_and_the_oldest_go(kind: Kind) {
    let own = open(kind, 5).await;
    let (alice, bob) = (own.user("alice"), own.user("bob"));
    for n in 1..=12 {
        own.send(&alice, &bob, &n.to_string()).await;
    }
    assert_eq!(own.one.unheard().await.unwrap(), 5);
    let seqs: Vec<u64> = take(&own, 100).await.iter().map(|one| one.seq.0).collect();
    assert_eq!(seqs, [8, 9, 10, 11, 12]);
}

async fn a_repeat_keeps_its_id(kind: Kind) {
    let own = open(kind, 100).await;
    let (alice, bob) = (own.user("alice"), own.user("bob"));
    let conversation = ConversationId::direct(&alice, &bob);
    own.done(keyed(&alice, &conversation, "hi", "m-1")).await;
    own.post(keyed(&alice, &conversation, "hi", "m-1")).await;
    let taken = take(&own, 10).await;
    assert_eq!(named(&taken), [(bob.clone(), 1)]);
    own.post(keyed(&alice, &conversation, "hi", "m-1")).await;
    assert_eq!(take(&own, 10).await, [], "it is held still");
}

async fn it_is_off_by_default(kind: Kind) {
    let own = open(kind, 0).await;
    let (alice, bob) = (own.user("alice"), own.user("bob"));
    own.send(&alice, &bob, "hi").await;
    assert_eq!(take(&own, 10).await, []);
    assert_eq!(own.one.unheard().await.unwrap(), 0);
}

/// As if the router had died after filing: the store that files, the second one,
/// keeps no unheard messages.
async fn filed_and_not_noted() -> (RedisServer, [Stores; 2], UserId, ConversationId) {
    let server = RedisServer::start().await.unwrap();
    let kind = Kind::RedisStepByStep;
    let own = kind.open_at(server.url(), Bounds { unheard: 100, ..Bounds::default() }).await;
    let dying = kind.open_at(server.url(), Bounds::default()).await;
    let (alice, bob) = (own.user("alice"), own.user("bob"));
    let conversation = ConversationId::direct(&alice, &bob);
    dying.done(keyed(&alice, &conversation, "hi", "m-1")).await;
    (server, [own, dying], bob, conversation)
}

#[tokio::test]
async fn step_by_step_a_repeat_notes_what_a_crash_left_out() {
    let (_server, [own, _dying], bob, conversation) = filed_and_not_noted().await;
    assert_eq!(own.one.unheard().await.unwrap(), 0);
    own.post(keyed(&own.user("alice"), &conversation, "hi", "m-1")).await;
    assert_eq!(named(&take(&own, 10).await), [(bob, 1)]);
}

#[tokio::test]
async fn step_by_step_a_repair_notes_what_a_crash_left_out() {
    let (_server, [own, dying], bob, conversation) = filed_and_not_noted().await;
    // The note "not filed" is removed by the next round of the router that left
    // it, so it is left again until the repair comes first.
    let alice = own.user("alice");
    let noted = async || {
        dying.post(keyed(&alice, &conversation, "hi", "m-1")).await;
        own.one.repair(Duration::ZERO).await.unwrap();
        let taken = take(&own, 10).await;
        (!taken.is_empty()).then_some(taken)
    };
    let taken = testbed::wait::until(Duration::from_secs(20), "a repair", noted).await.unwrap();
    assert_eq!(named(&taken), [(bob, 1)]);
}
