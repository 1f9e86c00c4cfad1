//! A store with an archive: what leaves Redis is read as if it were there, whatever
//! dies in between, and while the archive is away nothing is lost (`failures`).

mod failures;

use std::sync::Arc;
use std::time::Duration;

use proto::{ConversationId, Cursor, Seq, Time, UserId};
use store::model::{
    Amenders, Archived, Change, HistoryPage, HistoryQuery, HistoryRange, InboxQuery, PostResult,
};
use store::{ArchiveConfig, Config, Error, Store};
use testbed::{PostgresServer, RedisCluster, RedisServer};
use tokio::sync::OnceCell;

use super::{config, eventually, key, open};
use crate::contract::harness::{
    Done, changed, edit, keyed, keyed_edit, message, only, react, recall, text, word,
};

/// One PostgreSQL for all tests: each has a database of its own.
async fn postgres() -> &'static PostgresServer {
    static SERVER: OnceCell<PostgresServer> = OnceCell::const_new();
    SERVER.get_or_init(|| async { PostgresServer::start().await.unwrap() }).await
}

/// The URL of an empty archive.
async fn empty() -> String {
    postgres().await.database(&format!("archive_{:016x}", rand::random::<u64>())).unwrap()
}

/// Archives everything at once.
fn archiving(url: String, archive: &str) -> Config {
    let mut archive = ArchiveConfig::new(archive.parse().unwrap());
    archive.after = Duration::ZERO;
    Config { archive: Some(archive), ..config(url) }
}

/// Alice and Bob of one test alone.
fn users() -> (UserId, UserId) {
    let tag = rand::random::<u32>();
    let user = |name: &str| UserId::parse(&format!("{name}-{tag:08x}")).unwrap();
    (user("alice"), user("bob"))
}

/// Archives until so many entries have left: in the stepwise way notes of what was
/// filed are taken off a moment later, or by the sweep.
async fn archive_up_to(store: &Arc<dyn Store>, entries: u64) {
    let mut done = 0;
    eventually("the entries are archived", async || {
        store.repair(Duration::ZERO).await.unwrap();
        done += store.archive().await.unwrap().entries;
        (done >= entries).then_some(())
    })
    .await;
    assert_eq!(done, entries);
}

/// Archives all that there is; returns how many entries.
async fn archive_all(store: &Arc<dyn Store>) -> u64 {
    let mut entries = 0;
    loop {
        let Archived { entries: some, more, .. } = store.archive().await.unwrap();
        entries += some;
        if !more {
            return entries;
        }
    }
}

async fn say(store: &Arc<dyn Store>, by: &UserId, conversation: &ConversationId, text: &str) -> Done {
    Done::of(post(store, message(by, conversation, text)).await)
}

async fn post(store: &Arc<dyn Store>, post: store::model::Post) -> PostResult {
    store.post(vec![post]).await.unwrap().remove(0)
}

/// Messages that say 1, 2, 3, by both in turn.
async fn say_many(
    store: &Arc<dyn Store>,
    one: &UserId,
    other: &UserId,
    numbers: std::ops::RangeInclusive<u64>,
) {
    let conversation = ConversationId::direct(one, other);
    let of = |n: u64| if n.is_multiple_of(2) { other } else { one };
    let posts = numbers.map(|n| message(of(n), &conversation, &n.to_string())).collect();
    for posted in store.post(posts).await.unwrap() {
        Done::of(posted);
    }
}

async fn page(
    store: &Arc<dyn Store>,
    user: &UserId,
    conversation: &ConversationId,
    range: HistoryRange,
    limit: usize,
) -> Result<HistoryPage, Error> {
    let query = HistoryQuery { user: user.clone(), conversation: conversation.clone(), range, limit };
    Ok(store.history(query).await?.expect("the reader is a member"))
}

fn texts(page: &HistoryPage) -> Vec<String> {
    page.messages.iter().map(|message| text(&message.message.entry).unwrap()).collect()
}

/// A whole conversation, read backwards and forwards in pages: both must be the same.
async fn whole(
    store: &Arc<dyn Store>,
    user: &UserId,
    conversation: &ConversationId,
    limit: usize,
) -> Vec<String> {
    let (mut backwards, mut range) = (Vec::new(), HistoryRange::Newest);
    loop {
        let page = page(store, user, conversation, range, limit).await.unwrap();
        assert!(!page.messages.is_empty() || !page.more, "a page is empty only at the end");
        backwards.splice(0..0, texts(&page));
        let Some(first) = page.messages.first().filter(|_| page.more) else { break };
        range = HistoryRange::Before(first.message.seq);
    }
    let (mut forwards, mut after) = (Vec::new(), Seq(0));
    loop {
        let page = page(store, user, conversation, HistoryRange::After(after), limit).await.unwrap();
        forwards.extend(texts(&page));
        let Some(last) = page.messages.last().filter(|_| page.more) else { break };
        after = last.message.seq;
    }
    assert_eq!(backwards, forwards);
    backwards
}

fn numbers(range: std::ops::RangeInclusive<u64>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

/// An inbox from its beginning, in pages.
async fn inbox(store: &Arc<dyn Store>, user: &UserId, limit: usize) -> Vec<String> {
    let (mut after, mut words) = (Cursor::ORIGIN, Vec::new());
    loop {
        let query = InboxQuery { user: user.clone(), after, limit, session: None, marks: None };
        let page = store.read_inbox(vec![query]).await.unwrap().remove(0);
        assert_eq!(page.reset, None);
        let Some(last) = page.events.last() else { return words };
        let fingerprint = proto::Fingerprint(last.event.entry.fingerprint);
        after = Cursor { position: last.position, fingerprint };
        words.extend(page.events.iter().map(|filed| word(&filed.event)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_is_read_whole_whatever_of_it_has_left() {
    let server = RedisServer::start().await.unwrap();
    let archive = empty().await;
    for url in [server.url(), format!("{}?steps=separate", server.url())] {
        let open = open(archiving(url, &archive)).await;
        let ((alice, bob), store) = (users(), &open.store);
        let direct = ConversationId::direct(&alice, &bob);
        say_many(store, &alice, &bob, 1..=40).await;
        archive_up_to(store, 39).await;
        say_many(store, &alice, &bob, 41..=50).await;
        for limit in [1, 7, 10, 11, 100] {
            assert_eq!(whole(store, &alice, &direct, limit).await, numbers(1..=50), "pages of {limit}");
        }
        let newest = page(store, &bob, &direct, HistoryRange::Newest, 20).await.unwrap();
        assert_eq!(texts(&newest), numbers(31..=50), "a page goes on where the log ends");
        let middle = page(store, &bob, &direct, HistoryRange::After(Seq(30)), 20).await.unwrap();
        assert_eq!(texts(&middle), numbers(31..=50));
        archive_up_to(store, 10).await;
        assert_eq!(archive_all(store).await, 0, "all but the newest");
        assert_eq!(whole(store, &bob, &direct, 9).await, numbers(1..=50));
        let log = key(&server, &format!("{{*}}l:{direct}")).await;
        assert_eq!(server.command(&["LLEN", &log]).await.unwrap().integer(), Some(1));
        let index = server.command(&["KEYS", "{*}g"]).await.unwrap();
        assert!(index.items().is_empty(), "nothing is looked for any more");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inbox_is_read_whole_whatever_its_references_lead_to() {
    let server = RedisServer::start().await.unwrap();
    let open = open(archiving(server.url(), &empty().await)).await;
    let ((alice, bob), store) = (users(), &open.store);
    let direct = ConversationId::direct(&alice, &bob);
    say_many(store, &alice, &bob, 1..=5).await;
    post(store, edit(&alice, &direct, 1, "one")).await;
    archive_all(store).await;
    post(store, react(&bob, &direct, 1, "x", true)).await;
    say_many(store, &alice, &bob, 6..=8).await;
    archive_all(store).await;
    let mut expected: Vec<String> = (1..=5).map(|n| format!("{n}:{n}")).collect();
    expected.extend(["edit 1:one".to_owned(), "x+1".to_owned()]);
    expected.extend((6..=8).map(|n| format!("{n}:{n}")));
    for limit in [1, 4, 100] {
        assert_eq!(inbox(store, &alice, limit).await, expected);
        assert_eq!(inbox(store, &bob, limit).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_has_left_is_amended_by_whom_it_may() {
    let server = RedisServer::start().await.unwrap();
    for url in [server.url(), format!("{}?steps=separate", server.url())] {
        let open = open(archiving(url, &empty().await)).await;
        let ((alice, bob), store) = (users(), &open.store);
        let direct = ConversationId::direct(&alice, &bob);
        say_many(store, &alice, &bob, 1..=4).await;
        archive_up_to(store, 3).await;
        let by_sender = |post| only(Amenders::Sender, post);
        assert_eq!(post(store, by_sender(edit(&bob, &direct, 1, "no"))).await, PostResult::NotAllowed);
        let once = || by_sender(keyed_edit(&alice, &direct, 1, "first", "key"));
        Done::of(post(store, once()).await);
        assert_eq!(post(store, once()).await, PostResult::Unchanged, "a repeat");
        Done::of(post(store, react(&bob, &direct, 1, "x", true)).await);
        Done::of(post(store, by_sender(recall(&bob, &direct, 2))).await);
        assert_eq!(post(store, by_sender(edit(&bob, &direct, 2, "no"))).await, PostResult::Recalled);
        assert_eq!(post(store, by_sender(recall(&bob, &direct, 9))).await, PostResult::NoSuchMessage);
        archive_up_to(store, 3).await;
        let read = page(store, &alice, &direct, HistoryRange::Newest, 10).await.unwrap();
        assert_eq!(texts(&read), ["first", "", "3", "4"]);
        assert_eq!(read.messages[0].reactions, [("x".to_owned(), vec![bob.clone()])]);
        assert!(read.messages[0].edited.is_some() && read.messages[1].recalled.is_some());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_of_what_has_left_is_the_same_message() {
    let server = RedisServer::start().await.unwrap();
    let open = open(archiving(server.url(), &empty().await)).await;
    let ((alice, bob), store) = (users(), &open.store);
    let direct = ConversationId::direct(&alice, &bob);
    let first = Done::of(post(store, keyed(&alice, &direct, "once", "key")).await);
    say(store, &bob, &direct, "next").await;
    assert_eq!(archive_all(store).await, 1);
    let again = post(store, keyed(&alice, &direct, "once", "key")).await;
    assert!(matches!(again, PostResult::Done { seq, duplicate: true, .. } if seq == first.seq), "{again:?}");
    assert_eq!(whole(store, &bob, &direct, 10).await, ["once", "next"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_talked_and_what_is_listed_does_not_depend_on_what_has_left() {
    let server = RedisServer::start().await.unwrap();
    let open = open(archiving(server.url(), &empty().await)).await;
    let ((alice, bob), store) = (users(), &open.store);
    let direct = ConversationId::direct(&alice, &bob);
    say(store, &bob, &direct, "hi").await;
    say_many(store, &alice, &alice, 1..=2).await;
    for n in 0..5 {
        say(store, &alice, &direct, &n.to_string()).await;
    }
    let ids = [direct.clone()];
    let before = store.conversations(&ids, Some(&bob)).await.unwrap();
    archive_all(store).await;
    assert_eq!(store.talked(&ids).await.unwrap(), [true]);
    assert_eq!(store.conversations(&ids, Some(&bob)).await.unwrap(), before);
    assert!(before[0].as_ref().unwrap().last_message.is_some());
}

/// In the stepwise way and in one call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_who_joined_later_sees_nothing_earlier_of_what_has_left() {
    let server = RedisServer::start().await.unwrap();
    let open = open(archiving(server.url(), &empty().await)).await;
    let ((alice, bob), store) = (users(), &open.store);
    let group = ConversationId::new_group(Time::now());
    let make = Change { owner: Some(alice.clone()), add: vec![alice.clone()], ..Change::default() };
    Done::of(post(store, changed(&alice, &group, make)).await);
    say(store, &alice, &group, "before").await;
    archive_all(store).await;
    let version = store.conversations(std::slice::from_ref(&group), None).await.unwrap().remove(0).unwrap();
    let expect = version.group.unwrap().version;
    let add = Change { expect, add: vec![bob.clone()], ..Change::default() };
    Done::of(post(store, changed(&alice, &group, add)).await);
    for text in ["after", "later", "last"] {
        say(store, &alice, &group, text).await;
    }
    assert!(archive_all(store).await > 0);
    assert_eq!(whole(store, &bob, &group, 2).await, ["after", "later", "last"]);
    assert_eq!(whole(store, &alice, &group, 2).await, ["before", "after", "later", "last"]);
    assert_eq!(inbox(store, &bob, 2).await, ["change", "2:after", "3:later", "4:last"]);
    let refused = post(store, react(&bob, &group, 1, "x", true)).await;
    assert_eq!(refused, PostResult::NoSuchMessage);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_cluster_it_is_the_same() {
    let cluster = RedisCluster::start(3).await.unwrap();
    let open = open(archiving(cluster.url(), &empty().await)).await;
    let ((alice, bob), store) = (users(), &open.store);
    say_many(store, &alice, &bob, 1..=20).await;
    archive_up_to(store, 19).await;
    say_many(store, &alice, &bob, 21..=22).await;
    assert_eq!(whole(store, &alice, &ConversationId::direct(&alice, &bob), 8).await, numbers(1..=22));
}
