//! What all users of a run share: the clock, the history, and what is counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::record::Recorder;
use super::{Servers, Settings};
use crate::client::Frame;
use crate::history::History;

/// Timers fire up to this much late by their own grain (tokio's is a
/// millisecond). Anything later is the system's, and counts from the schedule.
const GRAIN: Duration = Duration::from_millis(2);

/// Refusals kept in words.
const KEPT_REFUSALS: usize = 5;

/// Of one run.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) servers: Servers,
    pub(super) settings: Settings,
    pub(super) history: Arc<History>,
    /// Times in bodies count from here.
    pub(super) start: Instant,
    /// What was meant to be sent from here on, and before `measure_to`, counts.
    pub(super) measure_from: Instant,
    pub(super) measure_to: Instant,
    pub(super) recorder: Recorder,
    /// Since the start.
    pub(super) sent: AtomicU64,
    /// Copies in the measured time.
    pub(super) delivered: AtomicU64,
    /// Copies since the start.
    pub(super) received: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) reconnects: AtomicU64,
    refusals: Mutex<Vec<String>>,
    /// By user: a message of theirs has reached its reader.
    turns: Vec<Notify>,
    padding: String,
    /// Tells this run's messages from any other's.
    run: u64,
    /// Reading ends with this.
    pub(super) stop: CancellationToken,
}

/// A message that is to be sent: (sender, number, time) and what fills it up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Letter<'a> {
    pub(super) sender: &'a str,
    /// From 1 on.
    pub(super) number: u64,
    /// From when its latency counts.
    pub(super) time: Instant,
    pub(super) bytes: usize,
}

impl Tally {
    /// The clock starts a moment from now, in which the users are made.
    pub(super) fn new(servers: &Servers, settings: &Settings, history: Arc<History>, people: usize) -> Self {
        let moment =
            Duration::from_millis(300) + Duration::from_micros(50) * u32::try_from(people).unwrap_or(0);
        let start = Instant::now() + moment;
        let measure_from = start + settings.warmup;
        Self {
            servers: servers.clone(),
            settings: settings.clone(),
            history,
            start,
            measure_from,
            measure_to: measure_from + settings.duration,
            recorder: Recorder::new(),
            sent: 0.into(),
            delivered: 0.into(),
            received: 0.into(),
            refused: 0.into(),
            reconnects: 0.into(),
            refusals: Mutex::default(),
            turns: (0..people).map(|_| Notify::new()).collect(),
            padding: "x".repeat(16 * 1024),
            run: rand::random(),
            stop: CancellationToken::new(),
        }
    }

    /// From when the latency of a message counts that was due at `due`.
    pub(super) fn counts_from(&self, due: Instant) -> Instant {
        let now = Instant::now();
        if now.saturating_duration_since(due) <= GRAIN { now } else { due }
    }

    pub(super) fn is_measured(&self, time: Instant) -> bool {
        time >= self.measure_from && time < self.measure_to
    }

    pub(super) fn body(&self, letter: Letter<'_>) -> Value {
        let micros = letter.time.saturating_duration_since(self.start).as_micros();
        let micros = u64::try_from(micros).unwrap_or(u64::MAX);
        // Its fields without what they hold: {"f":"","n":,"p":"","t":}
        let digits = |number: u64| number.checked_ilog10().unwrap_or(0) as usize + 1;
        let bare = 25 + letter.sender.len() + digits(letter.number) + digits(micros);
        let padding = letter.bytes.saturating_sub(bare).min(self.padding.len());
        json!({"f": letter.sender, "n": letter.number, "t": micros, "p": self.padding[..padding]})
    }

    /// The `client_msg_id` of a message. No other run's: a cluster that was
    /// loaded before still knows those.
    pub(super) fn id(&self, sender: &str, number: u64) -> String {
        format!("{sender}-{number}-{:x}", self.run)
    }

    /// The same from the message's body.
    pub(super) fn id_of(&self, body: &Value) -> Option<String> {
        Some(self.id(body["f"].as_str()?, body["n"].as_u64()?))
    }

    /// A copy reached this user, from whoever its body says.
    pub(super) fn arrived(&self, frame: &Frame, user: usize, times: bool) {
        self.received.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        if self.is_measured(now) {
            self.delivered.fetch_add(1, Ordering::Relaxed);
        }
        let Some(micros) = frame.0["body"]["t"].as_u64().filter(|_| times) else { return };
        let time = self.start + Duration::from_micros(micros);
        self.recorder.arrived(user, now.saturating_duration_since(time), self.is_measured(time));
    }

    /// This user's message has reached its reader.
    pub(super) fn turn(&self, user: usize) {
        if let Some(turn) = self.turns.get(user) {
            turn.notify_one();
        }
    }

    /// Waits for [`turn`](Self::turn).
    pub(super) async fn my_turn(&self, user: usize) {
        self.turns[user].notified().await;
    }

    pub(super) fn refuse(&self, frame: &Frame, command: &str) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let mut refusals = self.refusals.lock().expect("no holder panics");
        if refusals.len() < KEPT_REFUSALS {
            let (code, message) = (frame.text("code").unwrap_or_default(), frame.text("message"));
            refusals.push(format!("{command}: {code}: {}", message.unwrap_or_default()));
        }
    }

    pub(super) fn refusals(&self) -> Vec<String> {
        self.refusals.lock().expect("no holder panics").clone()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, Mix};
    use super::*;
    use crate::client::Transport;
    use crate::token::Issuer;

    fn tally() -> Tally {
        let servers = Servers {
            kind: Kind::Relay,
            gateways: vec!["http://127.0.0.1:1".to_owned()],
            issuer: Issuer::new("a secret that nobody needs to know here"),
            processes: Vec::new(),
            redis_port: None,
        };
        let settings = Settings {
            users: 2,
            rate: 1.0,
            closed: false,
            duration: Duration::from_secs(1),
            warmup: Duration::ZERO,
            body: 128,
            transports: Mix::only(Transport::WebSocket),
            seed: 1,
            members: 2,
            publishers: 1,
            backlog: 1,
        };
        Tally::new(&servers, &settings, History::bounded(), 2)
    }

    #[tokio::test]
    async fn a_body_has_the_size_that_was_asked_for_and_says_whose_it_is() {
        let tally = tally();
        for (number, bytes) in [(1, 128), (10, 256), (12_345, 16 * 1024)] {
            let time = tally.start + Duration::from_millis(1234);
            let body = tally.body(Letter { sender: "user17", number, time, bytes });
            assert_eq!(body.to_string().len(), bytes);
            assert_eq!(tally.id_of(&body), Some(tally.id("user17", number)));
        }
    }

    #[tokio::test]
    async fn lateness_within_the_grain_of_timers_is_not_the_servers() {
        let tally = tally();
        let now = Instant::now();
        assert!(tally.counts_from(now) >= now);
        let long_ago = now.checked_sub(Duration::from_millis(50)).unwrap();
        assert_eq!(tally.counts_from(long_ago), long_ago);
    }
}
