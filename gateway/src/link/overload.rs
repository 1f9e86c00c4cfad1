//! When more is asked than routers do in time: this node then refuses commands at
//! the door, instead of letting them wait in a queue until their time is over.
//!
//! What waits and how fast routers answer say how long a new command would wait. If
//! that is too long, only so many are let in as are answered in time; the second half
//! of these places is for users who have nothing under way, so that whoever asks much
//! does not keep the others out. Nothing is refused while routers do not answer at
//! all: then it is not known how long it takes (a failover, most often), and what
//! waits is bounded by number and time.
//!
//! Where this node itself is slow, commands wait before that: see `turns`.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use daemon::lock::{LEAF, Lock};

use super::turns::Turns;

/// Hot requests that wait are no overload if they are fewer, however slow routers are.
const LEAST: usize = 256;
/// While the oldest request is younger, a burst is no overload.
const YOUNG: Duration = Duration::from_millis(100);
/// The speed of routers is the highest of so many ticks of the clock: in one of them
/// there may have been little to do.
const TICKS: usize = 10;

/// The most requests that may wait, where there is no overload.
const NO_OVERLOAD: usize = usize::MAX;

/// Whether this node refuses commands.
#[derive(Debug)]
pub(super) struct Overload {
    /// How long a command may wait.
    wait: Duration,
    /// Hot requests answered since the last tick.
    answered: AtomicU64,
    /// Whether a command has been refused since the last tick.
    refused: AtomicBool,
    /// Protects what the clock alone changes.
    speed: Lock<LEAF, Speed>,
    /// Hot requests that may wait at this moment.
    most: AtomicUsize,
    turns: Turns,
}

/// Where commands would wait for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bottleneck {
    /// Until a router has answered.
    Routers,
    /// Until this node's processor is free.
    Gateway,
}

impl Bottleneck {
    /// The word for metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Routers => "routers",
            Self::Gateway => "gateway",
        }
    }
}

/// How fast routers have answered.
#[derive(Debug, Default)]
struct Speed {
    /// Answers a second, in each of the last ticks.
    last: [f64; TICKS],
    next: usize,
    /// The time since the last of them: of ticks in which nothing was answered.
    silent: Duration,
    /// Ticks since something was last refused, or too much waited.
    calm: usize,
}

/// The hot requests that wait at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Backlog {
    pub(super) waiting: usize,
    /// How long the oldest has waited.
    pub(super) oldest: Duration,
}

impl Overload {
    /// None, if commands may wait for routers for so long, and the clock be so late.
    pub(super) fn new(wait: Duration, lateness: Duration) -> Self {
        Self {
            turns: Turns::new(lateness),
            wait,
            answered: AtomicU64::new(0),
            refused: AtomicBool::new(false),
            speed: Lock::default(),
            most: AtomicUsize::new(NO_OVERLOAD),
        }
    }

    /// A hot request has been answered.
    pub(super) fn answered(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// The clock's tick, so long after the one before, and so late.
    pub(super) fn tick(&self, backlog: Backlog, tick: Duration, late: Duration) {
        let answered = self.answered.swap(0, Ordering::Relaxed);
        self.turns.tick(late, answered);
        let mut speed = self.speed.lock();
        speed.silent += tick;
        if answered == 0 && backlog.waiting > 0 {
            return;
        }
        let next = speed.next;
        speed.last[next] = answered as f64 / std::mem::take(&mut speed.silent).as_secs_f64();
        speed.next = (next + 1) % TICKS;
        let fastest = speed.last.iter().copied().fold(0.0, f64::max);
        let fits = ((fastest * self.wait.as_secs_f64()) as usize).max(LEAST);
        let begins = backlog.waiting > fits && backlog.oldest > YOUNG;
        // It is over when for a while nothing had to be refused: that little waits is
        // what refusing has brought about.
        let busy = self.refused.swap(false, Ordering::Relaxed) || backlog.waiting > fits;
        speed.calm = if busy { 0 } else { speed.calm + 1 };
        let goes_on = self.routers_are_late() && speed.calm < TICKS;
        drop(speed);
        let most = if begins || goes_on { fits } else { NO_OVERLOAD };
        let before = self.most.swap(most, Ordering::Relaxed);
        if (before == NO_OVERLOAD) != (most == NO_OVERLOAD) {
            let Backlog { waiting, oldest } = backlog;
            let oldest_ms = oldest.as_millis() as u64;
            match most {
                NO_OVERLOAD => tracing::info!(waiting, "the overload is over"),
                most => tracing::warn!(
                    waiting,
                    most,
                    oldest_ms,
                    "more is asked than routers do in time: commands are refused"
                ),
            }
        }
    }

    /// Forgets how fast routers were: nothing has been asked for a while.
    pub(super) fn rest(&self) {
        *self.speed.lock() = Speed::default();
        self.most.store(NO_OVERLOAD, Ordering::Relaxed);
        self.turns.rest();
    }

    /// Whether commands may be refused.
    pub(super) fn is_on(&self) -> bool {
        self.routers_are_late() || self.turns.is_limited()
    }

    fn routers_are_late(&self) -> bool {
        self.most.load(Ordering::Relaxed) != NO_OVERLOAD
    }

    /// Whether one more command is refused, of a user who has so many requests under
    /// way, while so many hot ones wait; and where it would wait.
    pub(super) fn refuses(&self, waiting: usize, own: usize) -> Option<Bottleneck> {
        let most = self.most.load(Ordering::Relaxed);
        if waiting >= most || own > 0 && waiting >= most / 2 {
            self.refused.store(true, Ordering::Relaxed);
            return Some(Bottleneck::Routers);
        }
        self.turns.refuses(own).then_some(Bottleneck::Gateway)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(100);
    const WAIT: Duration = Duration::from_millis(500);

    /// Whether one more command of a user with so many under way is refused.
    fn refuses(overload: &Overload, waiting: usize, own: usize) -> bool {
        overload.refuses(waiting, own).is_some()
    }

    /// Routers that answer `answered` in a tick, with `waiting` left.
    fn tick(overload: &Overload, answered: u64, waiting: usize, oldest_ms: u64) {
        overload.answered.store(answered, Ordering::Relaxed);
        overload.tick(Backlog { waiting, oldest: Duration::from_millis(oldest_ms) }, TICK, Duration::ZERO);
    }

    #[test]
    fn what_is_answered_in_time_is_never_refused() {
        let overload = Overload::new(WAIT, TICK);
        // Many at once, and each answered within the time.
        tick(&overload, 1_000, 4_900, 400);
        assert!(!overload.is_on() && !refuses(&overload, 1_000_000, 9));
        // More than that, but all of this moment.
        tick(&overload, 1_000, 50_000, 90);
        assert!(!overload.is_on());
        // Few, however slow.
        tick(&overload, 1, 256, 7_000);
        assert!(!overload.is_on());
    }

    #[test]
    fn what_would_wait_too_long_is_refused_and_half_of_the_places_are_for_others() {
        let overload = Overload::new(WAIT, TICK);
        tick(&overload, 1_000, 9_000, 150);
        assert!(overload.is_on());
        // 10,000 a second for half a second.
        assert!(refuses(&overload, 5_000, 0) && refuses(&overload, 2_500, 1));
        assert!(!refuses(&overload, 4_999, 0) && !refuses(&overload, 2_499, 7));
        // It goes on for as long as something is refused, and a second longer.
        tick(&overload, 1_000, 100, 30);
        assert!(refuses(&overload, 5_000, 0));
        (0..TICKS).for_each(|_| tick(&overload, 1_000, 100, 30));
        assert!(overload.is_on());
        tick(&overload, 1_000, 100, 30);
        assert!(!overload.is_on());
    }

    #[test]
    fn while_nothing_is_answered_nothing_changes() {
        let overload = Overload::new(WAIT, TICK);
        tick(&overload, 1_000, 100, 10);
        (0..50).for_each(|_| tick(&overload, 0, 90_000, 5_000));
        assert!(!overload.is_on(), "a failover is no overload");
        tick(&overload, 1_000, 89_000, 5_000);
        assert!(overload.is_on(), "what it has left behind is");
        overload.rest();
        assert!(!overload.is_on());
    }

    #[test]
    fn routers_are_as_fast_as_in_their_best_moment_of_late() {
        let overload = Overload::new(WAIT, TICK);
        tick(&overload, 2_000, 0, 0);
        (0..TICKS - 1).for_each(|_| tick(&overload, 100, 8_000, 200));
        assert!(!overload.is_on());
        tick(&overload, 100, 8_000, 200);
        assert!(overload.is_on(), "that moment is a second ago");
    }

    #[test]
    fn while_the_clock_is_late_this_node_is_the_bottleneck() {
        let overload = Overload::new(WAIT, TICK);
        for _ in 0..3 {
            overload.answered.store(1_000, Ordering::Relaxed);
            overload.tick(Backlog { waiting: 10, oldest: TICK }, TICK * 3, TICK * 2);
        }
        assert!(overload.is_on());
        let refused: Vec<_> = (0..1_000).filter_map(|_| overload.refuses(10, 0)).collect();
        assert_eq!(refused, [Bottleneck::Gateway; 300]);
        assert_eq!(overload.refuses(100_000, 0), Some(Bottleneck::Gateway), "routers are not late");
    }
}
