//! The stores under test, and helpers for what tests often do.

mod posts;

pub use posts::*;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use proto::wire::{self, Announcement, Entry, Envelope, Notice, Publication};
use proto::{
    ConversationId, Cursor, DeviceId, Fingerprint, NodeIncarnation, Position, Seq, SessionId, Time, UserId,
};
use store::model::{
    Attach, AttachResult, Change, InboxEvent, InboxPage, InboxQuery, Location, LogEvent, Post, PostResult,
    StartPoint, Version,
};
use store::{Bounds, Bus, BusItem, Config, Store, Subscription, Url};
use testbed::stand_in::StandInServer;
use testbed::{RedisCluster, RedisServer};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The implementations under test.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Embedded,
    Redis,
    /// One Redis, written step by step as a Cluster is.
    RedisStepByStep,
    RedisCluster,
    /// What stands in for one Redis in the simulation.
    StandIn,
}

/// Makes a test of each function for each implementation. A function that is
/// left out is reported as unused.
macro_rules! for_every_store {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            use crate::contract::harness::Kind;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn embedded() {
                super::$name(Kind::Embedded).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn redis() {
                super::$name(Kind::Redis).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn redis_step_by_step() {
                super::$name(Kind::RedisStepByStep).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn redis_cluster() {
                super::$name(Kind::RedisCluster).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn stand_in() {
                super::$name(Kind::StandIn).await;
            }
        }
    )+};
}
pub(crate) use for_every_store;

/// Two handles on one store, as two routers have them, and its bus.
pub struct Stores {
    pub one: Arc<dyn Store>,
    pub two: Arc<dyn Store>,
    pub bus: Arc<dyn Bus>,
    /// Part of every id, so that tests may share a server.
    tag: String,
    /// What both routers were opened with; nothing for the embedded store.
    routers: Option<Config>,
    /// Ends the routers.
    shutdown: CancellationToken,
    /// Ends the bus.
    deaf: CancellationToken,
    /// What must live as long as the store.
    _kept: Box<dyn Any + Send + Sync>,
}

impl Kind {
    pub async fn open(self) -> Stores {
        self.open_with(Bounds::default()).await
    }

    pub async fn open_with(self, bounds: Bounds) -> Stores {
        match self {
            Self::Embedded => {
                let shutdown = CancellationToken::new();
                let tag = format!("{:012x}", rand::random::<u64>() >> 16);
                let folder = tempfile::tempdir().unwrap();
                let mut config = Config::new(Url::Embedded(folder.path().join("made/when/missing")));
                config.bounds = bounds;
                config.timeout = Duration::from_secs(30);
                let store = store::embedded::Embedded::open(config, shutdown.clone()).await.unwrap();
                Stores {
                    one: store.clone(),
                    two: store.clone(),
                    bus: store,
                    routers: None,
                    tag,
                    deaf: shutdown.clone(),
                    shutdown,
                    _kept: Box::new(folder),
                }
            }
            Self::Redis | Self::RedisStepByStep => self.open_at(server().await.url(), bounds).await,
            Self::RedisCluster => self.open_at(cluster().await.url(), bounds).await,
            Self::StandIn => {
                let server = StandInServer::start().await.unwrap();
                let mut stores = self.open_at(server.url(), bounds).await;
                stores._kept = Box::new(server);
                stores
            }
        }
    }

    /// Opens a store with a server of its own, for what is one for a whole store.
    pub async fn open_alone(self, bounds: Bounds) -> Stores {
        let (mut stores, server): (_, Box<dyn Any + Send + Sync>) = match self {
            Self::Embedded | Self::StandIn => return self.open_with(bounds).await,
            Self::Redis | Self::RedisStepByStep => {
                let server = RedisServer::start().await.unwrap();
                (self.open_at(server.url(), bounds).await, Box::new(server))
            }
            Self::RedisCluster => {
                let servers = RedisCluster::start(3).await.unwrap();
                (self.open_at(servers.url(), bounds).await, Box::new(servers))
            }
        };
        stores._kept = server;
        stores
    }

    /// Opens a store on this server; not for the embedded kind.
    pub async fn open_at(self, mut url: String, bounds: Bounds) -> Stores {
        if matches!(self, Self::RedisStepByStep) {
            url.push_str("?steps=separate");
        }
        let tag = format!("{:012x}", rand::random::<u64>() >> 16);
        redis(url, bounds, tag, CancellationToken::new()).await
    }
}

/// One server for all tests: the tag keeps them apart.
async fn server() -> &'static RedisServer {
    static SERVER: OnceCell<RedisServer> = OnceCell::const_new();
    SERVER.get_or_init(|| async { RedisServer::start().await.unwrap() }).await
}

/// One Cluster of three primaries for all tests.
async fn cluster() -> &'static RedisCluster {
    static CLUSTER: OnceCell<RedisCluster> = OnceCell::const_new();
    CLUSTER.get_or_init(|| async { RedisCluster::start(3).await.unwrap() }).await
}

async fn redis(url: String, bounds: Bounds, tag: String, shutdown: CancellationToken) -> Stores {
    let mut config = Config::new(Url::Redis(url.parse().unwrap()));
    config.bounds = bounds;
    config.timeout = Duration::from_secs(30);
    let (tasks, deaf) = (TaskTracker::new(), CancellationToken::new());
    Stores {
        one: store::open(router(&config), &tasks, shutdown.clone()).await.unwrap(),
        two: store::open(router(&config), &tasks, shutdown.clone()).await.unwrap(),
        bus: store::open_bus(&config, &tasks, deaf.clone()).unwrap(),
        routers: Some(config),
        tag,
        shutdown,
        deaf,
        _kept: Box::new(()),
    }
}

/// Of one more router: each numbers its envelopes by itself.
fn router(config: &Config) -> Config {
    Config { origin: format!("{:016x}", rand::random::<u64>()), ..config.clone() }
}

impl Drop for Stores {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.deaf.cancel();
    }
}

impl Stores {
    /// Starts both routers of Redis anew.
    pub async fn restart_routers(&mut self) {
        let Some(config) = &self.routers else { return };
        self.shutdown.cancel();
        self.shutdown = CancellationToken::new();
        let tasks = TaskTracker::new();
        self.one = store::open(router(config), &tasks, self.shutdown.clone()).await.unwrap();
        self.two = store::open(router(config), &tasks, self.shutdown.clone()).await.unwrap();
    }

    /// A user that no other test knows.
    pub fn user(&self, name: &str) -> UserId {
        UserId::parse(&format!("{name}-{}", self.tag)).unwrap()
    }

    pub async fn post(&self, post: Post) -> PostResult {
        self.one.post(vec![post]).await.unwrap().remove(0)
    }

    /// Posts what must succeed as something new.
    pub async fn done(&self, post: Post) -> Done {
        Done::of(self.post(post).await)
    }

    /// Posts a direct message.
    pub async fn send(&self, by: &UserId, to: &UserId, text: &str) -> Done {
        self.done(message(by, &ConversationId::direct(by, to), text)).await
    }

    /// Makes a group, owned by the first of its members.
    pub async fn group(&self, members: &[&UserId]) -> ConversationId {
        let group = ConversationId::new_group(Time::now());
        let members: Vec<UserId> = members.iter().copied().cloned().collect();
        let change = Change {
            name: Some("name".into()),
            owner: Some(members[0].clone()),
            add: members.clone(),
            ..Default::default()
        };
        self.done(changed(&members[0], &group, change)).await;
        group
    }

    pub async fn version(&self, group: &ConversationId) -> Version {
        let state = self.one.conversations(std::slice::from_ref(group), None).await.unwrap().remove(0);
        state.expect("the group is there").group.expect("it is a group").version
    }

    /// Changes a group from its present version.
    pub async fn change(&self, by: &UserId, group: &ConversationId, change: Change) -> Done {
        let expect = self.version(group).await;
        self.done(changed(by, group, Change { expect, ..change })).await
    }

    /// A whole inbox, from the oldest event on, in pages of `limit`.
    pub async fn inbox_in_pages(&self, user: &UserId, limit: usize) -> Vec<InboxEvent> {
        let mut after = self.look(user, StartPoint::Start).await.start;
        let mut events = Vec::new();
        loop {
            let page = self.page(user, after, limit).await;
            assert_eq!(page.reset, None, "reading on from an event just read");
            assert!(page.events.len() <= limit);
            let Some(last) = page.events.last() else {
                assert_eq!(page.head, after.position, "an empty page is the end");
                return events;
            };
            after =
                Cursor { position: last.position, fingerprint: Fingerprint(last.event.entry.fingerprint) };
            events.extend(page.events);
        }
    }

    pub async fn inbox(&self, user: &UserId) -> Vec<InboxEvent> {
        self.inbox_in_pages(user, 100).await
    }

    pub async fn page(&self, user: &UserId, after: Cursor, limit: usize) -> InboxPage {
        let query = InboxQuery { user: user.clone(), after, limit, session: None, marks: None };
        self.two.read_inbox(vec![query]).await.unwrap().remove(0)
    }

    /// Looks up where reading starts, without a session.
    pub async fn look(&self, user: &UserId, from: StartPoint) -> AttachResult {
        let attach = Attach { user: user.clone(), location: None, from };
        self.one.attach(vec![attach]).await.unwrap().remove(0)
    }

    /// Begins a session at the head.
    pub async fn attach(&self, user: &UserId, location: &Location) -> AttachResult {
        let attach = Attach { user: user.clone(), location: Some(location.clone()), from: StartPoint::Head };
        self.one.attach(vec![attach]).await.unwrap().remove(0)
    }

    /// A node with a subscription.
    pub async fn node(&self, name: &str) -> Node {
        let id = NodeIncarnation::new(name).unwrap();
        let subscription = self.bus.subscribe(id.clone()).await.unwrap();
        Node { id, subscription, heard: Vec::new(), numbers: std::collections::HashMap::new() }
    }
}

/// The fields of [`PostResult::Done`].
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    pub seq: Seq,
    pub time: Time,
    pub position: Option<Cursor>,
}

impl Done {
    pub fn of(posted: PostResult) -> Self {
        match posted {
            PostResult::Done { seq, time, duplicate: false, position } => {
                Self { seq, time, position: position.map(|position| position.cursor) }
            }
            other => panic!("not done as something new: {other:?}"),
        }
    }
}

/// A node's subscription to the bus.
pub struct Node {
    pub id: NodeIncarnation,
    subscription: Box<dyn Subscription>,
    /// What came in the same envelope as the last item, in reverse order.
    heard: Vec<What>,
    numbers: std::collections::HashMap<String, u64>,
}

/// What envelopes carry.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    Announcement(Announcement),
    Notice(Notice),
    Publication(Publication),
}

impl Node {
    /// The location of a new session on this node.
    pub fn location(&self, device: &str) -> Location {
        Location {
            session: SessionId::random(),
            device: DeviceId::parse(device).unwrap(),
            node: self.id.clone(),
        }
    }

    /// The next event. A notice of how far inboxes reach may come before it: in
    /// the stepwise way a repeat sends one, since the first attempt may not
    /// have announced.
    pub async fn announcement(&mut self) -> Announcement {
        loop {
            match self.next().await {
                What::Announcement(announcement) => return announcement,
                What::Notice(Notice { what: Some(wire::notice::What::Head(_)), .. }) => {}
                other => panic!("not an announcement: {other:?}"),
            }
        }
    }

    pub async fn notice(&mut self) -> Notice {
        match self.next().await {
            What::Notice(notice) => notice,
            other => panic!("not a notice: {other:?}"),
        }
    }

    pub async fn publication(&mut self) -> Publication {
        match self.next().await {
            What::Publication(publication) => publication,
            other => panic!("not a publication: {other:?}"),
        }
    }

    /// The next item for the node. Checks on the way that the numbers of each
    /// origin have no holes.
    pub async fn next(&mut self) -> What {
        loop {
            if let Some(what) = self.heard.pop() {
                return what;
            }
            let envelope = self.envelope().await;
            let what = envelope.announcements.into_iter().map(What::Announcement);
            self.heard.extend(what.chain(envelope.notices.into_iter().map(What::Notice)));
            self.heard.extend(envelope.publications.into_iter().map(What::Publication));
            self.heard.reverse();
        }
    }

    async fn envelope(&mut self) -> Envelope {
        loop {
            match self.hear().await {
                // Counts and nonces carry nothing.
                BusItem::Envelope(envelope) if envelope.number == 0 => {}
                BusItem::Envelope(envelope) => {
                    let last = self.numbers.entry(envelope.origin.clone()).or_default();
                    assert!(*last == 0 || envelope.number == *last + 1, "a hole in the envelopes");
                    *last = envelope.number;
                    assert!(!envelope.store.is_empty(), "an envelope names the store's incarnation");
                    return envelope;
                }
                BusItem::Lost(loss) => panic!("lost something: {loss:?}"),
                BusItem::Store(_) => {}
            }
        }
    }

    async fn hear(&mut self) -> BusItem {
        let heard = tokio::time::timeout(Duration::from_secs(15), self.subscription.next()).await;
        heard.expect("something is heard within 15 seconds")
    }
}

/// The targets of an announcement, in the order of their names.
pub fn targets(announcement: &Announcement) -> Vec<(UserId, Position)> {
    let mut targets: Vec<_> = announcement
        .targets
        .iter()
        .map(|target| (UserId::parse(&target.user).unwrap(), Position(target.position)))
        .collect();
    targets.sort();
    targets
}

/// An event as a short word: `1:hi` a message, `edit 1:ho`, `recall 1`, `👍+1`,
/// `👍-1`, `change`.
pub fn word(event: &LogEvent) -> String {
    let body = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    match event.entry.what.as_ref().unwrap() {
        wire::entry::What::Message(message) => format!("{}:{}", event.seq.0, body(&message.body)),
        what => {
            assert_eq!(event.seq, Seq(0), "only a message has a seq of its own");
            match what {
                wire::entry::What::Edited(edited) => format!("edit {}:{}", edited.seq, body(&edited.body)),
                wire::entry::What::Recalled(recalled) => format!("recall {}", recalled.seq),
                wire::entry::What::Reaction(reaction) => {
                    format!("{}{}{}", reaction.emoji, if reaction.on { '+' } else { '-' }, reaction.seq)
                }
                _ => "change".into(),
            }
        }
    }
}

/// The events of an inbox in one conversation, as words.
pub fn words(inbox: &[InboxEvent], conversation: &ConversationId) -> Vec<String> {
    let of_it = inbox.iter().filter(|filed| filed.event.conversation == *conversation);
    of_it.map(|filed| word(&filed.event)).collect()
}

/// The entry of a post, as readers see it.
pub fn decoded(post: &Post) -> Entry {
    Entry::decode(post.entries[0].bytes.clone()).unwrap()
}

/// A message's body; `None` for anything else.
pub fn text(entry: &Entry) -> Option<String> {
    match entry.what.as_ref().unwrap() {
        wire::entry::What::Message(message) => Some(String::from_utf8(message.body.to_vec()).unwrap()),
        _ => None,
    }
}

/// The seqs and bodies of an inbox's messages in one conversation.
pub fn texts(inbox: &[InboxEvent], conversation: &ConversationId) -> Vec<(u64, String)> {
    inbox
        .iter()
        .filter(|filed| filed.event.conversation == *conversation)
        .filter_map(|filed| Some((filed.event.seq.0, text(&filed.event.entry)?)))
        .collect()
}

/// Checks that positions have no holes.
pub fn assert_no_holes(inbox: &[InboxEvent]) {
    for pair in inbox.windows(2) {
        assert_eq!(pair[1].position, pair[0].position.next());
    }
}
