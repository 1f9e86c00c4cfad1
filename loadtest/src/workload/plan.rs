//! Who a user is, to whom it writes and when, and its habits: what a scenario
//! gives to each `Person`.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::Value;
use tokio::time::Instant;

use super::Seat;

/// Who somebody is and what they do.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) name: String,
    /// Its number: `user17` is 17.
    pub(super) user: usize,
    pub(super) seat: Seat,
    pub(super) writes: Option<Writes>,
    pub(super) habits: Habits,
}

/// To whom somebody writes, and when.
#[derive(Debug, Clone)]
pub(super) struct Writes {
    pub(super) first: Instant,
    pub(super) every: Duration,
    pub(super) usual: Vec<Target>,
    /// Chosen this often instead, from 0 to 1.
    pub(super) other_share: f64,
    pub(super) other: Vec<Target>,
    pub(super) bodies: Bodies,
}

/// Where a message goes.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// A `send` or `publish` without body and id.
    pub(super) command: Value,
    /// The log that it will be in.
    pub(super) log: String,
    /// One reader, who says when it is there.
    pub(super) has_reader: bool,
}

/// Sizes of bodies in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bodies {
    Fixed(usize),
    /// 70 % 256, 25 % 1,024, 4 % 4,096, 1 % 16,384.
    Day,
}

/// What somebody does beside writing and reading.
#[derive(Debug, Clone, Default)]
pub(super) struct Habits {
    /// Acknowledges its cursor once a second.
    pub(super) acknowledges: bool,
    /// Marks the last conversation as read once a second.
    pub(super) reads: bool,
    /// How often `typing` goes before a message, from 0 to 1.
    pub(super) types: f64,
    /// Drops its connection and returns with its cursor this often.
    pub(super) reconnects: Option<Duration>,
    /// Meanwhile sends what is not answered over HTTP, too, and returns now
    /// before and now after the old connection is closed.
    pub(super) insists: bool,
    /// Rests this long after each frame, until the measured time is over. Its
    /// latencies are its own fault and are not counted.
    pub(super) rests: Option<Duration>,
}

impl Plan {
    pub(super) fn new(name: String, user: usize) -> Self {
        Self { name, user, seat: Seat::default(), writes: None, habits: Habits::default() }
    }
}

impl Bodies {
    pub(super) fn bytes(self, random: &mut StdRng) -> usize {
        match self {
            Self::Fixed(bytes) => bytes,
            Self::Day => match random.random_range(0..100) {
                0..70 => 256,
                70..95 => 1024,
                95..99 => 4096,
                _ => 16 * 1024,
            },
        }
    }
}
