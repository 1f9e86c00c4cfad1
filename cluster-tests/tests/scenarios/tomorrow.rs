//! What a router of a later release says on the bus, to gateways of this one: they
//! pass over what they do not know, and everything else goes on (ADR 0026).

use std::time::Duration;

use anyhow::{Context as _, Result};
use cluster_tests::{Cluster, PATIENCE};
use proto::wire::{Announcement, Entry, Envelope, MovedMark, Notice, Publication, Receipts, Target};
use testbed::{resp, wait};

use crate::{STRICT, all, people};

/// A field that no message of today has: number 1,999, with a text.
fn field_of_tomorrow(message: &impl prost::Message) -> Vec<u8> {
    let mut bytes = message.encode_to_vec();
    prost::encoding::string::encode(1_999, &"tomorrow".to_owned(), &mut bytes);
    bytes
}

/// As protobuf reads what was written with more fields than it knows.
fn reread<M: prost::Message + Default>(message: &M) -> M {
    M::decode(field_of_tomorrow(message).as_slice()).expect("unknown fields are passed over")
}

#[tokio::test]
async fn an_envelope_of_tomorrow_is_passed_over_and_said_in_the_log() -> Result<()> {
    let mut cluster = Cluster::builder().gateways(1).routers(1).start().await?;
    let people = people(&cluster, &["alice", "bob"]).await?;
    people[0].say_to("bob").await?;
    cluster.settle(&all(&people), STRICT).await?;

    let redis = cluster.redis();
    let known = redis.command(&["HMGET", "{sb}incarnation", "id", "count"]).await?.ok()?;
    let words: Vec<&str> = known.items().iter().filter_map(|word| word.text()).collect();
    let channels = redis.command(&["PUBSUB", "CHANNELS", "n:*"]).await?.ok()?;
    let channel = channels.items().first().and_then(|name| name.text()).context("a channel")?.to_owned();
    // By somebody, and of a kind that this release does not have.
    let entry = Entry { fingerprint: 1, time: 1, by: "alice".into(), what: None };
    let envelope = Envelope {
        store: words.join("."),
        origin: "tomorrow".into(),
        number: 1,
        announcements: vec![Announcement {
            conversation: "alice~bob".into(),
            seq: 1,
            entry: Some(reread(&entry)),
            targets: vec![Target { user: "bob".into(), position: 1 }],
            ..Default::default()
        }],
        notices: vec![
            Notice { users: vec!["bob".into()], ..Default::default() },
            Notice {
                users: vec!["bob".into()],
                what: Some(proto::wire::notice::What::Receipts(Receipts {
                    marks: vec![MovedMark { kind: 99, ..Default::default() }],
                    ..Default::default()
                })),
                ..Default::default()
            },
        ],
        publications: vec![Publication { channel: "c_news".into(), seq: 1, entry: Some(entry) }],
        ..Default::default()
    };
    let bytes = field_of_tomorrow(&envelope);
    let port = cluster.redis().port();
    let heard =
        resp::command(port, &[b"PUBLISH", channel.as_bytes(), &bytes], Duration::from_secs(5)).await?;
    assert_eq!(heard.integer(), Some(1), "the gateway hears it");
    wait::until_true(PATIENCE, "the log says so", async || {
        let process = cluster.gateway_node(0).process();
        process.is_ok_and(|process| process.output().contains("a kind that only a later release knows"))
    })
    .await?;

    people[0].say_to("bob").await?;
    let report = cluster.settle(&all(&people), STRICT).await?;
    assert_eq!(report.acknowledged, 2);
    for person in &people {
        let standing = person.standing();
        assert_eq!((standing.sessions, standing.resets.len()), (1, 0), "{person}");
    }
    Ok(())
}
