//! Whether an HTTP/2 connection is used: since when nothing has been under way on
//! it that was allowed. HTTP/2 itself has no time limit for that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use daemon::lock::{LEAF, Lock};
use tokio::time::Instant;

/// Between two looks at a request of which it is not known yet whether it is
/// allowed.
const UNDECIDED: Duration = Duration::from_millis(500);

/// What is under way on one connection.
#[derive(Debug)]
pub(super) struct Activity(Lock<LEAF, State>);

#[derive(Debug)]
struct State {
    /// Requests without the head of a response.
    undecided: usize,
    /// Those that were allowed and have not ended.
    allowed: usize,
    /// When there was last one of the latter, or when the connection began.
    since: Instant,
}

/// What to do with a connection at this moment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Nothing: look again at this time.
    Look(Instant),
    /// It has been unused for too long.
    Unused,
}

impl Activity {
    /// Of a connection that begins, or began, at this time.
    pub(super) fn since(since: Instant) -> Arc<Self> {
        Arc::new(Self(Lock::new(State { undecided: 0, allowed: 0, since })))
    }

    /// A request begins.
    pub(super) fn begin(self: &Arc<Self>) -> Request {
        self.0.lock().undecided += 1;
        Request { of: self.clone(), allowed: AtomicBool::new(false) }
    }

    /// Whether the connection may go on, if it may be unused for so long.
    pub(super) fn judge(&self, now: Instant, patience: Duration) -> Judgement {
        let state = self.0.lock();
        if state.allowed > 0 {
            return Judgement::Look(now + patience);
        }
        let until = state.since + patience;
        match now < until {
            true => Judgement::Look(until),
            false if state.undecided > 0 => Judgement::Look(now + UNDECIDED.min(patience)),
            false => Judgement::Unused,
        }
    }
}

/// One request, until it has ended.
#[derive(Debug)]
pub(super) struct Request {
    of: Arc<Activity>,
    allowed: AtomicBool,
}

impl Request {
    /// The request is allowed, and has a response.
    pub(super) fn allow(&self) {
        let mut state = self.of.0.lock();
        if !self.allowed.swap(true, Ordering::Relaxed) {
            state.undecided -= 1;
            state.allowed += 1;
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let allowed = *self.allowed.get_mut();
        let mut state = self.of.0.lock();
        if allowed {
            state.allowed -= 1;
            state.since = Instant::now();
        } else {
            state.undecided -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_allowed_keeps_a_connection() {
        let (begun, patience) = (Instant::now(), Duration::from_secs(10));
        let activity = Activity::since(begun);
        let late = begun + Duration::from_secs(3_600);
        assert_eq!(activity.judge(begun, patience), Judgement::Look(begun + patience));
        assert_eq!(activity.judge(late, patience), Judgement::Unused);
        let request = activity.begin();
        assert_eq!(activity.judge(late, patience), Judgement::Look(late + UNDECIDED));
        request.allow();
        assert_eq!(activity.judge(late, patience), Judgement::Look(late + patience));
        drop(request);
        assert!(
            matches!(activity.judge(Instant::now(), patience), Judgement::Look(until) if until > begun + patience)
        );
        drop(activity.begin());
        assert_eq!(activity.judge(late, patience), Judgement::Unused);
    }
}
