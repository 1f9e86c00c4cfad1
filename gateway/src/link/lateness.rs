//! When a router counts as late: its oldest hot request (a send, say) has no
//! answer after many times what is usual. Then it gets no new requests, and
//! those that may be repeated soon go elsewhere, until it answers again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use daemon::lock::{LEAF, Lock};
use tokio::time::Instant;

/// So many times what is usual is late, …
const TIMES: u32 = 20;
/// … but no less than this, which a busy machine may take, …
const LEAST: Duration = Duration::from_millis(250);
/// … and no more than this: after 2 s every request goes to a second router.
const MOST: Duration = Duration::from_millis(1_500);
/// A router that was late gets nothing new for so long, so that one that is
/// late now and then is not tried anew each time.
const OUT: Duration = Duration::from_secs(1);

/// How long hot requests usually take: a moving average, in µs.
#[derive(Debug, Default)]
pub(super) struct Usual(AtomicU64);

impl Usual {
    /// Notes how long a hot request has taken. Two at the same moment may count as
    /// one.
    pub(super) fn took(&self, time: Duration) {
        let time = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).min(10_000_000);
        let before = self.0.load(Ordering::Relaxed);
        // Moves by a 64th of the difference; upwards by 1 µs at least, or it would not
        // move at all.
        let after =
            if time > before { before + (time - before).div_ceil(64) } else { before - (before - time) / 64 };
        self.0.store(after, Ordering::Relaxed);
    }

    /// The age from which on a hot request without an answer is late.
    pub(super) fn late(&self) -> Duration {
        (Duration::from_micros(self.0.load(Ordering::Relaxed)) * TIMES).clamp(LEAST, MOST)
    }
}

/// Whether one router answers in time.
#[derive(Debug, Default)]
pub(super) struct Punctuality {
    late: AtomicBool,
    moments: Lock<LEAF, Moments>,
}

#[derive(Debug, Default)]
struct Moments {
    /// Since when the router has been late.
    since: Option<Instant>,
    /// When the router last answered anything.
    heard: Option<Instant>,
}

impl Punctuality {
    /// Whether the router is late, and gets no new requests.
    pub(super) fn is_late(&self) -> bool {
        self.late.load(Ordering::Relaxed)
    }

    /// Notes that the router has answered something.
    pub(super) fn heard(&self, now: Instant) {
        self.moments.lock().heard = Some(now);
    }

    /// Notes that the router is late from now on.
    pub(super) fn fell_behind(&self, now: Instant) {
        self.moments.lock().since = Some(now);
        self.late.store(true, Ordering::Relaxed);
    }

    /// Whether a late router has answered since, and has been without new requests for
    /// long enough. Then it is not late any more.
    pub(super) fn is_back(&self, now: Instant) -> bool {
        let mut moments = self.moments.lock();
        let Some(since) = moments.since else { return false };
        let back = now - since >= OUT && moments.heard.is_some_and(|heard| heard > since);
        if back {
            moments.since = None;
            self.late.store(false, Ordering::Relaxed);
        }
        back
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_is_twenty_times_the_usual_within_bounds() {
        let usual = Usual::default();
        assert_eq!(usual.late(), LEAST);
        (0..2_000).for_each(|_| usual.took(Duration::from_millis(40)));
        let late = usual.late();
        assert!(late > Duration::from_millis(780) && late <= Duration::from_millis(800), "{late:?}");
        (0..2_000).for_each(|_| usual.took(Duration::from_secs(1)));
        assert_eq!(usual.late(), MOST);
        (0..2_000).for_each(|_| usual.took(Duration::from_millis(1)));
        assert_eq!(usual.late(), LEAST);
    }
}
