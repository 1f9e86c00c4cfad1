//! `kick`: a backend ends sessions, of one device or of all.

use std::time::Duration;

use anyhow::{Context as _, Result};
use cluster_tests::PATIENCE;
use http::Method;
use loadtest::client::http::Http;
use loadtest::client::{Client, Error, Transport};
use rstest::rstest;
use serde_json::json;
use tokio::time::timeout;

use crate::scene::{Scene, ask, connect, ending, of_kind, refusal};

/// The last `goaway` and the close code.
async fn closing(client: &mut Client) -> Result<(String, Option<u16>)> {
    match ending(client).await? {
        (reason, Error::Closed(close)) => Ok((reason, close.code)),
        (_, error) => Err(error.into()),
    }
}

#[rstest]
#[tokio::test]
async fn one_device_is_kicked_and_the_other_stays(#[values(0, 1)] gateway: usize) -> Result<()> {
    let scene = Scene::new().await?;
    let mut phone = scene.connect("alice", "phone", gateway).await?;
    let mut laptop = scene.connect("alice", "laptop", 1).await?;
    let mut backend = scene.service(1)?;
    ask(&mut backend, json!({"type": "kick", "user": scene.user("alice"), "device": "phone"})).await?;
    assert_eq!(closing(&mut phone).await?, ("kicked".to_owned(), Some(4403)));

    let mut bob = scene.http("bob", 0)?;
    scene.say(&mut bob, "alice", json!("still there?")).await?;
    of_kind(&mut laptop, "message").await?;
    ask(&mut backend, json!({"type": "kick", "user": scene.user("alice")})).await?;
    assert_eq!(closing(&mut laptop).await?, ("kicked".to_owned(), Some(4403)));
    Ok(())
}

#[rstest]
#[tokio::test]
async fn a_one_way_stream_is_told_and_ends(
    #[values(Transport::Sse, Transport::Stream, Transport::Iframe)] transport: Transport,
) -> Result<()> {
    let scene = Scene::new().await?;
    let mut alice = connect(transport, &scene.account("alice", "d1", 0)).await?;
    ask(&mut scene.service(1)?, json!({"type": "kick", "user": scene.user("alice")})).await?;
    assert_eq!(closing(&mut alice).await?, ("kicked".to_owned(), None));
    Ok(())
}

#[tokio::test]
async fn a_poll_that_waits_is_answered_and_the_next_begins_anew() -> Result<()> {
    let scene = Scene::new().await?;
    let mut bob = scene.http("bob", 0)?;
    let mut alice = Http::new(&scene.account("alice", "d1", 0))?;
    let first = alice.request(Method::GET, "/v1/poll?device=d1", None).await?.json()?;
    let path = format!("/v1/poll?device=d1&wait=45&cursor={}", first["cursor"].as_str().context("a cursor")?);
    let mut service = scene.service(1)?;
    let poll = alice.request(Method::GET, &path, None);
    tokio::pin!(poll);
    // The poll may not have attached when the first kick is done.
    let answered = loop {
        tokio::select! {
            answer = &mut poll => break answer?,
            () = tokio::time::sleep(Duration::from_millis(50)) => {
                ask(&mut service, json!({"type": "kick", "user": scene.user("alice")})).await?;
            }
        }
    };
    assert_eq!(answered.json()?["events"], json!([{"type": "goaway", "reason": "kicked"}]));
    scene.say(&mut bob, "alice", json!("back?")).await?;
    let mut again = Http::new(&scene.account("alice", "d1", 0))?;
    // The last kick may have come after the answer: then the next poll is told of it.
    let is_there = |event: &serde_json::Value| event["type"] == "message";
    for _ in 0..2 {
        let next = timeout(PATIENCE, again.request(Method::GET, &path, None)).await??.json()?;
        if next["events"].as_array().context("events")?.iter().any(is_there) {
            return Ok(());
        }
        assert_eq!(next["events"], json!([{"type": "goaway", "reason": "kicked"}]));
    }
    anyhow::bail!("the message did not come")
}

#[tokio::test]
async fn only_a_backend_kicks() -> Result<()> {
    let scene = Scene::new().await?;
    let kick = json!({"type": "kick", "user": scene.user("alice")});
    assert_eq!(refusal(&mut scene.http("alice", 0)?, kick).await?, "forbidden");
    Ok(())
}
