//! sockjs-client as it comes from npm, in Node (`sockjs/client.mjs`). Each of its
//! requests goes to the other gateway than the one before.

use anyhow::Result;
use rstest::rstest;

use crate::scene::Scene;
use crate::stock::{Kind, Stock, exchange, of};

async fn start(url: &str, transport: &str, user: &str) -> Result<Stock> {
    let mut client = Stock::start(Kind::SockJs, url, transport, user)?;
    client.welcomed().await?;
    Ok(client)
}

#[rstest]
#[case::polling("xhr-polling")]
#[case::streaming("xhr-streaming")]
#[case::server_sent_events("eventsource")]
#[case::websocket("websocket")]
#[tokio::test]
async fn messages_go_both_ways_once_and_in_order(#[case] transport: &str) -> Result<()> {
    let mut scene = Scene::start("--messages-per-second 1000").await?;
    let mut alice = start(&scene.url(), transport, "alice").await?;
    let mut bob = start(&scene.url(), transport, "bob").await?;
    exchange(&mut alice, &mut bob).await?;
    for client in [&alice, &bob] {
        assert_eq!(of(&client.said, "opened").collect::<Vec<_>>(), [transport], "{:?}", client.said);
    }
    scene.was_passed_on(transport).await
}

/// Not over the streams: in Node that client does not notice when one breaks off.
#[tokio::test]
async fn whose_gateway_dies_comes_back_from_its_cursor() -> Result<()> {
    let mut scene = Scene::start("").await?;
    let mut bob = start(&scene.url(), "xhr-polling", "bob").await?;
    scene.kills_the_gateway_of(&mut bob).await
}
