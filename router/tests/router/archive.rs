//! A router with an archive: old messages leave memory by themselves, and while the
//! archive is away only those who need it are told.

use std::sync::Arc;
use std::time::Duration;

use proto::wire::router_client::RouterClient;
use proto::wire::{self, reply, request::Command};
use router::{Config, Service};
use store::{ArchiveConfig, Store};
use testbed::{PostgresServer, RedisServer, wait};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::gateway::{DEADLINE, Gateway, body, send};

/// The messages before a seq.
fn before(conversation: &str, seq: u64) -> Command {
    Command::History(wire::History {
        conversation: conversation.into(),
        before: Some(seq),
        ..Default::default()
    })
}

fn inbox() -> Command {
    Command::ReadInbox(wire::ReadInbox::default())
}

/// A router over this Redis and this archive.
async fn start(redis: &RedisServer, postgres: &PostgresServer, shutdown: &CancellationToken) -> Gateway {
    let mut config = store::Config::new(redis.url().parse().unwrap());
    let mut archive = ArchiveConfig::new(postgres.url().parse().unwrap());
    archive.after = Duration::ZERO;
    config.archive = Some(archive);
    let store: Arc<dyn Store> = store::open(config, &TaskTracker::new(), shutdown.clone()).await.unwrap();
    let service = Service::new(store, Config { archives: true, ..Config::default() }, shutdown.clone());
    Gateway::open(RouterClient::new(service.server())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_messages_leave_memory_and_come_back_to_who_reads_them() {
    let (redis, mut postgres) = (RedisServer::start().await.unwrap(), PostgresServer::start().await.unwrap());
    let shutdown = CancellationToken::new();
    let _end = shutdown.clone().drop_guard();
    let mut gateway = start(&redis, &postgres, &shutdown).await;
    for text in ["1", "2", "3", "4"] {
        gateway.send("alice", "alice~bob", text).await;
    }
    let log = redis.command(&["KEYS", "{*}l:alice~bob"]).await.unwrap().items()[0].text().unwrap().to_owned();
    wait::until(DEADLINE, "all but the newest have left", async || {
        (redis.command(&["LLEN", &log]).await.ok()?.integer()? == 1).then_some(())
    })
    .await
    .unwrap();
    let reply::Result::History(page) = gateway.ask("bob", before("alice~bob", 4)).await else { panic!() };
    assert_eq!(page.messages.iter().map(body).collect::<Vec<_>>(), ["1", "2", "3"]);
    assert_eq!(gateway.inbox("bob").await.len(), 4);

    postgres.end().await.unwrap();
    let edit = Command::Edit(wire::Edit {
        conversation: "alice~bob".into(),
        seq: 1,
        body: "5".to_owned().into(),
        key: "key".into(),
    });
    // In one frame, and so in one batch: those who need the archive and those who do not.
    let asked = vec![
        ("bob", before("alice~bob", 3)),
        ("bob", inbox()),
        ("carol", inbox()),
        ("alice", edit),
        ("carol", send("carol~dave", "5")),
    ];
    let mut answers = Vec::new();
    for id in gateway.post_all(asked).await {
        answers.push(gateway.answer(id).await);
    }
    for needs in [0, 1, 3] {
        let reply::Result::Failure(failure) = &answers[needs] else {
            panic!("{needs}: {:?}", answers[needs])
        };
        assert_eq!(failure.code, "unavailable");
        assert!(failure.message.contains("archive"), "{}", failure.message);
    }
    assert!(matches!(&answers[2], reply::Result::Inbox(_)), "{:?}", answers[2]);
    assert!(matches!(&answers[4], reply::Result::Sent(_)), "{:?}", answers[4]);

    postgres.restart().await.unwrap();
    wait::until(DEADLINE, "the archive is used again", async || {
        let page = gateway.ask("bob", before("alice~bob", 3)).await;
        matches!(page, reply::Result::History(page) if page.messages.len() == 2).then_some(())
    })
    .await
    .unwrap();
}
