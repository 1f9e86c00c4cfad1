//! What one connection has been refused: what it had under way behind that is
//! refused, too, until it may go on. Otherwise a queue that is flushed would
//! lose its order, for units come back while it is read.

use std::time::Duration;

use tokio::time::Instant;

use proto::Class;

/// The classes of which something was refused, and until when.
#[derive(Debug, Default)]
pub struct Refusals(Vec<(Class, Instant)>);

impl Refusals {
    /// How long nothing more of this class is taken.
    pub fn wait(&mut self, class: Class, now: Instant) -> Option<Duration> {
        self.0.retain(|(_, until)| *until > now);
        self.0.iter().find(|(refused, _)| *refused == class).map(|(_, until)| *until - now)
    }

    /// Something of this class was refused for so long.
    pub fn note(&mut self, class: Class, wait: Duration, now: Instant) {
        self.0.retain(|(refused, _)| *refused != class);
        self.0.push((class, now + wait));
    }
}
