//! The same on the other kinds of store: what the shared cluster's single
//! Redis does in one call, these do step by step.

use anyhow::Result;
use cluster_tests::{Cluster, StoreKind};
use loadtest::client::Transport;
use loadtest::client::http::Http;
use rstest::rstest;
use serde_json::json;

use crate::presence::{is_state, watch};
use crate::receipts::is_mark;
use crate::scene::{ask, connect, of_kind, until};

#[rstest]
#[case::step_by_step(StoreKind::Steps)]
#[case::redis_cluster(StoreKind::Cluster)]
#[tokio::test]
async fn marks_presence_and_amendments_on_every_kind_of_store(#[case] store: StoreKind) -> Result<()> {
    let cluster = Cluster::builder().store(store).start().await?;
    let mut alice = cluster.connect("alice", "d1", 0).await?;
    alice.send("bob", json!(1), "m1").await?;
    let cursor = alice.cursor().to_owned();
    let mut bob = Http::new(&cluster.account("bob", "http", 1))?;
    ask(&mut bob, json!({"type": "read", "conversation": "alice~bob", "seq": 1})).await?;
    until(&mut alice, "the mark", |frame| is_mark(frame, "bob", "read", 1)).await?;
    alice.close().await;

    let react = json!({"type": "react", "conversation": "alice~bob", "seq": 1, "emoji": "👍", "on": true});
    ask(&mut bob, react).await?;
    let mut alice = connect(Transport::WebSocket, &cluster.account("alice", "d1", 1).from(&cursor)).await?;
    of_kind(&mut alice, "reaction").await?;
    until(&mut alice, "the mark again", |frame| is_mark(frame, "bob", "read", 1)).await?;

    watch(&mut alice, &["bob"]).await?;
    let session = cluster.connect("bob", "d1", 0).await?;
    until(&mut alice, "bob comes", |frame| is_state(frame, "bob", true)).await?;
    let mut backend = Http::new(&loadtest::client::Account::new(
        cluster.gateway(1),
        &loadtest::fleet::Fleet::issuer().token_with_scope("backend", "service"),
        "backend",
    ))?;
    ask(&mut backend, json!({"type": "kick", "user": "bob"})).await?;
    until(&mut alice, "bob is gone", |frame| is_state(frame, "bob", false)).await?;
    drop(session);
    Ok(())
}
