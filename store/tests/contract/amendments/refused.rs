//! What may not be amended, and what changes nothing.

use proto::ConversationId;
use store::Bounds;
use store::model::{Amenders, Change, PostResult};

use super::{Pair, body, history, pair, pair_with};
use crate::contract::harness::{
    Kind, edit, for_every_store, keyed, keyed_edit, message, only, react, recall, targets, words,
};

for_every_store![
    whoever_is_no_member_amends_nothing,
    what_is_not_there_cannot_be_amended,
    only_the_sender_amends_where_it_alone_may,
    the_sender_and_the_present_owner_amend_where_both_may,
    a_refusal_names_the_first_reason,
    a_recalled_message_stays_as_it_is,
    what_changes_nothing_is_not_filed,
    a_repeat_of_the_last_edit_changes_nothing,
    a_late_repeat_does_not_undo_the_edits_after_it,
    a_message_has_as_many_reactions_as_it_may,
];

async fn whoever_is_no_member_amends_nothing(kind: Kind) {
    let Pair { stores, alice, bob, direct } = pair(kind).await;
    let mallory = stores.user("mallory");
    let group = stores.group(&[&alice, &bob]).await;
    stores.done(message(&alice, &group, "hi")).await;
    for conversation in [&direct, &group, &ConversationId::new_group(proto::Time(1))] {
        for post in [
            edit(&mallory, conversation, 1, "?"),
            recall(&mallory, conversation, 1),
            react(&mallory, conversation, 1, "👍", true),
        ] {
            assert_eq!(stores.post(post).await, PostResult::NotMember);
        }
    }
    assert_eq!(stores.inbox(&mallory).await, []);
    assert_eq!(stores.inbox(&bob).await.len(), 4);
}

async fn what_is_not_there_cannot_be_amended(kind: Kind) {
    let Pair { stores, alice, bob, direct } = pair(kind).await;
    for seq in [0, 3, 1 << 40] {
        assert_eq!(stores.post(recall(&alice, &direct, seq)).await, PostResult::NoSuchMessage, "{seq}");
    }
    let untouched = ConversationId::direct(&bob, &bob);
    assert_eq!(stores.post(recall(&bob, &untouched, 1)).await, PostResult::NoSuchMessage);
    assert_eq!(stores.one.conversations(&[untouched], None).await.unwrap(), [None]);
    assert_eq!(stores.inbox(&bob).await.len(), 2);
}

async fn only_the_sender_amends_where_it_alone_may(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob, carol) = (stores.user("alice"), stores.user("bob"), stores.user("carol"));
    let group = stores.group(&[&alice, &bob, &carol]).await;
    stores.done(message(&bob, &group, "one")).await;
    stores.done(message(&carol, &group, "two")).await;
    let mut node = stores.node("node").await;
    stores.attach(&carol, &node.location("phone")).await;
    for by in [&alice, &carol] {
        for post in
            [keyed_edit(by, &group, 1, "?", "k"), recall(by, &group, 1), react(by, &group, 1, "👍", true)]
        {
            assert_eq!(stores.post(only(Amenders::Sender, post)).await, PostResult::NotAllowed);
        }
    }
    // What was refused wrote nothing, and did not note its repeat key.
    let shown = history(&stores, &carol, &group).await.remove(0);
    assert_eq!((body(&shown).as_str(), shown.edited, shown.recalled), ("one", None, None));
    assert_eq!(shown.reactions, []);
    stores.done(keyed_edit(&carol, &group, 1, "ONE", "k")).await;
    stores.done(only(Amenders::Sender, edit(&bob, &group, 1, "One"))).await;
    stores.done(only(Amenders::Sender, recall(&carol, &group, 2))).await;
    let expected = ["change", "1:one", "2:two", "edit 1:ONE", "edit 1:One", "recall 2"];
    for user in [&alice, &bob, &carol] {
        assert_eq!(words(&stores.inbox(user).await, &group), expected);
    }
    let inbox = stores.inbox(&carol).await;
    for filed in &inbox[3..] {
        assert_eq!(targets(&node.announcement().await), [(carol.clone(), filed.position)]);
    }
}

async fn the_sender_and_the_present_owner_amend_where_both_may(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob, carol) = (stores.user("alice"), stores.user("bob"), stores.user("carol"));
    let group = stores.group(&[&alice, &bob, &carol]).await;
    for _ in 0..3 {
        stores.done(message(&bob, &group, "hi")).await;
    }
    let both = |post| only(Amenders::SenderOrAdmin, post);
    stores.done(both(recall(&alice, &group, 1))).await;
    stores.done(both(recall(&bob, &group, 2))).await;
    assert_eq!(stores.post(both(recall(&carol, &group, 3))).await, PostResult::NotAllowed);
    stores.change(&alice, &group, Change { owner: Some(carol.clone()), ..Change::default() }).await;
    assert_eq!(stores.post(both(recall(&alice, &group, 3))).await, PostResult::NotAllowed);
    stores.done(both(recall(&carol, &group, 3))).await;
    // A direct conversation has no owner.
    stores.send(&alice, &bob, "hi").await;
    let direct = ConversationId::direct(&alice, &bob);
    assert_eq!(stores.post(both(recall(&bob, &direct, 1))).await, PostResult::NotAllowed);
    stores.done(both(recall(&alice, &direct, 1))).await;
}

async fn a_refusal_names_the_first_reason(kind: Kind) {
    let Pair { stores, alice, bob, direct } = pair(kind).await;
    let mallory = stores.user("mallory");
    stores.done(recall(&alice, &direct, 1)).await;
    for (by, seq, expected) in [
        (&mallory, 1, PostResult::NotMember),
        (&mallory, 9, PostResult::NotMember),
        (&bob, 9, PostResult::NoSuchMessage),
        (&bob, 1, PostResult::NotAllowed),
        (&alice, 1, PostResult::Recalled),
    ] {
        let answer = stores.post(only(Amenders::Sender, edit(by, &direct, seq, "?"))).await;
        assert_eq!(answer, expected, "{by} {seq}");
    }
    assert_eq!(stores.post(only(Amenders::Sender, recall(&bob, &direct, 1))).await, PostResult::NotAllowed);
    assert_eq!(stores.post(only(Amenders::Sender, recall(&alice, &direct, 1))).await, PostResult::Unchanged);
}

async fn a_recalled_message_stays_as_it_is(kind: Kind) {
    let Pair { stores, alice, bob, direct } = pair(kind).await;
    stores.done(recall(&alice, &direct, 1)).await;
    assert_eq!(stores.post(edit(&alice, &direct, 1, "?")).await, PostResult::Recalled);
    assert_eq!(stores.post(react(&bob, &direct, 1, "👍", true)).await, PostResult::Recalled);
    assert_eq!(stores.post(react(&bob, &direct, 1, "👍", false)).await, PostResult::Recalled);
    assert_eq!(stores.post(recall(&alice, &direct, 1)).await, PostResult::Unchanged);
    assert_eq!(words(&stores.inbox(&bob).await, &direct), ["1:one", "2:two", "recall 1"]);
}

async fn what_changes_nothing_is_not_filed(kind: Kind) {
    let Pair { stores, bob, direct, .. } = pair(kind).await;
    assert_eq!(stores.post(react(&bob, &direct, 1, "👍", false)).await, PostResult::Unchanged);
    stores.done(react(&bob, &direct, 1, "👍", true)).await;
    assert_eq!(stores.post(react(&bob, &direct, 1, "👍", true)).await, PostResult::Unchanged);
    assert_eq!(words(&stores.inbox(&bob).await, &direct), ["1:one", "2:two", "👍+1"]);
}

async fn a_repeat_of_the_last_edit_changes_nothing(kind: Kind) {
    let Pair { stores, alice, bob, direct } = pair(kind).await;
    stores.done(keyed_edit(&alice, &direct, 1, "ONE", "k")).await;
    assert_eq!(stores.post(keyed_edit(&alice, &direct, 1, "other", "k")).await, PostResult::Unchanged);
    stores.done(keyed_edit(&alice, &direct, 1, "with a key that begins so", "k2")).await;
    stores.done(keyed_edit(&alice, &direct, 2, "of another message", "k2")).await;
    let shown = history(&stores, &bob, &direct).await;
    let bodies: Vec<_> = shown.iter().map(body).collect();
    assert_eq!(bodies, ["with a key that begins so", "of another message"]);
    assert_eq!(stores.inbox(&bob).await.len(), 5);
}

async fn a_late_repeat_does_not_undo_the_edits_after_it(kind: Kind) {
    let Pair { stores, alice, bob, direct } = pair(kind).await;
    for number in 0..20 {
        stores.done(keyed_edit(&alice, &direct, 1, &number.to_string(), &format!("k{number}"))).await;
    }
    for number in (0..20).rev() {
        let late = keyed_edit(&alice, &direct, 1, &number.to_string(), &format!("k{number}"));
        assert_eq!(stores.post(late).await, PostResult::Unchanged, "{number}");
    }
    assert_eq!(body(&history(&stores, &bob, &direct).await[0]), "19");
    assert_eq!(stores.inbox(&bob).await.len(), 2 + 20);
    // A key belongs to its user and message; messages have keys of their own.
    stores.done(keyed_edit(&bob, &direct, 1, "of bob", "k0")).await;
    stores.done(keyed_edit(&alice, &direct, 2, "of another message", "k0")).await;
    stores.done(keyed(&alice, &direct, "three", "k0")).await;
    assert_eq!(stores.inbox(&bob).await.len(), 2 + 20 + 3);
}

async fn a_message_has_as_many_reactions_as_it_may(kind: Kind) {
    let Pair { stores, alice, bob, direct } =
        pair_with(kind, Bounds { reactions: 2, ..Bounds::default() }).await;
    stores.done(react(&alice, &direct, 1, "a", true)).await;
    stores.done(react(&bob, &direct, 1, "b", true)).await;
    assert_eq!(stores.post(react(&bob, &direct, 1, "c", true)).await, PostResult::TooManyReactions);
    // A reaction that is there already is not one too many.
    assert_eq!(stores.post(react(&bob, &direct, 1, "b", true)).await, PostResult::Unchanged);
    stores.done(react(&bob, &direct, 2, "c", true)).await;
    stores.done(react(&alice, &direct, 1, "a", false)).await;
    stores.done(react(&bob, &direct, 1, "c", true)).await;
    assert_eq!(stores.inbox(&bob).await.len(), 7);
}
