//! Edits, recalls and reactions: who gets them in which order, what a message
//! is after them, and what is refused (`refused`).

mod refused;

use proto::{ConversationId, Seq, UserId};
use store::Bounds;
use store::model::{Amenders, Change, CurrentMessage, HistoryQuery, HistoryRange, PostResult, Version};
use tokio::task::JoinSet;

use super::harness::{
    Kind, Stores, assert_no_holes, changed, decoded, edit, for_every_store, message, only, react, recall,
    targets, text, word, words,
};

for_every_store![
    amendments_are_filed_for_all_between_the_messages,
    a_message_is_shown_as_it_was_last_edited,
    a_recalled_message_has_no_body,
    the_last_message_is_shown_in_its_present_state,
    reactions_are_merged_in_the_order_of_reacting,
    a_late_joiner_hears_nothing_of_what_it_does_not_see,
    whoever_comes_back_hears_nothing_of_before,
    an_amendment_is_announced_to_those_who_see_the_message,
    the_place_is_where_the_amender_finds_it,
    a_batch_amends_the_message_that_it_sends,
    amendments_make_no_decision_about_a_group_stale,
    concurrent_amendments_and_messages_have_one_order,
    what_is_trimmed_takes_its_amendments_along,
    amendments_are_trimmed_as_messages_are,
    a_group_that_is_gone_takes_no_amendment,
];

async fn history(stores: &Stores, user: &UserId, conversation: &ConversationId) -> Vec<CurrentMessage> {
    let query = HistoryQuery {
        user: user.clone(),
        conversation: conversation.clone(),
        range: HistoryRange::Newest,
        limit: 100,
    };
    stores.two.history(query).await.unwrap().expect("the user is a member").messages
}

async fn last(stores: &Stores, conversation: &ConversationId) -> CurrentMessage {
    let state = stores.two.conversations(std::slice::from_ref(conversation), None).await.unwrap().remove(0);
    state.expect("it is there").last_message.expect("there is a message")
}

fn body(shown: &CurrentMessage) -> String {
    text(&shown.message.entry).expect("it is a message")
}

struct Pair {
    stores: Stores,
    alice: UserId,
    bob: UserId,
    direct: ConversationId,
}

/// Alice has sent Bob "one" and "two".
async fn pair(kind: Kind) -> Pair {
    pair_with(kind, Bounds::default()).await
}

async fn pair_with(kind: Kind, bounds: Bounds) -> Pair {
    let stores = kind.open_with(bounds).await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let direct = ConversationId::direct(&alice, &bob);
    stores.send(&alice, &bob, "one").await;
    stores.send(&alice, &bob, "two").await;
    Pair { stores, alice, bob, direct }
}

async fn amendments_are_filed_for_all_between_the_messages(kind: Kind) {
    let Pair { stores, alice, bob, direct } = pair(kind).await;
    let post = edit(&alice, &direct, 1, "ONE");
    let done = stores.done(post.clone()).await;
    assert_eq!((done.seq, done.time), (Seq(1), post.entries[0].time));
    stores.send(&bob, &alice, "three").await;
    stores.done(react(&bob, &direct, 1, "👍", true)).await;
    stores.done(react(&bob, &direct, 1, "👍", false)).await;
    stores.done(recall(&alice, &direct, 2)).await;
    stores.send(&bob, &alice, "four").await;
    for user in [&alice, &bob] {
        let inbox = stores.inbox_in_pages(user, 3).await;
        assert_no_holes(&inbox);
        let expected = ["1:one", "2:two", "edit 1:ONE", "3:three", "👍+1", "👍-1", "recall 2", "4:four"];
        assert_eq!(words(&inbox, &direct), expected);
        assert_eq!(inbox[2].event.entry, decoded(&post));
    }
}

async fn a_message_is_shown_as_it_was_last_edited(kind: Kind) {
    let Pair { stores, alice, bob, direct } = pair(kind).await;
    stores.done(edit(&alice, &direct, 1, "ONE")).await;
    let latest = edit(&alice, &direct, 1, "One!");
    stores.done(latest.clone()).await;
    for user in [&alice, &bob] {
        let shown = history(&stores, user, &direct).await;
        assert_eq!(shown.iter().map(body).collect::<Vec<_>>(), ["One!", "two"]);
        assert_eq!((shown[0].edited, shown[0].recalled), (Some(latest.entries[0].time), None));
        assert_eq!((shown[1].edited, shown[1].recalled, shown[1].reactions.len()), (None, None, 0));
        assert_eq!(shown[0].message.entry.by, alice.as_str());
    }
}

async fn a_recalled_message_has_no_body(kind: Kind) {
    let Pair { stores, alice, bob, direct } = pair(kind).await;
    stores.done(edit(&alice, &direct, 2, "TWO")).await;
    let post = recall(&alice, &direct, 2);
    stores.done(post.clone()).await;
    let shown = history(&stores, &bob, &direct).await;
    assert_eq!(shown.iter().map(body).collect::<Vec<_>>(), ["one", ""]);
    assert_eq!(shown[1].recalled, Some(post.entries[0].time));
    assert_eq!(shown[1].message.seq, Seq(2));
}

async fn the_last_message_is_shown_in_its_present_state(kind: Kind) {
    let Pair { stores, alice, bob, direct } = pair(kind).await;
    stores.done(edit(&alice, &direct, 1, "ONE")).await;
    assert_eq!(last(&stores, &direct).await.edited, None);
    stores.done(edit(&alice, &direct, 2, "TWO")).await;
    stores.done(react(&bob, &direct, 2, "👍", true)).await;
    let shown = last(&stores, &direct).await;
    assert_eq!((body(&shown).as_str(), shown.edited.is_some()), ("TWO", true));
    assert_eq!(shown.reactions, [("👍".to_owned(), vec![bob.clone()])]);
    stores.done(recall(&alice, &direct, 2)).await;
    let shown = last(&stores, &direct).await;
    assert_eq!((body(&shown).as_str(), shown.recalled.is_some()), ("", true));
}

async fn reactions_are_merged_in_the_order_of_reacting(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob, carol) = (stores.user("alice"), stores.user("bob"), stores.user("carol"));
    let group = stores.group(&[&alice, &bob, &carol]).await;
    stores.done(message(&alice, &group, "hi")).await;
    // The last one has all characters that are special in stored forms.
    let odd = "a:b;c\0d,e\n";
    for (user, emoji, on) in [
        (&bob, "👍", true),
        (&alice, "🎉", true),
        (&alice, "👍", true),
        (&carol, odd, true),
        (&carol, "👍", true),
        (&alice, "👍", false),
        (&alice, "👍", true),
    ] {
        stores.done(react(user, &group, 1, emoji, on)).await;
    }
    let shown = history(&stores, &bob, &group).await.remove(0);
    let expected = [
        ("👍".to_owned(), vec![bob.clone(), carol.clone(), alice.clone()]),
        ("🎉".to_owned(), vec![alice.clone()]),
        (odd.to_owned(), vec![carol.clone()]),
    ];
    assert_eq!(shown.reactions, expected);
    stores.done(react(&alice, &group, 1, "🎉", false)).await;
    assert_eq!(last(&stores, &group).await.reactions.len(), 2);
}

async fn a_late_joiner_hears_nothing_of_what_it_does_not_see(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob, carol) = (stores.user("alice"), stores.user("bob"), stores.user("carol"));
    let group = stores.group(&[&alice, &bob]).await;
    stores.done(message(&alice, &group, "secret")).await;
    let add = Change { add: vec![carol.clone()], ..Change::default() };
    stores.change(&alice, &group, add).await;
    let mut node = stores.node("node").await;
    stores.attach(&carol, &node.location("phone")).await;

    stores.done(edit(&alice, &group, 1, "another secret")).await;
    assert_eq!(stores.post(react(&carol, &group, 1, "👍", true)).await, PostResult::NoSuchMessage);
    stores.done(react(&bob, &group, 1, "👍", true)).await;
    stores.done(message(&alice, &group, "hello")).await;
    stores.done(edit(&alice, &group, 1, "and one more")).await;
    stores.done(edit(&alice, &group, 2, "hello!")).await;
    stores.done(recall(&alice, &group, 1)).await;
    stores.done(message(&alice, &group, "bye")).await;

    let inbox = stores.inbox(&carol).await;
    assert_no_holes(&inbox);
    assert_eq!(words(&inbox, &group), ["change", "2:hello", "edit 2:hello!", "3:bye"]);
    for filed in &inbox[1..] {
        let heard = node.announcement().await;
        assert_eq!(targets(&heard), [(carol.clone(), filed.position)]);
    }
    assert_eq!(words(&stores.inbox(&bob).await, &group).len(), 10);
    assert_eq!(history(&stores, &carol, &group).await.len(), 2);
}

async fn whoever_comes_back_hears_nothing_of_before(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let group = stores.group(&[&alice, &bob]).await;
    stores.done(message(&alice, &group, "one")).await;
    stores.change(&alice, &group, Change { remove: vec![bob.clone()], ..Change::default() }).await;
    stores.done(edit(&alice, &group, 1, "while away")).await;
    stores.change(&alice, &group, Change { add: vec![bob.clone()], ..Change::default() }).await;
    stores.done(edit(&alice, &group, 1, "when back")).await;
    stores.done(message(&alice, &group, "two")).await;
    let expected = ["change", "1:one", "change", "change", "2:two"];
    assert_eq!(words(&stores.inbox(&bob).await, &group), expected);
}

async fn an_amendment_is_announced_to_those_who_see_the_message(kind: Kind) {
    let Pair { stores, alice, bob, direct } = pair(kind).await;
    let mut node = stores.node("node").await;
    for user in [&alice, &bob] {
        stores.attach(user, &node.location("phone")).await;
    }
    let post = edit(&alice, &direct, 1, "ONE");
    stores.done(post.clone()).await;
    let heard = node.announcement().await;
    assert_eq!((heard.conversation.as_str(), heard.seq), (direct.as_str(), 0));
    assert_eq!(heard.entry, Some(decoded(&post)));
    let mut positions = Vec::new();
    for user in [&alice, &bob] {
        positions.push((user.clone(), stores.inbox(user).await[2].position));
    }
    positions.sort();
    assert_eq!(targets(&heard), positions);
    // Nothing is announced of what was refused or changed nothing.
    stores.post(react(&bob, &direct, 1, "👍", false)).await;
    stores.post(recall(&bob, &direct, 9)).await;
    stores.send(&bob, &alice, "three").await;
    assert_eq!(node.announcement().await.seq, 3);
}

async fn the_place_is_where_the_amender_finds_it(kind: Kind) {
    let Pair { stores, bob, direct, .. } = pair(kind).await;
    let post = react(&bob, &direct, 1, "👍", true);
    let position = stores.done(post.clone()).await.position.expect("it has a position");
    assert_eq!((position.position.0, position.fingerprint), (3, post.entries[0].fingerprint));
}

async fn a_batch_amends_the_message_that_it_sends(kind: Kind) {
    let Pair { stores, alice, bob, direct } = pair(kind).await;
    let batch = vec![
        message(&alice, &direct, "three"),
        only(Amenders::Sender, edit(&bob, &direct, 3, "not mine")),
        only(Amenders::Sender, edit(&alice, &direct, 3, "THREE")),
        react(&bob, &direct, 3, "👍", true),
        message(&bob, &direct, "four"),
        only(Amenders::SenderOrAdmin, recall(&alice, &direct, 3)),
        react(&bob, &direct, 3, "👍", false),
    ];
    let answers = stores.one.post(batch).await.unwrap();
    assert_eq!((&answers[1], &answers[6]), (&PostResult::NotAllowed, &PostResult::Recalled));
    let expected = ["1:one", "2:two", "3:three", "edit 3:THREE", "👍+3", "4:four", "recall 3"];
    for user in [&alice, &bob] {
        assert_eq!(words(&stores.inbox(user).await, &direct), expected);
    }
}

async fn amendments_make_no_decision_about_a_group_stale(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob, carol) = (stores.user("alice"), stores.user("bob"), stores.user("carol"));
    let group = stores.group(&[&alice, &bob]).await;
    stores.done(message(&alice, &group, "hi")).await;
    let expect = stores.version(&group).await;
    stores.done(edit(&alice, &group, 1, "ho")).await;
    assert_eq!(stores.version(&group).await, expect);
    let add = Change { expect, add: vec![carol.clone()], ..Change::default() };
    stores.done(changed(&alice, &group, add)).await;
    assert_eq!(stores.version(&group).await, Version(expect.0 + 1));
    let stale = Change { expect, name: Some("other".into()), ..Change::default() };
    assert_eq!(stores.post(changed(&alice, &group, stale)).await, PostResult::Stale);
    stores.done(message(&alice, &group, "bye")).await;
    assert_eq!(words(&stores.inbox(&carol).await, &group), ["change", "2:bye"]);
    assert_eq!(words(&stores.inbox(&bob).await, &group), ["change", "1:hi", "edit 1:ho", "change", "2:bye"]);
}

async fn concurrent_amendments_and_messages_have_one_order(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob, carol) = (stores.user("alice"), stores.user("bob"), stores.user("carol"));
    let group = stores.group(&[&alice, &bob, &carol]).await;
    for number in 0..8 {
        stores.done(message(&alice, &group, &number.to_string())).await;
    }
    let mut tasks = JoinSet::new();
    for number in 0..72_u64 {
        let store = if number % 2 == 0 { stores.one.clone() } else { stores.two.clone() };
        let (by, seq) = ([&alice, &bob, &carol][number as usize % 3], number % 7 + 1);
        let post = match number % 4 {
            0 => message(by, &group, &format!("m{number}")),
            1 => edit(by, &group, seq, &format!("e{number}")),
            2 => react(by, &group, seq, &format!("r{number}"), true),
            _ => react(by, &group, 8, "👍", number % 8 == 3),
        };
        tasks.spawn(async move { store.post(vec![post]).await.unwrap() });
    }
    let answers: Vec<PostResult> = tasks.join_all().await.concat();
    let done = answers.iter().filter(|answer| matches!(answer, PostResult::Done { .. })).count();
    let unchanged = answers.iter().filter(|answer| **answer == PostResult::Unchanged).count();
    assert_eq!(done + unchanged, 72, "{answers:?}");
    let first = words(&stores.inbox(&alice).await, &group);
    assert_eq!(first.len(), 1 + 8 + done);
    for user in [&bob, &carol] {
        let inbox = stores.inbox(user).await;
        assert_no_holes(&inbox);
        assert_eq!(words(&inbox, &group), first);
    }
    // The last edit in the inboxes is the one that is shown.
    for shown in history(&stores, &bob, &group).await.iter().take(8) {
        let prefix = format!("edit {}:", shown.message.seq.0);
        if let Some(last) = first.iter().rev().find_map(|word| word.strip_prefix(&prefix)) {
            assert_eq!(body(shown), last);
        }
    }
}

async fn what_is_trimmed_takes_its_amendments_along(kind: Kind) {
    let bounds = Bounds { conversation_messages: 4, ..Bounds::default() };
    let Pair { stores, alice, bob, direct } = pair_with(kind, bounds).await;
    stores.done(edit(&alice, &direct, 1, "ONE")).await;
    stores.done(react(&bob, &direct, 1, "👍", true)).await;
    stores.done(recall(&alice, &direct, 2)).await;
    for number in 3..=10 {
        stores.send(&alice, &bob, &number.to_string()).await;
    }
    for post in
        [edit(&alice, &direct, 1, "again"), react(&bob, &direct, 1, "👍", false), recall(&alice, &direct, 2)]
    {
        assert_eq!(stores.post(post).await, PostResult::NoSuchMessage);
    }
    stores.done(edit(&alice, &direct, 10, "ten")).await;
    let shown = history(&stores, &bob, &direct).await;
    assert_eq!(body(shown.last().unwrap()), "ten");
    assert!(shown.iter().all(|shown| shown.recalled.is_none() && shown.reactions.is_empty()));
    let state = stores.one.conversations(&[direct], Some(&bob)).await.unwrap().remove(0).unwrap();
    assert_eq!(state.unread, 10, "what was trimmed counts whatever became of it");
}

async fn amendments_are_trimmed_as_messages_are(kind: Kind) {
    let bounds = Bounds { conversation_messages: 4, inbox_events: 6, ..Bounds::default() };
    let Pair { stores, alice, bob, direct } = pair_with(kind, bounds).await;
    for number in 0..40 {
        stores.done(edit(&alice, &direct, 2, &number.to_string())).await;
        let head = stores.look(&bob, store::model::StartPoint::Head).await.start;
        let page = stores.page(&bob, head, 10).await;
        assert_eq!(page.reset, None);
    }
    stores.send(&bob, &alice, "three").await;
    let shown = history(&stores, &bob, &direct).await;
    assert_eq!(shown.iter().map(body).collect::<Vec<_>>(), ["one", "39", "three"]);
}

async fn a_group_that_is_gone_takes_no_amendment(kind: Kind) {
    let stores = kind.open().await;
    let alice = stores.user("alice");
    let group = stores.group(&[&alice]).await;
    stores.done(message(&alice, &group, "hi")).await;
    stores.done(edit(&alice, &group, 1, "ho")).await;
    stores.done(react(&alice, &group, 1, "👍", true)).await;
    let leave = Change { remove: vec![alice.clone()], ..Change::default() };
    stores.change(&alice, &group, leave).await;
    assert_eq!(stores.post(recall(&alice, &group, 1)).await, PostResult::NotMember);
    let inbox = stores.inbox(&alice).await;
    assert_eq!(
        inbox.iter().map(|filed| word(&filed.event)).collect::<Vec<_>>().join(" "),
        "change 1:hi edit 1:ho 👍+1 change"
    );
}
