//! The router's instruments. Whoever counts names one: `metrics::LINKS.add(&[], 1)`.

use std::sync::Once;

use daemon::metric::{self, Counter, Gauge, Histogram, Instrument, Label, Observable, SECONDS};
use proto::RequestKind;

/// In the order of `docs/METRICS.md`.
pub static METRICS: &[&'static dyn Instrument] = &[
    &COMMANDS,
    &LINKS,
    &REFUSED,
    &BATCH_SIZE,
    &QUEUE_DEPTH,
    &ACKNOWLEDGEMENTS,
    &NOTICES_DROPPED,
    &REPAIRED,
    &ARCHIVED,
    &ARCHIVE_FAILURES,
    &ARCHIVE_LAG,
    &STORE_DURATION,
    &WEBHOOK_TOLD,
    &WEBHOOK_FAILED,
    &WEBHOOK_WAITING,
    &WEBHOOK_DROPPED,
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
        "revoke",
        #[cfg(test)]
        "test",
    ],
};

/// The names of requests, and one for what is none.
const REQUESTS: [&str; RequestKind::ALL.len() + 1] = {
    let mut names = ["unknown"; RequestKind::ALL.len() + 1];
    let mut index = 0;
    while index < RequestKind::ALL.len() {
        names[index] = RequestKind::ALL[index].as_str();
        index += 1;
    }
    names
};

pub(crate) static COMMANDS: Counter = Counter::new(
    "switchboard.router.commands",
    "{command}",
    "requests of gateways that were answered",
    &[
        Label { name: "command", values: &REQUESTS },
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
    ],
);
pub(crate) static LINKS: Gauge =
    Gauge::new("switchboard.router.links", "{stream}", "gateways' streams to this router", &[]);
pub(crate) static REFUSED: Counter = Counter::new(
    "switchboard.router.links.refused",
    "{connection}",
    "connections that were refused, and links that were ended, because no gateway of ours behaves so",
    &[Label { name: "reason", values: &["certificate", "late", "full", "silent", "frame", "form"] }],
);
pub(crate) static BATCH_SIZE: Histogram = Histogram::new(
    "switchboard.router.batch.size",
    "{item}",
    "items that went to the store in one call",
    &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0],
    &[QUEUE],
);
pub(crate) static QUEUE_DEPTH: Observable =
    Observable::gauge("switchboard.router.queue.depth", "{item}", "items that wait for the store", &[QUEUE]);
pub(crate) static ACKNOWLEDGEMENTS: Counter = Counter::new(
    "switchboard.router.acknowledgements",
    "{command}",
    "acks, by whether the gateway named the marks or the inbox is read for them",
    &[Label { name: "way", values: &["named", "looked_up"] }],
);
pub(crate) static NOTICES_DROPPED: Counter = Counter::new(
    "switchboard.router.ephemeral.dropped",
    "{notice}",
    "notices given up because a queue was full",
    &[Label { name: "kind", values: &["receipt", "presence"] }],
);
pub(crate) static REPAIRED: Counter = Counter::new(
    "switchboard.router.repaired",
    "{conversation}",
    "conversations whose filing a crash had left half done, and which were mended",
    &[],
);
pub(crate) static ARCHIVED: Counter = Counter::new(
    "switchboard.router.archived",
    "{entry}",
    "messages and changes that were copied to the archive and trimmed from Redis; only with an archive",
    &[],
);
pub(crate) static ARCHIVE_FAILURES: Counter = Counter::new(
    "switchboard.router.archive.failures",
    "{call}",
    "tries to archive that failed, after which messages stay in Redis; only with an archive",
    &[],
);
pub(crate) static ARCHIVE_LAG: Observable = Observable::gauge(
    "switchboard.router.archive.lag",
    "s",
    "by how much the oldest message in Redis was older than it has to be for the archive, when this router \
     looked last; only with an archive",
    &[],
);
pub(crate) static STORE_DURATION: Histogram = Histogram::new(
    "switchboard.store.duration",
    "s",
    "calls to the store, a batch each",
    SECONDS,
    &[
        Label {
            name: "operation",
            values: &[
                "post",
                "settle",
                "repair",
                "archive",
                "attach",
                "detach",
                "locate",
                "read_inbox",
                "acknowledge",
                "mark",
                "history",
                "conversations",
                "members",
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
                "revoke",
                "revocations",
                "ping",
            ],
        },
        Label { name: "result", values: &["ok", "error"] },
    ],
);
pub(crate) static WEBHOOK_TOLD: Counter = Counter::new(
    "switchboard.webhook.told",
    "{message}",
    "messages for absent users that the webhook has taken",
    &[],
);
pub(crate) static WEBHOOK_FAILED: Counter = Counter::new(
    "switchboard.webhook.failed",
    "{request}",
    "requests to the webhook that failed and are repeated",
    &[],
);
pub(crate) static WEBHOOK_WAITING: Observable = Observable::gauge(
    "switchboard.webhook.waiting",
    "{message}",
    "messages for absent users that wait to be told, in the whole store; only with a webhook",
    &[],
);

pub(crate) static WEBHOOK_DROPPED: Observable = Observable::counter(
    "switchboard.webhook.dropped",
    "{message}",
    "messages for absent users that went unheard because the queue was full",
    &[],
);

pub(crate) static DAMAGED: Observable = Observable::counter(
    "switchboard.store.damaged",
    "{read}",
    "stored entries that could not be read, each time a reader met one and went on past it",
    &[],
);

pub(crate) static STORE_ERRORS: Observable = Observable::counter(
    "switchboard.store.errors",
    "{error}",
    "calls to the store that it refused or did not answer, and connections to it that failed",
    &[Label { name: "reason", values: store::Reason::WORDS }],
);

/// Begins to report, once a process.
pub(crate) fn report() {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| {
        metric::report(METRICS);
        WEBHOOK_DROPPED.observe(&[], || Some(store::unheard_dropped() as f64));
        DAMAGED.observe(&[], || Some(store::damaged_skipped() as f64));
        for reason in store::Reason::ALL {
            STORE_ERRORS.observe(&[reason.as_str()], move || Some(store::store_errors(reason) as f64));
        }
    });
}
