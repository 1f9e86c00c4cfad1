//! Tells a backend of messages for members who had no session when the messages
//! were filed, so that it can send push notifications. It posts batches of signed
//! JSON over HTTP. Each message is told at least once. Nothing else in the router
//! waits for it.
//!
//! While a batch is told, it is held in the store. When the router dies, the hold
//! ends and another router tells the batch. So a receiver may see a message twice,
//! with the same `id`, and may see one whose reader has just connected.

mod args;
mod receiver;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use daemon::Backoff;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use proto::Seq;
use proto::wire::entry;
use serde::Serialize;
use serde_json::value::RawValue;
use store::Store;
use store::model::{CurrentMessage, HistoryQuery, HistoryRange, LogEvent, UnheardMessage};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

pub use self::args::{Pace, Webhook, WebhookArgs, WebhookSecret, WebhookUrl};
use self::receiver::Receiver;
use crate::metrics;

/// Bytes of one request at most. What does not fit goes into the next request.
const MAX_REQUEST_BYTES: usize = 1 << 20;
/// Messages read from the store at the same time.
const READS: usize = 8;

/// Runs until `stop`. What is under way then, another router tells again.
pub(crate) async fn run(hook: Webhook, store: Arc<dyn Store>, stop: CancellationToken) {
    let receiver = match Receiver::new(&hook) {
        Ok(receiver) => receiver,
        Err(error) => {
            tracing::error!(webhook = %hook.url, error, "nothing is told");
            return;
        }
    };
    let waiting = Arc::new(AtomicU64::new(0));
    let weak = Arc::downgrade(&waiting);
    metrics::WEBHOOK_WAITING.observe(&[], move || Some(weak.upgrade()?.load(Ordering::Relaxed) as f64));
    let backoff = Backoff::new(hook.pace.retry, hook.pace.longest_retry);
    let mut teller = Teller {
        hook,
        receiver,
        store,
        waiting,
        webhook_backoff: backoff.clone(),
        store_backoff: backoff,
        failures: 0,
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = teller.go_on() => {}
    }
}

struct Teller {
    hook: Webhook,
    receiver: Receiver,
    store: Arc<dyn Store>,
    /// How many messages wait in the whole store, at the last look.
    waiting: Arc<AtomicU64>,
    webhook_backoff: Backoff,
    /// Begins anew with each round that goes well, whether something waited or not.
    store_backoff: Backoff,
    /// Requests to the webhook that failed since the last that did not.
    failures: u32,
}

/// A round that failed. Its messages come again when their hold has ended.
struct Failure {
    retry_after: Duration,
}

/// What goes into one request.
#[derive(Default)]
struct Batch {
    unheard: Vec<UnheardMessage>,
    /// JSON objects, separated by commas.
    json: String,
}

impl Teller {
    async fn go_on(&mut self) {
        loop {
            let pause = match Box::pin(self.round()).await {
                Ok(is_any) => {
                    self.store_backoff.reset();
                    if is_any {
                        continue;
                    }
                    self.hook.pace.look.mul_f64(rand::random_range(0.75..=1.0))
                }
                Err(Failure { retry_after }) => retry_after,
            };
            sleep(pause).await;
        }
    }

    /// Takes messages that wait, and tells them. False when there were none.
    async fn round(&mut self) -> Result<bool, Failure> {
        let hold = self.hook.timeout + self.hook.pace.hold;
        let taken_at = Instant::now();
        let taken = self.store.take_unheard(self.hook.batch, hold).await;
        let taken = taken.map_err(|error| self.not_stored(&error))?;
        let waiting = self.store.unheard().await.map_err(|error| self.not_stored(&error))?;
        self.waiting.store(waiting, Ordering::Relaxed);
        if taken.is_empty() {
            return Ok(false);
        }
        let (batches, gone) = self.read(taken).await?;
        self.heard(&gone).await?;
        for batch in batches {
            // A request that begins before this ends before the hold does.
            self.tell(batch, taken_at + self.hook.pace.hold).await?;
        }
        Ok(true)
    }

    /// Reads the messages as JSON. The second list has those that need not be told
    /// any more: trimmed, recalled, or hidden from their reader by now.
    async fn read(
        &mut self,
        taken: Vec<UnheardMessage>,
    ) -> Result<(Vec<Batch>, Vec<UnheardMessage>), Failure> {
        let store = &self.store;
        let messages = stream::iter(taken).map(|unheard| async move {
            let query = HistoryQuery {
                user: unheard.user.clone(),
                conversation: unheard.conversation.clone(),
                range: HistoryRange::After(Seq(unheard.seq.0.saturating_sub(1))),
                limit: 1,
            };
            let page = store.history(query).await?;
            let shown = page.and_then(|page| page.messages.into_iter().next());
            let shown = shown.filter(|shown| shown.message.seq == unheard.seq && shown.recalled.is_none());
            store::Result::Ok((unheard, shown))
        });
        let messages: Result<Vec<_>, _> = messages.buffered(READS).try_collect().await;
        let messages = messages.map_err(|error| self.not_stored(&error))?;
        let (mut batches, mut gone) = (Vec::new(), Vec::new());
        let mut batch = Batch::default();
        for (unheard, shown) in messages {
            let Some(json) = shown.and_then(|shown| notification(&unheard, &shown)) else {
                gone.push(unheard);
                continue;
            };
            if !batch.unheard.is_empty() && batch.json.len() + json.len() + 64 > MAX_REQUEST_BYTES {
                batches.push(std::mem::take(&mut batch));
            }
            if !batch.json.is_empty() {
                batch.json.push(',');
            }
            batch.json.push_str(&json);
            batch.unheard.push(unheard);
        }
        if !batch.unheard.is_empty() {
            batches.push(batch);
        }
        Ok((batches, gone))
    }

    /// Posts a batch, again and again until `until`, while it is held.
    async fn tell(&mut self, batch: Batch, until: Instant) -> Result<(), Failure> {
        let id = ulid::Ulid::new().to_string();
        let body = Bytes::from(format!(r#"{{"id":"{id}","messages":[{}]}}"#, batch.json));
        loop {
            match self.receiver.post(&id, body.clone()).await {
                Ok(()) => break,
                Err(reason) => {
                    metrics::WEBHOOK_FAILED.add(&[], 1);
                    tracing::warn!(
                        webhook = %self.hook.url,
                        reason,
                        messages = batch.unheard.len(),
                        failures = self.failures + 1,
                        "the webhook has not taken a batch"
                    );
                }
            }
            self.failures = self.failures.saturating_add(1);
            let pause = self.webhook_backoff.pause();
            if Instant::now() + pause >= until {
                return Err(Failure { retry_after: pause });
            }
            sleep(pause).await;
        }
        self.failures = 0;
        self.webhook_backoff.reset();
        metrics::WEBHOOK_TOLD.add(&[], batch.unheard.len() as u64);
        self.heard(&batch.unheard).await
    }

    async fn heard(&mut self, told: &[UnheardMessage]) -> Result<(), Failure> {
        if told.is_empty() {
            return Ok(());
        }
        self.store.heard(told).await.map_err(|error| self.not_stored(&error))
    }

    fn not_stored(&mut self, error: &store::Error) -> Failure {
        tracing::debug!(%error, "the webhook waits for the store");
        Failure { retry_after: self.store_backoff.pause() }
    }
}

/// A message as the receiver gets it.
#[derive(Serialize)]
struct Notification<'a> {
    id: &'a str,
    user: &'a str,
    conversation: &'a str,
    seq: u64,
    from: &'a str,
    /// When it was sent, in Unix milliseconds.
    time: u64,
    body: &'a RawValue,
    #[serde(skip_serializing_if = "str::is_empty")]
    client_msg_id: &'a str,
}

/// The JSON of a message. `None` for other entries, and for a body that is not
/// JSON, which gateways refuse.
fn notification(unheard: &UnheardMessage, CurrentMessage { message, .. }: &CurrentMessage) -> Option<String> {
    let LogEvent { seq, entry, .. } = message;
    let Some(entry::What::Message(message)) = &entry.what else { return None };
    let body: Result<&RawValue, _> = serde_json::from_slice(&message.body);
    let Ok(body) = body else {
        tracing::error!(conversation = %unheard.conversation, seq = seq.0, "a message's body is no JSON");
        return None;
    };
    let notification = Notification {
        id: &unheard.id,
        user: unheard.user.as_str(),
        conversation: unheard.conversation.as_str(),
        seq: seq.0,
        from: &entry.by,
        time: entry.time,
        body,
        client_msg_id: &message.client_msg_id,
    };
    serde_json::to_string(&notification).ok()
}
