//! How late this program's own timers are: whether it is the limit itself.

use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::record::histogram;

/// How often it looks.
const EVERY: Duration = Duration::from_millis(10);

/// A task that does nothing else.
#[derive(Debug)]
pub(super) struct Probe {
    stop: CancellationToken,
    task: JoinSet<Histogram<u64>>,
}

impl Probe {
    pub(super) fn start() -> Self {
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(look(stop.clone()));
        Self { stop, task }
    }

    /// Microseconds, up to now.
    pub(super) async fn finish(mut self) -> Result<Histogram<u64>> {
        self.stop.cancel();
        Ok(self.task.join_next().await.transpose()?.unwrap_or_else(histogram))
    }
}

async fn look(stop: CancellationToken) -> Histogram<u64> {
    let mut late = histogram();
    let mut clock = interval(EVERY);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !stop.is_cancelled() {
        let due = clock.tick().await;
        let micros = (Instant::now().saturating_duration_since(due)).as_micros();
        late.saturating_record(u64::try_from(micros).unwrap_or(u64::MAX));
    }
    late
}
