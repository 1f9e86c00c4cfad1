//! Notices that this process stood still (SIGSTOP, a frozen machine). Its
//! gateways have sent their requests to other routers meanwhile. What lies unread
//! on its links is old, and could undo what came later (a group's name, a
//! reaction). So the links end without reading it, and the gateways open new ones.

use std::time::{Duration, Instant};

use daemon::lock::{LEAF, Lock};

/// The time between two signs of life.
const BEAT: Duration = Duration::from_millis(100);
/// After this time without a sign of life it stood still. It is less than the 2 s
/// after which gateways repeat everything at another router.
const STILL: Duration = Duration::from_secs(1);

/// How often this process stood still.
#[derive(Debug)]
pub(crate) struct Standstills {
    /// When the last sign of life was, and the count. Held for a few instructions.
    seen: Lock<LEAF, (Instant, u64)>,
}

impl Standstills {
    pub(crate) fn new() -> Self {
        Self { seen: Lock::new((Instant::now(), 0)) }
    }

    /// How often so far. A link asks this after it has read a frame and before it
    /// does what the frame asks.
    pub(crate) fn count(&self) -> u64 {
        self.count_at(Instant::now())
    }

    fn count_at(&self, now: Instant) -> u64 {
        let mut seen = self.seen.lock();
        let (last, count) = *seen;
        let still = now.saturating_duration_since(last);
        let count = count + u64::from(still >= STILL);
        *seen = (last.max(now), count);
        if still >= STILL {
            drop(seen);
            tracing::warn!(
                for_ms = still.as_millis() as u64,
                "this process stood still: its links begin anew"
            );
        }
        count
    }

    /// Gives signs of life. Does not end.
    pub(crate) async fn beat(&self) {
        let mut beats = tokio::time::interval(BEAT);
        loop {
            beats.tick().await;
            self.count();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_without_a_sign_of_life_counts_once() {
        let standstills = Standstills::new();
        let begun = Instant::now();
        let at = |ms| standstills.count_at(begun + Duration::from_millis(ms));
        assert_eq!([at(900), at(1_000), at(1_990)], [0, 0, 0]);
        assert_eq!([at(3_100), at(3_100), at(3_200)], [1, 1, 1]);
        assert_eq!(at(9_000), 2);
    }
}
