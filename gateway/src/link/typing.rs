//! How often `typing` is passed on.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use daemon::lock::{LEAF, Lock, LockGuard};
use proto::{ConversationId, UserId};
use rustc_hash::FxHashMap;

/// `typing` of a session in a conversation is passed on once in so long.
pub const TYPING_INTERVAL: Duration = Duration::from_secs(1);
/// Pairs of session and conversation that are remembered at most, 16 bytes each. The
/// `typing` of further pairs is dropped until others have stopped: it is ephemeral.
const MAX_TYPING: usize = 65_536;

/// The sessions that have sent `typing` in the last interval, and where.
#[derive(Debug, Default)]
pub struct TypingLimits {
    /// A random key of the hash, so that nobody can find two pairs with the same
    /// hash.
    keys: RandomState,
    /// Protects the times at which `typing` was last passed on. Held for moments.
    passed: Lock<LEAF, Passed>,
}

#[derive(Debug, Default)]
struct Passed {
    at: FxHashMap<u64, Instant>,
    swept: Option<Instant>,
}

/// Permission to pass one `typing` on, from [`TypingLimits::admit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TypingPass(u64);

impl TypingLimits {
    /// Permits one `typing`, or returns `None` if it came too soon after the last one.
    /// `session` is empty over HTTP, where the user counts instead.
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

    /// Forgets a permission whose command was refused: the next `typing` is asked for
    /// again at once, and gets the same refusal.
    pub fn forget(&self, pass: TypingPass) {
        self.lock().at.remove(&pass.0);
    }

    fn lock(&self) -> LockGuard<'_, Passed> {
        self.passed.lock()
    }
}

impl Passed {
    /// Forgets times that are older than the interval, at most once an interval. True if
    /// there is room now.
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
    use super::*;

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
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
}
