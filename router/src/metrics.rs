//! The router's instruments. Label values are words known beforehand, so that
//! counting allocates nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use daemon::metric::{self, Counter, Gauge, Histogram, Label, Metric, SECONDS};

/// In the order of `docs/METRICS.md`.
pub static METRICS: &[&Metric] = &[
    &COMMANDS,
    &LINKS,
    &BATCH_SIZE,
    &QUEUE_DEPTH,
    &DROPPED,
    &REPAIRED,
    &STORE_DURATION,
    &TOLD,
    &FAILED,
    &WAITING,
    &UNHEARD_DROPPED,
    &DAMAGED,
    &STORE_ERRORS,
];

const QUEUE: Label = Label {
    name: "queue",
    values: &[
        "post",
        "attach",
        "detach",
        "read_inbox",
        "acknowledge",
        "mark",
        "broadcast",
        "read_channels",
        "publish",
        #[cfg(test)]
        "test",
    ],
};

static COMMANDS: Metric =
    Metric::counter("switchboard.router.commands", "{command}", "requests of gateways that were answered")
        .labelled(&[
            Label {
                name: "command",
                values: &[
                    "send",
                    "ack",
                    "read",
                    "typing",
                    "publish",
                    "attach",
                    "detach",
                    "read_inbox",
                    "history",
                    "conversations",
                    "create_group",
                    "members",
                    "add_members",
                    "remove_member",
                    "rename",
                    "issue_ticket",
                    "redeem_ticket",
                    "return_ticket",
                    "edit",
                    "recall",
                    "react",
                    "presence",
                    "unwatch",
                    "kick",
                    "join_channel",
                    "leave_channel",
                    "read_channel",
                    "count_rates",
                    "unknown",
                ],
            },
            Label {
                name: "result",
                values: &[
                    "ok",
                    "bad_request",
                    "forbidden",
                    "not_found",
                    "conflict",
                    "too_large",
                    "unavailable",
                    "internal",
                ],
            },
        ]);
static LINKS: Metric =
    Metric::gauge("switchboard.router.links", "{stream}", "gateways' streams to this router");
static BATCH_SIZE: Metric = Metric::histogram(
    "switchboard.router.batch.size",
    "{item}",
    "items that went to the store in one call",
    &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0],
)
.labelled(&[QUEUE]);
static QUEUE_DEPTH: Metric =
    Metric::gauge("switchboard.router.queue.depth", "{item}", "items that wait for the store")
        .labelled(&[QUEUE]);
static DROPPED: Metric = Metric::counter(
    "switchboard.router.ephemeral.dropped",
    "{notice}",
    "notices given up because a queue was full",
)
.labelled(&[Label { name: "kind", values: &["receipt", "presence"] }]);
static REPAIRED: Metric = Metric::counter(
    "switchboard.router.repaired",
    "{conversation}",
    "conversations whose filing a crash had left half done, and which were mended",
);
static STORE_DURATION: Metric =
    Metric::histogram("switchboard.store.duration", "s", "calls to the store, a batch each", SECONDS)
        .labelled(&[
            Label {
                name: "operation",
                values: &[
                    "post",
                    "settle",
                    "repair",
                    "attach",
                    "detach",
                    "locate",
                    "read_inbox",
                    "acknowledge",
                    "mark",
                    "history",
                    "conversations",
                    "presence",
                    "unwatch",
                    "nodes",
                    "broadcast",
                    "join_channels",
                    "leave_channels",
                    "read_channels",
                    "take_unheard",
                    "heard",
                    "unheard",
                    "talked",
                    "memberships",
                    "publish",
                    "keep_ticket",
                    "take_ticket",
                    "return_ticket",
                    "ping",
                ],
            },
            Label { name: "result", values: &["ok", "error"] },
        ]);
static TOLD: Metric = Metric::counter(
    "switchboard.webhook.told",
    "{message}",
    "messages for absent users that the webhook has taken",
);
static FAILED: Metric = Metric::counter(
    "switchboard.webhook.failed",
    "{request}",
    "requests to the webhook that failed and are repeated",
);
static WAITING: Metric = Metric::gauge(
    "switchboard.webhook.waiting",
    "{message}",
    "messages for absent users that wait to be told, in the whole store; only with a webhook",
);

static UNHEARD_DROPPED: Metric = Metric::counter(
    "switchboard.webhook.dropped",
    "{message}",
    "messages for absent users that went unheard because the queue was full",
);

static DAMAGED: Metric = Metric::counter(
    "switchboard.store.damaged",
    "{read}",
    "stored entries that could not be read, each time a reader met one and went on past it",
);

static STORE_ERRORS: Metric = Metric::counter(
    "switchboard.store.errors",
    "{error}",
    "calls to the store that it refused or did not answer, and connections to it that failed",
)
.labelled(&[Label { name: "reason", values: store::Reason::WORDS }]);

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Metrics(Arc<Instruments>);

#[derive(Debug)]
struct Instruments {
    /// Commands by type and result.
    commands: Counter,
    /// Items that went to the store at once.
    batch_size: Histogram,
    /// Seconds by operation.
    store_duration: Histogram,
    /// Notices that were given up.
    dropped: Counter,
    /// Gateways' streams.
    links: Gauge,
    /// Conversations that the sweep mended.
    repaired: Counter,
    /// Messages that the webhook has taken.
    webhook_told: Counter,
    /// Requests to the webhook that it has not.
    webhook_failed: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        metric::observe(&UNHEARD_DROPPED, &[], || Some(store::unheard_dropped() as f64));
        metric::observe(&DAMAGED, &[], || Some(store::damaged_skipped() as f64));
        for reason in store::Reason::ALL {
            metric::observe(&STORE_ERRORS, &[reason.as_str()], move || {
                Some(store::store_errors(reason) as f64)
            });
        }
        Self(Arc::new(Instruments {
            commands: Counter::of(&COMMANDS),
            batch_size: Histogram::of(&BATCH_SIZE),
            store_duration: Histogram::of(&STORE_DURATION),
            dropped: Counter::of(&DROPPED),
            links: Gauge::of(&LINKS),
            repaired: Counter::of(&REPAIRED),
            webhook_told: Counter::of(&TOLD),
            webhook_failed: Counter::of(&FAILED),
        }))
    }

    pub(crate) fn command(&self, name: &'static str, result: &'static str) {
        self.0.commands.add(&[name, result], 1);
    }

    pub(crate) fn batch(&self, queue: &'static str, items: usize) {
        self.0.batch_size.record(&[queue], items as f64);
    }

    /// Observes a queue when metrics are read, until `depth` knows no more.
    pub(crate) fn queue(
        &self,
        name: &'static str,
        depth: impl Fn() -> Option<usize> + Send + Sync + 'static,
    ) {
        metric::observe(&QUEUE_DEPTH, &[name], move || depth().map(|depth| depth as f64));
    }

    pub(crate) fn stored(&self, operation: &'static str, took: Duration, ok: bool) {
        let result = if ok { "ok" } else { "error" };
        self.0.store_duration.record(&[operation, result], took.as_secs_f64());
    }

    pub(crate) fn dropped(&self, kind: &'static str, count: usize) {
        self.0.dropped.add(&[kind], count as u64);
    }

    pub(crate) fn links(&self, change: i64) {
        self.0.links.add(&[], change);
    }

    pub(crate) fn repaired(&self, conversations: usize) {
        self.0.repaired.add(&[], conversations as u64);
    }

    pub(crate) fn webhook_told(&self, messages: usize) {
        self.0.webhook_told.add(&[], messages as u64);
    }

    pub(crate) fn webhook_failed(&self) {
        self.0.webhook_failed.add(&[], 1);
    }

    /// Observes how many messages wait for the webhook, as the store said last.
    pub(crate) fn webhook_waiting(&self, waiting: &Arc<AtomicU64>) {
        let waiting = Arc::downgrade(waiting);
        metric::observe(&WAITING, &[], move || {
            waiting.upgrade().map(|waiting| waiting.load(Ordering::Relaxed) as f64)
        });
    }
}
