//! What one connection was refused. Commands that were sent behind a refused
//! one are refused, too, until the wait is over: otherwise they would overtake
//! it, since units come back meanwhile.

use std::time::Duration;

use tokio::time::Instant;

use proto::Class;

use crate::link::Bottleneck;

/// Why a command was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Its user did too much of its class.
    Rate,
    /// It would wait for too long there, whoever asks.
    Overload(Bottleneck),
}

/// The classes with a refusal, until when it lasts, and why.
#[derive(Debug, Default)]
pub struct Refusals(Vec<(Class, Instant, Why)>);

impl Refusals {
    /// How long commands of this class are still refused, and why; `None`: they are
    /// not.
    pub fn wait(&mut self, class: Class, now: Instant) -> Option<(Duration, Why)> {
        self.0.retain(|(_, until, _)| *until > now);
        self.0.iter().find(|(refused, ..)| *refused == class).map(|(_, until, why)| (*until - now, *why))
    }

    /// Notes that a command of this class was refused for this long.
    pub fn note(&mut self, class: Class, wait: Duration, why: Why, now: Instant) {
        self.0.retain(|(refused, ..)| *refused != class);
        self.0.push((class, now + wait, why));
    }
}
