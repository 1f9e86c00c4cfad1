//! One user of a load test: writes on a schedule that does not wait for
//! answers, reads, and acknowledges its cursor once a second.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::client::{Client, Frame, Result};
use crate::history::{DeviceLog, History};

const ACKNOWLEDGE: Duration = Duration::from_secs(1);

/// What all users of a run share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) history: std::sync::Arc<History>,
    /// Times in bodies count from here.
    pub(super) start: Instant,
    /// What was meant to be sent from here on, and before `measure_to`, counts.
    pub(super) measure_from: Instant,
    pub(super) measure_to: Instant,
    pub(super) body: usize,
    /// Microseconds. A short lock around one addition.
    pub(super) latency: Mutex<Histogram<u64>>,
    pub(super) delivered: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) refused: AtomicUsize,
    /// The first ones.
    pub(super) refusals: Mutex<Vec<String>>,
    /// Reading ends with this.
    pub(super) stop: CancellationToken,
}

/// Who writes to whom and when.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) name: String,
    pub(super) peer: String,
    pub(super) conversation: String,
    pub(super) first: Instant,
    pub(super) every: Duration,
}

/// Runs until `stop`; an error is the end of the connection.
pub(super) async fn run(mut client: Client, mut log: DeviceLog, plan: Plan, shared: &Shared) -> Result<()> {
    log.began(client.cursor());
    let mut next = plan.first;
    let mut count: u64 = 0;
    let mut acknowledged = client.cursor().to_owned();
    let mut acknowledgements: HashMap<u64, ()> = HashMap::new();
    let mut clock = interval_at(plan.first + ACKNOWLEDGE, ACKNOWLEDGE);
    clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return Ok(()),
            frame = client.next_frame() => {
                let frame = frame?;
                let answers_ack = frame.answers().is_some_and(|id| acknowledgements.remove(&id).is_some());
                if frame.kind() == "error" {
                    shared.refuse(&frame, if answers_ack { "ack" } else { "send" });
                }
                shared.arrived(&frame, &plan.name);
                log.frame(&frame);
            }
            () = sleep_until(next), if next < shared.measure_to => {
                let id = format!("{}-{count}", plan.name);
                let body = shared.body(next);
                shared.history.sending(&plan.conversation, &id);
                // On its way before its answer can be read: this task reads.
                let command = json!({"type": "send", "to": plan.peer, "body": body, "client_msg_id": id});
                let reference = client.start(command).await?;
                log.expect_answer(reference, &id);
                count += 1;
                next += plan.every;
            }
            _ = clock.tick() => {
                if client.cursor() != acknowledged {
                    client.cursor().clone_into(&mut acknowledged);
                    let reference = client.start(json!({"type": "ack", "cursor": acknowledged})).await?;
                    acknowledgements.insert(reference, ());
                }
            }
        }
    }
}

impl Shared {
    /// Carries the time at which it should have been sent, and is filled up.
    fn body(&self, intended: Instant) -> serde_json::Value {
        let micros = (intended - self.start).as_micros();
        let micros = u64::try_from(micros).unwrap_or(u64::MAX);
        let bare = json!({"t": micros, "p": ""}).to_string().len();
        json!({"t": micros, "p": "x".repeat(self.body.saturating_sub(bare))})
    }

    fn arrived(&self, frame: &Frame, reader: &str) {
        if frame.kind() != "message" || frame.text("from") == Some(reader) {
            return;
        }
        self.received.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        if now >= self.measure_from && now < self.measure_to {
            self.delivered.fetch_add(1, Ordering::Relaxed);
        }
        let Some(micros) = frame.0["body"]["t"].as_u64() else { return };
        let intended = self.start + Duration::from_micros(micros);
        if intended >= self.measure_from && intended < self.measure_to {
            let took = u64::try_from((now - intended).as_micros()).unwrap_or(u64::MAX);
            self.latency.lock().expect("no holder panics").saturating_record(took);
        }
    }

    fn refuse(&self, frame: &Frame, command: &str) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let mut refusals = self.refusals.lock().expect("no holder panics");
        if refusals.len() < 5 {
            let (code, message) = (frame.text("code").unwrap_or_default(), frame.text("message"));
            refusals.push(format!("{command}: {code}: {}", message.unwrap_or_default()));
        }
    }
}
