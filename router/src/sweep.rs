//! The sweep: every second or so each router finishes what a crash left half
//! filed (DESIGN.md §3). Two routers at once are harmless.

use std::sync::Arc;
use std::time::Duration;

use store::Store;
use tokio_util::sync::CancellationToken;

use crate::metrics;

/// Younger marks belong to writes that are under way.
const AGE: Duration = Duration::from_secs(5);
/// Between two looks, so that routers started together do not look together.
const PAUSE_MS: std::ops::Range<u64> = 800..1_200;

/// Runs until `stop`.
pub(crate) async fn run(store: Arc<dyn Store>, stop: CancellationToken) {
    loop {
        let pause = Duration::from_millis(rand::random_range(PAUSE_MS));
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        // Not cancelled half way: a repair is bounded by the store's timeout.
        match store.repair(AGE).await {
            Ok(0) => {}
            Ok(conversations) => {
                metrics::REPAIRED.add(&[], conversations as u64);
                tracing::info!(conversations, "finished what a crash had left half filed");
            }
            Err(error) => tracing::debug!(%error, "the sweep could not look"),
        }
    }
}
