//! One connection that asks, whatever it is told: it waits for no `retry_after_ms`,
//! and connects anew when it is thrown out.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::client::{Account, Client, Transport};

/// For answers after the last command.
const PATIENCE: Duration = Duration::from_secs(12);
/// Before it connects again.
const PAUSE: Duration = Duration::from_secs(1);

/// How fast somebody asks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// One command in each such time, whatever is unanswered.
    Every(Duration),
    /// As fast as it is answered, with so many under way.
    AtOnce(usize),
}

/// Whoever asks.
pub(super) struct Caller {
    pub(super) account: Account,
    /// What is asked; each time with another body.
    pub(super) command: Value,
    pub(super) pace: Pace,
    /// When the last is asked.
    pub(super) end: Instant,
}

/// What became of commands: when each was asked, and how long its answer took.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    pub(super) sent: Vec<(Instant, Duration)>,
    pub(super) refused: Vec<(Instant, Duration)>,
    /// Of those `unavailable`.
    pub(super) unavailable: usize,
    /// Without an answer.
    pub(super) lost: Vec<Instant>,
    /// Connections that the server ended, or did not take.
    pub(super) ended: usize,
}

impl Outcomes {
    pub(super) fn add(&mut self, other: Self) {
        self.sent.extend(other.sent);
        self.refused.extend(other.refused);
        self.unavailable += other.unavailable;
        self.lost.extend(other.lost);
        self.ended += other.ended;
    }

    /// Without what was asked later.
    pub(super) fn before(mut self, end: Instant) -> Self {
        self.sent.retain(|(at, _)| *at < end);
        self.refused.retain(|(at, _)| *at < end);
        self.lost.retain(|at| *at < end);
        self
    }
}

impl Caller {
    /// Asks until its end.
    pub(super) async fn run(self) -> Outcomes {
        let mut asked = Outcomes::default();
        // Not all in the same moment.
        let mut next = Instant::now();
        if let Pace::Every(every) = self.pace {
            next += every.mul_f64(rand::random::<f64>());
        }
        while Instant::now() < self.end {
            let mut under_way = HashMap::new();
            let stayed = match Client::connect(Transport::WebSocket, &self.account).await {
                Ok(mut client) => self.ask(&mut client, &mut next, &mut under_way, &mut asked).await,
                Err(_) => None,
            };
            asked.lost.extend(under_way.into_values());
            if stayed.is_none() {
                asked.ended += 1;
                tokio::time::sleep(PAUSE).await;
            }
        }
        asked
    }

    /// Over one connection. `None`: it was ended.
    async fn ask(
        &self,
        client: &mut Client,
        next: &mut Instant,
        under_way: &mut HashMap<u64, Instant>,
        asked: &mut Outcomes,
    ) -> Option<()> {
        while Instant::now() < self.end {
            let may = match self.pace {
                Pace::Every(_) => true,
                Pace::AtOnce(most) => under_way.len() < most,
            };
            tokio::select! {
                biased;
                () = sleep_until(self.end) => break,
                // Otherwise its own sending would delay what it hears.
                frame = client.next_frame() => hear(&frame.ok()?, under_way, asked),
                () = sleep_until(*next), if may => {
                    let at = Instant::now();
                    *next = match self.pace {
                        Pace::Every(every) => *next + every,
                        Pace::AtOnce(_) => at,
                    };
                    let mut command = self.command.clone();
                    command["body"] = json!("x".repeat(128));
                    under_way.insert(client.start(command).await.ok()?, at);
                }
            }
        }
        let until = Instant::now() + PATIENCE;
        while !under_way.is_empty() {
            let Ok(frame) = timeout_at(until, client.next_frame()).await else { break };
            hear(&frame.ok()?, under_way, asked);
        }
        Some(())
    }
}

fn hear(frame: &crate::client::Frame, under_way: &mut HashMap<u64, Instant>, asked: &mut Outcomes) {
    let Some(at) = frame.answers().and_then(|answered| under_way.remove(&answered)) else { return };
    let answer = (at, at.elapsed());
    if frame.kind() == "error" {
        asked.unavailable += usize::from(frame.text("code") == Some("unavailable"));
        asked.refused.push(answer);
    } else {
        asked.sent.push(answer);
    }
}
