//! The server sends each client a `ping` and expects a `pong` in time. There is no
//! timer here: the task that serves the client asks.

use std::time::Duration;

use tokio::time::Instant;

/// The heartbeat of one client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heartbeat {
    interval: Duration,
    timeout: Duration,
    /// When the next `ping` is due, or was due. Whether it could be sent does not
    /// matter: a client that does not poll for it is lost as well.
    due: Instant,
    asked: bool,
}

impl Heartbeat {
    /// The heartbeat of a new client.
    pub(super) fn new(interval: Duration, timeout: Duration) -> Self {
        Self { interval, timeout, due: Instant::now() + interval, asked: false }
    }

    /// Whether a `ping` is to be sent now. True once for each `ping`.
    pub(super) fn asks(&mut self, now: Instant) -> bool {
        let asks = !self.asked && now >= self.due;
        self.asked |= asks;
        asks
    }

    /// Notes a `pong`. One without a `ping` before it changes nothing.
    pub(super) fn answered(&mut self, now: Instant) {
        if self.asked {
            (self.due, self.asked) = (now + self.interval, false);
        }
    }

    /// Whether the time for the `pong` is over.
    pub(super) fn is_lost(&self, now: Instant) -> bool {
        now >= self.due + self.timeout
    }

    /// When the next `ping` is due, if the client answers the last one.
    pub(super) fn asks_next(&self) -> Instant {
        if self.asked { self.due + self.interval } else { self.due }
    }

    /// When the task has to ask again.
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
        // The `ping` goes out late, as there was no poll before. The time for the
        // `pong` runs all the same.
        let late = begun + interval + Duration::from_secs(1);
        assert!(heartbeat.asks(late) && !heartbeat.asks(late));
        assert!(!heartbeat.is_lost(late) && heartbeat.is_lost(begun + interval + timeout));
        heartbeat.answered(late);
        assert!(heartbeat.next() == late + interval && !heartbeat.is_lost(late + interval));
        assert!(heartbeat.is_lost(late + interval + timeout), "never asked, for it never came");
    }
}
