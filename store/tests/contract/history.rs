//! Reading conversations.

use proto::{ConversationId, Position, Seq, UserId};
use store::model::{Change, HistoryQuery, HistoryRange, MESSAGES_CHECKED};

use super::harness::{Kind, Stores, for_every_store, message, text};

for_every_store![
    two_have_talked_once_both_have_written,
    a_talk_is_found_at_both_ends_of_a_long_log,
    history_has_the_newest_the_ones_before_and_the_ones_after,
    history_of_nothing_is_empty_or_not_there,
    a_conversations_state_has_its_newest_message,
    memberships_are_sorted_by_activity,
    memberships_leave_out_groups_that_were_left,
];

/// The seqs of a page, and whether there are more.
async fn read(
    stores: &Stores,
    user: &UserId,
    conversation: &ConversationId,
    range: HistoryRange,
) -> (Vec<u64>, bool) {
    let query = HistoryQuery { user: user.clone(), conversation: conversation.clone(), range, limit: 4 };
    let page = stores.two.history(query).await.unwrap().expect("a member");
    for message in page.messages.iter().map(|shown| &shown.message) {
        assert_eq!(text(&message.entry).unwrap(), message.seq.0.to_string());
        assert_eq!(message.conversation, *conversation);
    }
    (page.messages.iter().map(|shown| shown.message.seq.0).collect(), page.more)
}

async fn history_has_the_newest_the_ones_before_and_the_ones_after(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let group = stores.group(&[&alice]).await;
    for seq in 1..=2 {
        stores.done(message(&alice, &group, &seq.to_string())).await;
    }
    stores.change(&alice, &group, Change { add: vec![bob.clone()], ..Default::default() }).await;
    for seq in 3..=10 {
        stores.done(message(&alice, &group, &seq.to_string())).await;
    }
    use HistoryRange::{After, Before, Newest};
    for (user, range, seqs, more) in [
        (&alice, Newest, vec![7, 8, 9, 10], true),
        (&alice, Before(Seq(7)), vec![3, 4, 5, 6], true),
        (&alice, Before(Seq(5)), vec![1, 2, 3, 4], false),
        (&alice, Before(Seq(3)), vec![1, 2], false),
        (&alice, Before(Seq(1)), vec![], false),
        (&alice, Before(Seq(0)), vec![], false),
        (&alice, Before(Seq(99)), vec![7, 8, 9, 10], true),
        (&alice, After(Seq(0)), vec![1, 2, 3, 4], true),
        (&alice, After(Seq(6)), vec![7, 8, 9, 10], false),
        (&alice, After(Seq(8)), vec![9, 10], false),
        (&alice, After(Seq(10)), vec![], false),
        (&alice, After(Seq(u64::MAX)), vec![], false),
        (&bob, Newest, vec![7, 8, 9, 10], true),
        (&bob, Before(Seq(7)), vec![3, 4, 5, 6], false),
        (&bob, Before(Seq(4)), vec![3], false),
        (&bob, Before(Seq(3)), vec![], false),
        (&bob, After(Seq(0)), vec![3, 4, 5, 6], true),
    ] {
        assert_eq!(read(&stores, user, &group, range).await, (seqs, more), "{user} {range:?}");
    }
}

async fn history_of_nothing_is_empty_or_not_there(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob, mallory) = (stores.user("alice"), stores.user("bob"), stores.user("mallory"));
    let group = stores.group(&[&alice]).await;
    assert_eq!(read(&stores, &alice, &group, HistoryRange::Newest).await, (vec![], false));
    stores.send(&alice, &bob, "1").await;
    for conversation in
        [group, ConversationId::direct(&alice, &bob), ConversationId::new_group(proto::Time(1))]
    {
        let query =
            HistoryQuery { user: mallory.clone(), conversation, range: HistoryRange::Newest, limit: 4 };
        assert_eq!(stores.one.history(query).await.unwrap(), None);
    }
}

async fn a_conversations_state_has_its_newest_message(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    stores.send(&alice, &bob, "one").await;
    stores.send(&bob, &alice, "two").await;
    let ids = [ConversationId::new_group(proto::Time(1)), ConversationId::direct(&alice, &bob)];
    let states = stores.one.conversations(&ids, None).await.unwrap();
    assert_eq!(states[0], None);
    let state = states[1].as_ref().unwrap();
    let last = &state.last_message.as_ref().unwrap().message;
    assert_eq!((state.head, last.seq), (Seq(2), Seq(2)));
    assert_eq!(text(&last.entry).unwrap(), "two");
    assert_eq!(state.group, None);
    let members: Vec<_> = state.members.iter().map(|member| member.user.clone()).collect();
    assert_eq!(members, [alice, bob], "in the order of the id");
}

async fn memberships_are_sorted_by_activity(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob, carol) = (stores.user("alice"), stores.user("bob"), stores.user("carol"));
    stores.send(&bob, &alice, "1").await;
    stores.send(&alice, &carol, "2").await;
    let group = stores.group(&[&bob, &alice]).await;
    stores.send(&bob, &alice, "4").await;
    let mut memberships = stores.one.memberships(&alice).await.unwrap();
    memberships.sort_by_key(|membership| membership.activity);
    let found: Vec<_> =
        memberships.into_iter().map(|membership| (membership.conversation, membership.activity)).collect();
    let expected = [
        (ConversationId::direct(&alice, &carol), Position(2)),
        (group, Position(3)),
        (ConversationId::direct(&alice, &bob), Position(4)),
    ];
    assert_eq!(found, expected);
    assert_eq!(stores.one.memberships(&stores.user("nobody")).await.unwrap(), []);
}

async fn memberships_leave_out_groups_that_were_left(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let group = stores.group(&[&alice, &bob]).await;
    assert_eq!(stores.one.memberships(&bob).await.unwrap().len(), 1);
    stores.change(&bob, &group, Change { remove: vec![bob.clone()], ..Default::default() }).await;
    assert_eq!(stores.one.memberships(&bob).await.unwrap(), []);
    assert_eq!(stores.one.memberships(&alice).await.unwrap().len(), 1);
    stores.change(&alice, &group, Change { add: vec![bob.clone()], ..Default::default() }).await;
    assert_eq!(stores.one.memberships(&bob).await.unwrap()[0].conversation, group);
}

async fn two_have_talked_once_both_have_written(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob, carol) = (stores.user("alice"), stores.user("bob"), stores.user("carol"));
    let ids = [ConversationId::direct(&alice, &bob), ConversationId::direct(&alice, &carol)];
    let talked = async || stores.two.talked(&ids).await.unwrap();
    assert_eq!(talked().await, [false, false]);
    stores.send(&alice, &bob, "one").await;
    stores.send(&alice, &bob, "two").await;
    stores.send(&carol, &alice, "three").await;
    assert_eq!(talked().await, [false, false]);
    stores.send(&bob, &alice, "four").await;
    assert_eq!(talked().await, [true, false]);
}

async fn a_talk_is_found_at_both_ends_of_a_long_log(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob, carol) = (stores.user("alice"), stores.user("bob"), stores.user("carol"));
    let ids = [ConversationId::direct(&alice, &bob), ConversationId::direct(&alice, &carol)];
    // Bob's message is the last one read from the oldest on, carol's the one
    // after it.
    for number in 0..2 * MESSAGES_CHECKED + 1 {
        let by = if number == MESSAGES_CHECKED - 1 { &bob } else { &alice };
        stores.send(by, if by == &bob { &alice } else { &bob }, "word").await;
        let by = if number == MESSAGES_CHECKED { &carol } else { &alice };
        stores.send(by, if by == &carol { &alice } else { &carol }, "word").await;
    }
    assert_eq!(stores.one.talked(&ids).await.unwrap(), [true, false]);
    stores.send(&carol, &alice, "the newest").await;
    assert_eq!(stores.one.talked(&ids).await.unwrap(), [true, true]);
}
