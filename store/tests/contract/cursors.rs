//! Reading inboxes, which cursors are valid, and what trimming leaves.

use proto::{ConversationId, Cursor, Fingerprint, Position, ResetReason, UserId};
use store::Bounds;
use store::model::{InboxEvent, StartPoint};

use super::harness::{Kind, Stores, assert_no_holes, for_every_store, message, text};

for_every_store![
    pages_join_without_holes,
    a_page_of_large_bodies_may_be_short_but_never_empty,
    a_page_after_the_head_is_empty,
    reading_removes_nothing,
    an_empty_inbox_has_the_origin_as_start_and_head,
    the_head_is_after_everything,
    start_is_before_the_oldest,
    a_cursor_resumes_after_its_event,
    a_cursor_beyond_the_head_was_rewritten,
    a_cursor_with_another_fingerprint_was_rewritten,
    the_origin_holds_while_nothing_was_trimmed,
    the_newest_events_are_kept_and_the_oldest_trimmed,
    a_cursor_below_what_is_kept_was_trimmed,
    a_cursor_exactly_at_the_trim_still_holds,
    a_trimmed_conversation_still_counts_on,
    an_event_in_an_inbox_outlives_its_conversations_log,
];

fn cursor(filed: &InboxEvent) -> Cursor {
    Cursor { position: filed.position, fingerprint: Fingerprint(filed.event.entry.fingerprint) }
}

/// Fills alice's inbox with `count` messages and returns her.
async fn filled(stores: &Stores, count: usize) -> UserId {
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let conversation = ConversationId::direct(&alice, &bob);
    for chunk in (1..=count).collect::<Vec<_>>().chunks(10) {
        let batch = chunk.iter().map(|n| message(&bob, &conversation, &n.to_string())).collect();
        stores.one.post(batch).await.unwrap();
    }
    alice
}

/// Checks that attaching and reading both refuse a cursor, and go on at the
/// head.
async fn assert_reset(stores: &Stores, user: &UserId, given: Cursor, reason: ResetReason) {
    let head = stores.look(user, StartPoint::Head).await.start;
    let attached = stores.look(user, StartPoint::Cursor(given)).await;
    assert_eq!((attached.reset, attached.start), (Some(reason), head));
    let page = stores.page(user, given, 10).await;
    assert_eq!(page.reset, Some((reason, head)));
    assert_eq!(page.events, []);
}

/// Checks that attaching and reading both accept a cursor.
async fn assert_holds(stores: &Stores, user: &UserId, given: Cursor) {
    let attached = stores.look(user, StartPoint::Cursor(given)).await;
    assert_eq!((attached.reset, attached.start), (None, given));
    let page = stores.page(user, given, 10).await;
    assert_eq!(page.reset, None);
    if let Some(first) = page.events.first() {
        assert_eq!(first.position, given.position.next());
    }
}

async fn pages_join_without_holes(kind: Kind) {
    let stores = kind.open().await;
    let alice = filled(&stores, 25).await;
    let whole = stores.inbox(&alice).await;
    assert_eq!(whole.len(), 25);
    assert_no_holes(&whole);
    for limit in [1, 7, 25, 1000] {
        assert_eq!(stores.inbox_in_pages(&alice, limit).await, whole);
    }
    assert_eq!(stores.page(&alice, Cursor::ORIGIN, 7).await.head, Position(25));
}

async fn a_page_of_large_bodies_may_be_short_but_never_empty(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let body = "x".repeat(65_536);
    for _ in 0..40 {
        stores.send(&bob, &alice, &body).await;
    }
    assert_eq!(stores.inbox_in_pages(&alice, 1000).await.len(), 40);
}

async fn a_page_after_the_head_is_empty(kind: Kind) {
    let stores = kind.open().await;
    let alice = filled(&stores, 3).await;
    let head = stores.look(&alice, StartPoint::Head).await;
    let page = stores.page(&alice, head.start, 10).await;
    assert_eq!((page.events.len(), page.head, page.reset), (0, head.head, None));
}

async fn reading_removes_nothing(kind: Kind) {
    let stores = kind.open().await;
    let alice = filled(&stores, 5).await;
    assert_eq!(stores.inbox(&alice).await, stores.inbox(&alice).await);
}

async fn an_empty_inbox_has_the_origin_as_start_and_head(kind: Kind) {
    let stores = kind.open().await;
    let alice = stores.user("alice");
    for from in [StartPoint::Head, StartPoint::Start, StartPoint::Cursor(Cursor::ORIGIN)] {
        let attached = stores.look(&alice, from).await;
        assert_eq!((attached.start, attached.head), (Cursor::ORIGIN, Position(0)));
        assert_eq!(attached.reset, None);
    }
    assert_eq!(stores.page(&alice, Cursor::ORIGIN, 10).await.events, []);
}

async fn the_head_is_after_everything(kind: Kind) {
    let stores = kind.open().await;
    let alice = filled(&stores, 3).await;
    let attached = stores.look(&alice, StartPoint::Head).await;
    assert_eq!(attached.start, cursor(&stores.inbox(&alice).await[2]));
    assert_eq!((attached.head, attached.reset), (Position(3), None));
}

async fn start_is_before_the_oldest(kind: Kind) {
    let stores = kind.open().await;
    let alice = filled(&stores, 3).await;
    let attached = stores.look(&alice, StartPoint::Start).await;
    assert_eq!((attached.start, attached.head, attached.reset), (Cursor::ORIGIN, Position(3), None));
}

async fn a_cursor_resumes_after_its_event(kind: Kind) {
    let stores = kind.open().await;
    let alice = filled(&stores, 9).await;
    let inbox = stores.inbox(&alice).await;
    for (index, event) in inbox.iter().enumerate() {
        assert_holds(&stores, &alice, cursor(event)).await;
        let page = stores.page(&alice, cursor(event), 100).await;
        assert_eq!(page.events, inbox[index + 1..]);
    }
}

async fn a_cursor_beyond_the_head_was_rewritten(kind: Kind) {
    let stores = kind.open().await;
    let alice = filled(&stores, 3).await;
    let beyond = Cursor { position: Position(4), fingerprint: Fingerprint(7) };
    assert_reset(&stores, &alice, beyond, ResetReason::Rewritten).await;
    let nobody = stores.user("nobody");
    assert_reset(&stores, &nobody, beyond, ResetReason::Rewritten).await;
}

async fn a_cursor_with_another_fingerprint_was_rewritten(kind: Kind) {
    let stores = kind.open().await;
    let alice = filled(&stores, 5).await;
    for event in stores.inbox(&alice).await {
        let mut other = cursor(&event);
        other.fingerprint.0 ^= 2;
        assert_reset(&stores, &alice, other, ResetReason::Rewritten).await;
    }
    let origin = Cursor { position: Position(0), fingerprint: Fingerprint(5) };
    assert_reset(&stores, &alice, origin, ResetReason::Rewritten).await;
}

async fn the_origin_holds_while_nothing_was_trimmed(kind: Kind) {
    let stores = kind.open().await;
    let alice = filled(&stores, 3).await;
    assert_holds(&stores, &alice, Cursor::ORIGIN).await;
    assert_eq!(stores.page(&alice, Cursor::ORIGIN, 10).await.events.len(), 3);
}

/// A store that keeps 20 events an inbox, and an inbox that had 100.
async fn trimmed(kind: Kind) -> (Stores, UserId) {
    let stores = kind.open_with(Bounds { inbox_events: 20, ..Bounds::default() }).await;
    let alice = filled(&stores, 100).await;
    (stores, alice)
}

async fn the_newest_events_are_kept_and_the_oldest_trimmed(kind: Kind) {
    let (stores, alice) = trimmed(kind).await;
    let inbox = stores.inbox(&alice).await;
    assert!((20..=40).contains(&inbox.len()), "{} events are kept", inbox.len());
    assert_no_holes(&inbox);
    assert_eq!(inbox.last().unwrap().position, Position(100));
    for event in &inbox {
        assert_eq!(text(&event.event.entry).unwrap(), event.position.0.to_string());
    }
}

async fn a_cursor_below_what_is_kept_was_trimmed(kind: Kind) {
    let (stores, alice) = trimmed(kind).await;
    assert_reset(&stores, &alice, Cursor::ORIGIN, ResetReason::Trimmed).await;
    let below = Cursor { position: Position(5), fingerprint: Fingerprint(1) };
    assert_reset(&stores, &alice, below, ResetReason::Trimmed).await;
}

async fn a_cursor_exactly_at_the_trim_still_holds(kind: Kind) {
    let stores = kind.open_with(Bounds { inbox_events: 20, ..Bounds::default() }).await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let mut positions = std::collections::HashMap::new();
    for number in 0..60 {
        let post = message(&bob, &ConversationId::direct(&alice, &bob), &number.to_string());
        // The two inboxes are equal, so bob's positions are alice's.
        let position = stores.done(post).await.position.unwrap();
        positions.insert(position.position, position.fingerprint);
    }
    let oldest = stores.inbox(&alice).await[0].position;
    let position = Position(oldest.0 - 1);
    assert!(position.0 > 0, "something was trimmed");
    let last_trimmed = Cursor { position, fingerprint: positions[&position] };
    assert_holds(&stores, &alice, last_trimmed).await;
    assert_eq!(stores.look(&alice, StartPoint::Start).await.start, last_trimmed);
    let page = stores.page(&alice, last_trimmed, 100).await;
    assert_eq!(page.events.first().unwrap().position, oldest);
    let other = Cursor { fingerprint: Fingerprint(last_trimmed.fingerprint.0 ^ 2), ..last_trimmed };
    assert_reset(&stores, &alice, other, ResetReason::Rewritten).await;
}

async fn a_trimmed_conversation_still_counts_on(kind: Kind) {
    let stores = kind.open_with(Bounds { conversation_messages: 10, ..Bounds::default() }).await;
    filled(&stores, 50).await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    assert_eq!(stores.send(&alice, &bob, "next").await.seq.0, 51);
    let query = store::model::HistoryQuery {
        user: alice.clone(),
        conversation: ConversationId::direct(&alice, &bob),
        range: store::model::HistoryRange::After(proto::Seq(0)),
        limit: 200,
    };
    let page = stores.one.history(query).await.unwrap().unwrap();
    assert!((10..=20).contains(&page.messages.len()), "{} messages are kept", page.messages.len());
    assert_eq!(page.messages.last().unwrap().message.seq.0, 51);
    assert!(!page.more);
}

async fn an_event_in_an_inbox_outlives_its_conversations_log(kind: Kind) {
    let stores = kind.open_with(Bounds { conversation_messages: 10, ..Bounds::default() }).await;
    let alice = filled(&stores, 50).await;
    // A reader gets every event, or is told that the oldest are gone.
    let page = stores.page(&alice, Cursor::ORIGIN, 100).await;
    match page.reset {
        None => assert_eq!(page.events.len(), 50),
        Some((reason, _)) => assert_eq!(reason, ResetReason::Trimmed),
    }
}
