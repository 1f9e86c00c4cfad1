//! What dies, hangs, forgets or is not there, while messages go to the archive.

use std::sync::Arc;
use std::time::Duration;

use proto::{ConversationId, Cursor, ResetReason, Seq, UserId};
use store::model::{Amenders, Archived, HistoryRange, InboxQuery, PostResult};
use store::{Error, Store};
use testbed::{FaultProxy, PostgresServer, RedisServer};

use super::{
    archive_all, archive_up_to, archiving, empty, inbox, numbers, page, post, postgres, say, say_many, texts,
    users, whole,
};
use crate::contract::harness::{Done, edit, only, react};
use crate::contract::redis::{Open, config, eventually, key, open};

/// A copier that is dropped at any moment stands for a router that dies there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copier_that_dies_anywhere_loses_and_doubles_nothing() {
    let server = RedisServer::start().await.unwrap();
    let archive = empty().await;
    let (dying, other) =
        (open(archiving(server.url(), &archive)).await, open(archiving(server.url(), &archive)).await);
    let (alice, bob) = users();
    let direct = ConversationId::direct(&alice, &bob);
    let mut left = 0;
    for round in 1..=40 {
        say_many(&other.store, &alice, &bob, round * 3 - 2..=round * 3).await;
        stopped(&dying, usize::try_from(round % 20).unwrap()).await;
        // Nobody gives its buckets back but time.
        forget_leases(&server).await;
        if round % 4 == 0 {
            left += archive_all(&other.store).await;
        }
        assert_eq!(whole(&other.store, &bob, &direct, 50).await, numbers(1..=round * 3), "round {round}");
    }
    assert!(left > 0, "something was left to the other one");
    archive_all(&other.store).await;
    assert_eq!(whole(&other.store, &alice, &direct, 50).await, numbers(1..=120));
}

/// Drops a call that archives after so many polls.
async fn stopped(open: &Open, polls: usize) {
    let mut call = open.store.archive();
    let mut left = polls;
    std::future::poll_fn(|task| {
        if left == 0 {
            return std::task::Poll::Ready(());
        }
        left -= 1;
        std::future::Future::poll(call.as_mut(), task).map(|_| ())
    })
    .await;
}

async fn forget_leases(server: &RedisServer) {
    let leases = server.command(&["KEYS", "{*}q"]).await.unwrap();
    for lease in leases.items() {
        server.command(&["DEL", lease.text().unwrap()]).await.unwrap().ok().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_copiers_and_two_writers_at_once_do_no_harm() {
    let server = RedisServer::start().await.unwrap();
    let archive = empty().await;
    let (one, two) =
        (open(archiving(server.url(), &archive)).await, open(archiving(server.url(), &archive)).await);
    let (alice, bob) = users();
    let direct = ConversationId::direct(&alice, &bob);
    let write = |store: Arc<dyn Store>, by: UserId| {
        let direct = direct.clone();
        async move {
            for n in 0..60 {
                say(&store, &by, &direct, &format!("{by} {n}")).await;
            }
        }
    };
    let copy = |store: Arc<dyn Store>| {
        let server = &server;
        async move {
            for _ in 0..60 {
                store.archive().await.unwrap();
                forget_leases(server).await;
            }
        }
    };
    tokio::join!(
        write(one.store.clone(), alice.clone()),
        write(two.store.clone(), bob.clone()),
        copy(one.store.clone()),
        copy(two.store.clone())
    );
    archive_all(&one.store).await;
    let all = whole(&two.store, &alice, &direct, 50).await;
    for by in [&alice, &bob] {
        let of: Vec<_> = all.iter().filter(|text| text.starts_with(by.as_str())).cloned().collect();
        assert_eq!(of, (0..60).map(|n| format!("{by} {n}")).collect::<Vec<_>>());
    }
    assert_eq!(all.len(), 120);
    let seqs = page(&one.store, &alice, &direct, HistoryRange::After(Seq(0)), 200).await.unwrap();
    assert!(seqs.messages.iter().map(|message| message.message.seq.0).eq(1..=120));
}

/// The archive has messages that Redis forgot, and Redis gives their numbers again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_redis_forgot_after_it_was_copied_gives_way_to_what_it_has_anew() {
    let mut server = RedisServer::start().await.unwrap();
    let config = archiving(server.url(), &empty().await);
    let (alice, bob) = users();
    let direct = ConversationId::direct(&alice, &bob);
    {
        let before = open(config.clone()).await;
        for text in ["1", "2", "3"] {
            say(&before.store, &alice, &direct, text).await;
        }
        let copy = server.copy_data().await.unwrap();
        for text in ["lost 4", "lost 5", "lost 6"] {
            say(&before.store, &alice, &direct, text).await;
        }
        assert_eq!(archive_all(&before.store).await, 5);
        server.put_back(&copy).await.unwrap();
    }
    let store = &open(config).await.store;
    for text in ["4", "5", "6", "7"] {
        say(store, &bob, &direct, text).await;
    }
    assert_eq!(whole(store, &alice, &direct, 2).await, numbers(1..=7));
    assert_eq!(archive_all(store).await, 6);
    assert_eq!(whole(store, &alice, &direct, 2).await, numbers(1..=7));
    assert_eq!(inbox(store, &bob, 3).await.len(), 7);
}

/// Redis forgot messages that the archive has, and nobody has written since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_number_that_the_archive_has_is_given_again() {
    let mut server = RedisServer::start().await.unwrap();
    let config = archiving(server.url(), &empty().await);
    let (alice, bob) = users();
    let direct = ConversationId::direct(&alice, &bob);
    {
        let before = open(config.clone()).await;
        say_many(&before.store, &alice, &bob, 1..=3).await;
        archive_all(&before.store).await;
        let copy = server.copy_data().await.unwrap();
        say_many(&before.store, &alice, &bob, 4..=6).await;
        Done::of(post(&before.store, react(&bob, &direct, 1, "x", true)).await);
        assert_eq!(archive_all(&before.store).await, 4);
        server.put_back(&copy).await.unwrap();
    }
    let store = &open(config).await.store;
    archive_all(store).await;
    assert_eq!(whole(store, &alice, &direct, 2).await, numbers(1..=5));
    assert_eq!(say(store, &alice, &direct, "6").await.seq, Seq(6), "the sixth had not been copied");
    Done::of(post(store, react(&bob, &direct, 5, "y", true)).await);
    archive_all(store).await;
    assert_eq!(whole(store, &bob, &direct, 4).await, numbers(1..=6));
}

/// A week in the archive that is older than anything is kept is dropped as a whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_week_that_is_too_old_is_dropped_and_who_looks_for_it_is_told_trimmed() {
    let server = RedisServer::start().await.unwrap();
    let postgres = PostgresServer::start().await.unwrap();
    let (alice, bob) = users();
    let direct = ConversationId::direct(&alice, &bob);
    {
        let first = open(archiving(server.url(), &postgres.url())).await;
        say_many(&first.store, &alice, &bob, 1..=4).await;
        Done::of(post(&first.store, react(&bob, &direct, 2, "x", true)).await);
        archive_all(&first.store).await;
        postgres
            .run(
                "CREATE TABLE switchboard_entries_w100 PARTITION OF switchboard_entries FOR VALUES IN (100); \
                 UPDATE switchboard_entries SET week = 100",
            )
            .unwrap();
        say_many(&first.store, &alice, &bob, 5..=8).await;
        archive_all(&first.store).await;
        assert_eq!(whole(&first.store, &bob, &direct, 3).await, numbers(1..=8));
    }
    let store = &open(archiving(server.url(), &postgres.url())).await.store;
    archive_all(store).await;
    let left = postgres
        .run("SELECT count(*) FROM switchboard_entries; SELECT to_regclass('switchboard_entries_w100')");
    assert_eq!(left.unwrap(), "4");
    assert_eq!(whole(store, &bob, &direct, 3).await, numbers(4..=8));
    let query = InboxQuery { user: bob.clone(), after: Cursor::ORIGIN, limit: 5, session: None, marks: None };
    let page = store.read_inbox(vec![query]).await.unwrap().remove(0);
    assert!(matches!(page.reset, Some((ResetReason::Trimmed, _))));
    let keys = server.command(&["KEYS", "{*}z:*"]).await.unwrap();
    assert!(keys.items().is_empty(), "what amendments made of them is forgotten");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_archive_is_away_nothing_is_trimmed_and_who_needs_it_is_told() {
    let server = RedisServer::start().await.unwrap();
    let mut postgres = PostgresServer::start().await.unwrap();
    let open = open(archiving(server.url(), &postgres.url())).await;
    let ((alice, bob), store) = (users(), &open.store);
    let direct = ConversationId::direct(&alice, &bob);
    say_many(store, &alice, &bob, 1..=10).await;
    assert_eq!(archive_all(store).await, 9);
    postgres.end().await.unwrap();
    say_many(store, &alice, &bob, 11..=14).await;
    assert!(matches!(store.archive().await, Err(Error::Archive(_))));
    assert_eq!(
        texts(&page(store, &bob, &direct, HistoryRange::Newest, 50).await.unwrap()),
        numbers(10..=14),
        "what is at hand is a page"
    );
    let old = page(store, &bob, &direct, HistoryRange::Before(Seq(5)), 50).await;
    assert!(matches!(old, Err(Error::Archive(_))), "{old:?}");
    let query = InboxQuery { user: bob.clone(), after: Cursor::ORIGIN, limit: 5, session: None, marks: None };
    let resumed = store.read_inbox(vec![query]).await;
    assert!(matches!(resumed, Err(Error::Archive(_))), "neither a reset nor an empty page");
    let edited = only(Amenders::Sender, edit(&alice, &direct, 1, "one"));
    assert!(matches!(store.post(vec![edited]).await, Err(Error::Archive(_))));
    say(store, &alice, &direct, "15").await;
    assert!(store.conversations(std::slice::from_ref(&direct), Some(&bob)).await.unwrap()[0].is_some());
    postgres.restart().await.unwrap();
    eventually("the archive is back", async || store.archive().await.ok()).await;
    archive_all(store).await;
    assert_eq!(whole(store, &bob, &direct, 4).await, numbers(1..=15));
}

/// As one whose disk is full.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_that_takes_nothing_more_is_still_read() {
    let server = RedisServer::start().await.unwrap();
    let mut postgres = PostgresServer::start().await.unwrap();
    let config = archiving(server.url(), &postgres.database("archive").unwrap());
    let (alice, bob) = users();
    let direct = ConversationId::direct(&alice, &bob);
    let before = open(config.clone()).await;
    say_many(&before.store, &alice, &bob, 1..=4).await;
    assert_eq!(archive_all(&before.store).await, 3);
    postgres.run("ALTER DATABASE archive SET default_transaction_read_only = on").unwrap();
    postgres.restart().await.unwrap();
    let after = open(config).await;
    say_many(&after.store, &alice, &bob, 5..=6).await;
    for store in [&before.store, &after.store] {
        assert!(matches!(store.archive().await, Err(Error::Archive(_))));
        assert_eq!(whole(store, &bob, &direct, 3).await, numbers(1..=6));
    }
    postgres.run("ALTER DATABASE archive SET default_transaction_read_only = off").unwrap();
    postgres.restart().await.unwrap();
    eventually("it is written to again", async || after.store.archive().await.ok()).await;
    archive_all(&after.store).await;
    assert_eq!(whole(&after.store, &bob, &direct, 3).await, numbers(1..=6));
}

/// It takes what it is sent and says nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_that_hangs_is_given_up_and_then_left_alone() {
    let server = RedisServer::start().await.unwrap();
    let proxy = FaultProxy::start(([127, 0, 0, 1], postgres().await.port()).into()).await.unwrap();
    let url = empty()
        .await
        .replace(&format!(":{}/", postgres().await.port()), &format!(":{}/", proxy.address().port()));
    let open = open(archiving(server.url(), &url)).await;
    let ((alice, bob), store) = (users(), &open.store);
    let direct = ConversationId::direct(&alice, &bob);
    say_many(store, &alice, &bob, 1..=3).await;
    assert_eq!(archive_all(store).await, 2);
    proxy.hold();
    let old = page(store, &bob, &direct, HistoryRange::Before(Seq(2)), 50).await;
    assert!(matches!(old, Err(Error::Archive(text)) if text.contains("no answer")));
    let again = page(store, &bob, &direct, HistoryRange::Before(Seq(2)), 50).await;
    assert!(
        matches!(again, Err(Error::Archive(text)) if text.contains("lately")),
        "nobody waits for it again"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_without_the_archive_says_so() {
    let server = RedisServer::start().await.unwrap();
    let with = open(archiving(server.url(), &empty().await)).await;
    let without = open(config(server.url())).await;
    let (alice, bob) = users();
    let direct = ConversationId::direct(&alice, &bob);
    say_many(&with.store, &alice, &bob, 1..=4).await;
    archive_all(&with.store).await;
    let old = page(&without.store, &bob, &direct, HistoryRange::Before(Seq(3)), 50).await;
    assert!(matches!(old, Err(Error::Archive(text)) if text.contains("--archive")));
    let edited = only(Amenders::Sender, edit(&alice, &direct, 1, "one"));
    assert!(matches!(without.store.post(vec![edited]).await, Err(Error::Archive(_))));
    say(&without.store, &alice, &direct, "5").await;
    assert_eq!(without.store.archive().await.unwrap(), Archived::default());
}

/// The oldest messages of a long conversation are gone, in the archive, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_keeps_its_newest_messages_here_and_there_together() {
    let server = RedisServer::start().await.unwrap();
    let mut config = archiving(server.url(), &empty().await);
    config.bounds.conversation_messages = 32;
    let open = open(config).await;
    let ((alice, bob), store) = (users(), &open.store);
    let direct = ConversationId::direct(&alice, &bob);
    say_many(store, &alice, &bob, 1..=20).await;
    archive_all(store).await;
    say_many(store, &alice, &bob, 21..=60).await;
    assert_eq!(whole(store, &alice, &direct, 50).await, numbers(1..=60), "nothing goes before it is copied");
    archive_all(store).await;
    assert_eq!(whole(store, &alice, &direct, 50).await, numbers(29..=60));
    assert_eq!(post(store, react(&bob, &direct, 28, "x", true)).await, PostResult::NoSuchMessage);
    let query = InboxQuery { user: bob.clone(), after: Cursor::ORIGIN, limit: 5, session: None, marks: None };
    let page = store.read_inbox(vec![query]).await.unwrap().remove(0);
    assert!(matches!(page.reset, Some((ResetReason::Trimmed, _))));
}

/// What is numbered and not filed for everyone stays where whoever mends it looks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_filed_yet_is_not_trimmed() {
    let server = RedisServer::start().await.unwrap();
    let archive = empty().await;
    let stepwise = open(archiving(format!("{}?steps=separate", server.url()), &archive)).await;
    let store = &stepwise.store;
    let (alice, bob) = users();
    let direct = ConversationId::direct(&alice, &bob);
    say_many(store, &alice, &bob, 1..=3).await;
    let log = key(&server, &format!("{{*}}l:{direct}")).await;
    let notes = log.replace(&format!("l:{direct}"), "p");
    server.command(&["HSET", &notes, direct.as_str(), "0 token"]).await.unwrap().ok().unwrap();
    assert_eq!(archive_all(store).await, 0);
    assert_eq!(server.command(&["LLEN", &log]).await.unwrap().integer(), Some(3));
    assert_eq!(store.repair(Duration::ZERO).await.unwrap(), 1);
    archive_up_to(store, 2).await;
    assert_eq!(whole(store, &alice, &direct, 50).await, numbers(1..=3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_the_server_is_who_it_says_or_nothing_is_sent() {
    let server = RedisServer::start().await.unwrap();
    let postgres = PostgresServer::with_tls("ours").await.unwrap();
    let database = postgres.database("archive").unwrap().replace("127.0.0.1", "switchboard");
    let url = |authority: &str| {
        let file = testbed::certificates().join(format!("{authority}.ca.pem"));
        format!("{database}?hostaddr=127.0.0.1&sslmode=require&sslrootcert={}", file.display())
    };
    let (alice, bob) = users();
    let direct = ConversationId::direct(&alice, &bob);
    let wrong = open(archiving(server.url(), &url("theirs"))).await;
    say_many(&wrong.store, &alice, &bob, 1..=3).await;
    let refused = wrong.store.archive().await;
    assert!(matches!(&refused, Err(Error::Archive(text)) if text.contains("certificate")), "{refused:?}");
    let plain = open(archiving(server.url(), &postgres.database("other").unwrap())).await;
    assert!(matches!(plain.store.archive().await, Err(Error::Archive(_))), "the server asks for TLS");
    let right = open(archiving(server.url(), &url("ours"))).await;
    assert_eq!(archive_all(&right.store).await, 2);
    assert_eq!(whole(&right.store, &bob, &direct, 2).await, numbers(1..=3));
    let config = archiving(server.url(), &url("ours")).archive.unwrap();
    let look = store::look_at_archive(&config).await.unwrap();
    assert!(look.what.starts_with("PostgreSQL 1") && look.warnings.is_empty(), "{look:?}");
    let config = archiving(server.url(), &url("theirs")).archive.unwrap();
    assert!(store::look_at_archive(&config).await.unwrap_err().contains("certificate"));
}
