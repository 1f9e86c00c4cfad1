//! Numbering, filing and announcing direct messages, in batches, on both
//! stores. The time is for a whole batch; elements a second are messages.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use prost::Message as _;
use proto::wire::{Entry, Message, entry::What};
use proto::{ConversationId, Fingerprint, UserId};
use store::model::{NewEntry, Post, PostKind};
use store::{Config, Store, Url};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A message of 128 bytes between one of a thousand pairs of users.
fn post(number: u64) -> Post {
    let user = |side: &str| UserId::parse(&format!("{side}{}", number % 1_000)).unwrap();
    let (from, to) = (user("a"), user("b"));
    let fingerprint = Fingerprint::random();
    let body = Bytes::from(format!("\"{}\"", "x".repeat(126)));
    let what = What::Message(Message { body, client_msg_id: format!("m-{number}") });
    let entry =
        Entry { fingerprint: fingerprint.0, time: 1_790_000_000_000, by: from.to_string(), what: Some(what) };
    Post {
        conversation: ConversationId::direct(&from, &to),
        entries: [NewEntry {
            fingerprint,
            time: proto::Time(entry.time),
            bytes: entry.encode_to_vec().into(),
        }]
        .into(),
        by: from,
        kind: PostKind::Message { repeat_key: format!("m-{number}").into(), session: None },
        trace: Bytes::new(),
    }
}

fn bench(criterion: &mut Criterion, runtime: &tokio::runtime::Runtime, name: &str, store: &Arc<dyn Store>) {
    let mut group = criterion.benchmark_group(format!("post, {name}"));
    let number = std::sync::atomic::AtomicU64::new(rand::random::<u32>().into());
    for batch in [1_u64, 16, 128] {
        group.throughput(Throughput::Elements(batch));
        group.bench_with_input(BenchmarkId::from_parameter(batch), &batch, |bencher, &batch| {
            bencher.to_async(runtime).iter(|| async {
                let first = number.fetch_add(batch, std::sync::atomic::Ordering::Relaxed);
                let posted = store.post((first..first + batch).map(post).collect()).await.unwrap();
                assert_eq!(posted.len() as u64, batch);
            });
        });
    }
    group.finish();
}

fn benches(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());

    let config = Config::new(Url::Embedded(folder.path().join("data")));
    let embedded = runtime.block_on(store::open(config, &tasks, shutdown.clone())).unwrap();
    bench(criterion, &runtime, "embedded", &embedded);

    let server = runtime.block_on(testbed::RedisServer::start()).unwrap();
    for (name, suffix) in [("redis, one call", ""), ("redis, step by step", "?steps=separate")] {
        let url: Url = format!("{}{suffix}", server.url()).parse().unwrap();
        let open = store::open(Config::new(url), &tasks, shutdown.clone());
        let redis = runtime.block_on(open).unwrap();
        bench(criterion, &runtime, name, &redis);
    }
    shutdown.cancel();
}

criterion_group!(filing, benches);
criterion_main!(filing);
