//! Finds nodes whose lease has ended, and tells the other nodes: the users who
//! were connected there may be offline. Every router does this. A node that is
//! told twice only asks twice.

use std::sync::Arc;
use std::time::Duration;

use proto::NodeIncarnation;
use proto::wire::{NodeGone, Notice, notice};
use rustc_hash::FxHashSet;
use store::Store;
use tokio_util::sync::CancellationToken;

/// The time between two looks. A lease lasts 10 seconds, and PROTOCOL.md §5 allows
/// 15 seconds until the users of a dead node are offline.
const EVERY: Duration = Duration::from_secs(1);

/// Runs until `stop`.
pub(crate) async fn run(store: Arc<dyn Store>, stop: CancellationToken) {
    let mut known = FxHashSet::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        match look(&*store, &known).await {
            Ok(alive) => known = alive,
            // The next look finds it.
            Err(error) => tracing::debug!(%error, "could not look which nodes live"),
        }
    }
}

/// Reads which nodes live. Tells them of those that are in `known` and do not live
/// any more.
async fn look(
    store: &dyn Store,
    known: &FxHashSet<NodeIncarnation>,
) -> store::Result<FxHashSet<NodeIncarnation>> {
    let alive: FxHashSet<NodeIncarnation> = store.nodes().await?.into_iter().collect();
    let mut notices = Vec::new();
    for gone in known.difference(&alive) {
        tracing::info!(node = %gone, "a node is gone");
        let what = notice::What::NodeGone(NodeGone { node: gone.to_string() });
        let notice = Notice { what: Some(what), ..Notice::default() };
        notices.extend(alive.iter().map(|node| (node.clone(), notice.clone())));
    }
    if !notices.is_empty() {
        store.publish(notices).await?;
    }
    Ok(alive)
}
