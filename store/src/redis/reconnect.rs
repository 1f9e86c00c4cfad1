//! How long to wait before a connection of our own is made again.

use std::time::Duration;

use tokio::time::Instant;

/// A connection that lasted this long was well: the next one is made at once.
const WELL: Duration = Duration::from_secs(2);
/// The first wait after one that was not.
const FIRST: Duration = Duration::from_millis(50);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(2);

/// The waits between the connections to one server.
pub(super) struct Reconnect {
    wait: Duration,
    begun: Instant,
}

impl Reconnect {
    /// Before the first connection.
    pub(super) fn new() -> Self {
        Self { wait: Duration::ZERO, begun: Instant::now() }
    }

    /// A connection is made now.
    pub(super) fn begin(&mut self) {
        self.begun = Instant::now();
    }

    /// It has ended, or could not be made. Returns how long to wait before the next
    /// one, with some jitter.
    pub(super) fn wait(&mut self) -> Duration {
        self.wait = match self.begun.elapsed() < WELL {
            true => (self.wait * 2).clamp(FIRST, LONGEST),
            false => Duration::ZERO,
        };
        self.wait.mul_f64(rand::random_range(0.5..1.0))
    }

    /// The next one is to another server: what went wrong before says nothing of it.
    pub(super) fn forget(&mut self) {
        self.wait = Duration::ZERO;
    }
}
