//! Users whose last session has ended, until they may be said to be away: a
//! reload or a change of networks is no absence. Then the record is looked at
//! once more, and who watches is told.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use daemon::lock::{LEAF, Lock};
use proto::UserId;
use rustc_hash::FxHashSet;
use store::Store;
use store::model::Seen;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::metrics;
use crate::receipts::{self, Notices};

/// A user is away so long after the last session ended (PROTOCOL.md §5).
pub(crate) const GRACE: Duration = Duration::from_secs(5);
/// So long after it was said that a user is away, whether that still holds: the
/// word that the user has come, by another router, may have overtaken it.
const AGAIN: Duration = Duration::from_secs(1);
/// Users that wait. When there are more the new one is not looked at: who
/// watches does not hear of it until it asks.
const CAPACITY: usize = 65_536;
/// Users looked up in one call.
const CHUNK: usize = 500;
/// The store was away: a user is looked at again after this, at most so often.
const RETRY_MS: std::ops::Range<u64> = 1_000..2_000;
const TRIES: u8 = 30;

/// The handle: cheap to clone.
#[derive(Clone)]
pub(crate) struct Absences {
    pending: Arc<Pending>,
}

#[derive(Default)]
struct Pending {
    /// Protects who waits; held for a few instructions.
    waiting: Lock<LEAF, Waiting>,
    sooner: Notify,
}

/// Invariant: `users` are those in `order`.
#[derive(Default)]
struct Waiting {
    order: BinaryHeap<Reverse<Check>>,
    users: FxHashSet<UserId>,
}

/// A look at one user's record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Check {
    at: Instant,
    user: UserId,
    /// It was said that the user is away.
    told: bool,
    /// Looks that failed.
    failed: u8,
}

impl Absences {
    pub(crate) fn new() -> Self {
        Self { pending: Arc::default() }
    }

    /// The user has no session since `ago`, as far as is known.
    pub(crate) fn note(&self, user: UserId, ago: Duration) {
        let at = Instant::now() + GRACE.saturating_sub(ago);
        self.put(Check { at, user, told: false, failed: 0 });
    }

    fn put(&self, check: Check) {
        let mut waiting = self.pending.waiting.lock();
        let before = waiting.next();
        let kept = waiting.put(check);
        let sooner = waiting.next() != before;
        drop(waiting);
        if sooner {
            self.pending.sooner.notify_one();
        }
        if !kept {
            metrics::DROPPED.add(&["presence"], 1);
        }
    }

    /// Looks at those whose time has come, until `stop`. Who waits then is not
    /// looked at any more.
    pub(crate) async fn run(self, store: Arc<dyn Store>, notices: Notices, stop: CancellationToken) {
        loop {
            let next = self.pending.waiting.lock().next();
            let due = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.pending.sooner.notified() => continue,
                () = due => {}
            }
            let checks = self.pending.waiting.lock().take(Instant::now());
            let users: Vec<UserId> = checks.iter().map(|check| check.user.clone()).collect();
            match store.presence(&users, None).await {
                Ok(seen) => {
                    for (check, seen) in checks.into_iter().zip(seen) {
                        self.judge(check, &seen, &notices);
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "could not look whether users are away");
                    checks.into_iter().for_each(|check| self.retry(check));
                }
            }
        }
    }

    fn judge(&self, check: Check, seen: &Seen, notices: &Notices) {
        let ago = seen.ended.map_or(GRACE, |(_, ago)| ago);
        if seen.here {
            // Who was said to be away has come meanwhile: perhaps in that order.
            if check.told {
                receipts::tell_presence(notices, &seen.watchers, &check.user, None);
            }
        } else if ago < GRACE {
            // Came, and has gone again.
            self.note(check.user, ago);
        } else if !check.told && !seen.watchers.is_empty() {
            let last_seen = seen.ended.map_or(0, |(time, _)| time);
            receipts::tell_presence(notices, &seen.watchers, &check.user, Some(last_seen));
            self.put(Check { at: Instant::now() + AGAIN, told: true, failed: 0, ..check });
        }
    }

    fn retry(&self, check: Check) {
        if check.failed >= TRIES {
            return metrics::DROPPED.add(&["presence"], 1);
        }
        let pause = Duration::from_millis(rand::random_range(RETRY_MS));
        self.put(Check { at: Instant::now() + pause, failed: check.failed + 1, ..check });
    }
}

impl Waiting {
    /// False when it was given up. A user who waits already is looked at then,
    /// and again if that is too early.
    fn put(&mut self, check: Check) -> bool {
        if self.users.contains(&check.user) {
            return true;
        }
        if self.users.len() >= CAPACITY {
            return false;
        }
        self.users.insert(check.user.clone());
        self.order.push(Reverse(check));
        true
    }

    fn next(&self) -> Option<Instant> {
        self.order.peek().map(|Reverse(check)| check.at)
    }

    /// Those whose time has come, as many as fit in a call.
    fn take(&mut self, now: Instant) -> Vec<Check> {
        let mut due = Vec::new();
        while due.len() < CHUNK && self.next().is_some_and(|at| at <= now) {
            let Some(Reverse(check)) = self.order.pop() else { break };
            self.users.remove(&check.user);
            due.push(check);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(user: &str, after: Duration) -> Check {
        let user = UserId::parse(user).unwrap();
        Check { at: Instant::now() + after, user, told: false, failed: 0 }
    }

    #[test]
    fn whoever_waits_longest_is_looked_at_first_and_nobody_too_early() {
        let mut waiting = Waiting::default();
        for (user, seconds) in [("bob", 2), ("alice", 1), ("carol", 9), ("alice", 0)] {
            assert!(waiting.put(check(user, Duration::from_secs(seconds))));
        }
        let now = Instant::now();
        assert_eq!(waiting.take(now), [], "the first of a user stands");
        let later = now + Duration::from_secs(3);
        let due: Vec<_> = waiting.take(later).into_iter().map(|check| check.user.to_string()).collect();
        assert_eq!(due, ["alice", "bob"]);
        assert_eq!(waiting.users.len(), 1);
    }

    #[test]
    fn when_too_many_wait_the_new_one_is_given_up() {
        let mut waiting = Waiting::default();
        for number in 0..CAPACITY {
            assert!(waiting.put(check(&format!("u{number}"), Duration::ZERO)));
        }
        assert!(!waiting.put(check("one-more", Duration::ZERO)));
        assert!(waiting.put(check("u0", Duration::ZERO)), "whoever waits already");
        assert_eq!(waiting.take(Instant::now()).len(), CHUNK);
    }
}
