//! The archiver: about once a second it lets the store copy old messages to the
//! archive. Routers share that work in the store. While there is more to do it goes
//! on, with pauses as long as the work, so that at most half of a connection's time
//! is taken from others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use daemon::Backoff;
use store::Store;
use tokio_util::sync::CancellationToken;

use crate::metrics;

/// Milliseconds between two calls, at random, so that routers that were started
/// together do not work at the same time.
const PAUSE_MS: std::ops::Range<u64> = 800..1_200;
/// The pauses after failures: the first, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3));
/// The time between two log lines about failures.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Runs until `stop`. The metrics are those of this router.
pub(crate) async fn run(store: Arc<dyn Store>, stop: CancellationToken) {
    let lag = Arc::new(AtomicU64::new(0));
    let observed = Arc::downgrade(&lag);
    metrics::ARCHIVE_LAG.observe(&[], move || Some(observed.upgrade()?.load(Ordering::Relaxed) as f64 / 1e3));
    let mut failing = Failing::default();
    let (mut latest, mut pause, mut well) = (Duration::ZERO, Duration::ZERO, Instant::now());
    loop {
        let random = Duration::from_millis(rand::random_range(PAUSE_MS));
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(if pause.is_zero() { random } else { pause }) => {}
        }
        let begun = Instant::now();
        // Not cancelled half way: it ends within its limits of time.
        let outcome = store.archive().await;
        pause = Duration::ZERO;
        match outcome {
            Ok(archived) => {
                failing.over();
                well = Instant::now();
                metrics::ARCHIVED.add(&[], archived.entries);
                latest = latest.max(archived.late);
                if archived.more {
                    pause = begun.elapsed().max(Duration::from_millis(1));
                } else if archived.round {
                    lag.store(milliseconds(latest), Ordering::Relaxed);
                    latest = Duration::ZERO;
                }
                lag.fetch_max(milliseconds(archived.late), Ordering::Relaxed);
            }
            Err(error) => {
                metrics::ARCHIVE_FAILURES.add(&[], 1);
                lag.fetch_max(milliseconds(well.elapsed()), Ordering::Relaxed);
                pause = failing.again(&error);
            }
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Failures without a success in between.
struct Failing {
    count: u32,
    said: Option<Instant>,
    backoff: Backoff,
}

impl Default for Failing {
    fn default() -> Self {
        Self { count: 0, said: None, backoff: Backoff::new(RETRY.0, RETRY.1) }
    }
}

impl Failing {
    fn over(&mut self) {
        if self.count > 0 {
            tracing::info!(failures = self.count, "messages are archived again");
        }
        *self = Self::default();
    }

    /// How long to wait before the next try.
    fn again(&mut self, error: &store::Error) -> Duration {
        self.count = self.count.saturating_add(1);
        if self.said.is_none_or(|said| said.elapsed() >= LOG_EVERY) {
            self.said = Some(Instant::now());
            tracing::warn!(%error, failures = self.count, "messages are not archived; they stay in redis");
        }
        self.backoff.pause()
    }
}
