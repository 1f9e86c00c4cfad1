//! Log lines that others could cause without end, said once in a while.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Says yes once in a while: for lines that others could cause without end.
#[derive(Debug)]
pub struct Seldom {
    since: Instant,
    /// Seconds from one yes to the next.
    every: u64,
    /// Seconds after `since` from which the answer is yes again.
    next: AtomicU64,
    /// How often it was no since the last yes.
    unsaid: AtomicU64,
}

impl Seldom {
    /// Yes at once, and then once in so many seconds.
    pub fn new(every: u64) -> Self {
        Self { since: Instant::now(), every, next: AtomicU64::new(0), unsaid: AtomicU64::new(0) }
    }

    /// Whether to say it now: how often it was left unsaid since the last time.
    pub fn again(&self) -> Option<u64> {
        let now = self.since.elapsed().as_secs();
        let next = self.next.load(Ordering::Relaxed);
        let later = now + self.every;
        let yes = now >= next
            && self.next.compare_exchange(next, later, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if yes {
            return Some(self.unsaid.swap(0, Ordering::Relaxed));
        }
        self.unsaid.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_unsaid_is_told_with_the_next_line() {
        let seldom = Seldom::new(3_600);
        assert_eq!(seldom.again(), Some(0));
        assert_eq!([seldom.again(), seldom.again()], [None, None]);
        let always = Seldom { every: 0, ..seldom };
        always.next.store(0, Ordering::Relaxed);
        assert_eq!([always.again(), always.again()], [Some(2), Some(0)]);
    }
}
