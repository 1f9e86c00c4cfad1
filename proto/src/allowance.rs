//! A rate limit as a token bucket: units are spent, and come back with time.
//! Gateways, and the routers that count for all gateways, calculate with the
//! same type (ADR 0016).

use std::time::Duration;

/// The limit: a token bucket's rate and size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Units that come back per second; above zero.
    pub per_second: f64,
    /// The most units that a user can have, which is what he has after a pause;
    /// at least one.
    pub burst: f64,
}

/// The units that one user has left of a [`Rate`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Allowance(f64);

impl Allowance {
    /// A full bucket: what a user has who did nothing for a while.
    pub fn full(rate: Rate) -> Self {
        Self(rate.burst)
    }

    /// This many units, cut to the range of the rate: from minus `burst` (a
    /// debt) to `burst`. NaN counts as a full bucket.
    pub fn of(units: f64, rate: Rate) -> Self {
        // `clamp` would return NaN for NaN.
        Self(if units.is_nan() { rate.burst } else { units.clamp(-rate.burst, rate.burst) })
    }

    /// Units that are left; negative: spent beyond the burst.
    pub fn units(self) -> f64 {
        self.0
    }

    /// What is left after `time` has passed and nothing was spent.
    #[must_use]
    pub fn after(self, time: Duration, rate: Rate) -> Self {
        Self::of(self.0 + time.as_secs_f64() * rate.per_second, rate)
    }

    /// What is left after spending `units`, which may lead into debt.
    #[must_use]
    pub fn less(self, units: f64, rate: Rate) -> Self {
        Self::of(self.0 - units, rate)
    }

    /// Whether nothing is missing. Such a user need not be remembered.
    pub fn is_full(self, rate: Rate) -> bool {
        self.0 >= rate.burst
    }

    /// How long until `units` are there, or a full burst where `units` is more;
    /// zero when they are there already.
    pub fn until(self, units: f64, rate: Rate) -> Duration {
        let missing = (units.min(rate.burst) - self.0).max(0.0);
        Duration::try_from_secs_f64(missing / rate.per_second).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 2.0, burst: 8.0 };

    #[test]
    fn what_is_spent_comes_back_with_time_up_to_the_burst() {
        let spent = Allowance::full(RATE).less(5.0, RATE);
        assert_eq!(spent.units(), 3.0);
        assert_eq!(spent.after(Duration::from_secs(1), RATE).units(), 5.0);
        assert!(spent.after(Duration::from_secs(60), RATE).is_full(RATE));
        assert_eq!(spent.until(4.0, RATE), Duration::from_millis(500));
        assert_eq!(spent.until(3.0, RATE), Duration::ZERO);
        assert_eq!(spent.until(1_000.0, RATE), Duration::from_millis(2_500), "no more than a burst is there");
    }

    #[test]
    fn a_debt_is_bounded() {
        let owed = Allowance::full(RATE).less(1_000.0, RATE);
        assert_eq!(owed.units(), -8.0);
        assert_eq!(owed.until(1.0, RATE), Duration::from_millis(4_500));
    }

    #[test]
    fn nonsense_from_elsewhere_is_within_bounds() {
        for (units, taken) in [(f64::NAN, 8.0), (f64::INFINITY, 8.0), (f64::NEG_INFINITY, -8.0)] {
            assert_eq!(Allowance::of(units, RATE).units(), taken);
        }
    }
}
