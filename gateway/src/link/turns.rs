//! When this node's own processor is the bottleneck. Its clock is a task like any
//! other: how late it gets its turn is how long a command waits for its own, before
//! anybody has looked at it.
//!
//! If the clock is late several times in a row, at most so many commands are let in
//! from one tick to the next, and fewer whenever it stays late; the second half of them
//! are for users who have nothing under way. Once it is in time again it is a tenth
//! more at each tick. A node that stood still once is not late in a row.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use daemon::lock::{LEAF, Lock};

/// As many ticks in a row must be late.
const IN_A_ROW: usize = 3;
/// The tenths of what was done lately that are let in next.
const TENTHS: usize = 7;
/// Commands in a tick that are let in however late the clock is.
const LEAST: usize = 256;
/// Without refusing anything it is over after so many ticks.
const CALM: usize = 10;

/// What is let in, where there is no limit.
const ALL: usize = usize::MAX;

/// How many commands this node lets in.
#[derive(Debug)]
pub(super) struct Turns {
    /// How late the clock may be.
    lateness: Duration,
    /// Commands that may be let in until the next tick.
    allowed: AtomicUsize,
    /// Commands that were let in since the last one, where there is a limit.
    let_in: AtomicUsize,
    /// Whether one was refused since.
    refused: AtomicBool,
    /// Protects what the clock alone changes.
    lately: Lock<LEAF, Lately>,
}

/// The last ticks.
#[derive(Debug, Default)]
struct Lately {
    /// So many were late in a row, since less was let in.
    late: usize,
    /// So many were in time, and nothing was refused.
    calm: usize,
}

impl Turns {
    /// Without a limit, as long as the clock is no later than this.
    pub(super) fn new(lateness: Duration) -> Self {
        Self {
            lateness,
            allowed: AtomicUsize::new(ALL),
            let_in: AtomicUsize::new(0),
            refused: AtomicBool::new(false),
            lately: Lock::default(),
        }
    }

    /// The clock's tick, which came so late. Since the last one so many commands were
    /// answered.
    pub(super) fn tick(&self, late: Duration, answered: u64) {
        let (before, refused) =
            (self.allowed.load(Ordering::Relaxed), self.refused.swap(false, Ordering::Relaxed));
        let let_in = self.let_in.swap(0, Ordering::Relaxed);
        let mut lately = self.lately.lock();
        let is_late = late > self.lateness;
        lately.late = if is_late { lately.late + 1 } else { 0 };
        lately.calm = if is_late || refused { 0 } else { lately.calm + 1 };
        let allowed = if lately.late >= IN_A_ROW {
            lately.late = 0;
            let done = if before == ALL { answered as usize } else { let_in };
            (done * TENTHS / 10).max(LEAST)
        } else if before == ALL || lately.calm >= CALM {
            ALL
        } else if is_late {
            before
        } else {
            before + before / 10
        };
        drop(lately);
        self.allowed.store(allowed, Ordering::Relaxed);
        if (before == ALL) != (allowed == ALL) {
            match allowed {
                ALL => tracing::info!("this node's processor keeps up again"),
                allowed => tracing::warn!(
                    late_ms = late.as_millis() as u64,
                    allowed,
                    "this node's processor does not keep up: commands are refused"
                ),
            }
        }
    }

    /// Forgets the last ticks: nothing has been asked for a while.
    pub(super) fn rest(&self) {
        *self.lately.lock() = Lately::default();
        self.allowed.store(ALL, Ordering::Relaxed);
    }

    /// Whether commands may be refused.
    pub(super) fn is_limited(&self) -> bool {
        self.allowed.load(Ordering::Relaxed) != ALL
    }

    /// Whether one more command is refused, of a user who has so many requests under way.
    pub(super) fn refuses(&self, own: usize) -> bool {
        let allowed = self.allowed.load(Ordering::Relaxed);
        if allowed == ALL {
            return false;
        }
        let places = if own > 0 { allowed / 2 } else { allowed };
        let counted = self.let_in.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |let_in| {
            (let_in < places).then_some(let_in + 1)
        });
        if counted.is_err() {
            self.refused.store(true, Ordering::Relaxed);
        }
        counted.is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(10);
    const LATE: Duration = Duration::from_millis(11);

    /// How many of so many commands are let in.
    fn let_in(turns: &Turns, commands: usize, own: usize) -> usize {
        (0..commands).filter(|_| !turns.refuses(own)).count()
    }

    fn ticks(turns: &Turns, count: usize, late: Duration) {
        (0..count).for_each(|_| turns.tick(late, 1_000));
    }

    #[test]
    fn a_clock_that_is_late_in_a_row_lets_in_less_than_was_done() {
        let turns = Turns::new(LIMIT);
        ticks(&turns, IN_A_ROW - 1, LATE);
        assert_eq!((let_in(&turns, 5_000, 1), turns.is_limited()), (5_000, false));
        ticks(&turns, 1, LATE);
        // The second half is for whoever has nothing under way.
        assert_eq!((let_in(&turns, 5_000, 1), let_in(&turns, 5_000, 0)), (350, 350));
        // Less again, once it has stayed late.
        ticks(&turns, IN_A_ROW - 1, LATE);
        assert_eq!(let_in(&turns, 5_000, 0), 700);
        ticks(&turns, 1, LATE);
        assert_eq!(let_in(&turns, 5_000, 0), 490);
    }

    #[test]
    fn a_clock_in_time_lets_in_more_until_nothing_is_refused() {
        let turns = Turns::new(LIMIT);
        ticks(&turns, IN_A_ROW, LATE);
        let_in(&turns, 5_000, 0);
        ticks(&turns, 1, LIMIT);
        assert_eq!(let_in(&turns, 5_000, 0), 770);
        ticks(&turns, 1, LIMIT);
        assert_eq!(let_in(&turns, 800, 0), 800);
        ticks(&turns, CALM - 1, LIMIT);
        assert!(turns.is_limited());
        ticks(&turns, 1, LIMIT);
        assert_eq!((let_in(&turns, 5_000, 9), turns.is_limited()), (5_000, false));
    }

    #[test]
    fn who_stood_still_once_or_does_little_refuses_nothing() {
        let turns = Turns::new(LIMIT);
        for _ in 0..10 {
            turns.tick(Duration::from_secs(60), 100_000);
            ticks(&turns, 1, Duration::ZERO);
        }
        assert!(!turns.is_limited());
        (0..IN_A_ROW).for_each(|_| turns.tick(LATE, 3));
        assert_eq!(let_in(&turns, LEAST, 0), LEAST);
    }
}
