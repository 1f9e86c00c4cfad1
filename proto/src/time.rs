//! Moments that others than this process know: when a message was written, when a
//! token ends. What needs a calendar (certificates, HTTP's dates) reads the clock of
//! the day by itself, all else here.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::json;

/// A moment in milliseconds since the beginning of 1970, as clients and the store
/// know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub u64);

impl Time {
    /// The present, by this machine's clock.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// Whole seconds since the beginning of 1970, as tokens and signatures have them.
    pub fn seconds(self) -> u64 {
        self.0 / 1_000
    }

    /// How long ago `earlier` was; nothing, if it is later: two machines' clocks may
    /// differ.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// So much later, at most 2^53: the largest number that all who read it have.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        let later = self.0.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        Self(later.min(json::MAX_NUMBER))
    }

    /// So much earlier, at most the beginning of 1970.
    #[must_use]
    pub fn before(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// The end of a token in seconds since the beginning of 1970 (`exp`, RFC 7519
/// §4.1.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TokenEnd(pub u64);

impl TokenEnd {
    /// How long it is until then; nothing, if it has passed.
    pub fn left(self) -> Duration {
        self.left_with(Duration::ZERO)
    }

    /// As [`TokenEnd::left`], if the token is believed for so much longer.
    pub fn left_with(self, leeway: Duration) -> Duration {
        let end = Duration::from_secs(self.0).saturating_add(leeway);
        end.saturating_sub(Duration::from_millis(Time::now().0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_clock_makes_a_time_that_is_less_than_nothing() {
        let (first, second) = (Time(1_000), Time(3_500));
        assert_eq!(
            (second.since(first), first.since(second)),
            (Duration::from_millis(2_500), Duration::ZERO)
        );
        assert_eq!(
            (second.before(Duration::from_secs(1)), first.before(Duration::MAX)),
            (Time(2_500), Time(0))
        );
        assert_eq!(
            (first.after(Duration::from_secs(1)), first.after(Duration::MAX)),
            (Time(2_000), Time(1 << 53))
        );
        assert_eq!(
            (TokenEnd(1).left(), TokenEnd(1).left_with(Duration::from_secs(5))),
            (Duration::ZERO, Duration::ZERO)
        );
        assert!(TokenEnd(u64::MAX).left_with(Duration::MAX) > Duration::from_secs(1 << 40));
    }
}
