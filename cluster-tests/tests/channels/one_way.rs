//! The `channels` parameter of one-way transports and polls, and the cursor
//! that has the positions in them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use cluster_tests::{Cluster, PATIENCE};
use http::Method;
use loadtest::client::http::{Answer, Http};
use loadtest::client::{Client, Error, Frame, Transport};
use rstest::rstest;
use serde_json::json;
use tokio::time::timeout;

use crate::scene::{Publisher, command, connect, expect, next, subscriber, until_kind};

/// Reads frames of two channels and an inbox, and checks that each comes once
/// and in order.
#[derive(Debug, Default)]
struct Seen(BTreeMap<String, u64>);

impl Seen {
    fn take(&mut self, frame: &Frame) -> Result<()> {
        let position = match frame.kind() {
            "publication" => frame.text("channel"),
            "message" => frame.text("conversation"),
            _ => return Ok(()),
        };
        ensure!(frame.cursor().is_some(), "{frame:?} has no cursor");
        let seen = self.0.entry(position.unwrap_or_default().to_owned()).or_default();
        ensure!(frame.number("seq") == Some(*seen + 1), "{frame:?} after {seen}");
        *seen += 1;
        Ok(())
    }

    fn count(&self) -> u64 {
        self.0.values().sum()
    }
}

async fn read(client: &mut Client, seen: &mut Seen, until: u64) -> Result<()> {
    while seen.count() < until {
        let frame = timeout(PATIENCE, client.next_frame()).await.with_context(|| format!("{seen:?}"))??;
        seen.take(&frame)?;
    }
    Ok(())
}

#[rstest]
#[case(&[Transport::Sse])]
#[case(&[Transport::Stream])]
#[case(&[Transport::Iframe])]
#[case(&[Transport::LongPoll])]
#[case(&[Transport::LongPollProtobuf])]
#[case(&[Transport::ShortPoll])]
#[case(&[Transport::Sse, Transport::ShortPoll, Transport::LongPoll, Transport::Stream])]
#[tokio::test]
async fn a_reader_resumes_its_channels_with_its_inbox_on_another_node(
    #[case] transports: &[Transport],
) -> Result<()> {
    let cluster = Cluster::builder().start().await?;
    let mut news = Publisher::new(&cluster, "c_news")?;
    let mut sport = Publisher::new(&cluster, "c_sport")?;
    let mut alice = cluster.connect("alice", "d1", 0).await?;
    let mut account = cluster.account("bob", "d1", 0).with_channels("c_sport,c_news:0");
    let mut bob = connect(transports[0], &account).await?;
    let talking = async {
        for count in 0..60 {
            news.publish(1).await?;
            sport.publish(1).await?;
            alice.send("bob", json!(count), &format!("m{count}")).await?;
        }
        anyhow::Ok(())
    };
    let reading = async {
        let mut seen = Seen::default();
        for turn in 1..=6 {
            read(&mut bob, &mut seen, turn * 20).await?;
            account.cursor = Some(bob.cursor().to_owned());
            account.gateway = cluster.gateway(turn as usize).to_owned();
            bob.close().await;
            bob = connect(transports[turn as usize % transports.len()], &account).await?;
        }
        read(&mut bob, &mut seen, 180).await
    };
    tokio::try_join!(talking, reading)?;
    Ok(())
}

/// More than are kept of a channel (`--channel-messages`), so that the oldest go.
const MANY: u64 = 1_100;

#[tokio::test]
async fn a_place_that_is_gone_is_said_on_every_transport_and_once() -> Result<()> {
    let cluster = Cluster::builder().start().await?;
    let mut news = Publisher::new(&cluster, "c_news")?;
    let start = connect(Transport::Sse, &cluster.account("bob", "d0", 0)).await?.cursor().to_owned();
    news.publish(MANY).await?;
    for transport in [
        Transport::Sse,
        Transport::Stream,
        Transport::Iframe,
        Transport::LongPoll,
        Transport::LongPollProtobuf,
        Transport::ShortPoll,
    ] {
        for (after, reason) in [(1, "trimmed"), (5_000, "rewritten")] {
            let context = || format!("{transport:?} {reason}");
            let channels = format!("c_news:{after}");
            let account = cluster.account("bob", &format!("{transport:?}"), 1).with_channels(&channels);
            let mut bob = connect(transport, &account.clone().from(&start)).await?;
            let reset = until_kind(&mut bob, "channel_reset").await.with_context(context)?;
            assert_eq!((reset.text("channel"), reset.text("reason")), (Some("c_news"), Some(reason)));
            let seq = reset.number("seq").context("a seq")?;
            assert!(seq > 1 && seq < 5_000, "{reset:?}");
            // Its cursor has the position: it is not sent again.
            let cursor = reset.cursor().with_context(context)?.to_owned();
            bob.close().await;
            let mut bob = connect(transport, &account.from(&cursor)).await?;
            if reason == "rewritten" {
                news.publish(1).await?;
            }
            let frame = timeout(PATIENCE, bob.next_frame()).await.with_context(context)??;
            let got = (frame.kind(), frame.number("seq"));
            assert_eq!(got, ("publication", Some(seq + 1)), "{transport:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_changed_list_keeps_the_inboxs_place_and_starts_as_it_says() -> Result<()> {
    let cluster = Cluster::builder().start().await?;
    let mut news = Publisher::new(&cluster, "c_news")?;
    let mut alice = cluster.connect("alice", "d1", 0).await?;
    let account = cluster.account("bob", "d1", 1).with_channels("c_news");
    let mut bob = connect(Transport::Sse, &account).await?;
    news.publish(3).await?;
    expect(&mut bob, 1..=3).await?;
    let cursor = bob.cursor().to_owned();
    drop(bob);
    alice.send("bob", json!("hi"), "m1").await?;
    news.publish(2).await?;
    for (channels, seqs) in [("c_news", 4..=5), ("c_news:1,c_other", 2..=5), ("c_news,c_other", 6..=6)] {
        let mut bob = connect(Transport::Sse, &account.clone().from(&cursor).with_channels(channels)).await?;
        let event = timeout(PATIENCE, bob.next_event()).await??;
        assert_eq!(event.text("from"), Some("alice"), "{channels}");
        drop(bob);
        let mut bob = connect(Transport::Sse, &account.clone().from(&cursor).with_channels(channels)).await?;
        if *seqs.start() > 5 {
            news.publish(1).await?;
        }
        expect(&mut bob, seqs).await.context(channels)?;
    }
    Ok(())
}

#[tokio::test]
async fn two_way_transports_take_the_inboxs_place_from_any_cursor() -> Result<()> {
    let cluster = Cluster::builder().start().await?;
    let mut news = Publisher::new(&cluster, "c_news")?;
    let mut alice = cluster.connect("alice", "d1", 0).await?;
    let account = cluster.account("bob", "d1", 1).with_channels("c_news");
    let mut bob = connect(Transport::Stream, &account).await?;
    news.publish(1).await?;
    let cursor = next(&mut bob).await?.cursor().context("a publication has a cursor here")?.to_owned();
    assert!(cursor.split('.').count() > 2, "{cursor}");
    drop(bob);
    news.publish(1).await?;
    alice.send("bob", json!("hi"), "m1").await?;
    let mut bob = connect(Transport::WebSocket, &cluster.account("bob", "d1", 0).from(&cursor)).await?;
    assert_eq!(bob.welcome().and_then(|welcome| welcome.0["resumed"].as_bool()), Some(true));
    command(&mut bob, json!({"type": "ack", "cursor": cursor})).await?;
    let event = timeout(PATIENCE, bob.next_event()).await??;
    assert_eq!(event.text("from"), Some("alice"));
    // And the other way round.
    let plain = bob.cursor().to_owned();
    let mut bob = connect(Transport::Sse, &account.from(&plain).with_channels("c_news:1")).await?;
    expect(&mut bob, [2]).await?;
    Ok(())
}

#[tokio::test]
async fn a_short_poll_is_unchanged_until_something_is_published() -> Result<()> {
    let cluster = Cluster::builder().start().await?;
    let mut news = Publisher::new(&cluster, "c_news")?;
    let account = cluster.account("bob", "d1", 1);
    let mut bob = Http::new(&account)?;
    let first = poll(&mut bob, "wait=0", &[]).await?;
    let cursor = first.json()?["cursor"].as_str().context("a cursor")?.to_owned();
    news.publish(5).await?;
    let path = format!("wait=0&limit=3&channels=c_news:0&cursor={cursor}");
    let some = poll(&mut bob, &path, &[]).await?.json()?;
    assert_eq!(some["events"].as_array().map(Vec::len), Some(3));
    let cursor = some["cursor"].as_str().context("a cursor")?.to_owned();
    let path = format!("wait=0&channels=c_news:0&cursor={cursor}");
    let rest = poll(&mut bob, &path, &[]).await?;
    let tag = rest.headers["etag"].to_str()?.to_owned();
    let rest = rest.json()?;
    assert_eq!(rest["events"].as_array().map(Vec::len), Some(2));
    let cursor = rest["cursor"].as_str().context("a cursor")?.to_owned();
    assert_eq!(tag, format!("\"{cursor}\""));
    let path = format!("wait=0&channels=c_news:0&cursor={cursor}");
    assert_eq!(poll(&mut bob, &path, &[("if-none-match", &tag)]).await?.status, 304);
    news.publish(1).await?;
    let new = poll(&mut bob, &path, &[("if-none-match", &tag)]).await?;
    assert_eq!((new.status, new.json()?["events"][0]["seq"].as_u64()), (200, Some(6)));
    Ok(())
}

#[tokio::test]
async fn a_long_poll_with_another_list_does_not_go_on_with_the_lingering_session() -> Result<()> {
    let cluster = Cluster::builder().start().await?;
    let mut news = Publisher::new(&cluster, "c_news")?;
    let mut bob = Http::new(&cluster.account("bob", "d1", 1))?;
    news.publish(3).await?;
    let answer = poll(&mut bob, "device=d1&wait=0", &[]).await?.json()?;
    let mut cursor = answer["cursor"].as_str().context("a cursor")?.to_owned();
    for (channels, seqs) in [("c_news:1", [2, 3]), ("c_news:0,c_other", [1, 2]), ("c_news:1", [2, 3])] {
        let path = format!("device=d1&wait=30&limit=2&channels={channels}&cursor={cursor}");
        let answer = poll(&mut bob, &path, &[]).await?.json()?;
        let events = answer["events"].as_array().cloned().unwrap_or_default();
        let got: Vec<_> = events.iter().filter_map(|event| event["seq"].as_u64()).collect();
        assert_eq!(got, seqs, "{channels}");
        answer["cursor"].as_str().context("a cursor")?.clone_into(&mut cursor);
    }
    Ok(())
}

async fn poll(http: &mut Http, query: &str, headers: &[(&str, &str)]) -> Result<Answer> {
    let path = format!("/v1/poll?{query}");
    Ok(timeout(PATIENCE, http.request_with(Method::GET, &path, None, headers)).await??)
}

#[tokio::test]
async fn what_is_wrong_with_channels_is_said_before_anything_begins() -> Result<()> {
    let cluster = Cluster::builder().gateways(1).routers(1).start().await?;
    let many: Vec<_> = (0..33).map(|index| format!("c_{index}")).collect();
    for channels in ["news", "c_news:", "c_news:x", "c_news,c_news", "c_a b", &many.join(",")] {
        for transport in [Transport::Sse, Transport::Stream, Transport::Iframe, Transport::LongPoll] {
            let account = cluster.account("bob", "d1", 0).with_channels(channels);
            let refused = timeout(PATIENCE, Client::connect(transport, &account)).await?;
            assert!(
                matches!(&refused, Err(Error::Refused(refusal)) if refusal.status == 400),
                "{channels}: {refused:?}"
            );
        }
    }
    // A subscriber is not disturbed by any of it.
    let mut alice = subscriber(&cluster, "alice", "c_news", 0).await?;
    Publisher::new(&cluster, "c_news")?.publish(1).await?;
    expect(&mut alice, [1]).await?;
    Ok(())
}
