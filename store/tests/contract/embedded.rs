//! What only the embedded store promises: its folder, restarts, and what
//! happens when a subscription is not read.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proto::wire::{Notice, Typing, notice};
use proto::{ConversationId, Cursor, NodeIncarnation, Position, ResetReason, Seq, UserId};
use store::embedded::Embedded;
use store::model::{Attach, InboxQuery, Location, Post, StartPoint};
use store::{Bounds, Bus, BusItem, Config, Error, Loss, Result, Store, Url};
use tokio_util::sync::CancellationToken;

use super::harness::{Done, keyed, message, text};

/// An open store, and the token that closes it.
struct Open {
    store: Arc<Embedded>,
    shutdown: CancellationToken,
}

async fn open(folder: &Path) -> Result<Open> {
    let shutdown = CancellationToken::new();
    let mut config = Config::new(Url::Embedded(folder.to_owned()));
    config.bounds = Bounds { inbox_events: 10, ..Bounds::default() };
    Ok(Open { store: Embedded::open(config, shutdown.clone()).await?, shutdown })
}

impl Open {
    async fn post(&self, post: Post) -> Done {
        Done::of(self.store.post(vec![post]).await.unwrap().remove(0))
    }

    async fn look(&self, user: &UserId, from: StartPoint) -> store::model::AttachResult {
        let attach = Attach { user: user.clone(), location: None, from };
        self.store.attach(vec![attach]).await.unwrap().remove(0)
    }

    async fn close(self) {
        self.shutdown.cancel();
        self.store.closed().await;
    }
}

fn users() -> (UserId, UserId, ConversationId) {
    let (alice, bob) = (UserId::parse("alice").unwrap(), UserId::parse("bob").unwrap());
    let conversation = ConversationId::direct(&alice, &bob);
    (alice, bob, conversation)
}

#[tokio::test]
async fn a_folder_has_one_store_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path()).await.unwrap();
    let second = open(folder.path()).await;
    let Err(Error::Config(why)) = second.map(|_| ()) else { panic!("opened twice") };
    assert!(why.contains("in use"), "{why}");
    first.close().await;
    open(folder.path()).await.unwrap();
}

#[tokio::test]
async fn a_restart_keeps_cursors_numbers_and_repeats() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob, conversation) = users();
    let store = open(folder.path()).await.unwrap();
    let mut positions = Vec::new();
    for number in 1..=25 {
        let post = keyed(&alice, &conversation, &number.to_string(), &format!("m-{number}"));
        positions.push(store.post(post).await.position.unwrap());
    }
    let start = store.look(&bob, StartPoint::Start).await.start;
    store.close().await;

    let store = open(folder.path()).await.unwrap();
    assert_eq!(store.look(&bob, StartPoint::Start).await.start, start);
    // 10 events are kept, so the 15th is the last that was trimmed.
    for (index, position) in positions.iter().enumerate() {
        let expected = (index < 14).then_some(ResetReason::Trimmed);
        assert_eq!(store.look(&bob, StartPoint::Cursor(*position)).await.reset, expected, "{position}");
    }
    let query = InboxQuery { user: bob, after: positions[19], limit: 10, session: None, marks: None };
    let page = store.store.read_inbox(vec![query]).await.unwrap().remove(0);
    let found: Vec<_> = page.events.iter().map(|filed| text(&filed.event.entry).unwrap()).collect();
    assert_eq!(found, ["21", "22", "23", "24", "25"]);
    let repeat = store.store.post(vec![keyed(&alice, &conversation, "?", "m-7")]).await.unwrap().remove(0);
    assert!(
        matches!(repeat, store::model::PostResult::Done { seq: Seq(7), duplicate: true, .. }),
        "{repeat:?}"
    );
    let next = store.post(message(&alice, &conversation, "next")).await;
    assert_eq!((next.seq, next.position.unwrap().position), (Seq(26), Position(26)));
}

#[tokio::test]
async fn a_restart_keeps_the_incarnation_and_forgets_sessions() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, _, conversation) = users();
    let mut incarnations = Vec::new();
    for round in 0..2 {
        let store = open(folder.path()).await.unwrap();
        let node = NodeIncarnation::parse("gw.1").unwrap();
        let mut subscription = store.store.subscribe(node.clone()).await.unwrap();
        assert_eq!(store.store.locate(std::slice::from_ref(&alice)).await.unwrap(), [vec![]]);
        let location = Location {
            session: proto::SessionId::random(),
            device: proto::DeviceId::parse("phone").unwrap(),
            node,
        };
        let attach = Attach { user: alice.clone(), location: Some(location), from: StartPoint::Head };
        store.store.attach(vec![attach]).await.unwrap();
        store.post(message(&alice, &conversation, "hi")).await;
        let BusItem::Store(incarnation) = subscription.next().await else { panic!("round {round}") };
        let BusItem::Envelope(envelope) = subscription.next().await else { panic!("round {round}") };
        assert_eq!(envelope.number, 1);
        assert_eq!(proto::StoreIncarnation::of(&envelope.store), incarnation);
        incarnations.push(incarnation);
        store.close().await;
    }
    assert_eq!(incarnations[0], incarnations[1]);
}

#[tokio::test]
async fn what_a_full_queue_drops_is_said_to_be_lost_at_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    let node = NodeIncarnation::parse("gw.1").unwrap();
    let mut subscription = store.store.subscribe(node.clone()).await.unwrap();
    let publish = async |number: u64| {
        let typing = Typing { conversation: number.to_string(), user: String::new() };
        let notice = Notice { what: Some(notice::What::Typing(typing)), ..Default::default() };
        store.store.publish(vec![(node.clone(), notice)]).await.unwrap();
    };
    for number in 1..=10_000 {
        publish(number).await;
    }
    let mut last = 0;
    let lost = loop {
        match subscription.next().await {
            BusItem::Envelope(envelope) => {
                assert_eq!(envelope.number, last + 1);
                last = envelope.number;
            }
            BusItem::Lost(loss) => break loss,
            BusItem::Store(_) => {}
        }
    };
    assert_eq!(lost, Loss::Lagged);
    assert!(last < 10_000, "the queue is bounded");
    publish(10_001).await;
    let BusItem::Envelope(next) = subscription.next().await else { panic!("said twice") };
    assert_eq!(next.number, 10_001);
}

#[tokio::test]
async fn with_shutdown_what_was_asked_is_done_and_the_rest_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob, conversation) = users();
    let open_store = open(folder.path()).await.unwrap();
    let (store, shutdown) = (open_store.store.clone(), open_store.shutdown.clone());
    let asked = (0..50).map(|number| store.post(vec![message(&alice, &conversation, &number.to_string())]));
    let asked = futures_util::future::join_all(asked);
    let ending = async {
        tokio::task::yield_now().await;
        shutdown.cancel();
    };
    let (answers, ()) = tokio::join!(asked, ending);
    let done = answers.iter().filter(|answer| answer.is_ok()).count() as u64;
    open_store.store.closed().await;
    let refused = store.post(vec![message(&alice, &conversation, "late")]).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))));
    assert!(matches!(store.ping().await, Err(Error::Unavailable(_))));
    drop((open_store, store));
    let reopened = open(folder.path()).await.unwrap();
    assert_eq!(reopened.look(&bob, StartPoint::Head).await.head, Position(done));
}

#[tokio::test]
async fn a_call_with_the_wrong_number_of_entries_hurts_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, _, conversation) = users();
    let store = open(folder.path()).await.unwrap();
    let mut wrong = message(&alice, &conversation, "?");
    wrong.entries = [].into();
    assert!(matches!(store.store.post(vec![wrong]).await, Err(Error::Config(_))));
    assert_eq!(store.post(message(&alice, &conversation, "hi")).await.seq, Seq(1));
    assert_eq!(store.look(&alice, StartPoint::Cursor(Cursor::ORIGIN)).await.head, Position(1));
    assert_eq!(store.store.repair(Duration::ZERO).await.unwrap(), 0);
}

#[tokio::test]
async fn a_restart_keeps_when_users_were_last_seen() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob, _) = users();
    let store = open(folder.path()).await.unwrap();
    let node = NodeIncarnation::new("gw").unwrap();
    let subscription = store.store.subscribe(node.clone()).await.unwrap();
    let mut sessions = Vec::new();
    for user in [&alice, &bob] {
        let (session, device) = (proto::SessionId::random(), proto::DeviceId::random());
        sessions.push(session.clone());
        let location = Some(Location { session, device, node: node.clone() });
        store
            .store
            .attach(vec![Attach { user: user.clone(), location, from: StartPoint::Head }])
            .await
            .unwrap();
    }
    let detach = store::model::Detach { user: alice.clone(), session: sessions[0].clone() };
    store.store.detach(vec![detach]).await.unwrap();
    // Bob's session ends with its node.
    drop(subscription);
    let asked = [alice, bob];
    let before = store.store.presence(&asked, None).await.unwrap();
    store.close().await;

    let store = open(folder.path()).await.unwrap();
    let after = store.store.presence(&asked, None).await.unwrap();
    for (before, after) in before.iter().zip(after) {
        assert!(!after.here);
        assert_eq!(after.ended.unwrap().0, before.ended.unwrap().0);
    }
}
