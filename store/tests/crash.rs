//! The embedded store after kill -9, several times on the same file: nothing
//! acknowledged is lost, nothing is half written, and numbering goes on. The
//! test starts this same program as its victim: given a folder, it posts until
//! it is killed, and prints what was acknowledged.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message as _;
use proto::wire::{Entry, Message, entry};
use proto::{ConversationId, Cursor, Fingerprint, Seq, UserId};
use store::embedded::Embedded;
use store::model::{
    Attach, HistoryQuery, HistoryRange, InboxQuery, NewEntry, Post, PostKind, PostResult, StartPoint,
};
use store::{Config, Store, Url};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const ROUNDS: usize = 6;
const WRITERS: usize = 24;
/// The least number of acknowledged messages before a round's victim is killed.
/// Each round waits for some more, so that the kills come at different moments.
const AT_LEAST: usize = 150;

/// (conversation, seq) to text.
type Acknowledgements = BTreeMap<(String, u64), String>;

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Some(folder) = std::env::args().skip_while(|argument| argument != "--victim").nth(1) {
        runtime.block_on(post_until_killed(Path::new(&folder)));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Acknowledgements::new();
    for round in 0..ROUNDS {
        kill_one(folder.path(), AT_LEAST + round * 37, &mut acknowledged);
        runtime.block_on(check(folder.path(), &acknowledged));
    }
    println!("{} acknowledged messages survived {ROUNDS} kills", acknowledged.len());
}

fn conversations() -> Vec<(UserId, ConversationId)> {
    let user = |name: &str| UserId::parse(name).unwrap();
    let direct = |one: &str, other: &str| ConversationId::direct(&user(one), &user(other));
    vec![
        (user("alice"), direct("alice", "bob")),
        (user("alice"), direct("alice", "carol")),
        (user("bob"), direct("bob", "carol")),
    ]
}

async fn open(folder: &Path) -> (Arc<Embedded>, CancellationToken) {
    let shutdown = CancellationToken::new();
    let mut config = Config::new(Url::Embedded(folder.to_owned()));
    // Nothing that is checked is trimmed, however fast the machine is.
    config.bounds.inbox_events = u64::MAX;
    config.bounds.conversation_messages = u64::MAX;
    (Embedded::open(config, shutdown.clone()).await.unwrap(), shutdown)
}

fn post(by: &UserId, conversation: &ConversationId, text: &str) -> Post {
    let fingerprint = Fingerprint::random();
    let what = Message { body: Bytes::copy_from_slice(text.as_bytes()), client_msg_id: String::new() };
    let entry = Entry {
        fingerprint: fingerprint.0,
        time: 1,
        by: by.to_string(),
        what: Some(entry::What::Message(what)),
    };
    Post {
        conversation: conversation.clone(),
        by: by.clone(),
        entries: [NewEntry { fingerprint, time: proto::Time(1), bytes: entry.encode_to_vec().into() }].into(),
        kind: PostKind::Message { repeat_key: text.into(), session: None },
        trace: bytes::Bytes::new(),
    }
}

/// The victim: writes a line for each acknowledged message.
async fn post_until_killed(folder: &Path) {
    let (store, _shutdown) = open(folder).await;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        writers.spawn(async move {
            loop {
                let (by, conversation) = conversations().remove(writer % 3);
                let texts: Vec<_> = (0..1 + writer % 4).map(|_| rand::random::<u64>().to_string()).collect();
                let batch = texts.iter().map(|text| post(&by, &conversation, text)).collect();
                let answers = store.post(batch).await.unwrap();
                let mut lines = String::new();
                for (text, answer) in texts.iter().zip(answers) {
                    let PostResult::Done { seq, duplicate: false, .. } = answer else { panic!("{answer:?}") };
                    lines += &format!("{conversation} {} {text}\n", seq.0);
                }
                if std::io::stdout().lock().write_all(lines.as_bytes()).is_err() {
                    // The test is gone.
                    std::process::exit(1);
                }
            }
        });
    }
    writers.join_all().await;
}

/// Starts a victim, kills it when enough is acknowledged, and collects what it
/// printed.
fn kill_one(folder: &Path, at_least: usize, acknowledged: &mut Acknowledgements) {
    let program = std::env::current_exe().unwrap();
    let victim = Command::new(program).arg("--victim").arg(folder).stdout(Stdio::piped()).spawn().unwrap();
    let mut victim = Victim(victim);
    let mut said = BufReader::new(victim.0.stdout.take().unwrap());
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut count = 0;
    let mut line = String::new();
    while said.read_line(&mut line).unwrap() > 0 {
        // A line that the kill has cut off does not count.
        if line.ends_with('\n') {
            let mut words = line.split_whitespace().map(str::to_owned);
            let (conversation, seq, text) =
                (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            let twice = acknowledged.insert((conversation, seq.parse().unwrap()), text);
            assert_eq!(twice, None, "a number was given twice");
            count += 1;
            if count == at_least {
                victim.0.kill().unwrap();
            }
        }
        assert!(Instant::now() < deadline, "the victim is too slow");
        line.clear();
    }
    assert!(count >= at_least, "the victim died by itself after {count}");
}

/// Killed when the test ends, however it ends.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Opens what the victim left.
async fn check(folder: &Path, acknowledged: &Acknowledgements) {
    let (store, shutdown) = open(folder).await;
    let mut filed: BTreeMap<String, Acknowledgements> = BTreeMap::new();
    for name in ["alice", "bob", "carol"] {
        filed.insert(name.into(), inbox(&*store, &UserId::parse(name).unwrap()).await);
    }
    for (by, conversation) in conversations() {
        let mut log = Acknowledgements::new();
        let mut after = Seq(0);
        loop {
            let range = HistoryRange::After(after);
            let query =
                HistoryQuery { user: by.clone(), conversation: conversation.clone(), range, limit: 200 };
            let page = store.history(query).await.unwrap().expect("there are messages");
            for shown in page.messages {
                let message = shown.message;
                assert_eq!(message.seq, after.next(), "a hole in {conversation}");
                after = message.seq;
                log.insert((conversation.to_string(), after.0), text(message.entry));
            }
            if !page.more {
                break;
            }
        }
        for (position, text) in
            acknowledged.iter().filter(|(position, _)| position.0 == conversation.as_str())
        {
            assert_eq!(log.get(position), Some(text), "acknowledged and lost: {position:?}");
        }
        let (one, other) = conversation.pair().unwrap();
        for user in [one, other] {
            let inbox = &filed[user.as_str()];
            let there: Acknowledgements = inbox
                .iter()
                .filter(|(position, _)| position.0 == conversation.as_str())
                .map(|(position, text)| (position.clone(), text.clone()))
                .collect();
            assert_eq!(there, log, "the inbox of {user} differs from {conversation}");
        }
        // What was there without an acknowledgement counts too.
        let next = store.post(vec![post(&by, &conversation, "check")]).await.unwrap().remove(0);
        let repeat = matches!(next, PostResult::Done { duplicate: true, .. });
        assert!(repeat || matches!(next, PostResult::Done { seq, .. } if seq == after.next()), "{next:?}");
    }
    shutdown.cancel();
    store.closed().await;
}

/// The messages of an inbox; no position may be missing.
async fn inbox(store: &dyn Store, user: &UserId) -> Acknowledgements {
    let attach = Attach { user: user.clone(), location: None, from: StartPoint::Start };
    let mut after = store.attach(vec![attach]).await.unwrap().remove(0).start;
    let mut found = Acknowledgements::new();
    loop {
        let query = InboxQuery { user: user.clone(), after, limit: 500, session: None, marks: None };
        let page = store.read_inbox(vec![query]).await.unwrap().remove(0);
        assert_eq!(page.reset, None);
        if page.events.is_empty() {
            return found;
        }
        for filed in page.events {
            assert_eq!(filed.position, after.position.next(), "a hole in the inbox of {user}");
            let fingerprint = Fingerprint(filed.event.entry.fingerprint);
            after = Cursor { position: filed.position, fingerprint };
            let position = (filed.event.conversation.to_string(), filed.event.seq.0);
            assert_eq!(found.insert(position, text(filed.event.entry)), None, "filed twice");
        }
    }
}

fn text(entry: Entry) -> String {
    let Some(entry::What::Message(message)) = entry.what else { panic!("only messages were posted") };
    String::from_utf8(message.body.to_vec()).unwrap()
}
