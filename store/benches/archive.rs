//! What archiving costs: the CPU time of this process (a router's part), of Redis
//! and of PostgreSQL for each message that is copied and trimmed; and the time of a
//! page of old history. With a number as argument, the archive has so many messages
//! of others before pages are read.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message as _;
use proto::wire::{Entry, Message, entry::What};
use proto::{ConversationId, Fingerprint, Seq, Time, UserId};
use store::model::{HistoryQuery, HistoryRange, NewEntry, Post, PostKind};
use store::{ArchiveConfig, Config, Store};
use testbed::{PostgresServer, RedisServer};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Direct conversations, and messages in each. Bodies have 256 bytes.
const CONVERSATIONS: usize = 500;
const MESSAGES: usize = 60;
/// Pages that are read, of 50 messages.
const PAGES: usize = 200;

fn conversation(number: usize) -> (UserId, ConversationId) {
    let user = |side: &str| UserId::parse(&format!("{side}{number:06}")).unwrap();
    let alice = user("a");
    let conversation = ConversationId::direct(&alice, &user("b"));
    (alice, conversation)
}

fn message(number: usize, key: usize) -> Post {
    let (by, conversation) = conversation(number);
    let (fingerprint, time) = (Fingerprint::random(), Time::now());
    let client_msg_id = key.to_string();
    let what =
        What::Message(Message { body: Bytes::from(vec![b'x'; 256]), client_msg_id: client_msg_id.clone() });
    let entry = Entry { fingerprint: fingerprint.0, time: time.0, by: by.to_string(), what: Some(what) };
    Post {
        conversation,
        by,
        entries: [NewEntry { fingerprint, time, bytes: entry.encode_to_vec().into() }].into(),
        kind: PostKind::Message { repeat_key: client_msg_id.into(), session: None },
        trace: Bytes::new(),
    }
}

/// CPU time of a process and of its children that have ended, in clock ticks of 10 ms.
fn ticks(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    after.split(' ').skip(11).take(4).filter_map(|word| word.parse::<f64>().ok()).sum()
}

/// The same of PostgreSQL with all its processes.
fn ticks_of_all(pid: u32) -> f64 {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    ticks(pid) + children.split_whitespace().filter_map(|child| child.parse().ok()).map(ticks).sum::<f64>()
}

async fn archive_all(store: &Arc<dyn Store>) -> u64 {
    let mut entries = 0;
    loop {
        let archived = store.archive().await.unwrap();
        entries += archived.entries;
        if archived.entries == 0 && !archived.more {
            return entries;
        }
    }
}

async fn page(store: &Arc<dyn Store>, number: usize) -> Duration {
    let (user, conversation) = conversation(number);
    let begun = Instant::now();
    let query = HistoryQuery { user, conversation, range: HistoryRange::Before(Seq(55)), limit: 50 };
    let page = store.history(query).await.unwrap().unwrap();
    assert_eq!(page.messages.len(), 50);
    begun.elapsed()
}

#[tokio::main]
async fn main() {
    let others = std::env::args().filter_map(|arg| arg.parse::<u64>().ok()).next().unwrap_or(0);
    let (redis, postgres) = (RedisServer::start().await.unwrap(), PostgresServer::start().await.unwrap());
    let mut config = Config::new(redis.url().parse().unwrap());
    let mut archive = ArchiveConfig::new(postgres.url().parse().unwrap());
    archive.after = Duration::ZERO;
    config.archive = Some(archive);
    let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
    let store = store::open(config, &tasks, shutdown.clone()).await.unwrap();
    for round in 0..MESSAGES {
        for some in (0..CONVERSATIONS).collect::<Vec<_>>().chunks(100) {
            store.post(some.iter().map(|number| message(*number, round)).collect()).await.unwrap();
        }
    }
    let pids = [std::process::id(), redis.pid().unwrap()];
    let server = postgres.pid().unwrap();
    let before = [ticks(pids[0]), ticks(pids[1]), ticks_of_all(server)];
    let begun = Instant::now();
    let entries = archive_all(&store).await;
    let took = begun.elapsed();
    let after = [ticks(pids[0]), ticks(pids[1]), ticks_of_all(server)];
    println!("{entries} messages archived in {took:.1?}; µs of CPU for each:");
    for (who, (after, before)) in ["router", "redis", "postgresql"].iter().zip(after.iter().zip(before)) {
        println!("  {who:<10} {:5.1}", (after - before) * 10_000.0 / entries as f64);
    }
    if others > 0 {
        let fill = format!(
            "INSERT INTO switchboard_entries SELECT 'c' || n / 100 || '~d' || n / 100, 0, n % 100 + 1, week, \
             decode(repeat(md5(n::text), 10), 'hex') FROM generate_series(1, {others}) AS n, \
             (SELECT max(week) AS week FROM switchboard_entries) AS newest; ANALYZE switchboard_entries"
        );
        postgres.run(&fill).unwrap();
    }
    let mut times = Vec::new();
    for number in 0..PAGES {
        times.push(page(&store, number * CONVERSATIONS / PAGES).await);
    }
    times.sort();
    println!(
        "a page of 50 old messages, with {} in the archive: p50 {:.1?}, p99 {:.1?}",
        entries + others,
        times[PAGES / 2],
        times[PAGES * 99 / 100]
    );
    shutdown.cancel();
}
