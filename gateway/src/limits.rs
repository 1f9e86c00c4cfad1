//! How fast users may send: so many messages a second for each user on each
//! node, and four times that at once after a pause. And how often it is passed
//! on that somebody types.

use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use daemon::lock::{LEAF, Lock, Locked};
use governor::clock::{Clock as _, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use proto::{ConversationId, UserId};
use rustc_hash::FxHashMap;

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

/// That a session's user types in a conversation is passed on once in so long.
pub const TYPING_INTERVAL: Duration = Duration::from_secs(1);
/// Sessions and conversations in which somebody types that are remembered, 16
/// bytes each. Beyond it what they type is dropped until others have stopped:
/// `typing` is ephemeral.
const MAX_TYPING: usize = 65_536;

/// Who has typed where in the last interval.
#[derive(Debug, Default)]
pub struct TypingLimits {
    /// Keyed at random, so that nobody can make two keys the same on purpose.
    keys: RandomState,
    /// Protects the moments of passing on, by key; held for moments.
    passed: Lock<LEAF, Passed>,
}

#[derive(Debug, Default)]
struct Passed {
    at: FxHashMap<u64, Instant>,
    swept: Option<Instant>,
}

/// What [`TypingLimits::admit`] has let pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TypingPass(u64);

impl TypingLimits {
    /// Whether it is passed on that `user` types here. `session` is empty over
    /// HTTP, where the user counts instead.
    pub fn admit(
        &self,
        session: &str,
        user: &UserId,
        conversation: &ConversationId,
        now: Instant,
    ) -> Option<TypingPass> {
        let key = self.keys.hash_one((session, user, conversation));
        let mut passed = self.lock();
        if passed.at.get(&key).is_some_and(|at| now.duration_since(*at) < TYPING_INTERVAL) {
            return None;
        }
        if passed.at.len() >= MAX_TYPING && !passed.sweep(now) {
            return None;
        }
        passed.at.insert(key, now);
        Some(TypingPass(key))
    }

    /// It was refused: the next is asked for again, and refused alike.
    pub fn forget(&self, pass: TypingPass) {
        self.lock().at.remove(&pass.0);
    }

    fn lock(&self) -> Locked<'_, Passed> {
        self.passed.lock()
    }
}

impl Passed {
    /// Forgets what is over, at most once an interval; says whether there is
    /// room now.
    fn sweep(&mut self, now: Instant) -> bool {
        if self.swept.is_none_or(|swept| now.duration_since(swept) >= TYPING_INTERVAL) {
            self.swept = Some(now);
            self.at.retain(|_, at| now.duration_since(*at) < TYPING_INTERVAL);
        }
        self.at.len() < MAX_TYPING
    }
}

#[cfg(test)]
mod tests {
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
    fn typing_passes_once_a_second_for_each_session_and_conversation() {
        let (limits, now) = (TypingLimits::default(), Instant::now());
        let (here, there) = (id("alice~bob"), id("alice~carol"));
        let admit = |session, conversation, now| limits.admit(session, &user("alice"), conversation, now);
        assert!(admit("s1", &here, now).is_some());
        assert!(admit("s1", &here, now + TYPING_INTERVAL / 2).is_none());
        assert!(admit("s2", &here, now).is_some() && admit("s1", &there, now).is_some());
        assert!(admit("s1", &here, now + TYPING_INTERVAL).is_some());
    }

    #[test]
    fn typing_that_was_refused_may_be_refused_again_at_once() {
        let (limits, now) = (TypingLimits::default(), Instant::now());
        let pass = limits.admit("", &user("alice"), &id("b~c"), now).unwrap();
        limits.forget(pass);
        assert!(limits.admit("", &user("alice"), &id("b~c"), now).is_some());
    }

    #[test]
    fn memory_for_typing_is_bounded_and_comes_back() {
        let (limits, now) = (TypingLimits::default(), Instant::now());
        let type_as = |n: usize, now| limits.admit(&n.to_string(), &user("alice"), &id("alice~bob"), now);
        assert!((0..MAX_TYPING).all(|n| type_as(n, now).is_some()));
        assert!(type_as(MAX_TYPING, now).is_none());
        assert_eq!(limits.lock().at.len(), MAX_TYPING);
        assert!(type_as(MAX_TYPING, now + TYPING_INTERVAL).is_some());
        assert_eq!(limits.lock().at.len(), 1);
    }

    fn id(text: &str) -> ConversationId {
        ConversationId::parse(text).unwrap()
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
