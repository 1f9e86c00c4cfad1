//! Limits log lines that peers could cause without end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Lets one line through per interval, and counts the lines left out.
#[derive(Debug)]
pub struct LogLimit {
    since: Instant,
    /// Seconds from one line to the next.
    every: u64,
    /// Seconds after `since` from which the next line may be written.
    next: AtomicU64,
    /// Lines left out since the last one written.
    left_out: AtomicU64,
}

impl LogLimit {
    /// Lets the first line through at once, and then one in `every` seconds.
    pub fn new(every: u64) -> Self {
        Self { since: Instant::now(), every, next: AtomicU64::new(0), left_out: AtomicU64::new(0) }
    }

    /// Asks whether to write a line now. `Some` says yes, with the number of
    /// lines left out since the last one.
    pub fn allow(&self) -> Option<u64> {
        let now = self.since.elapsed().as_secs();
        let next = self.next.load(Ordering::Relaxed);
        let later = now + self.every;
        let allowed = now >= next
            && self.next.compare_exchange(next, later, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if allowed {
            return Some(self.left_out.swap(0, Ordering::Relaxed));
        }
        self.left_out.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_left_out_is_told_with_the_next_line() {
        let limit = LogLimit::new(3_600);
        assert_eq!(limit.allow(), Some(0));
        assert_eq!([limit.allow(), limit.allow()], [None, None]);
        let always = LogLimit { every: 0, ..limit };
        always.next.store(0, Ordering::Relaxed);
        assert_eq!([always.allow(), always.allow()], [Some(2), Some(0)]);
    }
}
