//! What is known of a user's conversations (their activity, and the user's own
//! last messages) at every position of an inbox. On Redis it is brought up to
//! date only now and then, and is made up from the inbox in between.

use std::collections::BTreeMap;

use proto::{ConversationId, Position, Seq, UserId};
use store::Bounds;
use store::model::Change;

use super::harness::{Kind, Stores, for_every_store, message, react};

for_every_store![
    conversations_are_known_at_every_position,
    a_conversation_is_known_after_its_events_are_trimmed,
    a_group_that_was_left_between_messages_stays_left,
];

/// More than two of the intervals in which it is brought up to date.
const MANY: u64 = 140;

/// The conversations of a user, each with the position of its newest event.
async fn activities(stores: &Stores, user: &UserId) -> BTreeMap<ConversationId, Position> {
    let found = stores.two.memberships(user).await.unwrap();
    found.into_iter().map(|membership| (membership.conversation, membership.activity)).collect()
}

/// The messages that a user has not read, who has read up to the user's own.
async fn unread(stores: &Stores, user: &UserId, conversation: &ConversationId) -> u64 {
    let ids = std::slice::from_ref(conversation);
    stores.two.conversations(ids, Some(user)).await.unwrap().remove(0).unwrap().unread
}

async fn conversations_are_known_at_every_position(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob, carol) = (stores.user("alice"), stores.user("bob"), stores.user("carol"));
    let peers = [ConversationId::direct(&alice, &bob), ConversationId::direct(&alice, &carol)];
    let mut newest = BTreeMap::new();
    // Of each conversation its head, and alice's own last message.
    let mut known = [(0, 0); 2];
    for number in 1..=MANY {
        let which = usize::from(number % 5 == 0);
        let (head, own) = &mut known[which];
        let by = if number % 3 == 0 { &alice } else { [&bob, &carol][which] };
        *head += 1;
        if *by == alice {
            *own = *head;
        }
        let store = if number % 2 == 0 { &stores.one } else { &stores.two };
        store.post(vec![message(by, &peers[which], "hi")]).await.unwrap();
        newest.insert(peers[which].clone(), Position(number));
        assert_eq!(activities(&stores, &alice).await, newest, "after {number}");
        let (head, own) = known[which];
        assert_eq!(unread(&stores, &alice, &peers[which]).await, head - own, "after {number}");
    }
    let peer = stores.two.conversations(&peers[..1], None).await.unwrap().remove(0).unwrap();
    let bobs = peer.members.iter().find(|member| member.user == bob).unwrap();
    assert!(bobs.read > Seq(0), "bob has read what is before his own last message");
}

async fn a_conversation_is_known_after_its_events_are_trimmed(kind: Kind) {
    let stores = kind.open_with(Bounds { inbox_events: 8, ..Bounds::default() }).await;
    let (alice, bob, carol) = (stores.user("alice"), stores.user("bob"), stores.user("carol"));
    let (first, second) = (ConversationId::direct(&alice, &bob), ConversationId::direct(&alice, &carol));
    stores.send(&bob, &alice, "read").await;
    stores.send(&alice, &bob, "own").await;
    stores.send(&bob, &alice, "unread").await;
    for number in 1..=MANY {
        stores.send(&carol, &alice, "hi").await;
        let expected = BTreeMap::from([(first.clone(), Position(3)), (second.clone(), Position(3 + number))]);
        assert_eq!(activities(&stores, &alice).await, expected, "after {number}");
    }
    assert_eq!(unread(&stores, &alice, &first).await, 1);
    assert_eq!(unread(&stores, &alice, &second).await, MANY);
    // And the next message follows the last one.
    stores.send(&bob, &alice, "next").await;
    assert_eq!(activities(&stores, &alice).await[&first], Position(4 + MANY));
    let kept = stores.inbox(&alice).await;
    assert!(kept.len() <= 9, "{} events are kept", kept.len());
    assert_eq!(kept.last().unwrap().position, Position(4 + MANY));
}

async fn a_group_that_was_left_between_messages_stays_left(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let direct = ConversationId::direct(&alice, &bob);
    for messages in [1, 70] {
        let group = stores.group(&[&alice, &bob]).await;
        let texts = (0..messages).map(|_| message(&alice, &group, "hi"));
        stores.one.post(texts.collect()).await.unwrap();
        stores.done(react(&bob, &group, 1, "👍", true)).await;
        assert!(activities(&stores, &bob).await.contains_key(&group));
        stores.change(&bob, &group, Change { remove: vec![bob.clone()], ..Change::default() }).await;
        stores.send(&alice, &bob, "are you there?").await;
        stores.done(message(&alice, &group, "hi")).await;
        let left = activities(&stores, &bob).await;
        assert_eq!(left.keys().collect::<Vec<_>>(), [&direct]);
        stores.change(&alice, &group, Change { add: vec![bob.clone()], ..Change::default() }).await;
        let back = stores.done(message(&bob, &group, "here I am")).await;
        assert_eq!(activities(&stores, &bob).await[&group], back.position.unwrap().position);
        assert_eq!(unread(&stores, &bob, &group).await, 0);
        stores.change(&bob, &group, Change { remove: vec![bob.clone()], ..Change::default() }).await;
    }
}
