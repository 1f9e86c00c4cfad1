//! Damaged entries: readers skip them, and keep the right seqs and positions.

use std::sync::Arc;

use proto::{ChannelId, ConversationId, Cursor, Fingerprint, Position, Seq, UserId};
use redb::{Database, TableDefinition};
use store::embedded::Embedded;
use store::model::{
    Acknowledge, AcknowledgeResult, Broadcast, ChannelQuery, HistoryQuery, HistoryRange, InboxQuery,
};
use store::{Config, Store, Url};
use testbed::RedisServer;
use tokio_util::sync::CancellationToken;

use super::harness::{Kind, Stores, edit, entry, message, react, text};

/// The seqs and texts of a history, in pages of two.
async fn history(store: &dyn Store, user: &UserId, conversation: &ConversationId) -> Vec<(u64, String)> {
    let (mut found, mut range) = (Vec::new(), HistoryRange::Newest);
    loop {
        let query = HistoryQuery { conversation: conversation.clone(), user: user.clone(), range, limit: 2 };
        let page = store.history(query).await.unwrap().unwrap();
        let messages = page.messages.iter().map(|shown| &shown.message);
        let texts = messages.map(|message| (message.seq.0, text(&message.entry).unwrap()));
        found.splice(0..0, texts);
        match found.first() {
            Some((first, _)) if page.more => range = HistoryRange::Before(Seq(*first)),
            _ => return found,
        }
    }
}

/// The positions and texts of an inbox, in pages of two; a text is empty for a
/// damaged entry.
async fn inbox(store: &dyn Store, user: &UserId) -> Vec<(u64, String)> {
    let (mut after, mut found) = (Cursor::ORIGIN, Vec::new());
    loop {
        let query = InboxQuery { user: user.clone(), after, limit: 2, session: None, marks: None };
        let page = store.read_inbox(vec![query]).await.unwrap().remove(0);
        assert_eq!(page.reset, None, "after {found:?}");
        let Some(last) = page.events.last() else { return found };
        let fingerprint = Fingerprint(last.event.entry.fingerprint);
        after = Cursor { position: last.position, fingerprint };
        let texts = page.events.iter().map(|filed| {
            let entry = &filed.event.entry;
            (filed.position.0, entry.what.as_ref().and_then(|_| text(entry)).unwrap_or_default())
        });
        found.extend(texts);
    }
}

fn texts(list: &[(u64, &str)]) -> Vec<(u64, String)> {
    list.iter().map(|(at, text)| (*at, (*text).to_owned())).collect()
}

async fn publish(store: &dyn Store, channel: &ChannelId, by: &UserId, bodies: &[&str]) {
    for body in bodies {
        let what = proto::wire::Message { body: body.as_bytes().to_vec().into(), ..Default::default() };
        let one = Broadcast {
            channel: channel.clone(),
            by: by.clone(),
            entry: entry(by, proto::wire::entry::What::Message(what)),
            repeat_key: (*body).into(),
        };
        store.broadcast(vec![one]).await.unwrap();
    }
}

async fn publications(store: &dyn Store, channel: &ChannelId, after: u64) -> Vec<u64> {
    let query = ChannelQuery { channel: channel.clone(), after: Seq(after), limit: 2 };
    let page = store.read_channels(vec![query]).await.unwrap().remove(0);
    page.publications.iter().map(|(seq, _)| seq.0).collect()
}

async fn on_redis(kind: Kind) {
    let server = RedisServer::start().await.unwrap();
    let stores: Stores = kind.open_at(server.url(), store::Bounds::default()).await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let direct = ConversationId::direct(&alice, &bob);
    let channel = ChannelId::parse("c_news").unwrap();
    for text in ["one", "two", "three", "four", "five", "six"] {
        stores.send(&alice, &bob, text).await;
    }
    stores.done(edit(&alice, &direct, 6, "edited")).await;
    stores.done(react(&bob, &direct, 6, "👍", true)).await;
    publish(&*stores.one, &channel, &alice, &["a", "b", "c", "d"]).await;
    let damage = async |pattern: &str, words: &[&str]| {
        let keys = server.command(&["KEYS", pattern]).await.unwrap();
        let key = keys.items()[0].text().unwrap().to_owned();
        let words: Vec<&str> = words.iter().map(|word| if *word == "KEY" { &*key } else { word }).collect();
        server.command(&words).await.unwrap().ok().unwrap();
    };
    // Damages a whole page of the log, a page and one more of the inbox, a
    // whole page of the channel; an edit, a reaction, and a record of a
    // conversation.
    damage("*}l:*", &["LSET", "KEY", "3", "nothing that can be read"]).await;
    // Field 15, of one byte: an entry of a kind that only a later release knows.
    damage("*}l:*", &["LSET", "KEY", "2", "z\u{1}x"]).await;
    let of_bob = format!("*}}i:{bob}");
    for (position, what) in
        [("0", "no reference, but longer than one"), ("1", "123456789012345m1:x"), ("3", "x"), ("4", "")]
    {
        damage(&of_bob, &["LSET", "KEY", position, what]).await;
    }
    for position in ["0", "1"] {
        damage("*}y:*", &["LSET", "KEY", position, "\u{1}\u{2}"]).await;
    }
    damage("*}a:*", &["HSET", "KEY", "6", "no edit"]).await;
    damage("*}r:*", &["ZADD", "KEY", "9", "nobody"]).await;
    damage(&format!("*}}u:{bob}"), &["HSET", "KEY", "f:nowhere", "?"]).await;

    let before = store::damaged_skipped();
    let kept = texts(&[(1, "one"), (2, "two"), (5, "five"), (6, "six")]);
    assert_eq!(history(&*stores.two, &bob, &direct).await, kept);
    let filed = inbox(&*stores.two, &bob).await;
    let readable: Vec<_> = filed.iter().filter(|(_, text)| !text.is_empty()).cloned().collect();
    assert_eq!(readable, texts(&[(6, "six")]), "{filed:?}");
    assert_eq!(filed.last().unwrap().0, 8, "every position is passed");
    assert_eq!(publications(&*stores.two, &channel, 0).await, [3, 4]);
    let state = stores.two.conversations(std::slice::from_ref(&direct), Some(&bob)).await.unwrap();
    let last = state[0].as_ref().unwrap().last_message.as_ref().unwrap();
    assert_eq!((text(&last.message.entry).unwrap().as_str(), last.reactions.len()), ("six", 1));
    assert_eq!(stores.two.memberships(&bob).await.unwrap().len(), 1);
    assert!(store::damaged_skipped() >= before + 9, "an operator is told");

    // A damaged last message is not returned; what comes next works.
    damage("*}l:*", &["LSET", "KEY", "5", "nothing"]).await;
    let state = stores.two.conversations(std::slice::from_ref(&direct), None).await.unwrap().remove(0);
    assert_eq!(state.unwrap().last_message, None);
    let seven = stores.send(&alice, &bob, "seven").await;
    assert_eq!(seven.seq, Seq(7));
    let filed = inbox(&*stores.two, &bob).await;
    assert_eq!(filed.last().unwrap(), &(9, "seven".to_owned()));
    let head = stores.look(&bob, store::model::StartPoint::Head).await.start;
    assert_eq!(head.position, Position(9));
    let acknowledged = stores.one.acknowledge(vec![Acknowledge::up_to(bob.clone(), head)]).await;
    assert_eq!(acknowledged.unwrap(), [AcknowledgeResult::Marks(vec![(direct, Seq(7))])]);
}

#[tokio::test]
async fn readers_go_on_past_what_is_damaged_in_redis() {
    on_redis(Kind::Redis).await;
}

#[tokio::test]
async fn readers_go_on_past_what_is_damaged_in_redis_step_by_step() {
    on_redis(Kind::RedisStepByStep).await;
}

#[tokio::test]
async fn readers_go_on_past_what_is_damaged_in_the_embedded_file() {
    const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = (UserId::parse("alice").unwrap(), UserId::parse("bob").unwrap());
    let direct = ConversationId::direct(&alice, &bob);
    let open = async || {
        let shutdown = CancellationToken::new();
        let config = Config::new(Url::Embedded(folder.path().to_owned()));
        (Embedded::open(config, shutdown.clone()).await.unwrap(), shutdown)
    };
    let close = async |store: Arc<Embedded>, shutdown: CancellationToken| {
        shutdown.cancel();
        store.closed().await;
    };
    let (store, shutdown) = open().await;
    for text in ["one", "two", "three", "four", "five", "six"] {
        store.post(vec![message(&alice, &direct, text)]).await.unwrap();
    }
    close(store, shutdown).await;

    let damage = |position: u64| {
        let database = Database::open(folder.path().join("switchboard.redb")).unwrap();
        let change = database.begin_write().unwrap();
        change.open_table(LOG).unwrap().insert(position, &b"\xff nothing"[..]).unwrap();
        change.commit().unwrap();
    };
    damage(3);
    damage(4);
    let (store, shutdown) = open().await;
    let kept = texts(&[(1, "one"), (2, "two"), (5, "five"), (6, "six")]);
    assert_eq!(history(&*store, &bob, &direct).await, kept);
    let filed = texts(&[(1, "one"), (2, "two"), (3, ""), (4, ""), (5, "five"), (6, "six")]);
    assert_eq!(inbox(&*store, &bob).await, filed);
    close(store, shutdown).await;
    damage(6);
    let (store, shutdown) = open().await;
    let state = store.conversations(std::slice::from_ref(&direct), None).await.unwrap().remove(0);
    assert_eq!(state.unwrap().last_message, None);
    store.post(vec![message(&alice, &direct, "seven")]).await.unwrap();
    assert_eq!(inbox(&*store, &bob).await.last().unwrap(), &(7, "seven".to_owned()));
    close(store, shutdown).await;
}
