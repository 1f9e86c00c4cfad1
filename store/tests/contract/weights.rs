//! Pages end when they are full, and the next one goes on there.

use proto::weight::{PAGE, PAGES};
use proto::{ConversationId, Cursor, Fingerprint, Position, Seq, UserId};
use store::model::{
    Attach, CurrentMessage, HistoryQuery, HistoryRange, InboxEvent, InboxQuery, MarksQuery, MarksSince,
    StartPoint,
};

use super::harness::{Kind, Stores, edit, for_every_store, message, react};

for_every_store![
    a_page_of_an_inbox_ends_where_it_is_full_and_the_next_goes_on_there,
    many_readers_at_once_share_what_one_call_answers,
    history_ends_where_it_is_full_in_the_direction_of_reading,
    a_readers_conversations_end_where_the_page_is_full,
];

const LARGE: usize = 63_000;

/// Writes so many large messages.
async fn fill(stores: &Stores, by: &UserId, to: &UserId, count: usize) -> ConversationId {
    let conversation = ConversationId::direct(by, to);
    let body = format!("\"{}\"", "x".repeat(LARGE));
    let posts: Vec<_> = (0..count).map(|_| message(by, &conversation, &body)).collect();
    for some in posts.chunks(16) {
        stores.one.post(some.to_vec()).await.unwrap();
    }
    conversation
}

fn weight(events: &[InboxEvent]) -> usize {
    events.iter().map(|filed| filed.event.weight()).sum()
}

fn last(events: &[InboxEvent]) -> Option<Cursor> {
    let filed = events.last()?;
    Some(Cursor { position: filed.position, fingerprint: Fingerprint(filed.event.entry.fingerprint) })
}

async fn a_page_of_an_inbox_ends_where_it_is_full_and_the_next_goes_on_there(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    fill(&stores, &alice, &bob, 40).await;
    let (mut after, mut seen) = (Cursor::ORIGIN, 0);
    while seen < 40 {
        let marks = MarksQuery { since: MarksSince::Cursor(Cursor::ORIGIN), after: 0 };
        let query = InboxQuery { user: bob.clone(), after, limit: 1_000, session: None, marks: Some(marks) };
        let page = stores.one.read_inbox(vec![query]).await.unwrap().remove(0);
        assert_eq!((page.reset, page.head), (None, Position(40)));
        for filed in &page.events {
            seen += 1;
            assert_eq!(filed.position, Position(seen));
        }
        assert!(weight(&page.events) <= PAGE.bytes, "{} bytes", weight(&page.events));
        assert!(seen == 40 || page.events.len() >= 14, "{} events", page.events.len());
        // Nobody has marks for bob yet. That nothing more is to be asked shows
        // that they were looked for.
        assert_eq!(page.marks_next, None);
        after = last(&page.events).unwrap();
    }
    assert_eq!(stores.page(&bob, Cursor::ORIGIN, 3).await.events.len(), 3);
}

async fn many_readers_at_once_share_what_one_call_answers(kind: Kind) {
    let stores = kind.open().await;
    let alice = stores.user("alice");
    let readers: Vec<UserId> = (0..20).map(|n| stores.user(&format!("reader{n}"))).collect();
    for reader in &readers {
        fill(&stores, &alice, reader, 12).await;
    }
    let query = |user: &UserId| InboxQuery {
        user: user.clone(),
        after: Cursor::ORIGIN,
        limit: 100,
        session: None,
        marks: None,
    };
    let pages = stores.one.read_inbox(readers.iter().map(query).collect()).await.unwrap();
    let total: usize = pages.iter().map(|page| weight(&page.events)).sum();
    assert!((PAGES / 2..=PAGES).contains(&total), "{total} bytes");

    let node = stores.node("gw").await;
    let begin = |user: &UserId| Attach {
        user: user.clone(),
        location: Some(node.location("d")),
        from: StartPoint::Start,
    };
    let attached = stores.two.attach(readers.iter().map(begin).collect()).await.unwrap();
    let first: Vec<_> = attached.into_iter().map(|attached| attached.page.unwrap()).collect();
    let total: usize = first.iter().map(|page| weight(&page.events)).sum();
    assert!((PAGES / 2..=PAGES).contains(&total), "{total} bytes");
    for (reader, page) in readers.iter().zip(pages.iter().zip(&first)) {
        assert_eq!(page.0.events, page.1.events);
        let rest = stores.page(reader, last(&page.0.events).unwrap(), 100).await.events;
        let positions = page.0.events.iter().chain(&rest).map(|filed| filed.position.0);
        assert!(positions.eq(1..=12), "{reader}");
    }
}

async fn history_ends_where_it_is_full_in_the_direction_of_reading(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let conversation = fill(&stores, &alice, &bob, 40).await;
    let other = format!("\"{}\"", "y".repeat(LARGE));
    for seq in [3, 20, 39] {
        stores.done(edit(&alice, &conversation, seq, &other)).await;
        stores.done(react(&bob, &conversation, seq, "+1", true)).await;
    }
    let read = async |range| {
        let query = HistoryQuery { user: bob.clone(), conversation: conversation.clone(), range, limit: 200 };
        let page = stores.one.history(query).await.unwrap().unwrap();
        assert!(page.messages.iter().map(CurrentMessage::weight).sum::<usize>() <= PAGE.bytes);
        for shown in &page.messages {
            let amended = [3, 20, 39].contains(&shown.message.seq.0);
            assert_eq!((shown.edited.is_some(), shown.reactions.len()), (amended, usize::from(amended)));
        }
        (page.messages.iter().map(|shown| shown.message.seq.0).collect::<Vec<_>>(), page.more)
    };
    let (mut back, mut more) = read(HistoryRange::Newest).await;
    assert!(more && back.len() >= 10);
    while more {
        let (mut page, further) = read(HistoryRange::Before(Seq(back[0]))).await;
        page.extend(back);
        (back, more) = (page, further);
    }
    assert!(back.iter().copied().eq(1..=40), "{back:?}");
    let (mut forth, mut more) = read(HistoryRange::After(Seq(0))).await;
    assert!(more);
    while more {
        let (page, further) = read(HistoryRange::After(Seq(forth[forth.len() - 1]))).await;
        forth.extend(page);
        more = further;
    }
    assert!(forth.iter().copied().eq(1..=40), "{forth:?}");
}

async fn a_readers_conversations_end_where_the_page_is_full(kind: Kind) {
    let stores = kind.open().await;
    let alice = stores.user("alice");
    let others: Vec<UserId> = (0..30).map(|n| stores.user(&format!("other{n}"))).collect();
    let mut ids = vec![stores.group(&[&alice, &others[0], &others[1]]).await];
    for other in &others {
        ids.push(fill(&stores, &alice, other, 1).await);
    }
    let mut rest = ids.as_slice();
    let mut found = Vec::new();
    while !rest.is_empty() {
        let some = stores.one.conversations(rest, Some(&alice)).await.unwrap();
        let some: Vec<_> = some.into_iter().map(Option::unwrap).collect();
        let weight: usize = some.iter().map(|state| state.weight()).sum();
        assert!(!some.is_empty() && weight <= PAGE.bytes, "{weight} bytes");
        assert!(some.len() >= 10.min(rest.len()), "{} conversations", some.len());
        rest = &rest[some.len()..];
        found.extend(some);
    }
    assert_eq!(found.len(), ids.len());
    let members = |state: &store::model::Conversation| {
        state.members.iter().map(|member| member.user.clone()).collect::<Vec<_>>()
    };
    assert_eq!(members(&found[0]), std::slice::from_ref(&alice));
    assert_eq!(members(&found[1]).len(), 2);
    let stranger = stores.user("stranger");
    assert_eq!(stores.one.conversations(&ids[..1], Some(&stranger)).await.unwrap(), [None]);
}
