//! One call of Redis reads and returns a bounded number of bytes.

use proto::weight::{PAGE, PAGES};
use proto::{ConversationId, Cursor, UserId};
use store::model::{HistoryQuery, HistoryRange, InboxQuery};
use testbed::RedisServer;

use super::costs::calls;
use super::{Open, config, open, users};
use crate::contract::harness::message;

/// What replies have besides their pages: references, numbers, frames.
const BESIDE: usize = 64 << 10;

async fn fill(redis: &Open, by: &UserId, to: &UserId, count: usize) -> ConversationId {
    let conversation = ConversationId::direct(by, to);
    let body = format!("\"{}\"", "x".repeat(63_000));
    let posts: Vec<_> = (0..count).map(|_| message(by, &conversation, &body)).collect();
    for some in posts.chunks(64) {
        redis.store.post(some.to_vec()).await.unwrap();
    }
    conversation
}

/// The bytes that the server has sent, and the scripts that it has run.
async fn answered(server: &RedisServer) -> (usize, u64) {
    let bytes = server.info(&["INFO", "stats"], "total_net_output_bytes").await.unwrap().unwrap();
    (bytes.trim().parse().unwrap(), calls(server, "evalsha").await + calls(server, "eval").await)
}

fn query(user: &UserId, limit: usize) -> InboxQuery {
    InboxQuery { user: user.clone(), after: Cursor::ORIGIN, limit, session: None, marks: None }
}

#[tokio::test]
async fn a_page_that_is_cut_is_not_read_whole() {
    let server = RedisServer::start().await.unwrap();
    let redis = open(config(server.url())).await;
    let (alice, bob) = users();
    let conversation = fill(&redis, &alice, &bob, 100).await;
    let before = answered(&server).await.0;
    let page = redis.store.read_inbox(vec![query(&bob, 1_000)]).await.unwrap().remove(0);
    let bytes = answered(&server).await.0 - before;
    assert!((10..=16).contains(&page.events.len()) && bytes <= PAGE.bytes + BESIDE, "{bytes} bytes");

    let before = answered(&server).await.0;
    let asked = HistoryQuery { user: bob, conversation, range: HistoryRange::Newest, limit: 200 };
    let page = redis.store.history(asked).await.unwrap().unwrap();
    let bytes = answered(&server).await.0 - before;
    assert!((10..=16).contains(&page.messages.len()) && bytes <= PAGE.bytes + BESIDE, "{bytes} bytes");
}

#[tokio::test]
async fn the_pages_of_many_readers_are_read_in_several_calls() {
    let server = RedisServer::start().await.unwrap();
    let redis = open(config(server.url())).await;
    let (alice, _) = users();
    let readers: Vec<UserId> = (0..24).map(|n| UserId::parse(&format!("reader{n}")).unwrap()).collect();
    for reader in &readers {
        fill(&redis, &alice, reader, 8).await;
    }
    let before = answered(&server).await;
    let pages = redis.store.read_inbox(readers.iter().map(|user| query(user, 100)).collect()).await.unwrap();
    let after = answered(&server).await;
    let (bytes, calls) = (after.0 - before.0, after.1 - before.1);
    assert_eq!(pages.len(), 24);
    assert!(pages.iter().all(|page| page.events.len() >= 5));
    assert!(bytes <= PAGES + BESIDE, "{bytes} bytes");
    // One call for the references; no call for entries may return more than a
    // megabyte.
    let least = (bytes - BESIDE).div_ceil(1 << 20) as u64;
    assert!((least..3 * least).contains(&calls), "{calls} calls for {bytes} bytes");
}
