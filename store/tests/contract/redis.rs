//! What only the Redis store promises: it survives failures of its server,
//! repairs what a crash between two steps has left (`steps`) or what a refused
//! command has left (`half`), files once in whatever history stays
//! (`histories`), leaves nobody untold (`untold`), costs little (`costs`), does
//! a little at a time (`weights`), lets gateways find each other (`peers`), and has
//! an archive (`archive`).

mod archive;
mod costs;
mod half;
mod histories;
mod peers;
mod steps;
mod untold;
mod weights;

use std::sync::Arc;
use std::time::Duration;

use proto::{ConversationId, Cursor, FORM, NodeIncarnation, Position, ResetReason, UserId};
use store::model::{
    Acknowledge, AcknowledgeResult, Attach, Change, HandedOut, HistoryQuery, HistoryRange, InboxQuery,
    Location, PostResult, StartPoint, Version,
};
use store::{Bus, BusItem, Config, Error, Loss, Store, Subscription, Url};
use testbed::{RedisSentinel, RedisServer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::harness::{Done, changed, message, old, text};

struct Open {
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn config(url: String) -> Config {
    let mut config = Config::new(Url::Redis(url.parse().unwrap()));
    config.timeout = Duration::from_secs(5);
    config
}

async fn open(config: Config) -> Open {
    let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
    Open {
        store: store::open(config.clone(), &tasks, shutdown.clone()).await.unwrap(),
        bus: store::open_bus(&config, &tasks, shutdown.clone()).unwrap(),
        tasks,
        shutdown,
    }
}

impl Open {
    async fn send(&self, by: &UserId, to: &UserId, text: &str) -> Result<Done, Error> {
        let post = message(by, &ConversationId::direct(by, to), text);
        Ok(Done::of(self.store.post(vec![post]).await?.remove(0)))
    }

    /// Sends a message, and has it acknowledged.
    async fn delivers(&self, by: &UserId, to: &UserId) {
        self.send(by, to, "hi").await.unwrap();
        let cursor = self.look(to, StartPoint::Head).await.start;
        let acknowledge = Acknowledge::up_to(to.clone(), cursor);
        let done = self.store.acknowledge(vec![acknowledge]).await.unwrap();
        assert!(matches!(&done[0], AcknowledgeResult::Marks(marks) if marks.len() == 1));
    }

    async fn inbox(&self, user: &UserId) -> Vec<String> {
        let after = Cursor::ORIGIN;
        let query = InboxQuery { user: user.clone(), after, limit: 1000, session: None, marks: None };
        let page = self.store.read_inbox(vec![query]).await.unwrap().remove(0);
        assert_eq!(page.reset, None);
        page.events.iter().map(|filed| text(&filed.event.entry).unwrap_or_default()).collect()
    }

    async fn look(&self, user: &UserId, from: StartPoint) -> store::model::AttachResult {
        let attach = Attach { user: user.clone(), location: None, from };
        self.store.attach(vec![attach]).await.unwrap().remove(0)
    }

    /// A session of the user on a node of its own.
    async fn session(&self, user: &UserId) -> Box<dyn Subscription> {
        let node = NodeIncarnation::new("gw").unwrap();
        let subscription = self.bus.subscribe(node.clone()).await.unwrap();
        let location =
            Location { session: proto::SessionId::random(), device: proto::DeviceId::random(), node };
        let attach = Attach { user: user.clone(), location: Some(location), from: StartPoint::Head };
        self.store.attach(vec![attach]).await.unwrap();
        subscription
    }
}

fn users() -> (UserId, UserId) {
    (UserId::parse("alice").unwrap(), UserId::parse("bob").unwrap())
}

/// Repeats until it succeeds, for half a minute at most.
async fn eventually<T>(what: &str, attempt: impl AsyncFnMut() -> Option<T>) -> T {
    testbed::wait::until(Duration::from_secs(30), what, attempt).await.unwrap()
}

/// The only key that matches.
async fn key(server: &RedisServer, pattern: &str) -> String {
    let found = server.command(&["KEYS", pattern]).await.unwrap();
    assert_eq!(found.items().len(), 1, "{pattern}");
    found.items()[0].text().unwrap().to_owned()
}

/// Drops a post after this many polls, wherever it is then.
async fn interrupted(open: &Open, post: store::model::Post, polls: usize) {
    let mut call = open.store.post(vec![post]);
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

/// Reads the subscription up to a loss of this kind.
async fn loses(subscription: &mut dyn Subscription, loss: Loss) {
    let heard =
        timeout(Duration::from_secs(30), async { while subscription.next().await != BusItem::Lost(loss) {} });
    heard.await.unwrap_or_else(|_| panic!("{loss:?} is not said within 30 seconds"));
}

/// The next incarnation of the store that the subscription reports.
async fn hears_the_store(subscription: &mut dyn Subscription) -> proto::StoreIncarnation {
    let heard = timeout(Duration::from_secs(30), async {
        loop {
            if let BusItem::Store(store) = subscription.next().await {
                return store;
            }
        }
    });
    heard.await.expect("an incarnation is said within 30 seconds")
}

async fn hears_an_announcement(subscription: &mut dyn Subscription) {
    let heard = timeout(Duration::from_secs(30), async {
        loop {
            if let BusItem::Envelope(envelope) = subscription.next().await
                && !envelope.announcements.is_empty()
            {
                return;
            }
        }
    });
    heard.await.expect("an announcement is heard within 30 seconds");
}

#[tokio::test]
async fn whoever_waits_for_the_tasks_of_a_bus_has_given_the_lease_back() {
    let server = RedisServer::start().await.unwrap();
    let (leaving, staying) = (open(config(server.url())).await, open(config(server.url())).await);
    let node = NodeIncarnation::new("gw").unwrap();
    let _ear = leaving.bus.subscribe(node.clone()).await.unwrap();
    assert_eq!(staying.store.nodes().await.unwrap(), [node]);
    leaving.shutdown.cancel();
    leaving.tasks.close();
    assert!(!leaving.tasks.is_empty(), "the tasks are those of the owner");
    timeout(Duration::from_secs(10), leaving.tasks.wait()).await.unwrap();
    assert_eq!(staying.store.nodes().await.unwrap(), []);
}

#[tokio::test]
async fn scripts_that_redis_has_forgotten_are_sent_again() {
    let server = RedisServer::start().await.unwrap();
    let open = open(config(server.url())).await;
    let (alice, bob) = users();
    open.send(&alice, &bob, "one").await.unwrap();
    server.command(&["SCRIPT", "FLUSH"]).await.unwrap().ok().unwrap();
    open.send(&alice, &bob, "two").await.unwrap();
    assert_eq!(open.inbox(&bob).await, ["one", "two"]);
}

#[tokio::test]
async fn a_store_that_is_away_at_the_start_is_used_when_it_comes() {
    let mut server = RedisServer::start().await.unwrap();
    server.kill();
    let mut config = config(server.url());
    config.timeout = Duration::from_millis(500);
    let open = open(config).await;
    assert!(matches!(open.store.ping().await, Err(Error::Unavailable(_))));
    server.restart().await.unwrap();
    eventually("ping", async || open.store.ping().await.ok()).await;
    let (alice, bob) = users();
    // Over another connection, which may come back later.
    eventually("a message", async || open.send(&alice, &bob, "hi").await.ok()).await;
}

#[tokio::test]
async fn a_full_redis_refuses_and_keeps_nothing_of_it() {
    let server = RedisServer::start().await.unwrap();
    let (alice, bob) = users();
    for url in [server.url(), format!("{}?steps=separate", server.url())] {
        let open = open(config(url)).await;
        let before = open.inbox(&bob).await.len();
        open.send(&alice, &bob, "before").await.unwrap();
        server.command(&["CONFIG", "SET", "maxmemory", "1"]).await.unwrap().ok().unwrap();
        assert!(matches!(open.send(&alice, &bob, "refused").await, Err(Error::Unavailable(_))));
        server.command(&["CONFIG", "SET", "maxmemory", "0"]).await.unwrap().ok().unwrap();
        open.send(&alice, &bob, "after").await.unwrap();
        assert_eq!(open.inbox(&bob).await[before..], ["before", "after"]);
    }
}

#[tokio::test]
async fn a_server_that_hangs_is_unavailable_and_used_again_when_it_goes_on() {
    let mut server = RedisServer::start().await.unwrap();
    let open = open(config(server.url())).await;
    let (alice, bob) = users();
    open.send(&alice, &bob, "one").await.unwrap();
    server.stop().unwrap();
    assert!(matches!(open.send(&alice, &bob, "lost").await, Err(Error::Unavailable(_))));
    server.cont().unwrap();
    eventually("a post", async || open.send(&alice, &bob, "two").await.ok()).await;
}

#[tokio::test]
async fn a_server_that_goes_away_while_it_is_looked_at_is_tried_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let tasks = TaskTracker::new();
    tasks.spawn(async move {
        loop {
            let (mut redis, _) = listener.accept().await.unwrap();
            let mut read = [0; 1_024];
            // The greeting is answered, what comes behind it not.
            let _ = redis.read(&mut read).await;
            let _ = redis.write_all(b"+PONG\r\n").await;
            let _ = redis.read(&mut read).await;
        }
    });
    let open = open(config(url)).await;
    assert!(matches!(open.store.ping().await, Err(Error::Unavailable(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_primary_hangs_the_next_one_is_found() {
    let mut sentinel = RedisSentinel::start(3).await.unwrap();
    let open = open(config(sentinel.url())).await;
    let (alice, bob) = users();
    open.send(&alice, &bob, "one").await.unwrap();
    let mut subscription = open.session(&bob).await;
    let primary = sentinel.primary_port().await.unwrap();
    let hung = sentinel.servers().iter_mut().find(|server| server.port() == primary).unwrap();
    hung.stop().unwrap();
    eventually("a post to the next primary", async || open.send(&alice, &bob, "two").await.ok()).await;
    loses(subscription.as_mut(), Loss::Deaf).await;
    assert!(open.inbox(&bob).await.contains(&"two".to_owned()));
}

#[tokio::test]
async fn a_subscription_that_was_cut_is_made_again_and_says_so() {
    let server = RedisServer::start().await.unwrap();
    let open = open(config(server.url())).await;
    let (alice, bob) = users();
    let mut subscription = open.session(&bob).await;
    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await.unwrap().ok().unwrap();
    loses(subscription.as_mut(), Loss::Deaf).await;
    let healthy = subscription.health();
    eventually("health", async || healthy().then_some(())).await;
    open.send(&alice, &bob, "hi").await.unwrap();
    hears_an_announcement(subscription.as_mut()).await;
}

#[tokio::test]
async fn a_restarted_server_is_another_incarnation() {
    let mut server = RedisServer::start().await.unwrap();
    let open = open(config(server.url())).await;
    let (_, bob) = users();
    let mut subscription = open.session(&bob).await;
    let first = hears_the_store(subscription.as_mut()).await;
    server.restart().await.unwrap();
    assert_ne!(hears_the_store(subscription.as_mut()).await, first);
}

#[tokio::test]
async fn a_lease_that_had_ended_is_said_to_be_lost() {
    let server = RedisServer::start().await.unwrap();
    let open = open(config(server.url())).await;
    let (_, bob) = users();
    let mut subscription = open.session(&bob).await;
    server.command(&["DEL", "{sb}nodes"]).await.unwrap().ok().unwrap();
    loses(subscription.as_mut(), Loss::Lease).await;
}

#[tokio::test]
async fn an_announcement_that_was_lost_as_the_last_one_is_noticed() {
    let server = RedisServer::start().await.unwrap();
    let (alice, bob) = users();
    let gateway = open(config(server.url())).await;
    let mut subscription = gateway.session(&bob).await;
    let may = async |what: &str| {
        let words = ["ACL", "SETUSER", "store", "reset", "on", ">pass", "~*", "&*", "+@all", what];
        server.command(&words).await.unwrap().ok().unwrap();
    };
    may("+publish").await;
    let router = open(config(server.url().replace("redis://", "redis://store:pass@"))).await;
    router.send(&alice, &bob, "hi").await.unwrap();
    hears_an_announcement(subscription.as_mut()).await;
    may("-publish").await;
    router.send(&alice, &bob, "not told").await.unwrap();
    may("+publish").await;
    loses(subscription.as_mut(), Loss::Hole).await;
}

#[tokio::test]
async fn a_cursor_of_writes_that_were_lost_is_told_that_they_were_rewritten() {
    let mut server = RedisServer::start().await.unwrap();
    let (alice, bob) = users();
    let before = open(config(server.url())).await;
    before.send(&alice, &bob, "kept").await.unwrap();
    let kept = before.look(&bob, StartPoint::Head).await.start;
    let copy = server.copy_data().await.unwrap();
    before.send(&alice, &bob, "lost").await.unwrap();
    let lost = before.look(&bob, StartPoint::Head).await.start;
    let acknowledge = Acknowledge::up_to(bob.clone(), lost);
    before.store.acknowledge(vec![acknowledge]).await.unwrap();
    server.put_back(&copy).await.unwrap();
    let after = open(config(server.url())).await;
    assert_eq!(after.look(&bob, StartPoint::Cursor(lost)).await.reset, Some(ResetReason::Rewritten));
    after.send(&alice, &bob, "another").await.unwrap();
    let attached = after.look(&bob, StartPoint::Cursor(lost)).await;
    assert_eq!(attached.reset, Some(ResetReason::Rewritten));
    assert_eq!(after.look(&bob, StartPoint::Cursor(kept)).await.reset, None);
    assert_eq!(after.inbox(&bob).await, ["kept", "another"]);
}

#[tokio::test]
async fn a_mark_named_in_a_history_that_was_lost_is_not_set_in_the_next() {
    let mut server = RedisServer::start().await.unwrap();
    let (alice, bob) = users();
    let direct = ConversationId::direct(&alice, &bob);
    for steps in ["", "?steps=separate"] {
        let open = open(config(format!("{}{steps}", server.url()))).await;
        open.send(&alice, &bob, "kept").await.unwrap();
        let copy = server.copy_data().await.unwrap();
        let lost = open.store.post(vec![message(&alice, &direct, "lost")]).await.unwrap().remove(0);
        let PostResult::Done { seq, position: Some(own), .. } = lost else { panic!("{lost:?}") };
        let cursor = open.look(&bob, StartPoint::Head).await.start;
        let handed_out =
            Some(HandedOut { store: own.store, marks: vec![(direct.clone(), seq)], position: true });
        let named = Acknowledge { handed_out, ..Acknowledge::up_to(bob.clone(), cursor) };
        server.put_back(&copy).await.unwrap();
        // Another router writes before this one has noticed anything.
        let other = self::open(config(format!("{}{steps}", server.url()))).await;
        assert_eq!(other.send(&alice, &bob, "another").await.unwrap().seq, seq);
        let answer = eventually("an answer", async || open.store.acknowledge(vec![named.clone()]).await.ok());
        assert_eq!(answer.await, [AcknowledgeResult::NoSuchPosition], "{steps}");
        let state = other.store.conversations(std::slice::from_ref(&direct), None).await.unwrap().remove(0);
        let bobs = state.unwrap().members.into_iter().find(|member| member.user == bob).unwrap();
        assert!(bobs.delivered < seq, "{steps}");
        assert!(!other.look(&bob, StartPoint::Cursor(cursor)).await.acknowledged);
    }
}

#[tokio::test]
async fn a_write_counts_when_every_replica_has_it() {
    let server = RedisServer::start().await.unwrap();
    let (alice, bob) = users();
    let mut config = config(server.url());
    config.replicas = 1;
    config.timeout = Duration::from_secs(2);
    let open = open(config).await;
    assert!(matches!(open.send(&alice, &bob, "alone").await, Err(Error::Unavailable(_))));
    let of = format!("127.0.0.1 {}", server.port());
    let replica = RedisServer::builder().option("replicaof", of).start().await.unwrap();
    eventually("a write that counts", async || open.send(&alice, &bob, "both").await.ok()).await;
    let size = replica.command(&["DBSIZE"]).await.unwrap();
    assert_ne!(format!("{size:?}"), format!("{:?}", testbed::Reply::Integer(0)));
}

#[tokio::test]
async fn a_repeat_after_a_lost_answer_is_known_by_its_key() {
    let server = RedisServer::start().await.unwrap();
    let (alice, bob) = users();
    for url in [server.url(), format!("{}?steps=separate", server.url())] {
        let open = open(config(url)).await;
        let before = open.inbox(&bob).await.len();
        let post = message(&alice, &ConversationId::direct(&alice, &bob), "hi");
        interrupted(&open, post.clone(), 2).await;
        let answer = open.store.post(vec![post]).await.unwrap().remove(0);
        assert!(matches!(answer, PostResult::Done { .. }));
        assert_eq!(open.inbox(&bob).await.len(), before + 1);
    }
}

#[tokio::test]
async fn a_repeat_on_the_day_after_is_a_repeat_and_later_is_none() {
    let server = RedisServer::start().await.unwrap();
    for (suffix, other) in [("", "bob"), ("?steps=separate", "carol")] {
        let open = open(config(format!("{}{suffix}", server.url()))).await;
        let (alice, other) = (UserId::parse("alice").unwrap(), UserId::parse(other).unwrap());
        let conversation = ConversationId::direct(&alice, &other);
        let post = message(&alice, &conversation, "hi");
        let first = Done::of(open.store.post(vec![post.clone()]).await.unwrap().remove(0));
        // Moves the store's repeat keys of this day to an earlier one.
        let record = key(&server, &format!("*c:{conversation}")).await;
        let keys = key(&server, &format!("*k:{conversation}:*")).await;
        let (name, day) = keys.rsplit_once(':').unwrap();
        let earlier = |days: u64| (day.parse::<u64>().unwrap() - days).to_string();
        server.command(&["RENAME", &keys, &format!("{name}:{}", earlier(1))]).await.unwrap().ok().unwrap();
        server.command(&["HSET", &record, "k", &earlier(1)]).await.unwrap().ok().unwrap();
        let expected = PostResult::Done { seq: first.seq, time: first.time, duplicate: true, position: None };
        assert_eq!(open.store.post(vec![post.clone()]).await.unwrap(), std::slice::from_ref(&expected));
        // Now there are keys of both days.
        assert_eq!(open.send(&alice, &other, "next").await.unwrap().seq.0, 2);
        assert_eq!(open.store.post(vec![post.clone()]).await.unwrap(), [expected]);
        server.command(&["DEL", &format!("{name}:{}", earlier(1))]).await.unwrap().ok().unwrap();
        assert_eq!(Done::of(open.store.post(vec![post]).await.unwrap().remove(0)).seq.0, 3);
        assert_eq!(open.inbox(&other).await, ["hi", "next", "hi"]);
    }
}

#[tokio::test]
async fn notes_of_marks_are_told_apart_where_the_clock_was_set_back() {
    let server = RedisServer::start().await.unwrap();
    let open = open(config(server.url())).await;
    let (alice, _) = users();
    // As if notes had been made an hour ahead.
    let ahead = (proto::Time::now().0 + 3_600_000) * 1_000;
    server.command(&["SET", "{sb}noted", &ahead.to_string()]).await.unwrap().ok().unwrap();
    for (number, peer) in (1..).zip(["bob", "carol", "dave"]) {
        open.delivers(&alice, &UserId::parse(peer).unwrap()).await;
        let notes = key(&server, "*m:alice").await;
        let score = server.command(&["ZSCORE", &notes, &format!("alice~{peer}")]).await.unwrap();
        assert_eq!(score.text().unwrap().parse(), Ok((ahead + number) as f64));
    }
}

#[tokio::test]
async fn notes_of_marks_live_on_while_marks_change() {
    let server = RedisServer::start().await.unwrap();
    let open = open(config(server.url())).await;
    let (alice, bob) = users();
    open.delivers(&alice, &bob).await;
    let (notes, record) = (key(&server, "*m:alice").await, key(&server, "*c:alice~bob").await);
    let left = async || match server.command(&["TTL", &notes]).await.unwrap() {
        testbed::Reply::Integer(seconds) => seconds,
        other => panic!("{other:?}"),
    };
    let age = left().await;
    assert!(age > 0);
    // As if half of the age had gone by.
    server.command(&["EXPIRE", &notes, &(age / 2).to_string()]).await.unwrap().ok().unwrap();
    server.command(&["HSET", &record, "d:bob", "1 1"]).await.unwrap().ok().unwrap();
    open.delivers(&alice, &bob).await;
    assert!(left().await >= age - 1);
}

#[tokio::test]
async fn a_conversation_that_lost_its_last_entries_is_told_as_rewritten() {
    let server = RedisServer::start().await.unwrap();
    let open = open(config(format!("{}?steps=separate", server.url()))).await;
    let (alice, bob) = users();
    for text in ["kept", "lost", "lost too"] {
        open.send(&alice, &bob, text).await.unwrap();
    }
    let lost = open.look(&bob, StartPoint::Head).await.start;
    // As if only the shard of the conversation had failed over.
    let keys = server.command(&["KEYS", "*l:alice~bob"]).await.unwrap();
    let log = keys.items()[0].text().unwrap();
    server.command(&["RPOP", log, "2"]).await.unwrap().ok().unwrap();
    let next = open.send(&alice, &bob, "another").await.unwrap();
    assert_eq!(next.seq.0, 2);
    let attached = open.look(&bob, StartPoint::Cursor(lost)).await;
    assert_eq!(attached.reset, Some(ResetReason::Rewritten));
    open.send(&alice, &bob, "and on").await.unwrap();
    let query = InboxQuery { user: bob, after: attached.start, limit: 10, session: None, marks: None };
    let page = open.store.read_inbox(vec![query]).await.unwrap().remove(0);
    assert_eq!(page.reset, None);
    let texts: Vec<_> = page.events.iter().map(|filed| text(&filed.event.entry).unwrap()).collect();
    assert_eq!(texts, ["and on"]);
}

#[tokio::test]
async fn a_message_is_filed_once_although_the_changes_around_it_are_gone() {
    let server = RedisServer::start().await.unwrap();
    let open = open(config(format!("{}?steps=separate", server.url()))).await;
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| UserId::parse(name).unwrap());
    let group = ConversationId::new_group(proto::Time::now());
    let add = vec![alice.clone(), bob.clone(), carol.clone()];
    let make = Change { name: Some("a".into()), owner: Some(alice.clone()), add, ..Change::default() };
    let rename = Change { name: Some("b".into()), expect: Version(1), ..Change::default() };
    let posts =
        [changed(&alice, &group, make), message(&alice, &group, "hi"), changed(&alice, &group, rename)];
    for post in posts {
        Done::of(open.store.post(vec![post]).await.unwrap().remove(0));
    }
    // As if the second change had been filed for Alice only, and the message not for Carol.
    for (user, gone, filed) in [(&bob, 1, "1 1 2 0"), (&carol, 2, "0 1 1 0")] {
        let inbox = key(&server, &format!("*i:{user}")).await;
        server.command(&["RPOP", &inbox, &gone.to_string()]).await.unwrap().ok().unwrap();
        let record = key(&server, &format!("*u:{user}")).await;
        let noted = (3 - gone).to_string();
        let words = ["HSET", &record, &format!("f:{group}"), filed, "n", &noted];
        server.command(&words).await.unwrap().ok().unwrap();
    }
    let changes = key(&server, &format!("*e:{group}")).await;
    server.command(&["DEL", &changes]).await.unwrap().ok().unwrap();
    open.store.settle(&group).await.unwrap();
    for user in [&bob, &carol] {
        let inbox = key(&server, &format!("*i:{user}")).await;
        let filed = server.command(&["LLEN", &inbox]).await.unwrap();
        assert_eq!(filed, testbed::Reply::Integer(2), "the making of the group and the message: {user}");
    }
}

#[tokio::test]
async fn data_of_another_major_or_a_later_minor_are_refused_and_left_alone() {
    let server = RedisServer::start().await.unwrap();
    let old = ["HSET", "{sb}incarnation", "id", "old", "count", "1", "primaries", "x"];
    server.command(&old).await.unwrap().ok().unwrap();
    let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
    let (major, later) = (FORM.major.to_string(), (FORM.minor + 2).to_string());
    let next_major = (FORM.major + 1).to_string();
    let data = [
        (vec![], "form 1.0".to_owned()),
        (vec!["version", &major, "minor", &later], format!("form {major}.{later}")),
        (vec!["version", &next_major, "minor", "0"], format!("form {next_major}.0")),
    ];
    for (fields, form) in data {
        if !fields.is_empty() {
            let words = [vec!["HSET", "{sb}incarnation"], fields].concat();
            server.command(&words).await.unwrap().ok().unwrap();
        }
        let Err(refused) = store::open(config(server.url()), &tasks, shutdown.clone()).await else {
            panic!("data of {form} were opened");
        };
        assert!(matches!(&refused, Error::Config(why) if why.contains(&form)), "{refused:?}");
        let kept = server.command(&["HGET", "{sb}incarnation", "id"]).await.unwrap();
        assert_eq!(kept.text().unwrap(), "old");
    }
    server.command(&["FLUSHALL"]).await.unwrap().ok().unwrap();
    store::open(config(server.url()), &tasks, shutdown.clone()).await.unwrap();
    shutdown.cancel();
}

#[tokio::test]
async fn data_of_the_minor_before_and_of_the_next_one_open_and_say_the_highest_that_wrote() {
    let server = RedisServer::start().await.unwrap();
    let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
    let (major, own, next) = (FORM.major.to_string(), FORM.minor.to_string(), (FORM.minor + 1).to_string());
    for (said, then) in [(None, &own), (Some(&next), &next)] {
        server.command(&["FLUSHALL"]).await.unwrap().ok().unwrap();
        let words = ["HSET", "{sb}incarnation", "id", "old", "count", "1", "version", &major];
        server.command(&words).await.unwrap().ok().unwrap();
        if let Some(said) = said {
            server.command(&["HSET", "{sb}incarnation", "minor", said]).await.unwrap().ok().unwrap();
        }
        store::open(config(server.url()), &tasks, shutdown.clone()).await.unwrap();
        let minor = server.command(&["HGET", "{sb}incarnation", "minor"]).await.unwrap();
        assert_eq!(minor.text(), Some(then.as_str()));
    }
    shutdown.cancel();
}

// The embedded store goes by its own clock: its sweep has a test for the same.
#[tokio::test]
async fn what_is_older_than_inboxes_reach_is_only_in_its_conversation() {
    for steps in ["", "?steps=separate"] {
        let server = RedisServer::start().await.unwrap();
        let open = open(config(server.url() + steps)).await;
        let (alice, bob) = users();
        let conversation = ConversationId::direct(&alice, &bob);
        for _ in 0..5 {
            open.store.post(vec![old(message(&bob, &conversation, "old"))]).await.unwrap();
        }
        open.store.post(vec![message(&bob, &conversation, "new")]).await.unwrap();
        let start = open.look(&alice, StartPoint::Start).await;
        assert_eq!((start.start.position, start.head), (Position(5), Position(6)), "{steps}");
        let below = open.look(&alice, StartPoint::Cursor(Cursor::ORIGIN)).await;
        assert_eq!(below.reset, Some(ResetReason::Trimmed), "{steps}");
        let at = open.look(&alice, StartPoint::Cursor(start.start)).await;
        assert_eq!((at.reset, at.start), (None, start.start), "{steps}");
        let query = HistoryQuery { user: alice, conversation, range: HistoryRange::Newest, limit: 10 };
        assert_eq!(open.store.history(query).await.unwrap().unwrap().messages.len(), 6, "{steps}");
    }
}

#[tokio::test]
async fn an_inbox_that_nobody_reads_is_trimmed_of_what_is_old() {
    for steps in ["", "?steps=separate"] {
        let server = RedisServer::start().await.unwrap();
        let open = open(config(server.url() + steps)).await;
        let (alice, bob) = users();
        let conversation = ConversationId::direct(&alice, &bob);
        for _ in 0..10 {
            let batch = (0..20).map(|_| old(message(&bob, &conversation, "old"))).collect();
            open.store.post(batch).await.unwrap();
        }
        open.store.post(vec![message(&bob, &conversation, "new")]).await.unwrap();
        let inbox = key(&server, "*i:alice").await;
        let kept = server.command(&["LLEN", &inbox]).await.unwrap().integer().unwrap();
        assert!(kept <= 64 + 20 + 1, "{kept} of 201 events are kept {steps}");
    }
}
