//! Pauses between tries of something that fails: each about twice as long as
//! the last, up to a longest one, and never quite the same in two processes.

use std::time::Duration;

/// The next pause, and how it grows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    /// What the next pause is at most.
    next: Duration,
    /// What it is at least, as a part of that.
    least: f64,
}

impl Backoff {
    /// For what is away: a pause is at random between half of what it has grown
    /// to and the whole, so that those who failed together do not come back
    /// together.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first, least: 0.5 }
    }

    /// For a race that was lost: a pause is at random between nothing and what
    /// it has grown to, so that those who race part as soon as they can.
    pub const fn from_zero(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first, least: 0.0 }
    }

    /// How long to wait now, after one more failure.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next.min(self.longest);
        self.next = (pause * 2).min(self.longest);
        pause.mul_f64(rand::random_range(self.least..=1.0))
    }

    /// It went well: the next pause is a first one again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_millis(700);

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::new(FIRST, LONGEST);
        for whole in [100, 200, 400, 700, 700].map(Duration::from_millis) {
            let pause = backoff.pause();
            assert!(pause >= whole / 2 && pause <= whole, "{pause:?} of {whole:?}");
        }
        backoff.reset();
        assert!(backoff.pause() <= FIRST);
    }

    #[test]
    fn two_who_failed_together_do_not_come_back_together() {
        let (mut one, mut other) = (Backoff::new(FIRST, LONGEST), Backoff::new(FIRST, LONGEST));
        assert!((0..20).any(|_| one.pause() != other.pause()));
        let mut racing = Backoff::from_zero(FIRST, LONGEST);
        assert!((0..200).any(|_| racing.pause() < FIRST / 2));
    }

    #[test]
    fn a_first_pause_beyond_the_longest_is_cut() {
        assert!(Backoff::new(LONGEST * 9, LONGEST).pause() <= LONGEST);
        assert_eq!(Backoff::new(Duration::ZERO, LONGEST).pause(), Duration::ZERO);
    }
}
