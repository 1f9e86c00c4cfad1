//! The router's instruments. Attribute values are static words, so that
//! counting allocates nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, UpDownCounter};

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    /// Commands by type and result.
    commands: Counter<u64>,
    /// Items that went to the store at once.
    batch_size: Histogram<u64>,
    /// Seconds by operation.
    store_latency: Histogram<f64>,
    /// Notices that were given up.
    dropped: Counter<u64>,
    /// Gateways' streams.
    links: UpDownCounter<i64>,
    /// Conversations that the sweep mended.
    repaired: Counter<u64>,
    /// Messages that the webhook has taken.
    webhook_told: Counter<u64>,
    /// Requests to the webhook that it has not.
    webhook_failed: Counter<u64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let meter = daemon::meter();
        Self {
            commands: meter
                .u64_counter("switchboard.commands")
                .with_description("commands answered, by type and result")
                .build(),
            batch_size: meter
                .u64_histogram("switchboard.batch.size")
                .with_description("items that went to the store in one call")
                .with_boundaries(vec![1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0])
                .build(),
            store_latency: meter
                .f64_histogram("switchboard.store.duration")
                .with_unit("s")
                .with_description("time that the store took, by operation")
                .with_boundaries(vec![
                    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
                    5.0,
                ])
                .build(),
            dropped: meter
                .u64_counter("switchboard.ephemeral.dropped")
                .with_description("notices given up because a queue was full")
                .build(),
            links: meter
                .i64_up_down_counter("switchboard.links")
                .with_description("gateways' streams to this router")
                .build(),
            repaired: meter
                .u64_counter("switchboard.repaired")
                .with_description("conversations whose filing a crash had left half done")
                .build(),
            webhook_told: meter
                .u64_counter("switchboard.webhook.told")
                .with_description("messages for absent users that the webhook has taken")
                .build(),
            webhook_failed: meter
                .u64_counter("switchboard.webhook.failed")
                .with_description("requests to the webhook that failed and are repeated")
                .build(),
        }
    }

    pub(crate) fn command(&self, name: &'static str, result: &'static str) {
        self.commands.add(1, &[KeyValue::new("command", name), KeyValue::new("result", result)]);
    }

    pub(crate) fn batch(&self, queue: &'static str, items: usize) {
        self.batch_size.record(items as u64, &[KeyValue::new("queue", queue)]);
    }

    /// Observes a queue when metrics are read, until `depth` knows no more.
    pub(crate) fn queue(
        &self,
        name: &'static str,
        depth: impl Fn() -> Option<usize> + Send + Sync + 'static,
    ) {
        daemon::meter()
            .u64_observable_gauge("switchboard.queue.depth")
            .with_description("items that wait for the store, by queue")
            .with_callback(move |observer| {
                if let Some(depth) = depth() {
                    observer.observe(depth as u64, &[KeyValue::new("queue", name)]);
                }
            })
            .build();
    }

    pub(crate) fn stored(&self, operation: &'static str, took: Duration, ok: bool) {
        self.store_latency
            .record(took.as_secs_f64(), &[KeyValue::new("operation", operation), KeyValue::new("ok", ok)]);
    }

    pub(crate) fn dropped(&self, kind: &'static str, count: usize) {
        self.dropped.add(count as u64, &[KeyValue::new("kind", kind)]);
    }

    pub(crate) fn links(&self, change: i64) {
        self.links.add(change, &[]);
    }

    pub(crate) fn repaired(&self, conversations: usize) {
        self.repaired.add(conversations as u64, &[]);
    }

    pub(crate) fn webhook_told(&self, messages: usize) {
        self.webhook_told.add(messages as u64, &[]);
    }

    pub(crate) fn webhook_failed(&self) {
        self.webhook_failed.add(1, &[]);
    }

    /// Observes how many messages wait for the webhook, as the store said last.
    pub(crate) fn webhook_waiting(&self, waiting: &Arc<AtomicU64>) {
        let waiting = Arc::downgrade(waiting);
        daemon::meter()
            .u64_observable_gauge("switchboard.webhook.waiting")
            .with_description("messages for absent users that wait to be told, in the whole store")
            .with_callback(move |observer| {
                if let Some(waiting) = waiting.upgrade() {
                    observer.observe(waiting.load(Ordering::Relaxed), &[]);
                }
            })
            .build();
    }
}
