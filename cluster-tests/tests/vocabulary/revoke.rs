//! `revoke`: sessions end whose tokens were revoked, on every node and transport, and
//! none begins with such a token.

use anyhow::{Result, bail, ensure};
use cluster_tests::PATIENCE;
use loadtest::client::{Client, Error, Transport};
use rstest::rstest;
use serde_json::json;
use tokio::time::timeout;

use crate::scene::{Scene, ask, connect, ending, of_kind};

#[rstest]
#[tokio::test]
async fn each_session_ends_and_none_begins_again(
    #[values(
        Transport::WebSocket,
        Transport::Sse,
        Transport::Stream,
        Transport::Iframe,
        Transport::SocketIoWebSocket,
        Transport::SocketIoPolling
    )]
    transport: Transport,
) -> Result<()> {
    let scene = Scene::new().await?;
    let mut here = connect(transport, &scene.account("alice", "phone", 0)).await?;
    let mut there = connect(transport, &scene.account("alice", "laptop", 1)).await?;
    let mut bob = connect(transport, &scene.account("bob", "phone", 0)).await?;
    ask(&mut scene.service(1)?, json!({"type": "revoke", "user": scene.user("alice")})).await?;
    for session in [&mut here, &mut there] {
        assert_eq!(ending(session).await?.0, "revoked");
    }
    for gateway in [0, 1] {
        match timeout(PATIENCE, Client::connect(transport, &scene.account("alice", "phone", gateway))).await?
        {
            Ok(_) => bail!("a revoked token begins a session at gateway {gateway}"),
            Err(Error::Refused(refusal)) => assert_eq!(refusal.code, "unauthorized"),
            Err(error) => {
                ensure!(error.to_string().contains("401") || error.to_string().contains("revoked"), "{error}")
            }
        }
    }
    // Others go on.
    scene.say(&mut scene.http("carol", 0)?, "bob", json!("still there?")).await?;
    of_kind(&mut bob, "message").await?;
    Ok(())
}
