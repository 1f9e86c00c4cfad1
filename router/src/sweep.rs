//! The sweep. A message is numbered first, filed for its readers then, and
//! announced last; a crash between two steps leaves it half filed. About once a
//! second each router looks for such messages and finishes them. Two routers may
//! do it at the same time: filing again changes nothing.

use std::sync::Arc;
use std::time::Duration;

use store::Store;
use tokio_util::sync::CancellationToken;

use crate::metrics;

/// What is younger is a write that is still under way.
const AGE: Duration = Duration::from_secs(5);
/// Milliseconds between two looks, at random, so that routers that were started
/// together do not look at the same time.
const PAUSE_MS: std::ops::Range<u64> = 800..1_200;

/// Runs until `stop`.
pub(crate) async fn run(store: Arc<dyn Store>, stop: CancellationToken) {
    loop {
        let pause = Duration::from_millis(rand::random_range(PAUSE_MS));
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        // Not cancelled half way. The store's timeout bounds it.
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
