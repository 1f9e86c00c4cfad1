//! Channels: seqs without holes, an audience that hears once for each node, and
//! a log to read the rest from.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proto::wire;
use proto::{ChannelId, NodeIncarnation, Seq, Time, UserId};
use store::model::{Audience, Broadcast, BroadcastResult, ChannelPage, ChannelQuery};
use store::{Bounds, Store};

use super::harness::{Kind, Node, Stores, entry, for_every_store, text};

for_every_store![
    numbers_have_no_holes_whoever_publishes,
    a_repeat_has_its_first_seq_and_is_kept_once,
    a_repeat_key_is_of_one_user_and_one_channel,
    every_node_of_the_audience_is_told_once,
    a_batch_is_numbered_and_told_in_order,
    a_node_that_has_left_is_not_told,
    a_dead_node_harms_no_other,
    the_oldest_go_when_there_are_too_many,
    what_is_too_old_goes,
    pages_follow_each_other_without_holes,
    a_page_of_large_publications_is_shorter,
    a_channel_without_publications_is_empty,
    joining_while_others_publish_loses_nothing,
];

impl Stores {
    /// A channel that no other test knows.
    fn channel(&self, name: &str) -> ChannelId {
        ChannelId::parse(&format!("c_{}", self.user(name))).unwrap()
    }

    async fn publish(&self, by: &UserId, channel: &ChannelId, text: &str) -> BroadcastResult {
        self.one.broadcast(vec![publication(by, channel, text)]).await.unwrap().remove(0)
    }

    async fn join(&self, channel: &ChannelId, node: &Node) -> Seq {
        let audience = Audience { channel: channel.clone(), node: node.id.clone() };
        self.two.join_channels(vec![audience]).await.unwrap().remove(0)
    }

    async fn read(&self, channel: &ChannelId, after: u64, limit: usize) -> ChannelPage {
        let query = ChannelQuery { channel: channel.clone(), after: Seq(after), limit };
        self.two.read_channels(vec![query]).await.unwrap().remove(0)
    }
}

fn publication(by: &UserId, channel: &ChannelId, text: &str) -> Broadcast {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let key = format!("key-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    keyed(by, channel, text, &key)
}

fn keyed(by: &UserId, channel: &ChannelId, text: &str, key: &str) -> Broadcast {
    let what =
        wire::Message { body: bytes::Bytes::copy_from_slice(text.as_bytes()), client_msg_id: key.into() };
    Broadcast {
        channel: channel.clone(),
        by: by.clone(),
        entry: entry(by, wire::entry::What::Message(what)),
        repeat_key: key.into(),
    }
}

/// The seqs and bodies of a page.
fn told(page: &ChannelPage) -> Vec<(u64, String)> {
    page.publications.iter().map(|(seq, entry)| (seq.0, text(entry).unwrap())).collect()
}

async fn numbers_have_no_holes_whoever_publishes(kind: Kind) {
    let stores = kind.open().await;
    let (alice, news) = (stores.user("alice"), stores.channel("news"));
    let publish = async |store: &dyn Store, name: &str| {
        let mut seqs = Vec::new();
        for batch in 0..20 {
            let items = (0..5).map(|n| publication(&alice, &news, &format!("{name}-{batch}-{n}")));
            let done = store.broadcast(items.collect()).await.unwrap();
            seqs.extend(done.into_iter().map(|done| done.seq.0));
        }
        assert!(seqs.is_sorted(), "a publisher's own are in its order");
        seqs
    };
    let (mut one, two) = tokio::join!(publish(&*stores.one, "one"), publish(&*stores.two, "two"));
    one.extend(two);
    one.sort_unstable();
    assert_eq!(one, (1..=200).collect::<Vec<_>>());
    let page = stores.read(&news, 0, 1000).await;
    assert_eq!(page.publications.iter().map(|(seq, _)| seq.0).collect::<Vec<_>>(), one);
    assert_eq!(page.head, Seq(200));
}

async fn a_repeat_has_its_first_seq_and_is_kept_once(kind: Kind) {
    let stores = kind.open().await;
    let (alice, news) = (stores.user("alice"), stores.channel("news"));
    let first = stores.one.broadcast(vec![keyed(&alice, &news, "first", "m-1")]).await.unwrap()[0];
    assert_eq!((first.seq, first.duplicate), (Seq(1), false));
    let both = vec![keyed(&alice, &news, "again", "m-1"), keyed(&alice, &news, "next", "m-2")];
    let done = stores.two.broadcast(both).await.unwrap();
    assert_eq!(done[0], BroadcastResult { duplicate: true, ..first });
    assert_eq!((done[1].seq, done[1].duplicate), (Seq(2), false));
    let page = stores.read(&news, 0, 10).await;
    assert_eq!(told(&page), [(1, "first".into()), (2, "next".into())]);
}

async fn a_repeat_key_is_of_one_user_and_one_channel(kind: Kind) {
    let stores = kind.open().await;
    let (alice, bob) = (stores.user("alice"), stores.user("bob"));
    let (news, sport) = (stores.channel("news"), stores.channel("sport"));
    let items = [(&alice, &news), (&bob, &news), (&alice, &sport)];
    let items = items.map(|(by, channel)| keyed(by, channel, "x", "m-1"));
    let done = stores.one.broadcast(items.into()).await.unwrap();
    assert_eq!(done.iter().map(|done| done.seq.0).collect::<Vec<_>>(), [1, 2, 1]);
    assert!(done.iter().all(|done| !done.duplicate));
}

async fn every_node_of_the_audience_is_told_once(kind: Kind) {
    let stores = kind.open().await;
    let (alice, news) = (stores.user("alice"), stores.channel("news"));
    let mut nodes = [stores.node("gw-1").await, stores.node("gw-2").await, stores.node("gw-3").await];
    for node in &nodes[..2] {
        assert_eq!(stores.join(&news, node).await, Seq(0));
        stores.join(&news, node).await;
    }
    stores.join(&stores.channel("sport"), &nodes[2]).await;
    let item = publication(&alice, &news, "hi");
    stores.one.broadcast(vec![item.clone()]).await.unwrap();
    stores.publish(&alice, &news, "next").await;
    stores.publish(&alice, &stores.channel("sport"), "goal").await;
    for node in &mut nodes[..2] {
        let heard = node.publication().await;
        assert_eq!((heard.channel.as_str(), heard.seq), (news.as_str(), 1));
        let sent = <wire::Entry as prost::Message>::decode(item.entry.bytes.clone()).unwrap();
        assert_eq!(heard.entry, Some(sent));
        assert_eq!(node.publication().await.seq, 2);
    }
    assert_eq!(text(nodes[2].publication().await.entry.as_ref().unwrap()).unwrap(), "goal");
}

async fn a_batch_is_numbered_and_told_in_order(kind: Kind) {
    let stores = kind.open().await;
    let (alice, news, sport) = (stores.user("alice"), stores.channel("news"), stores.channel("sport"));
    let mut node = stores.node("gw").await;
    stores.join(&news, &node).await;
    stores.join(&sport, &node).await;
    let items =
        (1..=40).map(|n| publication(&alice, if n % 2 == 0 { &news } else { &sport }, &n.to_string()));
    stores.one.broadcast(items.collect()).await.unwrap();
    let mut next = [(news.as_str(), 1), (sport.as_str(), 1)];
    for _ in 0..40 {
        let heard = node.publication().await;
        let at = next.iter_mut().find(|(channel, _)| *channel == heard.channel).unwrap();
        assert_eq!(heard.seq, at.1);
        at.1 += 1;
    }
}

async fn a_node_that_has_left_is_not_told(kind: Kind) {
    let stores = kind.open().await;
    let (alice, news) = (stores.user("alice"), stores.channel("news"));
    let mut node = stores.node("gw").await;
    stores.join(&news, &node).await;
    stores.publish(&alice, &news, "one").await;
    let audience = Audience { channel: news.clone(), node: node.id.clone() };
    stores.one.leave_channels(vec![audience.clone(), audience]).await.unwrap();
    stores.publish(&alice, &news, "two").await;
    assert_eq!(stores.join(&news, &node).await, Seq(2));
    stores.publish(&alice, &news, "three").await;
    assert_eq!(node.publication().await.seq, 1);
    assert_eq!(node.publication().await.seq, 3);
}

async fn a_dead_node_harms_no_other(kind: Kind) {
    let stores = kind.open().await;
    let (alice, news) = (stores.user("alice"), stores.channel("news"));
    let (dead, mut node) = (stores.node("gw-1").await, stores.node("gw-2").await);
    stores.join(&news, &dead).await;
    stores.join(&news, &node).await;
    let never = Audience { channel: news.clone(), node: NodeIncarnation::new("never-there").unwrap() };
    stores.one.join_channels(vec![never]).await.unwrap();
    drop(dead);
    for seq in 1..=3 {
        assert_eq!(stores.publish(&alice, &news, "hi").await.seq, Seq(seq));
        assert_eq!(node.publication().await.seq, seq);
    }
}

async fn the_oldest_go_when_there_are_too_many(kind: Kind) {
    let stores = kind.open_with(Bounds { channel_messages: 20, ..Bounds::default() }).await;
    let (alice, news) = (stores.user("alice"), stores.channel("news"));
    for n in 1..=50 {
        assert_eq!(stores.publish(&alice, &news, &n.to_string()).await.seq, Seq(n));
    }
    let page = stores.read(&news, 0, 1000).await;
    assert_eq!(page.head, Seq(50));
    let seqs: Vec<u64> = page.publications.iter().map(|(seq, _)| seq.0).collect();
    // A store may trim several at once.
    assert!((20..=21).contains(&seqs.len()), "{seqs:?}");
    assert_eq!(seqs, (51 - seqs.len() as u64..=50).collect::<Vec<_>>());
    assert_eq!(told(&stores.read(&news, 48, 1000).await), [(49, "49".into()), (50, "50".into())]);
    assert_eq!(stores.publish(&alice, &news, "next").await.seq, Seq(51));
}

async fn what_is_too_old_goes(kind: Kind) {
    let stores = kind.open_with(Bounds { age: Duration::from_millis(200), ..Bounds::default() }).await;
    let (alice, news) = (stores.user("alice"), stores.channel("news"));
    for n in 1..=3 {
        stores.publish(&alice, &news, &n.to_string()).await;
    }
    let begun = Time::now();
    testbed::wait::until_true(Duration::from_secs(20), "the age to pass", async || {
        Time::now().since(begun) > Duration::from_millis(250)
    })
    .await
    .unwrap();
    stores.publish(&alice, &news, "fresh").await;
    let page = stores.read(&news, 0, 1000).await;
    assert_eq!((told(&page), page.head), (vec![(4, "fresh".into())], Seq(4)));
}

async fn pages_follow_each_other_without_holes(kind: Kind) {
    let stores = kind.open().await;
    let (alice, news) = (stores.user("alice"), stores.channel("news"));
    stores
        .one
        .broadcast((1..=25).map(|n| publication(&alice, &news, &n.to_string())).collect())
        .await
        .unwrap();
    let mut after = 0;
    let mut sizes = Vec::new();
    loop {
        let page = stores.read(&news, after, 10).await;
        assert_eq!(page.head, Seq(25));
        if page.publications.is_empty() {
            break;
        }
        for (seq, body) in told(&page) {
            assert_eq!((seq, body), (after + 1, (after + 1).to_string()));
            after = seq;
        }
        sizes.push(page.publications.len());
    }
    assert_eq!((after, sizes), (25, vec![10, 10, 5]));
    let beyond = stores.read(&news, u64::MAX >> 12, 10).await;
    assert_eq!(beyond, ChannelPage { publications: Vec::new(), head: Seq(25) });
}

async fn a_page_of_large_publications_is_shorter(kind: Kind) {
    let stores = kind.open().await;
    let (alice, news) = (stores.user("alice"), stores.channel("news"));
    let body = "x".repeat(60_000);
    stores.one.broadcast((0..30).map(|_| publication(&alice, &news, &body)).collect()).await.unwrap();
    let mut after = 0;
    while after < 30 {
        let page = stores.read(&news, after, 1000).await;
        assert!((1..30).contains(&page.publications.len()));
        for (seq, _) in page.publications {
            assert_eq!(seq.0, after + 1);
            after = seq.0;
        }
    }
}

async fn a_channel_without_publications_is_empty(kind: Kind) {
    let stores = kind.open().await;
    let news = stores.channel("news");
    assert_eq!(stores.read(&news, 0, 10).await, ChannelPage { publications: Vec::new(), head: Seq(0) });
}

async fn joining_while_others_publish_loses_nothing(kind: Kind) {
    let stores = kind.open().await;
    let (alice, news) = (stores.user("alice"), stores.channel("news"));
    for round in 0..5_u64 {
        let mut node = stores.node("gw").await;
        let publish = async {
            for n in 0..20 {
                stores.publish(&alice, &news, &n.to_string()).await;
            }
        };
        let (head, ()) = tokio::join!(stores.join(&news, &node), publish);
        let last = (round + 1) * 20;
        let mut known: HashSet<u64> = (1..=head.0).collect();
        while known.len() < last as usize {
            known.insert(node.publication().await.seq);
        }
        assert_eq!(known, (1..=last).collect());
    }
}
