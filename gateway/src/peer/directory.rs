//! Where other gateways are reached, as the store says.

use std::sync::Arc;
use std::time::Duration;

use daemon::lock::{LEAF, Lock};
use rustc_hash::FxHashMap;
use store::Peers;
use tokio::time::{Instant, sleep_until};

use crate::config::PeerAddress;

/// For how long an address is believed.
const FRESH: Duration = Duration::from_secs(2);
/// Between two questions: names that are none come from clients.
const PAUSE: Duration = Duration::from_millis(100);

/// What is known of the other gateways. All of them are asked for together: a
/// client that makes up names costs the store no more than one that does not.
pub(super) struct Directory {
    peers: Arc<dyn Peers>,
    known: Lock<LEAF, Addresses>,
    /// One question at a time.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Addresses {
    /// When it was asked.
    at: Option<Instant>,
    addresses: FxHashMap<String, PeerAddress>,
}

impl Directory {
    pub(super) fn new(peers: Arc<dyn Peers>) -> Self {
        Self { peers, known: Lock::default(), asking: tokio::sync::Mutex::default() }
    }

    /// Where this node is reached; nothing if there is no such node, or none that
    /// can be reached. An unknown name is asked for at least once.
    pub(super) async fn address(&self, node: &str) -> Option<PeerAddress> {
        let come = Instant::now();
        if let Some(address) = self.known_since(node, come.checked_sub(FRESH)) {
            return Some(address);
        }
        let _alone = self.asking.lock().await;
        let asked = self.known.lock().at;
        // Somebody else may have asked meanwhile.
        if asked.is_none_or(|at| at < come) {
            if let Some(at) = asked {
                sleep_until(at + PAUSE).await;
            }
            self.ask().await;
        }
        self.known_since(node, None)
    }

    /// What was known of it at this time or later.
    fn known_since(&self, node: &str, since: Option<Instant>) -> Option<PeerAddress> {
        let known = self.known.lock();
        if known.at? < since.unwrap_or(known.at?) {
            return None;
        }
        known.addresses.get(node).cloned()
    }

    async fn ask(&self) {
        let at = Instant::now();
        let listed = self.peers.list().await;
        let mut known = self.known.lock();
        known.at = Some(at);
        match listed {
            Ok(peers) => {
                let addresses =
                    peers.into_iter().filter_map(|peer| Some((peer.node, peer.address.parse().ok()?)));
                known.addresses = addresses.collect();
            }
            // What was known is better than nothing.
            Err(error) => tracing::debug!(%error, "cannot ask where the other gateways are"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use proto::NodeIncarnation;
    use store::{NamedSession, Peer};

    use super::*;

    /// A store that knows one gateway, and how often it was asked.
    struct One(AtomicUsize);

    #[async_trait]
    impl Peers for One {
        async fn announce(&self, _: &NodeIncarnation, _: &str) -> store::Result<()> {
            unreachable!("nobody announces")
        }

        async fn list(&self) -> store::Result<Vec<Peer>> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(vec![Peer { node: "gw-1".to_owned(), address: "http://127.0.0.1:7200".to_owned() }])
        }

        async fn holder(&self, _: &NamedSession) -> store::Result<Option<String>> {
            unreachable!("nobody asks")
        }

        async fn claim(&self, _: &[NamedSession], _: &str) -> store::Result<Vec<String>> {
            unreachable!("nobody claims")
        }

        async fn release(&self, _: &[NamedSession], _: &str) -> store::Result<()> {
            unreachable!("nobody releases")
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_known_node_is_asked_for_now_and_then_and_made_up_ones_together() {
        let store = Arc::new(One(AtomicUsize::new(0)));
        let directory = Arc::new(Directory::new(store.clone()));
        let asked = || store.0.load(Ordering::SeqCst);
        for _ in 0..10 {
            assert!(directory.address("gw-1").await.is_some());
        }
        assert_eq!(asked(), 1);
        tokio::time::advance(FRESH * 2).await;
        assert!(directory.address("gw-1").await.is_some());
        assert_eq!(asked(), 2);
        // A thousand at once wait for one more question, or two.
        let made_up = (0..1_000).map(|number| {
            let directory = directory.clone();
            async move { directory.address(&format!("none-{number}")).await }
        });
        let begun = Instant::now();
        assert!(futures_util::future::join_all(made_up).await.iter().all(Option::is_none));
        assert!(asked() <= 4, "{} questions", asked());
        assert!(begun.elapsed() <= PAUSE * 2);
    }
}
