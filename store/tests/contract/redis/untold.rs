//! A router that stops between a call and its announcement, in whatever way,
//! leaves nobody untold: the node hears of it, or is made to read the log.

use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use proto::wire::entry::What;
use proto::wire::{Head, Message, notice};
use proto::{ChannelId, ConversationId, NodeIncarnation, Seq, UserId};
use store::model::{Audience, Broadcast, ChannelQuery, PostResult};
use store::{BusItem, Loss, Subscription};
use testbed::RedisServer;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::{Open, config, open, users};
use crate::contract::harness::{entry, message};

const PATIENCE: Duration = Duration::from_secs(30);
/// A call is dropped after at most so many polls; then it has ended by itself.
const POLLS: usize = 8;

/// Waits until the node is told of something written, or that something may be
/// missing.
async fn is_told(ear: &mut dyn Subscription, what: &str) -> BusItem {
    let told = async {
        loop {
            match ear.next().await {
                BusItem::Envelope(envelope)
                    if !envelope.announcements.is_empty()
                        || !envelope.publications.is_empty()
                        || envelope
                            .notices
                            .iter()
                            .any(|one| matches!(one.what, Some(notice::What::Head(_)))) =>
                {
                    return BusItem::Envelope(envelope);
                }
                BusItem::Lost(loss) => return BusItem::Lost(loss),
                _ => {}
            }
        }
    };
    timeout(PATIENCE, told).await.unwrap_or_else(|_| panic!("not told: {what}"))
}

/// Polls so often, then drops it, wherever it is then.
async fn cut<T>(mut call: Pin<Box<dyn Future<Output = T> + Send + '_>>, polls: usize) {
    let mut left = polls;
    std::future::poll_fn(|task| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        call.as_mut().poll(task).map(|_| ())
    })
    .await;
}

/// A router whose runtime runs only while it is asked for something: then it
/// stands still, and its connections stay open.
struct Host {
    runtime: Runtime,
    open: Open,
}

impl Host {
    fn start(url: String) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let open = runtime.block_on(open(config(url)));
        Self { runtime, open }
    }

    fn end(self) {
        self.runtime.shutdown_background();
    }
}

/// Two users of their own for each round.
fn pair(round: usize) -> (UserId, UserId) {
    let user = |name: &str| UserId::parse(&format!("{name}{round}")).unwrap();
    (user("alice"), user("bob"))
}

fn publication(channel: &ChannelId, by: &UserId, text: &'static str) -> Broadcast {
    let what = Message { body: text.as_bytes().into(), ..Default::default() };
    let entry = entry(by, What::Message(what));
    Broadcast { channel: channel.clone(), by: by.clone(), entry, repeat_key: text.into() }
}

#[tokio::test]
async fn what_a_router_wrote_before_its_host_vanished_is_noticed() {
    let server = RedisServer::start().await.unwrap();
    let near = open(config(server.url())).await;
    let rounds = (1..=POLLS).map(async |polls| {
        let (alice, bob) = pair(polls);
        let mut ear = near.session(&bob).await;
        let (by, to, url) = (alice.clone(), bob.clone(), server.url());
        let host = tokio::task::spawn_blocking(move || {
            let host = Host::start(url);
            host.runtime.block_on(async {
                host.open.send(&by, &to, "one").await.unwrap();
                // The announcement goes out behind the answer, and this behind it.
                host.open.store.ping().await.unwrap();
            });
            host
        });
        let host = host.await.unwrap();
        assert!(matches!(is_told(&mut *ear, "the first").await, BusItem::Envelope(_)));
        let post = message(&alice, &ConversationId::direct(&alice, &bob), "two");
        let vanish = move || {
            host.runtime.block_on(cut(host.open.store.post(vec![post]), polls));
            host
        };
        let host = tokio::task::spawn_blocking(vanish).await.unwrap();
        let untold = match is_told(&mut *ear, "the second").await {
            BusItem::Lost(loss) => {
                assert_eq!(loss, Loss::Silent);
                near.inbox(&bob).await.len() == 2
            }
            _ => false,
        };
        host.end();
        untold
    });
    let untold = futures_util::future::join_all(rounds).await;
    assert!(untold.contains(&true), "some host vanished between the call and the announcement");
}

#[tokio::test]
async fn what_a_router_wrote_in_a_call_that_it_gave_up_is_told() {
    let server = RedisServer::start().await.unwrap();
    let near = open(config(server.url())).await;
    for url in [server.url(), format!("{}?steps=separate", server.url())] {
        let router = open(config(url)).await;
        for polls in 1..=POLLS {
            let alice = pair(polls).0;
            let channel = ChannelId::parse(&format!("c_news{polls}")).unwrap();
            let node = NodeIncarnation::new("gw").unwrap();
            let mut ear = near.bus.subscribe(node.clone()).await.unwrap();
            near.store.join_channels(vec![Audience { channel: channel.clone(), node }]).await.unwrap();
            cut(router.store.broadcast(vec![publication(&channel, &alice, "one")]), polls).await;
            router.store.ping().await.unwrap();
            let query = ChannelQuery { channel, after: Seq(0), limit: 10 };
            let page = near.store.read_channels(vec![query]).await.unwrap().remove(0);
            if page.head > Seq(0) {
                is_told(&mut *ear, &format!("a publication after {polls} polls")).await;
            }
        }
    }
    let router = open(config(server.url())).await;
    let mut written = 0;
    for polls in 1..=POLLS {
        let (alice, bob) = pair(polls);
        let mut ear = near.session(&bob).await;
        let post = message(&alice, &ConversationId::direct(&alice, &bob), "one");
        cut(router.store.post(vec![post]), polls).await;
        router.store.ping().await.unwrap();
        if !near.inbox(&bob).await.is_empty() {
            written += 1;
            is_told(&mut *ear, &format!("a message after {polls} polls")).await;
        }
    }
    assert!(written > 0, "some were written");
}

#[tokio::test]
async fn what_redis_did_after_the_router_had_given_up_is_told() {
    let mut server = RedisServer::start().await.unwrap();
    let near = open(config(server.url())).await;
    let mut impatient = config(server.url());
    impatient.timeout = Duration::from_millis(300);
    let router = open(impatient).await;
    let (alice, bob) = users();
    let mut ear = near.session(&bob).await;
    router.send(&alice, &bob, "one").await.unwrap();
    is_told(&mut *ear, "the first").await;
    server.stop().unwrap();
    assert!(router.send(&alice, &bob, "two").await.is_err());
    server.cont().unwrap();
    is_told(&mut *ear, "the second").await;
    assert_eq!(near.inbox(&bob).await, ["one", "two"]);
}

#[tokio::test]
async fn a_repeat_tells_how_far_the_inboxes_reach() {
    let server = RedisServer::start().await.unwrap();
    let (first, second) = (open(config(server.url())).await, open(config(server.url())).await);
    let (alice, bob) = users();
    let mut ear = first.session(&bob).await;
    let post = message(&alice, &ConversationId::direct(&alice, &bob), "one");
    first.store.post(vec![post.clone()]).await.unwrap();
    is_told(&mut *ear, "the first").await;
    let posted = second.store.post(vec![post]).await.unwrap().remove(0);
    assert!(matches!(posted, PostResult::Done { duplicate: true, .. }));
    let BusItem::Envelope(envelope) = is_told(&mut *ear, "the repeat").await else { panic!("lost") };
    let [notice] = &*envelope.notices else { panic!("{envelope:?}") };
    assert_eq!(
        (&*notice.users, &notice.what),
        (&["bob".to_owned()][..], &Some(notice::What::Head(Head { position: 1 })))
    );
}
