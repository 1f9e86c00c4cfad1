//! The CPU time of Redis, as Redis itself counts it: for a direct message
//! between two users with a session each, on two nodes, and for an
//! acknowledgement of one such message with the receipt for the other user. For
//! several numbers of items in one call, with an append-only file as in
//! `deploy`. With an argument, only lines that contain it.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use proto::wire::{Entry, Message, Notice, Receipts, entry::What, notice};
use proto::{ConversationId, Cursor, DeviceId, Fingerprint, NodeIncarnation, Position, SessionId, UserId};
use store::model::{
    Acknowledge, AcknowledgeResult, Attach, Location, Mark, MarkKind, NewEntry, Post, PostKind, PostResult,
    StartPoint,
};
use store::{Config, Store, Url};
use testbed::RedisServer;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Pairs of users.
const PAIRS: usize = 1_000;
/// Items measured for each line, at least.
const ITEMS: usize = 16_000;
/// How many acknowledgements have their receipts sent together, as a router
/// does every 100 ms.
const RECEIPTS: usize = 128;

struct Yardstick {
    server: RedisServer,
    store: Arc<dyn Store>,
    nodes: [NodeIncarnation; 2],
    sessions: Vec<[SessionId; 2]>,
    /// For each pair: how many messages there are, and the last one's
    /// fingerprint.
    heads: Vec<(u64, Fingerprint)>,
    next: usize,
}

fn user(pair: usize, side: usize) -> UserId {
    UserId::parse(&format!("u{:05}", 2 * pair + side)).unwrap()
}

fn conversation(pair: usize) -> ConversationId {
    ConversationId::direct(&user(pair, 0), &user(pair, 1))
}

impl Yardstick {
    async fn new(suffix: &str, shutdown: &CancellationToken) -> Self {
        let server = RedisServer::start().await.unwrap();
        let url: Url = format!("{}{suffix}", server.url()).parse().unwrap();
        let tasks = TaskTracker::new();
        let store = store::open(Config::new(url.clone()), &tasks, shutdown.clone()).await.unwrap();
        let bus = store::open_bus(&Config::new(url), &tasks, shutdown.clone()).unwrap();
        let nodes = [NodeIncarnation::new("gw-1").unwrap(), NodeIncarnation::new("gw-2").unwrap()];
        for node in &nodes {
            let mut ear = bus.subscribe(node.clone()).await.unwrap();
            tokio::spawn(async move {
                loop {
                    ear.next().await;
                }
            });
        }
        let sessions: Vec<_> = (0..PAIRS).map(|_| [SessionId::random(), SessionId::random()]).collect();
        for (pair, sessions) in sessions.iter().enumerate() {
            let attach = |side: usize| Attach {
                user: user(pair, side),
                location: Some(Location {
                    session: sessions[side].clone(),
                    device: DeviceId::parse("d1").unwrap(),
                    node: nodes[side].clone(),
                }),
                from: StartPoint::Head,
            };
            store.attach(vec![attach(0), attach(1)]).await.unwrap();
        }
        let heads = vec![(0, Fingerprint::default()); PAIRS];
        Self { server, store, nodes, sessions, heads, next: 0 }
    }

    /// CPU time of Redis so far, in µs.
    async fn spent(&self) -> f64 {
        let mut sum = 0.0;
        for name in ["used_cpu_sys", "used_cpu_user"] {
            let value = self.server.info(&["INFO", "cpu"], name).await.unwrap().unwrap();
            sum += value.parse::<f64>().unwrap() * 1e6;
        }
        sum
    }

    /// The next pairs in turn, in an order that is not that of their names.
    fn pairs(&mut self, count: usize) -> Vec<usize> {
        let first = self.next;
        self.next += count;
        (first..first + count).map(|number| number * 379 % PAIRS).collect()
    }

    /// A message from each pair's next sender.
    async fn post(&mut self, pairs: &[usize]) {
        let posts = pairs.iter().map(|pair| self.message(*pair)).collect();
        for (pair, posted) in pairs.iter().zip(self.store.post(posts).await.unwrap()) {
            let PostResult::Done { seq, duplicate: false, .. } = posted else { panic!("{posted:?}") };
            assert_eq!(seq.0, self.heads[*pair].0);
        }
    }

    fn message(&mut self, pair: usize) -> Post {
        let (number, fingerprint) = (self.heads[pair].0 + 1, Fingerprint::random());
        self.heads[pair] = (number, fingerprint);
        let side = (number % 2) as usize;
        let (by, time) = (user(pair, side), 1_790_000_000_000);
        let client_msg_id = format!("{:010x}-{number}", pair);
        let what = Message {
            body: Bytes::from(format!("\"{}\"", "x".repeat(126))),
            client_msg_id: client_msg_id.clone(),
        };
        let entry =
            Entry { fingerprint: fingerprint.0, time, by: by.to_string(), what: Some(What::Message(what)) };
        Post {
            conversation: conversation(pair),
            by,
            entries: [NewEntry { fingerprint, time: proto::Time(time), bytes: entry.encode_to_vec().into() }]
                .into(),
            trace: bytes::Bytes::new(),
            kind: PostKind::Message {
                repeat_key: client_msg_id.into(),
                session: Some(self.sessions[pair][side].clone()),
            },
        }
    }

    /// The reader of each pair's last message acknowledges it.
    async fn acknowledge(&self, pairs: &[usize]) {
        let batch = pairs
            .iter()
            .map(|pair| {
                let (number, fingerprint) = self.heads[*pair];
                let reader = user(*pair, 1 - (number % 2) as usize);
                Acknowledge::up_to(reader, Cursor { position: Position(number), fingerprint })
            })
            .collect();
        for acknowledged in self.store.acknowledge(batch).await.unwrap() {
            let AcknowledgeResult::Marks(marks) = acknowledged else { panic!("no such place") };
            assert_eq!(marks.len(), 1);
        }
    }

    /// Tells the writers of the pairs' last messages, as a router does.
    async fn tell(&self, pairs: &[usize]) {
        let writers: Vec<UserId> =
            pairs.iter().map(|pair| user(*pair, (self.heads[*pair].0 % 2) as usize)).collect();
        let located = self.store.locate(&writers).await.unwrap();
        let mut notices = Vec::new();
        for ((pair, writer), locations) in pairs.iter().zip(writers).zip(located) {
            let (number, _) = self.heads[*pair];
            let mark = Mark {
                conversation: conversation(*pair),
                user: user(*pair, 1 - (number % 2) as usize),
                kind: MarkKind::Delivered,
                seq: proto::Seq(number),
            };
            for location in locations {
                assert!(self.nodes.contains(&location.node));
                let conversation = mark.conversation.to_string();
                let receipts = Receipts { conversation, marks: vec![mark.moved()] };
                let what = Some(notice::What::Receipts(receipts));
                notices.push((
                    location.node,
                    Notice { users: vec![writer.to_string()], session: String::new(), what },
                ));
            }
        }
        self.store.publish(notices).await.unwrap();
    }

    async fn measure(&mut self, name: &str) {
        for batch in [1_usize, 4, 16, 128] {
            let (mut posts, mut acks, mut receipts, mut items) = (0.0, 0.0, 0.0, 0);
            let wanted = if batch == 1 { ITEMS / 4 } else { ITEMS };
            while items < wanted {
                let round: Vec<usize> = self.pairs(PAIRS / batch * batch);
                let begun = self.spent().await;
                for pairs in round.chunks(batch) {
                    self.post(pairs).await;
                }
                let posted = self.spent().await;
                for pairs in round.chunks(batch) {
                    self.acknowledge(pairs).await;
                }
                let acknowledged = self.spent().await;
                for pairs in round.chunks(RECEIPTS) {
                    self.tell(pairs).await;
                }
                let told = self.spent().await;
                posts += posted - begun;
                acks += acknowledged - posted;
                receipts += told - acknowledged;
                items += round.len();
            }
            let each = |sum: f64| sum / items as f64;
            println!(
                "{name:<14} {batch:>4} a call: post {:6.1} µs   acknowledge {:6.1} µs   receipt {:5.1} µs",
                each(posts),
                each(acks),
                each(receipts)
            );
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let only = std::env::args().skip(1).find(|word| !word.starts_with('-')).unwrap_or_default();
    let shutdown = CancellationToken::new();
    for (name, suffix) in [("one call", ""), ("step by step", "?steps=separate")] {
        if name.contains(&only) {
            Yardstick::new(suffix, &shutdown).await.measure(name).await;
        }
    }
    shutdown.cancel();
}
