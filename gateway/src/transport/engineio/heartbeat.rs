//! The server asks each client for a sign of life (`ping`) and expects an answer
//! (`pong`) in time. No timer of its own: whoever carries the client looks.

use std::time::Duration;

use tokio::time::Instant;

/// One client's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heartbeat {
    interval: Duration,
    timeout: Duration,
    /// When the client is asked next, or was to be asked. Whether it could be does
    /// not matter: one that does not come to hear it is lost as well.
    due: Instant,
    asked: bool,
}

impl Heartbeat {
    /// Of a client that has just come.
    pub(super) fn new(interval: Duration, timeout: Duration) -> Self {
        Self { interval, timeout, due: Instant::now() + interval, asked: false }
    }

    /// Whether it is to be asked now; says so once.
    pub(super) fn asks(&mut self, now: Instant) -> bool {
        let asks = !self.asked && now >= self.due;
        self.asked |= asks;
        asks
    }

    /// It has answered. Without a question that means nothing.
    pub(super) fn answered(&mut self, now: Instant) {
        if self.asked {
            (self.due, self.asked) = (now + self.interval, false);
        }
    }

    /// Its time to answer is over.
    pub(super) fn is_lost(&self, now: Instant) -> bool {
        now >= self.due + self.timeout
    }

    /// When it is asked next, if it answers what it was asked.
    pub(super) fn asks_next(&self) -> Instant {
        if self.asked { self.due + self.interval } else { self.due }
    }

    /// When to look next.
    pub(super) fn next(&self) -> Instant {
        if self.asked { self.due + self.timeout } else { self.due }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_is_asked_answers_in_time_or_is_lost() {
        let (interval, timeout) = (Duration::from_secs(3), Duration::from_secs(2));
        let begun = Instant::now();
        let mut heartbeat = Heartbeat::new(interval, timeout);
        assert!(!heartbeat.asks(begun) && heartbeat.next() == begun + interval);
        heartbeat.answered(begun + interval);
        assert_eq!(heartbeat.next(), begun + interval, "an answer to nothing");
        // Late, for it has not come before: its time runs all the same.
        let late = begun + interval + Duration::from_secs(1);
        assert!(heartbeat.asks(late) && !heartbeat.asks(late));
        assert!(!heartbeat.is_lost(late) && heartbeat.is_lost(begun + interval + timeout));
        heartbeat.answered(late);
        assert!(heartbeat.next() == late + interval && !heartbeat.is_lost(late + interval));
        assert!(heartbeat.is_lost(late + interval + timeout), "never asked, for it never came");
    }
}
