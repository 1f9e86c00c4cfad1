//! Users whose last session has just ended. They may come back at once (a page is
//! loaded again, a phone changes networks), so nobody is told yet. After five
//! seconds the user's record is read again, and when the user is still away the
//! nodes that watch the user are told.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use daemon::lock::{LEAF, Lock};
use proto::UserId;
use rustc_hash::FxHashSet;
use store::Store;
use store::model::PresenceRecord;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::metrics;
use crate::receipts::{self, Notices};

/// A user is offline this long after the last session ended (PROTOCOL.md §5).
pub(crate) const GRACE: Duration = Duration::from_secs(5);
/// This long after nodes were told that a user is offline, the record is read once
/// more: another router may have told them before that the user is back.
const AGAIN: Duration = Duration::from_secs(1);
/// How many users wait at most. A further one is not looked at: nodes that watch
/// that user learn of the absence when they ask.
const CAPACITY: usize = 65_536;
/// Users whose records are read in one call.
const CHUNK: usize = 500;
/// After a failure of the store a user is looked at again after this time (in
/// milliseconds), so often at most.
const RETRY_MS: std::ops::Range<u64> = 1_000..2_000;
const TRIES: u8 = 30;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Absences {
    pending: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// The users who wait. Held for a few instructions.
    waiting: Lock<LEAF, CheckQueue>,
    sooner: Notify,
}

/// Invariant: `users` are those in `order`.
#[derive(Default)]
struct CheckQueue {
    order: BinaryHeap<Reverse<Check>>,
    users: FxHashSet<UserId>,
}

/// A look at one user's record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Check {
    at: Instant,
    user: UserId,
    /// Nodes were told that the user is offline.
    told: bool,
    /// How many looks have failed.
    failed: u8,
}

impl Absences {
    pub(crate) fn new() -> Self {
        Self { pending: Arc::default() }
    }

    /// The user's last known session ended `ago`.
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
            metrics::NOTICES_DROPPED.add(&["presence"], 1);
        }
    }

    /// Looks at the users whose time has come, until `stop`. Those who wait then are
    /// forgotten.
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

    fn judge(&self, check: Check, seen: &PresenceRecord, notices: &Notices) {
        let ago = seen.ended.map_or(GRACE, |(_, ago)| ago);
        if seen.here {
            // Came back while the nodes were told of the absence, which may have
            // reached them last.
            if check.told {
                receipts::tell_presence(notices, &seen.watchers, &check.user, None);
            }
        } else if ago < GRACE {
            // Came back, and left again.
            self.note(check.user, ago);
        } else if !check.told && !seen.watchers.is_empty() {
            let last_seen = seen.ended.map_or(0, |(time, _)| time.0);
            receipts::tell_presence(notices, &seen.watchers, &check.user, Some(last_seen));
            self.put(Check { at: Instant::now() + AGAIN, told: true, failed: 0, ..check });
        }
    }

    fn retry(&self, check: Check) {
        if check.failed >= TRIES {
            return metrics::NOTICES_DROPPED.add(&["presence"], 1);
        }
        let pause = Duration::from_millis(rand::random_range(RETRY_MS));
        self.put(Check { at: Instant::now() + pause, failed: check.failed + 1, ..check });
    }
}

impl CheckQueue {
    /// False when there was no room. For a user who waits already the first check
    /// stands; it makes another one if it comes too early.
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

    /// The checks whose time has come, as many as fit into one call.
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
        let mut waiting = CheckQueue::default();
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
        let mut waiting = CheckQueue::default();
        for number in 0..CAPACITY {
            assert!(waiting.put(check(&format!("u{number}"), Duration::ZERO)));
        }
        assert!(!waiting.put(check("one-more", Duration::ZERO)));
        assert!(waiting.put(check("u0", Duration::ZERO)), "whoever waits already");
        assert_eq!(waiting.take(Instant::now()).len(), CHUNK);
    }
}
