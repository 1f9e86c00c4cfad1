//! A store that is refused a command, or meets a key of a wrong type, leaves
//! nothing half done after an acknowledgement: a repeat of what failed finds it
//! done once, for everyone, and announced to everyone.

use std::time::Duration;

use proto::wire::notice::What;
use proto::{ChannelId, ConversationId, Position, UserId};
use store::model::{Audience, Broadcast, Change, ChannelQuery, Post, PostResult, Version};
use store::{BusItem, Subscription};
use testbed::RedisServer;

use super::{Open, config, open};
use crate::contract::harness::{changed, edit, entry, keyed, react, recall, word};

/// The commands with which scripts write, and some with which they read.
const COMMANDS: [&str; 24] = [
    "rpush", "rpop", "ltrim", "lindex", "lrange", "llen", "hset", "hsetnx", "hget", "hmget", "hdel",
    "hexists", "hincrby", "expire", "pexpire", "zadd", "zrem", "zcount", "zcard", "publish", "set", "get",
    "mget", "exists",
];

/// What is broken while something is written.
#[derive(Debug, Clone)]
enum Fault {
    None,
    /// The key has another type.
    Key {
        name: String,
        is_text: bool,
    },
    /// The user of the store may not use the command.
    Command(&'static str),
}

struct Scene {
    server: RedisServer,
    /// The end of the store's URL.
    steps: &'static str,
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn direct() -> ConversationId {
    ConversationId::direct(&user("alice"), &user("bob"))
}

/// The same group in every round, so that its keys are the same.
fn group() -> ConversationId {
    ConversationId::parse("g_01HF7YAT00N3QWZ0XVS2Q8Y9ZK").unwrap()
}

impl Scene {
    async fn new(steps: &'static str) -> Self {
        let server = RedisServer::start().await.unwrap();
        Self { server, steps }
    }

    async fn command(&self, words: &[&str]) -> testbed::Reply {
        self.server.command(words).await.unwrap().ok().unwrap()
    }

    /// An empty store, opened by a user who still has all permissions.
    async fn open(&self) -> Open {
        self.command(&["FLUSHALL"]).await;
        self.command(&["ACL", "SETUSER", "store", "reset", "on", ">pass", "~*", "&*", "+@all"]).await;
        let url = self.server.url().replace("redis://", "redis://store:pass@");
        open(config(format!("{url}{}", self.steps))).await
    }

    async fn break_it(&self, fault: &Fault) {
        match fault {
            Fault::None => {}
            Fault::Key { name, is_text } => {
                let away = format!("away:{name}");
                // A new key has nothing to put aside.
                let _ = self.server.command(&["RENAME", name, &away]).await.unwrap();
                match is_text {
                    true => self.command(&["RPUSH", name, "broken"]).await,
                    false => self.command(&["SET", name, "broken"]).await,
                };
            }
            Fault::Command(command) => {
                self.command(&["ACL", "SETUSER", "store", &format!("-{command}")]).await;
            }
        }
    }

    async fn repair(&self, fault: &Fault) {
        match fault {
            Fault::None => {}
            Fault::Key { name, .. } => {
                self.command(&["DEL", name]).await;
                let _ = self.server.command(&["RENAME", &format!("away:{name}"), name]).await.unwrap();
            }
            Fault::Command(command) => {
                self.command(&["ACL", "SETUSER", "store", &format!("+{command}")]).await;
            }
        }
    }

    /// Every fault, of the keys that there are now.
    async fn faults(&self) -> Vec<Fault> {
        let mut faults: Vec<Fault> = COMMANDS.into_iter().map(Fault::Command).collect();
        for key in self.command(&["KEYS", "*"]).await.items() {
            let name = key.text().unwrap().to_owned();
            let is_text = matches!(self.command(&["TYPE", &name]).await, testbed::Reply::Status(kind) if kind == "string");
            faults.push(Fault::Key { name, is_text });
        }
        faults
    }
}

/// All inboxes, and the log.
async fn picture(open: &Open, conversation: &ConversationId) -> Vec<String> {
    let mut lines = Vec::new();
    for name in ["alice", "bob", "carol"] {
        let query = store::model::InboxQuery {
            user: user(name),
            after: proto::Cursor::ORIGIN,
            limit: 100,
            session: None,
            marks: None,
        };
        let page = open.store.read_inbox(vec![query]).await.unwrap().remove(0);
        assert_eq!(page.reset, None);
        let words: Vec<_> = page.events.iter().map(|filed| word(&filed.event)).collect();
        lines.push(format!("{name}: {}", words.join(" ")));
    }
    let query = store::model::HistoryQuery {
        conversation: conversation.clone(),
        user: user("alice"),
        range: store::model::HistoryRange::Newest,
        limit: 100,
    };
    let messages = open.store.history(query).await.unwrap().map_or(Vec::new(), |page| page.messages);
    let seqs: Vec<_> = messages.iter().map(|shown| format!("{shown:?}")).map(|text| unlike(&text)).collect();
    lines.push(format!("log: {}", seqs.join(" ")));
    lines
}

/// The text without what differs between runs.
fn unlike(text: &str) -> String {
    let numbers = |word: &&str| word.len() < 9 || !word.bytes().all(|byte| byte.is_ascii_digit());
    text.split(|char: char| !char.is_ascii_alphanumeric()).filter(numbers).collect::<Vec<_>>().join(" ")
}

/// Waits until the node is told that the user's inbox reaches this far, or has
/// a hole.
async fn is_told(ear: &mut dyn Subscription, user: &UserId, head: Position, what: &str) {
    let told = async {
        loop {
            let envelope = match ear.next().await {
                BusItem::Envelope(envelope) => envelope,
                BusItem::Lost(_) => return,
                BusItem::Store(_) => continue,
            };
            let announced = envelope.announcements.iter().flat_map(|one| &one.targets);
            let mut positions =
                announced.map(|target| (target.user.clone(), target.position)).collect::<Vec<_>>();
            for notice in envelope.notices {
                if let Some(What::Head(head)) = notice.what {
                    positions.extend(notice.users.into_iter().map(|user| (user, head.position)));
                }
            }
            if positions.iter().any(|(name, position)| name == user.as_str() && *position >= head.0) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), told).await.unwrap_or_else(|_| panic!("not told: {what}"));
}

/// Writes `before`, then does `act` while each thing in turn is broken, repairs
/// that, and repeats.
async fn survives(steps: &'static str, conversation: ConversationId, before: Vec<Post>, act: Post) {
    let scene = Scene::new(steps).await;
    let mut faults = vec![Fault::None];
    let mut whole = Vec::new();
    let mut at = 0;
    let mut failed = 0;
    while at < faults.len() {
        let fault = faults[at].clone();
        let open = scene.open().await;
        let mut ear = open.session(&user("bob")).await;
        for post in &before {
            open.store.post(vec![post.clone()]).await.unwrap();
        }
        scene.break_it(&fault).await;
        let first = open.store.post(vec![act.clone()]).await;
        scene.repair(&fault).await;
        let what = format!("{act:?} with {fault:?}, which was {first:?}");
        failed += usize::from(first.is_err());
        if first.is_err() {
            let again = open.store.post(vec![act.clone()]).await;
            match again.as_ref().map(|posted| &posted[0]) {
                Ok(PostResult::Done { .. }) => {}
                // What the router does before it acknowledges.
                Ok(PostResult::Unchanged | PostResult::Stale | PostResult::NotMember) => {
                    open.store.settle(&conversation).await.unwrap();
                    open.store.repair(Duration::ZERO).await.unwrap();
                }
                other => panic!("{what}: {other:?}"),
            }
        }
        let seen = picture(&open, &conversation).await;
        if at == 0 {
            whole = seen;
            faults.extend(scene.faults().await);
        } else {
            assert_eq!(seen, whole, "{what}");
        }
        let head = open.look(&user("bob"), store::model::StartPoint::Head).await.start.position;
        is_told(&mut *ear, &user("bob"), head, &what).await;
        at += 1;
    }
    assert!(failed > 4, "{failed} faults were felt");
}

fn first_message() -> Post {
    keyed(&user("alice"), &direct(), "hi", "one")
}

fn make_group() -> Post {
    let members = vec![user("alice"), user("bob"), user("carol")];
    let change =
        Change { name: Some("g".into()), owner: Some(user("alice")), add: members, ..Change::default() };
    changed(&user("alice"), &group(), change)
}

/// Each kind of post: the conversation, what is written before, and the post.
fn posts() -> Vec<(ConversationId, Vec<Post>, Post)> {
    let (alice, bob) = (user("alice"), user("bob"));
    let in_group = |change: Change| changed(&alice, &group(), Change { expect: Version(1), ..change });
    let of_direct = |before: Vec<Post>, act| (direct(), before, act);
    let of_group = |act| (group(), vec![make_group(), keyed(&bob, &group(), "ho", "two")], act);
    vec![
        of_direct(vec![], first_message()),
        of_direct(vec![first_message()], keyed(&alice, &direct(), "ho", "two")),
        of_direct(vec![first_message()], edit(&alice, &direct(), 1, "ha")),
        of_direct(vec![first_message()], recall(&alice, &direct(), 1)),
        of_direct(vec![first_message()], react(&bob, &direct(), 1, "👍", true)),
        of_direct(
            vec![first_message(), react(&bob, &direct(), 1, "👍", true)],
            react(&bob, &direct(), 1, "👍", false),
        ),
        (group(), vec![], make_group()),
        of_group(keyed(&alice, &group(), "hi", "one")),
        of_group(recall(&bob, &group(), 1)),
        of_group(in_group(Change { name: Some("h".into()), ..Change::default() })),
        of_group(in_group(Change { add: vec![user("dave")], ..Change::default() })),
        of_group(in_group(Change {
            remove: vec![user("carol")],
            owner: Some(bob.clone()),
            ..Change::default()
        })),
    ]
}

async fn all_survive(steps: &'static str) {
    let all =
        posts().into_iter().map(|(conversation, before, act)| survives(steps, conversation, before, act));
    futures_util::future::join_all(all).await;
}

#[tokio::test]
async fn what_failed_half_way_in_one_call_is_completed_before_it_is_acknowledged() {
    all_survive("").await;
}

#[tokio::test]
async fn what_failed_half_way_step_by_step_is_completed_before_it_is_acknowledged() {
    all_survive("?steps=separate").await;
}

/// Nobody repeats it.
#[tokio::test]
async fn a_message_that_was_refused_half_way_leaves_its_place_to_the_next() {
    let scene = Scene::new("").await;
    let (open, bob) = (scene.open().await, user("bob"));
    open.store.post(vec![make_group(), first_message(), keyed(&bob, &group(), "one", "1")]).await.unwrap();
    let inboxes: Vec<_> = scene.command(&["KEYS", "*}i:*"]).await.items().to_vec();
    for key in inboxes {
        let fault = Fault::Key { name: key.text().unwrap().to_owned(), is_text: false };
        for conversation in [direct(), group()] {
            scene.break_it(&fault).await;
            let refused = open.store.post(vec![keyed(&user("alice"), &conversation, "no", "refused")]).await;
            scene.repair(&fault).await;
            let carols = matches!(&fault, Fault::Key { name, .. } if name.ends_with("carol"));
            assert_eq!(refused.is_err(), !carols || conversation.is_group(), "{fault:?}");
            let before = open.store.conversations(std::slice::from_ref(&conversation), None).await.unwrap();
            let before = before[0].as_ref().unwrap().head.0;
            let key = format!("{fault:?} {conversation}");
            let next =
                open.store.post(vec![keyed(&bob, &conversation, "next", &key)]).await.unwrap().remove(0);
            assert!(matches!(next, PostResult::Done { seq, .. } if seq.0 == before + 1), "{next:?}");
            let seen = picture(&open, &conversation).await;
            let filed = |name: &str| {
                let line = seen.iter().find(|line| line.starts_with(name)).unwrap().clone();
                line.split_once(": ").unwrap().1.split(' ').next_back().unwrap().to_owned()
            };
            assert_eq!(
                (filed("alice"), filed("bob")),
                (format!("{}:next", before + 1), format!("{}:next", before + 1))
            );
        }
    }
    let notes = scene.command(&["KEYS", "*}p"]).await;
    assert_eq!(notes.items().len(), 0, "nothing is left to repair");
}

async fn a_publication_survives(steps: &'static str) {
    let scene = Scene::new(steps).await;
    let channel = ChannelId::parse("c_news").unwrap();
    let publication = |text: &str| Broadcast {
        channel: channel.clone(),
        by: user("alice"),
        entry: entry(
            &user("alice"),
            proto::wire::entry::What::Message(proto::wire::Message {
                body: text.as_bytes().to_vec().into(),
                ..Default::default()
            }),
        ),
        repeat_key: text.into(),
    };
    for before in [vec![], vec![publication("one")]] {
        let mut faults = vec![Fault::None];
        let mut at = 0;
        while at < faults.len() {
            let fault = faults[at].clone();
            let open = scene.open().await;
            let node = proto::NodeIncarnation::new("gw").unwrap();
            let mut ear = open.bus.subscribe(node.clone()).await.unwrap();
            open.store.join_channels(vec![Audience { channel: channel.clone(), node }]).await.unwrap();
            for one in &before {
                open.store.broadcast(vec![one.clone()]).await.unwrap();
            }
            let act = publication("two");
            scene.break_it(&fault).await;
            let first = open.store.broadcast(vec![act.clone()]).await;
            scene.repair(&fault).await;
            let what = format!("{fault:?}, which was {first:?}");
            let seq = match first {
                Ok(done) => done[0].seq,
                Err(_) => open.store.broadcast(vec![act]).await.unwrap()[0].seq,
            };
            assert_eq!(seq.0, before.len() as u64 + 1, "{what}");
            let query = ChannelQuery { channel: channel.clone(), after: proto::Seq(0), limit: 100 };
            let page = open.store.read_channels(vec![query]).await.unwrap().remove(0);
            assert_eq!((page.publications.len() as u64, page.head), (seq.0, seq), "{what}");
            let heard = async {
                loop {
                    match ear.next().await {
                        BusItem::Envelope(envelope)
                            if envelope.publications.iter().any(|one| one.seq == seq.0) =>
                        {
                            return;
                        }
                        BusItem::Lost(_) => return,
                        _ => {}
                    }
                }
            };
            tokio::time::timeout(Duration::from_secs(20), heard)
                .await
                .unwrap_or_else(|_| panic!("not told: {what}"));
            if at == 0 {
                faults.extend(scene.faults().await);
            }
            at += 1;
        }
    }
}

#[tokio::test]
async fn a_publication_that_failed_half_way_in_one_call_is_kept_once_and_told() {
    a_publication_survives("").await;
}

#[tokio::test]
async fn a_publication_that_failed_half_way_step_by_step_is_kept_once_and_told() {
    a_publication_survives("?steps=separate").await;
}

/// Acknowledges and reads as bob, and begins a session on a node that does not
/// exist. With a store's incarnation the mark is named.
async fn receive(open: &Open, named_in: Option<proto::StoreIncarnation>) -> Result<(), store::Error> {
    let bob = user("bob");
    let query = store::model::InboxQuery {
        user: bob.clone(),
        after: proto::Cursor::ORIGIN,
        limit: 100,
        session: None,
        marks: None,
    };
    let page = open.store.read_inbox(vec![query]).await?.remove(0);
    let last = page.events.last().unwrap();
    let fingerprint = proto::Fingerprint(last.event.entry.fingerprint);
    let cursor = proto::Cursor { position: last.position, fingerprint };
    let handed_out = named_in.map(|store| {
        let marks = vec![(direct(), proto::Seq(1))];
        store::model::HandedOut { store, marks, position: true }
    });
    let acknowledge = store::model::Acknowledge { user: bob.clone(), cursor, handed_out };
    open.store.acknowledge(vec![acknowledge]).await?;
    let kind = store::model::MarkKind::Read;
    let seq = proto::Seq(1);
    open.store
        .mark(vec![store::model::Mark { conversation: direct(), user: bob.clone(), kind, seq }])
        .await?;
    let node = proto::NodeIncarnation::new("gw").unwrap();
    let (session, device) = (proto::SessionId::random(), proto::DeviceId::parse("phone").unwrap());
    let location = Some(store::model::Location { session, device, node });
    let attach = store::model::Attach { user: bob, location, from: store::model::StartPoint::Head };
    open.store.attach(vec![attach]).await.map(|_| ())
}

async fn marks_survive(steps: &'static str, named: bool) {
    let scene = Scene::new(steps).await;
    let mut faults = vec![Fault::None];
    let (mut at, mut failed) = (0, 0);
    while at < faults.len() {
        let fault = faults[at].clone();
        let open = scene.open().await;
        let posted = open.store.post(vec![first_message()]).await.unwrap().remove(0);
        let PostResult::Done { position: Some(own), .. } = posted else { panic!("{posted:?}") };
        let named_in = named.then_some(own.store);
        scene.break_it(&fault).await;
        let first = receive(&open, named_in).await;
        scene.repair(&fault).await;
        failed += usize::from(first.is_err());
        if first.is_err() {
            receive(&open, named_in).await.unwrap();
        }
        let what = format!("{fault:?}, which was {first:?}");
        let state = open.store.conversations(&[direct()], None).await.unwrap().remove(0).unwrap();
        let bob = state.members.iter().find(|member| member.user == user("bob")).unwrap();
        assert_eq!((bob.delivered.0, bob.read.0), (1, 1), "{what}");
        let marks = store::model::MarksQuery {
            since: store::model::MarksSince::Cursor(proto::Cursor::ORIGIN),
            after: 0,
        };
        let query = store::model::InboxQuery {
            user: user("alice"),
            after: proto::Cursor::ORIGIN,
            limit: 100,
            session: None,
            marks: Some(marks),
        };
        let page = open.store.read_inbox(vec![query]).await.unwrap().remove(0);
        let of_bob = page.marks.iter().filter(|mark| mark.user == user("bob")).count();
        assert_eq!(of_bob, 2, "alice is told when she comes: {what}");
        if at == 0 {
            faults.extend(scene.faults().await);
        }
        at += 1;
    }
    assert!(failed > 4, "{failed} faults were felt");
}

#[tokio::test]
async fn marks_that_failed_half_way_in_one_call_are_set_and_noted_when_they_are_repeated() {
    marks_survive("", false).await;
}

#[tokio::test]
async fn named_marks_that_failed_half_way_in_one_call_are_set_and_noted_when_they_are_repeated() {
    marks_survive("", true).await;
}

#[tokio::test]
async fn named_marks_that_failed_half_way_step_by_step_are_set_and_noted_when_they_are_repeated() {
    marks_survive("?steps=separate", true).await;
}

#[tokio::test]
async fn marks_that_failed_half_way_step_by_step_are_set_and_noted_when_they_are_repeated() {
    marks_survive("?steps=separate", false).await;
}
