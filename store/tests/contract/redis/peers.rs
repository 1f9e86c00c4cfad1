//! How gateways find each other, and each other's sessions.

use std::time::Duration;

use proto::NodeIncarnation;
use store::{Bus, NamedSession, Peer};
use testbed::{RedisServer, Reply, wait};

use super::{config, key, open, users};
use crate::contract::harness::{Kind, Stores};

const SOON: Duration = Duration::from_secs(20);

fn session(stores: &Stores, owner: &str, name: &str) -> NamedSession {
    NamedSession { owner: stores.user(owner), name: name.into() }
}

async fn address(bus: &dyn Bus, node: &NodeIncarnation) -> Option<String> {
    let peers: Vec<Peer> = bus.peers().list().await.unwrap();
    let mut found = peers.into_iter().filter(|peer| peer.node == node.node());
    let address = found.next().map(|peer| peer.address);
    assert_eq!(found.next(), None, "a node is listed once");
    address
}

async fn an_address_counts_while_its_node_has_a_lease(kind: Kind) {
    let stores = kind.open().await;
    let name = format!("gw-{:x}", rand::random::<u32>());
    let node = NodeIncarnation::new(&name).unwrap();
    let peers = stores.bus.peers();
    peers.announce(&node, "http://127.0.0.1:1").await.unwrap();
    assert_eq!(address(&*stores.bus, &node).await, None, "without a lease");
    let first = stores.bus.subscribe(node.clone()).await.unwrap();
    assert_eq!(address(&*stores.bus, &node).await.as_deref(), Some("http://127.0.0.1:1"));
    // The next run of the node, before the lease of the first one has ended.
    let next = NodeIncarnation::new(&name).unwrap();
    peers.announce(&next, "http://127.0.0.1:2").await.unwrap();
    let second = stores.bus.subscribe(next.clone()).await.unwrap();
    drop(first);
    wait::until_true(SOON, "the first run's address is gone", async || {
        address(&*stores.bus, &next).await.as_deref() == Some("http://127.0.0.1:2")
    })
    .await
    .unwrap();
    drop(second);
    wait::until_true(SOON, "no address is left", async || address(&*stores.bus, &next).await.is_none())
        .await
        .unwrap();
}

async fn a_session_has_one_holder_until_it_is_released(kind: Kind) {
    let stores = kind.open().await;
    let peers = stores.bus.peers();
    let (one, two) = (session(&stores, "alice", "abc"), session(&stores, "alice", "abd"));
    let of_another = session(&stores, "bob", "abc");
    assert_eq!(peers.holder(&one).await.unwrap(), None);
    assert_eq!(peers.claim(std::slice::from_ref(&one), "gw-1").await.unwrap(), ["gw-1"]);
    let all = [one.clone(), two.clone(), of_another.clone()];
    assert_eq!(peers.claim(&all, "gw-2").await.unwrap(), ["gw-1", "gw-2", "gw-2"]);
    assert_eq!(peers.claim(&all, "gw-1").await.unwrap(), ["gw-1", "gw-2", "gw-2"]);
    // Not what others hold.
    peers.release(&all, "gw-1").await.unwrap();
    let holders = [peers.holder(&one).await, peers.holder(&two).await, peers.holder(&of_another).await];
    let holders = holders.map(Result::unwrap);
    assert_eq!(holders, [None, Some("gw-2".to_owned()), Some("gw-2".to_owned())]);
}

async fn of_two_nodes_at_once_one_gets_a_session(kind: Kind) {
    let stores = kind.open().await;
    let peers = stores.bus.peers();
    for number in 0..50 {
        let one = [session(&stores, "alice", &format!("s{number}"))];
        let (a, b) = tokio::join!(peers.claim(&one, "gw-1"), peers.claim(&one, "gw-2"));
        assert_eq!(a.unwrap(), b.unwrap());
    }
}

macro_rules! on_redis {
    ($($name:ident),+) => {$(
        mod $name {
            use super::Kind;

            #[tokio::test]
            async fn redis() {
                super::$name(Kind::Redis).await;
            }

            #[tokio::test]
            async fn redis_cluster() {
                super::$name(Kind::RedisCluster).await;
            }
        }
    )+};
}
on_redis![
    an_address_counts_while_its_node_has_a_lease,
    a_session_has_one_holder_until_it_is_released,
    of_two_nodes_at_once_one_gets_a_session
];

#[tokio::test]
async fn a_claim_ends_when_nobody_prolongs_it() {
    let server = RedisServer::start().await.unwrap();
    let open = open(config(server.url())).await;
    let one = [NamedSession { owner: users().0, name: "abc".into() }];
    open.bus.peers().claim(&one, "gw-1").await.unwrap();
    let key = key(&server, "*j:alice/abc").await;
    let left = server.command(&["PTTL", &key]).await.unwrap();
    let most = i64::try_from(store::HELD.as_millis()).unwrap();
    assert!(matches!(left, Reply::Integer(left) if (1..=most).contains(&left)), "{left:?}");
}
