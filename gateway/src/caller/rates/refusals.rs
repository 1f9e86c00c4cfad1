//! What one connection was refused. Commands that were sent behind a refused
//! one are refused, too, until the wait is over: otherwise they would overtake
//! it, since units come back meanwhile.

use std::time::Duration;

use tokio::time::Instant;

use proto::Class;

/// The classes with a refusal, and until when it lasts.
#[derive(Debug, Default)]
pub struct Refusals(Vec<(Class, Instant)>);

impl Refusals {
    /// How long commands of this class are still refused; `None`: they are not.
    pub fn wait(&mut self, class: Class, now: Instant) -> Option<Duration> {
        self.0.retain(|(_, until)| *until > now);
        self.0.iter().find(|(refused, _)| *refused == class).map(|(_, until)| *until - now)
    }

    /// Notes that a command of this class was refused for this long.
    pub fn note(&mut self, class: Class, wait: Duration, now: Instant) {
        self.0.retain(|(refused, _)| *refused != class);
        self.0.push((class, now + wait));
    }
}
