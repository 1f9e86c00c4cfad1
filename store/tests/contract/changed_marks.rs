//! The marks that a reader gets who was away: those that changed meanwhile.

use std::time::Duration;

use proto::{ConversationId, Cursor, Fingerprint, Position, Seq, UserId};
use store::Bounds;
use store::model::{
    Acknowledge, Change, InboxPage, InboxQuery, Mark, MarkKind, MarkResult, MarksQuery, MarksSince,
    StartPoint,
};
use tokio::time::Instant;

use super::harness::{Kind, Stores, for_every_store, message};

for_every_store![
    whoever_resumes_gets_the_marks_of_the_others,
    no_mark_is_given_that_says_less_than_what_its_user_wrote,
    marks_come_only_with_the_page_that_reaches_the_head,
    marks_are_given_only_to_who_asks_and_not_with_a_reset,
    marks_of_a_time_are_those_that_changed_within_it,
    ones_own_devices_get_what_was_read_and_not_what_was_delivered,
    in_large_groups_only_ones_own_reading_is_given,
    many_conversations_come_in_pages_and_none_is_left_out,
    many_marks_of_one_conversation_are_one_entry,
    of_a_conversation_that_was_left_nothing_is_given,
    many_acknowledgements_in_one_batch_are_all_answered,
];

const HOUR: MarksSince = MarksSince::Within(Duration::from_secs(3600));

async fn read(stores: &Stores, user: &UserId, after: Cursor, limit: usize, marks: MarksQuery) -> InboxPage {
    let query = InboxQuery { user: user.clone(), after, limit, session: None, marks: Some(marks) };
    stores.two.read_inbox(vec![query]).await.unwrap().remove(0)
}

/// All marks since then, read at the head, in the order of their names.
async fn marks(
    stores: &Stores,
    user: &UserId,
    since: MarksSince,
) -> Vec<(ConversationId, UserId, MarkKind, u64)> {
    let head = stores.look(user, StartPoint::Head).await.start;
    let mut found = Vec::new();
    let mut after = 0;
    loop {
        let page = read(stores, user, head, 10, MarksQuery { since, after }).await;
        found
            .extend(page.marks.into_iter().map(|mark| (mark.conversation, mark.user, mark.kind, mark.seq.0)));
        match page.marks_next {
            Some(next) => after = next,
            None => break,
        }
    }
    found.sort_by_key(|(conversation, user, kind, _)| {
        (conversation.clone(), user.clone(), *kind == MarkKind::Read)
    });
    found
}

async fn mark(stores: &Stores, user: &UserId, conversation: &ConversationId, kind: MarkKind, seq: u64) {
    let mark = Mark { conversation: conversation.clone(), user: user.clone(), kind, seq: Seq(seq) };
    stores.one.mark(vec![mark]).await.unwrap();
}

async fn whoever_resumes_gets_the_marks_of_the_others(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let conversation = ConversationId::direct(&alice, &bob);
    let position = stores.send(&alice, &bob, "one").await.position.unwrap();
    stores.send(&alice, &bob, "two").await;
    assert_eq!(marks(&stores, &alice, MarksSince::Cursor(position)).await, []);
    let head = stores.look(&bob, StartPoint::Head).await.start;
    stores.one.acknowledge(vec![Acknowledge::up_to(bob.clone(), head)]).await.unwrap();
    mark(&stores, &bob, &conversation, MarkKind::Read, 1).await;
    let expected = [
        (conversation.clone(), bob.clone(), MarkKind::Delivered, 2),
        (conversation.clone(), bob.clone(), MarkKind::Read, 1),
    ];
    for since in [MarksSince::Cursor(position), MarksSince::Cursor(Cursor::ORIGIN), HOUR] {
        let found = marks(&stores, &alice, since).await;
        // Alice has read what she wrote; a store may report that.
        let others: Vec<_> = found.into_iter().filter(|(_, user, ..)| *user == bob).collect();
        assert_eq!(others, expected, "{since:?}");
    }
    // A lower mark changes nothing.
    mark(&stores, &bob, &conversation, MarkKind::Read, 2).await;
    mark(&stores, &bob, &conversation, MarkKind::Read, 1).await;
    assert!(marks(&stores, &alice, HOUR).await.contains(&(conversation, bob, MarkKind::Read, 2)));
}

async fn no_mark_is_given_that_says_less_than_what_its_user_wrote(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let conversation = ConversationId::direct(&alice, &bob);
    let group = stores.group(&[&alice, &bob]).await;
    for id in [&conversation, &group] {
        stores.done(message(&alice, id, "one")).await;
        mark(&stores, &bob, id, MarkKind::Delivered, 1).await;
        mark(&stores, &bob, id, MarkKind::Read, 1).await;
        stores.done(message(&bob, id, "two")).await;
    }
    for reader in [&alice, &bob] {
        let found = marks(&stores, reader, HOUR).await;
        let bobs: Vec<_> = found.into_iter().filter(|(_, user, ..)| *user == bob).collect();
        assert!(bobs.iter().all(|(.., seq)| *seq == 2), "{bobs:?}");
        let read = bobs.iter().filter(|(_, _, kind, _)| *kind == MarkKind::Read);
        assert_eq!(read.count(), 2, "{bobs:?}");
    }
}

async fn marks_come_only_with_the_page_that_reaches_the_head(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let conversation = ConversationId::direct(&alice, &bob);
    for text in ["one", "two", "three"] {
        stores.send(&alice, &bob, text).await;
    }
    mark(&stores, &bob, &conversation, MarkKind::Read, 3).await;
    let wanted = MarksQuery { since: MarksSince::Cursor(Cursor::ORIGIN), after: 0 };
    let first = read(&stores, &alice, Cursor::ORIGIN, 2, wanted).await;
    assert_eq!((first.events.len(), first.marks.len()), (2, 0));
    let last = &first.events[1];
    let after = Cursor { position: last.position, fingerprint: Fingerprint(last.event.entry.fingerprint) };
    let second = read(&stores, &alice, after, 2, wanted).await;
    assert_eq!(second.events.len(), 1);
    assert!(second.marks.iter().any(|mark| mark.user == bob && mark.seq == Seq(3)));
    // A page that ends exactly at the head has the marks.
    let whole = read(&stores, &alice, Cursor::ORIGIN, 3, wanted).await;
    assert_eq!(whole.marks, second.marks);
}

async fn marks_are_given_only_to_who_asks_and_not_with_a_reset(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    stores.send(&alice, &bob, "one").await;
    mark(&stores, &bob, &ConversationId::direct(&alice, &bob), MarkKind::Read, 1).await;
    let page = stores.page(&alice, Cursor::ORIGIN, 10).await;
    assert_eq!((page.events.len(), page.marks, page.marks_next), (1, vec![], None));
    let nowhere = Cursor { position: Position(9), fingerprint: Fingerprint(9) };
    let page = read(&stores, &alice, nowhere, 10, MarksQuery { since: HOUR, after: 0 }).await;
    assert!(page.reset.is_some() && page.marks.is_empty() && page.marks_next.is_none());
}

async fn marks_of_a_time_are_those_that_changed_within_it(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    stores.send(&alice, &bob, "one").await;
    mark(&stores, &bob, &ConversationId::direct(&alice, &bob), MarkKind::Read, 1).await;
    assert!(!marks(&stores, &alice, HOUR).await.is_empty());
    let deadline = Instant::now() + Duration::from_secs(10);
    while !marks(&stores, &alice, MarksSince::Within(Duration::ZERO)).await.is_empty() {
        assert!(Instant::now() < deadline, "a mark from before is given as one of just now");
        tokio::task::yield_now().await;
    }
}

async fn ones_own_devices_get_what_was_read_and_not_what_was_delivered(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let conversation = ConversationId::direct(&alice, &bob);
    stores.send(&alice, &bob, "one").await;
    stores.send(&alice, &bob, "two").await;
    mark(&stores, &bob, &conversation, MarkKind::Delivered, 2).await;
    assert_eq!(marks(&stores, &bob, HOUR).await, []);
    mark(&stores, &bob, &conversation, MarkKind::Read, 2).await;
    let own = (conversation, bob.clone(), MarkKind::Read, 2);
    assert!(marks(&stores, &bob, HOUR).await.contains(&own));
    assert!(
        !marks(&stores, &bob, HOUR)
            .await
            .iter()
            .any(|(_, user, kind, _)| *user == bob && *kind != MarkKind::Read)
    );
}

async fn in_large_groups_only_ones_own_reading_is_given(kind: Kind) {
    let stores = kind.open_with(Bounds { receipt_members: 3, ..Bounds::default() }).await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let (carol, dave) = (stores.user("carol"), stores.user("dave"));
    let small = stores.group(&[&alice, &bob, &carol]).await;
    let large = stores.group(&[&alice, &bob, &carol, &dave]).await;
    for group in [&small, &large] {
        stores.done(message(&alice, group, "one")).await;
        mark(&stores, &bob, group, MarkKind::Delivered, 1).await;
        mark(&stores, &bob, group, MarkKind::Read, 1).await;
    }
    let expected = [
        (small.clone(), bob.clone(), MarkKind::Delivered, 1),
        (small.clone(), bob.clone(), MarkKind::Read, 1),
    ];
    for other in [&alice, &carol] {
        let found = marks(&stores, other, HOUR).await;
        let bobs: Vec<_> = found.into_iter().filter(|(_, user, ..)| *user == bob).collect();
        assert_eq!(bobs, expected);
    }
    assert_eq!(marks(&stores, &dave, HOUR).await, []);
    let mut own = [(small, bob.clone(), MarkKind::Read, 1), (large, bob.clone(), MarkKind::Read, 1)];
    own.sort_by_key(|(conversation, ..)| conversation.clone());
    let bobs: Vec<_> =
        marks(&stores, &bob, HOUR).await.into_iter().filter(|(_, user, ..)| *user == bob).collect();
    assert_eq!(bobs, own);
}

async fn many_conversations_come_in_pages_and_none_is_left_out(kind: Kind) {
    const MANY: usize = 430;
    let stores = kind.open().await;
    let bob = stores.user("bob");
    let others: Vec<UserId> = (0..MANY).map(|number| stores.user(&format!("u{number}"))).collect();
    let conversations: Vec<_> = others.iter().map(|other| ConversationId::direct(other, &bob)).collect();
    let posts = others.iter().zip(&conversations).map(|(other, id)| message(other, id, "hi")).collect();
    stores.one.post(posts).await.unwrap();
    let read_all = conversations.iter().map(|conversation| Mark {
        conversation: conversation.clone(),
        user: bob.clone(),
        kind: MarkKind::Read,
        seq: Seq(1),
    });
    // One batch, so that many change at the same moment.
    let marked = stores.one.mark(read_all.collect()).await.unwrap();
    assert_eq!(marked, vec![MarkResult::Advanced; MANY]);
    let head = stores.look(&bob, StartPoint::Head).await.start;
    let (mut found, mut after, mut pages) = (Vec::new(), 0, 0);
    loop {
        let page = read(&stores, &bob, head, 1, MarksQuery { since: HOUR, after }).await;
        pages += 1;
        let own = page.marks.into_iter().filter(|mark| mark.user == bob).map(|mark| mark.conversation);
        found.extend(own);
        let Some(next) = page.marks_next else { break };
        assert!(next > after, "going on from where it was");
        after = next;
    }
    assert_eq!(pages, 3, "of 200 conversations each");
    found.sort();
    let mut expected = conversations;
    expected.sort();
    assert_eq!(found, expected);
}

async fn many_marks_of_one_conversation_are_one_entry(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let conversation = ConversationId::direct(&alice, &bob);
    for _ in 0..20 {
        stores.send(&alice, &bob, "hi").await;
    }
    for seq in 1..=20 {
        mark(&stores, &bob, &conversation, MarkKind::Delivered, seq).await;
    }
    let found = marks(&stores, &alice, HOUR).await;
    let bobs: Vec<_> = found.into_iter().filter(|(_, user, ..)| *user == bob).collect();
    assert_eq!(bobs, [(conversation, bob, MarkKind::Delivered, 20)]);
}

async fn of_a_conversation_that_was_left_nothing_is_given(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let group = stores.group(&[&alice, &bob]).await;
    stores.done(message(&alice, &group, "one")).await;
    mark(&stores, &bob, &group, MarkKind::Read, 1).await;
    mark(&stores, &alice, &group, MarkKind::Delivered, 1).await;
    assert!(!marks(&stores, &bob, HOUR).await.is_empty());
    stores.change(&alice, &group, Change { remove: vec![bob.clone()], ..Change::default() }).await;
    assert_eq!(marks(&stores, &bob, HOUR).await, []);
    // Members who have left have no marks either.
    assert!(marks(&stores, &alice, HOUR).await.iter().all(|(_, user, ..)| *user == alice));
}

async fn many_acknowledgements_in_one_batch_are_all_answered(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let mut cursors = Vec::new();
    for _ in 0..600 {
        cursors.push(message(&alice, &ConversationId::direct(&alice, &bob), "hi"));
    }
    stores.one.post(cursors).await.unwrap();
    let events = stores.inbox(&bob).await;
    let cursor = |index: usize| {
        let filed = &events[index];
        Cursor { position: filed.position, fingerprint: Fingerprint(filed.event.entry.fingerprint) }
    };
    let nowhere = Cursor { position: Position(7_000), fingerprint: Fingerprint(1) };
    let asked = [3, 599, 200, 10].map(cursor).into_iter().chain([nowhere]);
    let asked = asked.map(|cursor| Acknowledge::up_to(bob.clone(), cursor)).collect();
    let answers = stores.one.acknowledge(asked).await.unwrap();
    let all = store::model::AcknowledgeResult::Marks(vec![(ConversationId::direct(&alice, &bob), Seq(600))]);
    let none = store::model::AcknowledgeResult::Marks(vec![]);
    assert_eq!(
        answers,
        [none.clone(), all, none.clone(), none, store::model::AcknowledgeResult::NoSuchPosition]
    );
}
