//! Presence: who is online, told on changes only, across nodes and through
//! faults.

use std::time::Duration;

use anyhow::{Context as _, Result};
use cluster_tests::Cluster;
use http::Method;
use loadtest::client::{Client, Frame};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::scene::{Scene, ask, command, frames_until, until};

/// Watches these users and gives their present states.
pub(crate) async fn watch(client: &mut Client, users: &[&str]) -> Result<Vec<Value>> {
    let answer = command(client, json!({"type": "presence", "users": users, "watch": true})).await?;
    answer.0["presence"].as_array().cloned().context("an answer has states")
}

/// Whether it says this of a user.
pub(crate) fn is_state(frame: &Frame, user: &str, online: bool) -> bool {
    frame.kind() == "presence" && frame.text("user") == Some(user) && frame.0["online"] == online
}

#[tokio::test]
async fn coming_and_going_is_told_across_nodes() -> Result<()> {
    let scene = Scene::new().await?;
    let (bob, carol) = (scene.user("bob"), scene.user("carol"));
    let mut alice = scene.connect("alice", "d1", 0).await?;
    let states = watch(&mut alice, &[&carol, &bob]).await?;
    let offline = |user: &str| json!({"user": user, "online": false});
    assert_eq!(states, [offline(&carol), offline(&bob)], "neither was ever seen");

    let session = scene.connect("bob", "d1", 1).await?;
    let came = until(&mut alice, "bob comes", |frame| is_state(frame, &bob, true)).await?;
    assert_eq!(came.0, json!({"type": "presence", "user": bob, "online": true}));
    let mut http = scene.http("carol", 1)?;
    let asked = ask(&mut http, json!({"type": "presence", "users": [&bob, &carol]})).await?;
    assert_eq!(asked.0["presence"], json!([{"user": bob, "online": true}, offline(&carol)]));

    // Another device comes and goes: nothing changes for others.
    drop(scene.connect("bob", "d2", 0).await?);
    session.close().await;
    let seen = frames_until(&mut alice, "bob goes", |frame| is_state(frame, &bob, false)).await?;
    assert_eq!(seen.len(), 1, "{seen:?}");
    let last_seen = seen[0].number("last_seen").context("bob was seen")?;
    let asked = ask(&mut http, json!({"type": "presence", "users": [&bob]})).await?;
    assert_eq!(asked.0["presence"][0]["last_seen"], last_seen);
    Ok(())
}

#[tokio::test]
async fn who_is_back_within_the_grace_was_never_away() -> Result<()> {
    let scene = Scene::new().await?;
    let (bob, carol) = (scene.user("bob"), scene.user("carol"));
    let bobs = scene.connect("bob", "d1", 1).await?;
    let carols = scene.connect("carol", "d1", 1).await?;
    let mut alice = scene.connect("alice", "d1", 0).await?;
    watch(&mut alice, &[&bob, &carol]).await?;
    bobs.close().await;
    let _again = scene.connect("bob", "d1", 0).await?;
    // Whatever is told of bob's going is told before carol's, who goes later.
    carols.close().await;
    let seen = frames_until(&mut alice, "carol goes", |frame| is_state(frame, &carol, false)).await?;
    assert_eq!(seen.len(), 1, "{seen:?}");
    Ok(())
}

#[tokio::test]
async fn steady_polling_on_changing_nodes_does_not_flicker() -> Result<()> {
    let scene = Scene::new().await?;
    let (bob, carol) = (scene.user("bob"), scene.user("carol"));
    let mut polls = [scene.http("bob", 0)?, scene.http("bob", 1)?];
    let first = polls[0].request(Method::GET, "/v1/poll?device=d1", None).await?.json()?;
    let path = format!("/v1/poll?device=d1&wait=1&cursor={}", first["cursor"].as_str().context("a cursor")?);
    polls[0].request(Method::GET, &path, None).await?.json()?;
    let carols = scene.connect("carol", "d1", 1).await?;
    let mut alice = scene.connect("alice", "d1", 0).await?;
    let states = watch(&mut alice, &[&bob, &carol]).await?;
    assert_eq!(states[0]["online"], true, "a session lingers between polls");
    carols.close().await;
    // For as long as it takes carol to be away.
    let polling = async {
        for turn in 0.. {
            polls[turn / 2 % 2].request(Method::GET, &path, None).await?.json()?;
        }
        anyhow::Ok(())
    };
    let seen = tokio::select! {
        ended = polling => anyhow::bail!("polling ended: {ended:?}"),
        seen = frames_until(&mut alice, "carol goes", |frame| is_state(frame, &carol, false)) => seen?,
    };
    assert_eq!(seen.len(), 1, "{seen:?}");
    Ok(())
}

/// Alice, on the first gateway, watches Bob and Carol, who are on the second.
async fn watched(cluster: &Cluster) -> Result<(Client, Client, Client)> {
    let bob = cluster.connect("bob", "d1", 1).await?;
    let carol = cluster.connect("carol", "d1", 1).await?;
    let mut alice = cluster.connect("alice", "d1", 0).await?;
    let states = watch(&mut alice, &["bob", "carol"]).await?;
    anyhow::ensure!(states.iter().all(|state| state["online"] == true), "{states:?}");
    Ok((alice, bob, carol))
}

#[tokio::test]
async fn who_was_on_a_killed_gateway_is_away_in_time_unless_back_elsewhere() -> Result<()> {
    let mut cluster = Cluster::builder().start().await?;
    let (mut alice, _bob, _carol) = watched(&cluster).await?;
    let in_time = Instant::now() + Duration::from_secs(15);
    cluster.gateway_node(1).kill();
    let _back = cluster.connect("carol", "d1", 0).await?;
    let gone = frames_until(&mut alice, "bob is away", |frame| is_state(frame, "bob", false));
    let seen = tokio::time::timeout_at(in_time, gone).await.context("15 seconds have passed")??;
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(seen[0].number("last_seen").is_some(), "{seen:?}");
    Ok(())
}

#[tokio::test]
async fn routers_that_die_with_an_absence_in_mind_do_not_keep_anybody_online() -> Result<()> {
    let mut cluster = Cluster::builder().start().await?;
    let (mut alice, bob, _carol) = watched(&cluster).await?;
    bob.close().await;
    for router in [0, 1] {
        cluster.router_node(router).kill();
        cluster.router_node(router).restart().await?;
    }
    until(&mut alice, "bob goes", |frame| is_state(frame, "bob", false)).await?;
    Ok(())
}

#[tokio::test]
async fn a_change_whose_announcement_was_lost_is_asked_for() -> Result<()> {
    let cluster = Cluster::builder().proxied().start().await?;
    let mut alice = cluster.connect("alice", "d1", 0).await?;
    watch(&mut alice, &["bob.the.watched"]).await?;
    let about = b"bob.the.watched";
    let is_about = move |payload: &[u8]| payload.windows(about.len()).any(|window| window == about);
    cluster.proxy().drop_next(u64::MAX, move |pushed| is_about(pushed.payload));
    let _bob = cluster.connect("bob.the.watched", "d1", 1).await?;
    until(&mut alice, "bob comes", |frame| is_state(frame, "bob.the.watched", true)).await?;
    assert!(cluster.proxy().dropped() >= 1, "the announcement was to be lost");
    Ok(())
}

#[tokio::test]
async fn one_who_is_watched_by_many_sessions_is_told_to_all_until_they_leave() -> Result<()> {
    let scene = Scene::new().await?;
    let bob = scene.user("bob");
    let mut watchers = Vec::new();
    for number in 0..40 {
        let mut one = scene.connect(&format!("watcher{number}"), "d1", number % 2).await?;
        watch(&mut one, &[&bob]).await?;
        watchers.push(one);
    }
    watchers.truncate(30);
    let _bob = scene.connect("bob", "d1", 1).await?;
    for one in &mut watchers {
        until(one, "bob comes", |frame| is_state(frame, &bob, true)).await?;
    }
    Ok(())
}
