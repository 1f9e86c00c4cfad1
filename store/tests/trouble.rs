//! What a store reports when it cannot be used. The only test of its process,
//! since the state is one for the process.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use proto::wire::{self, Entry};
use proto::{ConversationId, Fingerprint, NodeIncarnation, UserId};
use store::model::{NewEntry, Post, PostKind};
use store::{Config, Reason, Store, Url};
use testbed::RedisServer;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

const SECRET: &str = "a-secret-word";

/// Opens a store, which stays open while the guard lives.
async fn open(url: &str) -> (Arc<dyn Store>, DropGuard) {
    let stop = CancellationToken::new();
    let mut config = Config::new(Url::Redis(url.parse().unwrap()));
    config.timeout = Duration::from_secs(2);
    (store::open(config, &TaskTracker::new(), stop.clone()).await.unwrap(), stop.drop_guard())
}

async fn post(store: &dyn Store, key: &str) -> store::Result<()> {
    let (alice, bob) = (UserId::parse("alice").unwrap(), UserId::parse("bob").unwrap());
    let what = wire::entry::What::Message(wire::Message::default());
    let fingerprint = Fingerprint(7);
    let entry = Entry { fingerprint: 7, time: 1, by: alice.to_string(), what: Some(what) };
    let post = Post {
        conversation: ConversationId::direct(&alice, &bob),
        by: alice,
        entries: [NewEntry { fingerprint, time: proto::Time(1), bytes: entry.encode_to_vec().into() }].into(),
        kind: PostKind::Message { repeat_key: key.into(), session: None },
        trace: Bytes::new(),
    };
    store.post(vec![post]).await.map(|_| ())
}

/// Waits until this reason is reported, by `ping`, too, if the store does not
/// reply at all.
async fn says(reason: Reason, ping: Option<&dyn Store>) {
    let said = testbed::wait::until(Duration::from_secs(30), reason.as_str(), async || {
        let line = store::store_trouble().filter(|line| line.contains(&format!("({}: ", reason.as_str())))?;
        assert!(!line.contains(SECRET), "{line}");
        match ping {
            None => Some(()),
            Some(store) => {
                let error = store.ping().await.unwrap_err().to_string();
                error.contains(reason.as_str()).then_some(())
            }
        }
    });
    if said.await.is_err() {
        panic!("{} is not said, but {:?}", reason.as_str(), store::store_trouble());
    }
    assert!(store::store_errors(reason) > 0);
}

async fn nothing_is_wrong() {
    let well = async || store::store_trouble().is_none().then_some(());
    testbed::wait::until(Duration::from_secs(30), "nothing is wrong", well).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_of_trouble_is_said_and_over_when_it_is_over() {
    // Nobody listens.
    let mut server = RedisServer::start().await.unwrap();
    server.kill();
    let (away, guard) = open(&server.url()).await;
    says(Reason::Refused, Some(&*away)).await;
    server.restart().await.unwrap();
    nothing_is_wrong().await;
    drop((away, guard));

    // A wrong password, until it is the right one.
    let set = async |words: &[&str]| server.command(words).await.unwrap().ok().unwrap();
    set(&["ACL", "SETUSER", "store", "reset", "on", ">another", "~*", "&*", "+@all"]).await;
    let url = server.url().replace("redis://", &format!("redis://store:{SECRET}@"));
    let (wrong, guard) = open(&url).await;
    says(Reason::Credentials, Some(&*wrong)).await;
    set(&["ACL", "SETUSER", "store", &format!(">{SECRET}")]).await;
    nothing_is_wrong().await;
    let well = async || wrong.ping().await.ok();
    testbed::wait::until(Duration::from_secs(30), "the store answers", well).await.unwrap();

    // The store replies, and refuses calls.
    post(&*wrong, "before").await.unwrap();
    set(&["ACL", "SETUSER", "store", "-rpush"]).await;
    post(&*wrong, "one").await.unwrap_err();
    says(Reason::Permission, None).await;
    wrong.ping().await.unwrap();
    set(&["ACL", "SETUSER", "store", "+rpush"]).await;
    set(&["CONFIG", "SET", "maxmemory", "1"]).await;
    post(&*wrong, "one").await.unwrap_err();
    says(Reason::Memory, None).await;
    set(&["CONFIG", "SET", "maxmemory", "0"]).await;
    post(&*wrong, "one").await.unwrap();
    nothing_is_wrong().await;
    drop((wrong, guard));

    // A name that is not known; the bus has its own trouble.
    let (unknown, guard) = open("redis://no-such-host.invalid").await;
    says(Reason::Name, Some(&*unknown)).await;
    drop((unknown, guard));
    assert_eq!(store::bus_trouble(), None);
    server.kill();
    let config = Config::new(Url::Redis(server.url().parse().unwrap()));
    let bus = store::open_bus(&config, &TaskTracker::new(), CancellationToken::new()).unwrap();
    let subscribed = bus.subscribe(NodeIncarnation::new("gw").unwrap()).await;
    assert!(subscribed.map(|_| ()).unwrap_err().to_string().contains("refused"));
    assert!(store::bus_trouble().unwrap().contains("nobody listens there"));
}
