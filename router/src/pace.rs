//! When a batch begins. Where somebody waits for it, the least time from one batch to
//! the next follows the load: a message that comes alone does not wait, and many go
//! together.

use std::time::Duration;

use tokio::time::Instant;

/// Items a second up to which there is no pause: hardly two would share a batch.
const QUIET: f64 = 500.0;
/// Items a second from which on the pause is the longest one.
const BUSY: f64 = 10_000.0;
/// How far back the rate is measured: an item that came this long ago counts for
/// a third (1/e).
const MEMORY: Duration = Duration::from_millis(50);

/// How long a batch waits for more items.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pause {
    /// So long after its first item: for what nobody waits for. Zero: it begins when
    /// the last batch has ended.
    Gather(Duration),
    /// After the beginning of the batch before it, as long as the rate of items asks
    /// for, and this at most.
    ByLoad(Duration),
}

impl Pause {
    pub(crate) const NONE: Self = Self::Gather(Duration::ZERO);
}

/// What one batcher's items are counted by.
#[derive(Debug)]
pub(crate) struct Pace {
    pause: Pause,
    /// Items, each with the weight that time has left it; as of `at`.
    recent: f64,
    at: Instant,
}

impl Pace {
    pub(crate) fn new(pause: Pause) -> Self {
        Self { pause, recent: 0.0, at: Instant::now() }
    }

    /// How long a batch waits after its first item.
    pub(crate) fn gathers(&self) -> Duration {
        match self.pause {
            Pause::Gather(pause) => pause,
            Pause::ByLoad(_) => Duration::ZERO,
        }
    }

    /// A batch of so many items begins now. Returns how long the next one waits.
    pub(crate) fn begun(&mut self, items: usize, now: Instant) -> Duration {
        let most = match self.pause {
            Pause::Gather(_) => return Duration::ZERO,
            Pause::ByLoad(most) => most,
        };
        let gone = now.saturating_duration_since(self.at).as_secs_f64() / MEMORY.as_secs_f64();
        self.recent = self.recent * (-gone).exp() + items as f64;
        self.at = now;
        let rate = self.recent / MEMORY.as_secs_f64();
        if rate < QUIET { Duration::ZERO } else { most.mul_f64((rate / BUSY).min(1.0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_millis(4);

    /// The pause after a second of batches of `items`, one each `every`.
    async fn after_a_second(pace: &mut Pace, items: usize, every: Duration) -> Duration {
        let end = Instant::now() + Duration::from_secs(1);
        let mut pause = Duration::ZERO;
        while Instant::now() < end {
            tokio::time::advance(every).await;
            pause = pace.begun(items, Instant::now());
        }
        pause
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_when_little_comes_and_the_longest_when_much_does() {
        let mut pace = Pace::new(Pause::ByLoad(MOST));
        assert_eq!(pace.begun(1, Instant::now()), Duration::ZERO);
        assert_eq!(after_a_second(&mut pace, 1, Duration::from_millis(4)).await, Duration::ZERO);
        let half = after_a_second(&mut pace, 5, Duration::from_millis(1)).await;
        assert!(half > MOST * 4 / 10 && half < MOST * 6 / 10, "{half:?}");
        assert_eq!(after_a_second(&mut pace, 100, Duration::from_millis(4)).await, MOST);
        // And it is over as soon as the load is.
        assert_eq!(after_a_second(&mut pace, 1, Duration::from_millis(500)).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_handful_at_once_is_no_load() {
        let mut pace = Pace::new(Pause::ByLoad(MOST));
        assert_eq!(pace.begun(10, Instant::now()), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn what_gathers_does_so_whatever_the_load_is() {
        let mut pace = Pace::new(Pause::Gather(MOST));
        for items in [1, 1_000] {
            assert_eq!(pace.begun(items, Instant::now()), Duration::ZERO);
            assert_eq!(pace.gathers(), MOST);
        }
    }
}
