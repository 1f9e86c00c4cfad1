//! How fast users may send: so many messages a second for each user on each
//! node, and four times that at once after a pause.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

use governor::clock::{Clock as _, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use proto::UserId;

use crate::failure::Failure;

/// What a user may do at once, as a multiple of a second's worth.
const BURST: u32 = 4;
/// After so many checks the entries of idle users are removed.
const CHECKS_BETWEEN_SWEEPS: u32 = 16_384;

type Limiter =
    RateLimiter<UserId, DashMapStateStore<UserId>, MonotonicClock, NoOpMiddleware<std::time::Instant>>;

/// The limits of all users.
#[derive(Debug)]
pub struct RateLimits {
    /// Nothing: no limit.
    limiter: Option<Limiter>,
    per_second: u32,
    checks: AtomicU32,
}

impl RateLimits {
    /// So many messages a second for each user; 0: no limit.
    pub fn new(per_second: u32) -> Self {
        let limiter = NonZeroU32::new(per_second).map(|rate| {
            let burst = rate.saturating_mul(const { NonZeroU32::new(BURST).expect("four is not zero") });
            RateLimiter::dashmap_with_clock(Quota::per_second(rate).allow_burst(burst), MonotonicClock)
        });
        Self { limiter, per_second, checks: AtomicU32::new(0) }
    }

    /// Counts one message of this user, or says when there may be one again.
    pub fn check(&self, user: &UserId) -> Result<(), Failure> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        if self.checks.fetch_add(1, Ordering::Relaxed) % CHECKS_BETWEEN_SWEEPS == CHECKS_BETWEEN_SWEEPS - 1 {
            // Whoever could send a whole burst again is as one never seen.
            limiter.retain_recent();
        }
        limiter.check_key(user).map_err(|not_until| {
            let wait = not_until.wait_time_from(MonotonicClock.now());
            let milliseconds = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
            let most = self.per_second;
            Failure::rate_limited(format!("more than {most} messages a second"), milliseconds)
        })
    }

    /// Users that are remembered.
    pub fn users(&self) -> usize {
        self.limiter.as_ref().map_or(0, RateLimiter::len)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proto::ErrorCode;

    use super::*;

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    #[test]
    fn a_burst_passes_and_then_the_wait_is_said() {
        let limits = RateLimits::new(1);
        for _ in 0..4 {
            assert_eq!(limits.check(&user("alice")), Ok(()));
        }
        let refused = limits.check(&user("alice")).unwrap_err();
        assert_eq!(refused.code, ErrorCode::RateLimited);
        let wait = refused.retry_after_ms.unwrap();
        assert!((1..=1_001).contains(&wait), "{wait}");
        assert_eq!(limits.check(&user("bob")), Ok(()));
    }

    #[test]
    fn without_a_limit_nobody_is_refused_or_remembered() {
        let limits = RateLimits::new(0);
        assert!((0..10_000).all(|_| limits.check(&user("alice")).is_ok()));
        assert_eq!(limits.users(), 0);
    }

    #[test]
    fn users_who_have_stopped_are_forgotten() {
        let limits = RateLimits::new(1_000_000);
        assert_eq!(limits.check(&user("gone")), Ok(()));
        let deadline = Instant::now() + Duration::from_secs(20);
        // A sweep comes after enough checks; by the next one at the latest the
        // idle user has a whole burst again.
        let is_forgotten = || {
            for _ in 0..CHECKS_BETWEEN_SWEEPS {
                let _ = limits.check(&user("busy"));
            }
            limits.users() == 1
        };
        while !is_forgotten() {
            assert!(Instant::now() < deadline, "still remembered: {}", limits.users());
        }
    }
}
