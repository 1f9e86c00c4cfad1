//! The embedded store on a disk that is full for a while. The only test of its
//! process, since it limits the size of the process's files.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use proto::wire::{self, Entry};
use proto::{ConversationId, Cursor, Fingerprint, NodeIncarnation, UserId};
use store::embedded::Embedded;
use store::model::{InboxQuery, NewEntry, Post, PostKind, PostResult};
use store::{Bus as _, BusItem, Config, Error, Loss, Store as _, Url};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// SIGXFSZ would end the process; a full disk only fails a write.
const TOO_LARGE: i32 = 25;

/// Limits the size of this process's files.
fn limit_files(bytes: &str) {
    let pid = std::process::id().to_string();
    let done = Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:")]).status();
    assert!(done.unwrap().success(), "prlimit, of util-linux");
}

fn message(by: &UserId, conversation: &ConversationId, number: usize) -> Post {
    let body = Bytes::from(format!("\"{number} {}\"", "x".repeat(60_000)));
    let what = wire::entry::What::Message(wire::Message { body, client_msg_id: number.to_string() });
    let fingerprint = Fingerprint::random();
    let entry = Entry { fingerprint: fingerprint.0, time: 1, by: by.to_string(), what: Some(what) };
    Post {
        conversation: conversation.clone(),
        by: by.clone(),
        entries: [NewEntry { fingerprint, time: proto::Time(1), bytes: entry.encode_to_vec().into() }].into(),
        kind: PostKind::Message { repeat_key: number.to_string().into(), session: None },
        trace: Bytes::new(),
    }
}

async fn inbox(store: &Embedded, user: &UserId) -> Result<usize, Error> {
    let (mut after, mut count) = (Cursor::ORIGIN, 0);
    loop {
        let query = InboxQuery { user: user.clone(), after, limit: 100, session: None, marks: None };
        let page = store.read_inbox(vec![query]).await?.remove(0);
        let Some(last) = page.events.last() else { return Ok(count) };
        count += page.events.len();
        let fingerprint = Fingerprint(last.event.entry.fingerprint);
        after = Cursor { position: last.position, fingerprint };
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_said_and_the_store_goes_on_when_there_is_room_again() {
    let _ignored = signal(SignalKind::from_raw(TOO_LARGE)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = Config::new(Url::Embedded(folder.path().to_owned()));
    let store = Embedded::open(config, CancellationToken::new()).await.unwrap();
    let (alice, bob) = (UserId::parse("alice").unwrap(), UserId::parse("bob").unwrap());
    let direct = ConversationId::direct(&alice, &bob);
    let mut ear = store.subscribe(NodeIncarnation::new("gw").unwrap()).await.unwrap();
    store.post(vec![message(&alice, &direct, 0)]).await.unwrap();
    let file = Path::new("switchboard.redb");
    limit_files(&std::fs::metadata(folder.path().join(file)).unwrap().len().to_string());

    let mut sent = 1;
    let refused = loop {
        let post = message(&alice, &direct, sent);
        match store.post(vec![post.clone()]).await {
            Ok(_) => sent += 1,
            Err(error) => break (post, error),
        }
        assert!(sent < 1_000, "the file stays as small as it was");
    };
    let (post, error) = refused;
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    let why = store.ping().await.unwrap_err().to_string();
    assert!(why.contains("disk"), "readiness says why: {why}");
    assert!(store::store_trouble().is_some_and(|why| why.contains("make room")));
    assert!(store::store_errors(store::Reason::Disk) > 0);
    // Reading still works.
    let patience = Duration::from_secs(30);
    let read = testbed::wait::until(patience, "reading", async || inbox(&store, &bob).await.ok()).await;
    assert_eq!(read.unwrap_or_else(|_| panic!("{:?}", store::store_trouble())), sent);
    assert!(store.post(vec![post.clone()]).await.is_err(), "there is no room yet");

    limit_files("unlimited");
    testbed::wait::until(patience, "the store is well", async || store.ping().await.ok()).await.unwrap();
    assert_eq!(store::store_trouble(), None);
    let again = store.post(vec![post]).await.unwrap().remove(0);
    assert!(matches!(again, PostResult::Done { .. }));
    assert_eq!(inbox(&store, &bob).await.unwrap(), sent + 1, "each once");
    // Nobody knew whether the refused message was written, so sessions have
    // read on.
    let told = async { while ear.next().await != BusItem::Lost(Loss::Hole) {} };
    tokio::time::timeout(patience, told).await.unwrap();
}
