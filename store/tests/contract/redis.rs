//! What only the Redis store promises: it outlives its server's mishaps, and
//! puts right what a crash between two steps has left.

use std::sync::Arc;
use std::time::Duration;

use proto::{ConversationId, Cursor, NodeIncarnation, ResetReason, UserId};
use store::model::{Acknowledge, Attach, Change, From, InboxQuery, Location, Posted};
use store::{Bus, Config, Error, Heard, Loss, Store, Subscription, Url};
use testbed::{RedisSentinel, RedisServer};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::harness::{Done, changed, edit, message, now, react, recall, text, word};

struct Open {
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    shutdown: CancellationToken,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn config(url: String) -> Config {
    let mut config = Config::new(Url::Redis(url));
    config.timeout = Duration::from_secs(5);
    config
}

async fn open(config: Config) -> Open {
    let shutdown = CancellationToken::new();
    Open {
        store: store::open(config.clone(), shutdown.clone()).await.unwrap(),
        bus: store::open_bus(&config, shutdown.clone()).unwrap(),
        shutdown,
    }
}

impl Open {
    async fn send(&self, by: &UserId, to: &UserId, text: &str) -> Result<Done, Error> {
        let post = message(by, &ConversationId::direct(by, to), text);
        Ok(Done::of(self.store.post(vec![post]).await?.remove(0)))
    }

    async fn inbox(&self, user: &UserId) -> Vec<String> {
        let after = Cursor::ORIGIN;
        let query = InboxQuery { user: user.clone(), after, limit: 1000, session: None, marks: None };
        let page = self.store.read_inbox(vec![query]).await.unwrap().remove(0);
        assert_eq!(page.reset, None);
        page.events.iter().map(|filed| text(&filed.event.entry).unwrap_or_default()).collect()
    }

    async fn look(&self, user: &UserId, from: From) -> store::model::Attached {
        let attach = Attach { user: user.clone(), location: None, from };
        self.store.attach(vec![attach]).await.unwrap().remove(0)
    }

    /// A session of the user on a node of its own.
    async fn session(&self, user: &UserId) -> Box<dyn Subscription> {
        let node = NodeIncarnation::new("gw").unwrap();
        let subscription = self.bus.subscribe(node.clone()).await.unwrap();
        let location =
            Location { session: proto::SessionId::random(), device: proto::DeviceId::random(), node };
        let attach = Attach { user: user.clone(), location: Some(location), from: From::Head };
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

/// Hears until a loss of this kind.
async fn loses(subscription: &mut dyn Subscription, loss: Loss) {
    let heard =
        timeout(Duration::from_secs(30), async { while subscription.next().await != Heard::Lost(loss) {} });
    heard.await.unwrap_or_else(|_| panic!("{loss:?} is not said within 30 seconds"));
}

/// The store's incarnation, when it is said next.
async fn hears_the_store(subscription: &mut dyn Subscription) -> proto::StoreIncarnation {
    let heard = timeout(Duration::from_secs(30), async {
        loop {
            if let Heard::Store(store) = subscription.next().await {
                return store;
            }
        }
    });
    heard.await.expect("an incarnation is said within 30 seconds")
}

async fn hears_an_announcement(subscription: &mut dyn Subscription) {
    let heard = timeout(Duration::from_secs(30), async {
        loop {
            if let Heard::Envelope(envelope) = subscription.next().await
                && !envelope.announcements.is_empty()
            {
                return;
            }
        }
    });
    heard.await.expect("an announcement is heard within 30 seconds");
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
    open.send(&alice, &bob, "hi").await.unwrap();
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
    let open = open(config(server.url())).await;
    let (alice, bob) = users();
    let mut subscription = open.session(&bob).await;
    open.send(&alice, &bob, "hi").await.unwrap();
    hears_an_announcement(subscription.as_mut()).await;
    let nodes = server.command(&["HKEYS", "{sb}envelopes"]).await.unwrap();
    let node = nodes.items()[0].text().unwrap().to_owned();
    // As if one more had been published and not arrived.
    server.command(&["HINCRBY", "{sb}envelopes", &node, "1"]).await.unwrap().ok().unwrap();
    loses(subscription.as_mut(), Loss::Hole).await;
}

#[tokio::test]
async fn a_cursor_of_writes_that_were_lost_is_told_that_they_were_rewritten() {
    let mut server = RedisServer::start().await.unwrap();
    let (alice, bob) = users();
    let before = open(config(server.url())).await;
    before.send(&alice, &bob, "kept").await.unwrap();
    let kept = before.look(&bob, From::Head).await.start;
    let copy = server.copy_data().unwrap();
    before.send(&alice, &bob, "lost").await.unwrap();
    let lost = before.look(&bob, From::Head).await.start;
    let acknowledge = Acknowledge { user: bob.clone(), cursor: lost };
    before.store.acknowledge(vec![acknowledge]).await.unwrap();
    server.put_back(&copy).await.unwrap();
    let after = open(config(server.url())).await;
    assert_eq!(after.look(&bob, From::Cursor(lost)).await.reset, Some(ResetReason::Rewritten));
    after.send(&alice, &bob, "another").await.unwrap();
    let attached = after.look(&bob, From::Cursor(lost)).await;
    assert_eq!(attached.reset, Some(ResetReason::Rewritten));
    assert_eq!(after.look(&bob, From::Cursor(kept)).await.reset, None);
    assert_eq!(after.inbox(&bob).await, ["kept", "another"]);
}

/// Drops a post in the middle, wherever it is after so many polls.
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

#[tokio::test]
async fn what_was_left_between_two_steps_ends_filed_for_everyone() {
    let server = RedisServer::start().await.unwrap();
    let open_one = open(config(format!("{}?steps=separate", server.url()))).await;
    let other = open(config(format!("{}?steps=separate", server.url()))).await;
    let (alice, bob) = users();
    let direct = ConversationId::direct(&alice, &bob);
    let mut mended = 0;
    for round in 0..60 {
        interrupted(&open_one, message(&alice, &direct, &round.to_string()), 1 + round % 6).await;
        mended += other.store.repair(Duration::ZERO).await.unwrap();
    }
    assert!(mended > 0, "something was left between two steps");
    // What was still on its way when it was dropped has arrived by now.
    other.send(&bob, &alice, "end").await.unwrap();
    other.store.repair(Duration::ZERO).await.unwrap();
    let state = other.store.conversations(&[direct], None).await.unwrap().remove(0).unwrap();
    let (alices, bobs) = (other.inbox(&alice).await, other.inbox(&bob).await);
    assert_eq!(alices, bobs);
    assert_eq!(alices.len() as u64, state.head.0);
    assert_eq!(other.store.repair(Duration::ZERO).await.unwrap(), 0, "nothing is left to mend");
}

#[tokio::test]
async fn who_was_removed_gets_the_removal_although_the_router_died_before() {
    let server = RedisServer::start().await.unwrap();
    let open_one = open(config(format!("{}?steps=separate", server.url()))).await;
    let (alice, bob) = users();
    let mut removed = 0;
    for round in 0..24 {
        let group = ConversationId::new_group(now());
        let make = Change {
            name: Some("name".into()),
            owner: Some(alice.clone()),
            add: vec![alice.clone(), bob.clone()],
            ..Change::default()
        };
        Done::of(open_one.store.post(vec![changed(&alice, &group, make)]).await.unwrap().remove(0));
        let version = store::model::Version(1);
        let remove = Change { expect: version, remove: vec![bob.clone()], ..Change::default() };
        interrupted(&open_one, changed(&alice, &group, remove), 1 + round % 6).await;
        // Waits for whatever of it was under way.
        open_one.store.ping().await.unwrap();
        open_one.store.repair(Duration::ZERO).await.unwrap();
        let state = open_one
            .store
            .conversations(std::slice::from_ref(&group), None)
            .await
            .unwrap()
            .remove(0)
            .unwrap();
        let is_member = state.members.iter().any(|member| member.user == bob);
        let memberships = open_one.store.memberships(&bob).await.unwrap();
        let knows = memberships.iter().any(|membership| membership.conversation == group);
        assert_eq!(is_member, knows, "round {round}");
        removed += usize::from(!is_member);
    }
    assert!(removed > 0, "some removals went through");
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
        assert!(matches!(answer, Posted::Done { .. }));
        assert_eq!(open.inbox(&bob).await.len(), before + 1);
    }
}

#[tokio::test]
async fn a_conversation_that_lost_its_last_entries_is_told_as_rewritten() {
    let server = RedisServer::start().await.unwrap();
    let open = open(config(format!("{}?steps=separate", server.url()))).await;
    let (alice, bob) = users();
    for text in ["kept", "lost", "lost too"] {
        open.send(&alice, &bob, text).await.unwrap();
    }
    let lost = open.look(&bob, From::Head).await.start;
    // As if only the shard of the conversation had failed over.
    let keys = server.command(&["KEYS", "*l:alice~bob"]).await.unwrap();
    let log = keys.items()[0].text().unwrap();
    server.command(&["RPOP", log, "2"]).await.unwrap().ok().unwrap();
    let next = open.send(&alice, &bob, "another").await.unwrap();
    assert_eq!(next.seq.0, 2);
    let attached = open.look(&bob, From::Cursor(lost)).await;
    assert_eq!(attached.reset, Some(ResetReason::Rewritten));
    open.send(&alice, &bob, "and on").await.unwrap();
    let query = InboxQuery { user: bob, after: attached.start, limit: 10, session: None, marks: None };
    let page = open.store.read_inbox(vec![query]).await.unwrap().remove(0);
    assert_eq!(page.reset, None);
    let texts: Vec<_> = page.events.iter().map(|filed| text(&filed.event.entry).unwrap()).collect();
    assert_eq!(texts, ["and on"]);
}

/// Everything in an inbox, each in a word.
async fn words_of(open: &Open, user: &UserId) -> Vec<String> {
    let after = Cursor::ORIGIN;
    let query = InboxQuery { user: user.clone(), after, limit: 1000, session: None, marks: None };
    let page = open.store.read_inbox(vec![query]).await.unwrap().remove(0);
    assert_eq!(page.reset, None);
    page.events.iter().map(|filed| word(&filed.event)).collect()
}

/// Reactions of one round each, so that each round has one event.
fn reaction(by: &UserId, conversation: &ConversationId, round: usize) -> store::model::Post {
    react(by, conversation, 1, &format!("e{round}-"), true)
}

#[tokio::test]
async fn an_amendment_left_between_two_steps_is_filed_for_everyone_by_its_repeat() {
    let server = RedisServer::start().await.unwrap();
    let open_one = open(config(format!("{}?steps=separate", server.url()))).await;
    let other = open(config(format!("{}?steps=separate", server.url()))).await;
    let (alice, bob) = users();
    let direct = ConversationId::direct(&alice, &bob);
    other.send(&alice, &bob, "one").await.unwrap();
    let (mut unchanged, mut rounds) = (0, 0);
    for round in 0..60 {
        let post = reaction(&alice, &direct, round);
        interrupted(&open_one, post.clone(), 1 + round % 6).await;
        // Waits for whatever of it was under way.
        open_one.store.ping().await.unwrap();
        let posted = other.store.post(vec![post]).await.unwrap().remove(0);
        unchanged += usize::from(posted == Posted::Unchanged);
        rounds += 1;
        for user in [&alice, &bob] {
            assert_eq!(words_of(&other, user).await.len(), 1 + rounds, "round {round}");
        }
    }
    assert!(unchanged > 0, "some had been numbered before they were repeated");
    assert_eq!(words_of(&other, &alice).await, words_of(&other, &bob).await);
    other.store.repair(Duration::ZERO).await.unwrap();
    assert_eq!(words_of(&other, &bob).await.len(), 1 + rounds);
}

#[tokio::test]
async fn holes_of_amendments_are_closed_without_what_a_member_does_not_see() {
    let server = RedisServer::start().await.unwrap();
    let stepwise = open(config(format!("{}?steps=separate", server.url()))).await;
    // The same data, written in one call: it closes what the other way left.
    let at_once = open(config(server.url())).await;
    let (alice, bob) = users();
    let carol = UserId::parse("carol").unwrap();
    let group = ConversationId::new_group(now());
    let make = Change {
        name: Some("name".into()),
        owner: Some(alice.clone()),
        add: vec![alice.clone(), bob.clone()],
        ..Change::default()
    };
    let posts = [
        changed(&alice, &group, make),
        message(&alice, &group, "secret"),
        changed(
            &alice,
            &group,
            Change { expect: store::model::Version(1), add: vec![carol.clone()], ..Change::default() },
        ),
        message(&alice, &group, "open"),
    ];
    for post in posts {
        Done::of(at_once.store.post(vec![post]).await.unwrap().remove(0));
    }
    for round in 0..48 {
        let seq = 1 + (round / 2) as u64 % 2;
        interrupted(&stepwise, edit(&alice, &group, seq, &format!("{seq}-{round}")), 1 + round % 6).await;
        stepwise.store.ping().await.unwrap();
        match round % 3 {
            0 => {
                Done::of(
                    at_once
                        .store
                        .post(vec![message(&bob, &group, &round.to_string())])
                        .await
                        .unwrap()
                        .remove(0),
                );
            }
            1 => {
                let post = react(&bob, &group, 2, &round.to_string(), true);
                Done::of(stepwise.store.post(vec![post]).await.unwrap().remove(0));
            }
            _ => {
                stepwise.store.repair(Duration::ZERO).await.unwrap();
            }
        }
    }
    stepwise.store.repair(Duration::ZERO).await.unwrap();
    let (alices, bobs, carols) =
        (words_of(&at_once, &alice).await, words_of(&at_once, &bob).await, words_of(&at_once, &carol).await);
    assert_eq!(alices, bobs);
    // Carol has the same in the same order, but for what she does not see.
    let visible: Vec<_> = bobs[2..].iter().filter(|word| !word.starts_with("edit 1:")).cloned().collect();
    assert_eq!(carols, visible);
    assert!(bobs.iter().any(|word| word.starts_with("edit 1:")), "some edits went through");
    assert_eq!(stepwise.store.repair(Duration::ZERO).await.unwrap(), 0, "nothing is left to mend");
}

#[tokio::test]
async fn an_own_message_is_read_whoever_files_it() {
    let server = RedisServer::start().await.unwrap();
    let stepwise = open(config(format!("{}?steps=separate", server.url()))).await;
    let at_once = open(config(server.url())).await;
    let (alice, bob) = users();
    let direct = ConversationId::direct(&alice, &bob);
    let mut left = 0;
    for round in 0..48 {
        let head = || async {
            let asked = std::slice::from_ref(&direct);
            let found = at_once.store.conversations(asked, Some(&alice)).await.unwrap().remove(0);
            found.map_or((0, 0, 0), |found| {
                let own = found.members.iter().find(|member| member.user == alice).unwrap();
                (found.head.0, own.read.0, found.unread)
            })
        };
        interrupted(&stepwise, message(&alice, &direct, &round.to_string()), 1 + round % 6).await;
        stepwise.store.ping().await.unwrap();
        let (sent, read, _) = head().await;
        // The last one was numbered, and is not in her inbox.
        left += usize::from(read < sent);
        // Closes what was left, by another user than the one who wrote it.
        Done::of(at_once.store.post(vec![message(&bob, &direct, "and")]).await.unwrap().remove(0));
        let (head, read, unread) = head().await;
        assert_eq!((head - read, unread), (1, 1), "round {round}: only bob's last is unread");
        let mark = store::model::Mark {
            conversation: direct.clone(),
            user: alice.clone(),
            kind: store::model::MarkKind::Read,
            seq: proto::Seq(head),
        };
        at_once.store.mark(vec![mark]).await.unwrap();
    }
    assert!(left > 0, "something was left to file");
}

#[tokio::test]
async fn a_thousand_acknowledgements_cost_a_handful_of_writes() {
    let server = RedisServer::start().await.unwrap();
    let redis = open(config(server.url())).await;
    let (alice, bob) = users();
    let conversation = ConversationId::direct(&alice, &bob);
    let posts = (0..1_000).map(|_| message(&alice, &conversation, "hi")).collect();
    redis.store.post(posts).await.unwrap();
    let query =
        InboxQuery { user: bob.clone(), after: Cursor::ORIGIN, limit: 1_000, session: None, marks: None };
    let page = redis.store.read_inbox(vec![query]).await.unwrap().remove(0);
    let asked = page.events.iter().map(|filed| {
        let fingerprint = proto::Fingerprint(filed.event.entry.fingerprint);
        Acknowledge { user: bob.clone(), cursor: Cursor { position: filed.position, fingerprint } }
    });
    let asked: Vec<_> = asked.collect();
    assert_eq!(asked.len(), 1_000);
    server.command(&["CONFIG", "RESETSTAT"]).await.unwrap();
    redis.store.acknowledge(asked.clone()).await.unwrap();
    // Pages of 256 events, each noted, marked, and its place kept.
    for (command, most) in [("zadd", 4), ("hset", 8), ("pexpire", 1)] {
        let calls = calls(&server, command).await;
        assert!((1..=most).contains(&calls), "{calls} calls of {command}");
    }
    server.command(&["CONFIG", "RESETSTAT"]).await.unwrap();
    redis.store.acknowledge(asked).await.unwrap();
    for command in ["zadd", "hset", "pexpire"] {
        assert_eq!(calls(&server, command).await, 0, "{command} for what is acknowledged already");
    }
}

#[tokio::test]
async fn an_acknowledgement_and_a_mark_are_one_call_each() {
    let server = RedisServer::start().await.unwrap();
    let redis = open(config(server.url())).await;
    let (alice, bob) = users();
    let post = redis.send(&alice, &bob, "one").await.unwrap();
    let group = ConversationId::new_group(now());
    let change = Change { add: vec![alice.clone(), bob.clone()], ..Change::default() };
    redis.store.post(vec![changed(&alice, &group, change), message(&alice, &group, "two")]).await.unwrap();
    let head = redis.look(&bob, From::Head).await.start;
    // The scripts are known to the server after their first use.
    let first = Acknowledge { user: alice.clone(), cursor: post.place.unwrap() };
    let mark = |seq| store::model::Mark {
        conversation: ConversationId::direct(&alice, &bob),
        user: bob.clone(),
        kind: store::model::MarkKind::Read,
        seq: proto::Seq(seq),
    };
    redis.store.acknowledge(vec![first]).await.unwrap();
    redis.store.mark(vec![mark(0)]).await.unwrap();
    server.command(&["CONFIG", "RESETSTAT"]).await.unwrap();
    let acknowledge = Acknowledge { user: bob.clone(), cursor: head };
    let answer = redis.store.acknowledge(vec![acknowledge]).await.unwrap().remove(0);
    let store::model::Acknowledged::Marks(marks) = answer else { panic!("{answer:?}") };
    assert_eq!(marks.len(), 2, "of the direct conversation and of the group");
    redis.store.mark(vec![mark(1)]).await.unwrap();
    // Beside them the looks after the incarnation and the nodes, once a second.
    let hset = calls(&server, "hset").await;
    assert_eq!((calls(&server, "zadd").await, hset), (4, 4), "notes; marks and a place");
    let messages = (0..50).map(|_| message(&alice, &group, "hi")).collect();
    redis.store.post(messages).await.unwrap();
    let query = InboxQuery { user: bob.clone(), after: head, limit: 50, session: None, marks: None };
    let page = redis.store.read_inbox(vec![query]).await.unwrap().remove(0);
    server.command(&["CONFIG", "RESETSTAT"]).await.unwrap();
    for filed in page.events {
        let fingerprint = proto::Fingerprint(filed.event.entry.fingerprint);
        let cursor = Cursor { position: filed.position, fingerprint };
        redis.store.acknowledge(vec![Acknowledge { user: bob.clone(), cursor }]).await.unwrap();
    }
    let scripts = calls(&server, "evalsha").await;
    assert!((50..75).contains(&scripts), "{scripts} scripts for 50 acknowledgements");
}

#[tokio::test]
async fn what_was_filed_step_by_step_is_acknowledged_where_one_call_does_it_all() {
    let server = RedisServer::start().await.unwrap();
    let separate = open(config(format!("{}?steps=separate", server.url()))).await;
    let redis = open(config(server.url())).await;
    let (alice, bob) = users();
    separate.send(&alice, &bob, "one").await.unwrap();
    let carol = UserId::parse("carol").unwrap();
    redis.send(&carol, &bob, "two").await.unwrap();
    separate.send(&alice, &bob, "three").await.unwrap();
    let cursor = redis.look(&bob, From::Head).await.start;
    let acknowledge = Acknowledge { user: bob.clone(), cursor };
    let answer = redis.store.acknowledge(vec![acknowledge.clone(), acknowledge]).await.unwrap();
    let marks = vec![
        (ConversationId::direct(&alice, &bob), proto::Seq(2)),
        (ConversationId::direct(&bob, &carol), proto::Seq(1)),
    ];
    let none = store::model::Acknowledged::Marks(vec![]);
    assert_eq!(answer, [store::model::Acknowledged::Marks(marks), none]);
}

/// How often a command ran since the statistics were reset.
async fn calls(server: &RedisServer, command: &str) -> u64 {
    let stats = server.info(&["INFO", "commandstats"], &format!("cmdstat_{command}")).await.unwrap();
    let Some(stats) = stats else { return 0 };
    let calls = stats.split(',').find_map(|field| field.strip_prefix("calls=")).unwrap();
    calls.parse().unwrap()
}

/// The keys that hold what became of messages.
async fn keys_of_amendments(server: &RedisServer) -> Vec<String> {
    let mut found = Vec::new();
    for pattern in ["*}a:*", "*}x:*", "*}z:*", "*}r:*"] {
        let keys = server.command(&["KEYS", pattern]).await.unwrap();
        found.extend(keys.items().iter().map(|key| key.text().unwrap().to_owned()));
    }
    found
}

#[tokio::test]
async fn amendments_take_no_room_once_their_messages_are_trimmed() {
    let server = RedisServer::start().await.unwrap();
    let mut config = config(server.url());
    config.bounds.conversation_messages = 4;
    let open = open(config).await;
    let (alice, bob) = users();
    let direct = ConversationId::direct(&alice, &bob);
    for seq in 1..=3 {
        open.send(&alice, &bob, "hi").await.unwrap();
        for post in [edit(&alice, &direct, seq, "ho"), react(&bob, &direct, seq, "👍", true)] {
            Done::of(open.store.post(vec![post]).await.unwrap().remove(0));
        }
    }
    Done::of(open.store.post(vec![recall(&alice, &direct, 2)]).await.unwrap().remove(0));
    assert_eq!(keys_of_amendments(&server).await.len(), 3 + 3);
    for _ in 0..8 {
        open.send(&bob, &alice, "hi").await.unwrap();
    }
    assert_eq!(keys_of_amendments(&server).await, [""; 0]);
    let changes = server.command(&["KEYS", "*}e:*"]).await.unwrap();
    let changes = changes.items()[0].text().unwrap();
    let kept = server.command(&["LLEN", changes]).await.unwrap().integer().unwrap();
    assert!(kept <= 5, "the list of changes has the bound of the log, not {kept}");
}

#[tokio::test]
async fn the_amendments_of_a_group_that_is_gone_go_with_it() {
    let server = RedisServer::start().await.unwrap();
    let open = open(config(server.url())).await;
    let (alice, _) = users();
    let group = ConversationId::new_group(now());
    let make = Change {
        name: Some("name".into()),
        owner: Some(alice.clone()),
        add: vec![alice.clone()],
        ..Change::default()
    };
    let leave = Change { expect: store::model::Version(1), remove: vec![alice.clone()], ..Change::default() };
    for post in [
        changed(&alice, &group, make),
        message(&alice, &group, "hi"),
        edit(&alice, &group, 1, "ho"),
        react(&alice, &group, 1, "👍", true),
        recall(&alice, &group, 1),
        changed(&alice, &group, leave),
    ] {
        Done::of(open.store.post(vec![post]).await.unwrap().remove(0));
    }
    let keys = keys_of_amendments(&server).await;
    assert_eq!(keys.len(), 4);
    for key in keys {
        let left = server.command(&["PTTL", &key]).await.unwrap().integer().unwrap();
        assert!(left > 0, "{key} goes with the group");
    }
}
