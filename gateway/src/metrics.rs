//! The gateway's instruments. Label sets are bounded: words of the protocol
//! only.

use daemon::metric::{Counter, Gauge, Histogram, Instrument, Label, Observable, SECONDS};
use proto::{CommandKind, End, ErrorCode};

use crate::protocol::unauthorized::Reason;

/// In the order of `docs/METRICS.md`.
pub static METRICS: &[&'static dyn Instrument] = &[
    &CONNECTIONS,
    &ENDED,
    &BEHIND,
    &SOCKETS,
    &REFUSED,
    &ADDRESS_REFUSED,
    &UNREADABLE_ADDRESSES,
    &UNAUTHORIZED,
    &REVOCATIONS,
    &COMMANDS,
    &RATE_LIMITED,
    &SHED,
    &COMMAND_DURATION,
    &DELIVERY_DURATION,
    &DELIVERIES,
    &FANOUT,
    &PUBLICATIONS,
    &SUBSCRIBERS,
    &CHANNEL_HOLES,
    &CATCHUPS,
    &BUS_LOST,
    &BUS_ERRORS,
    &DROPPED,
    &ATTACH_QUEUE,
    &RELAYED,
    &RELAYING,
    &RELAY_FAILURES,
    &PEERS_REFUSED,
    &ROUTERS,
    &ROUTERS_REFUSED,
    &LATE_ROUTERS,
    &HALF_SENT,
    &PENDING,
    &REPEATED,
];

static CONNECTIONS: Gauge = Gauge::new(
    "switchboard.gateway.connections",
    "{connection}",
    "open sessions of streams and WebSockets, and polls under way",
    &[Label {
        name: "transport",
        values: &["websocket", "sse", "stream", "iframe", "poll", "socketio", "sockjs"],
    }],
);
static ENDED: Counter = Counter::new(
    "switchboard.gateway.sessions.ended",
    "{session}",
    "sessions of streams and WebSockets that have ended",
    &[Label {
        name: "reason",
        values: &[
            "bye",
            "shutdown",
            "replaced",
            "token_expired",
            "kicked",
            "revoked",
            "bad_frames",
            "rate_limited",
            "heartbeat_missed",
        ],
    }],
);
pub(crate) static BEHIND: Observable = Observable::gauge(
    "switchboard.gateway.sessions.behind",
    "{session}",
    "slow readers: sessions whose queue was full and that read on from the log",
    &[],
);
pub(crate) static SOCKETS: Gauge = Gauge::new(
    "switchboard.gateway.sockets",
    "{connection}",
    "open connections of clients, idle ones too",
    &[],
);
pub(crate) static REFUSED: Counter = Counter::new(
    "switchboard.gateway.sockets.refused",
    "{connection}",
    "connections refused at once, by the limit that they met",
    &[Label { name: "limit", values: &["all", "address"] }],
);
static ADDRESS_REFUSED: Counter = Counter::new(
    "switchboard.gateway.address.refused",
    "{request}",
    "requests refused because their client's address holds as many requests or sessions open as it may",
    &[Label { name: "kind", values: &["request", "session"] }],
);
static UNREADABLE_ADDRESSES: Counter = Counter::new(
    "switchboard.gateway.address.unreadable",
    "{address}",
    "addresses of clients that a proxy did not say: an X-Forwarded-For that is none (the proxy's own address stands), \
     and connections without a PROXY protocol header of a trusted proxy (closed)",
    &[Label { name: "source", values: &["forwarded_for", "proxy_protocol"] }],
);
pub(crate) static UNAUTHORIZED: Counter = Counter::new(
    "switchboard.gateway.unauthorized",
    "{request}",
    "requests and `auth` frames whose credential did not hold (401)",
    &[Label { name: "reason", values: Reason::WORDS }],
);
pub(crate) static REVOCATIONS: Observable = Observable::gauge(
    "switchboard.gateway.revocations",
    "{revocation}",
    "revocations of tokens that this gateway knows and that have not ended",
    &[],
);
static COMMANDS: Counter = Counter::new(
    "switchboard.gateway.commands",
    "{command}",
    "commands of clients that were answered",
    &[
        Label { name: "type", values: CommandKind::NAMES },
        Label {
            name: "result",
            values: &[
                "ok",
                "bad_request",
                "unauthorized",
                "forbidden",
                "not_found",
                "conflict",
                "too_large",
                "rate_limited",
                "unavailable",
                "internal",
            ],
        },
    ],
);
pub(crate) static RATE_LIMITED: Counter = Counter::new(
    "switchboard.gateway.rate.limited",
    "{request}",
    "commands and requests refused because their user did too much of the class",
    &[Label { name: "class", values: &["write", "invite", "read", "signal", "attach", "service"] }],
);
pub(crate) static SHED: Counter = Counter::new(
    "switchboard.gateway.shed",
    "{command}",
    "commands refused at the door because they would have waited for too long, and where",
    &[
        Label { name: "class", values: &["write", "invite", "read"] },
        Label { name: "bottleneck", values: &["routers", "gateway"] },
    ],
);
pub(crate) static COMMAND_DURATION: Histogram = Histogram::new(
    "switchboard.gateway.command.duration",
    "s",
    "from a request to a router to its answer",
    SECONDS,
    &[],
);
static DELIVERY_DURATION: Histogram = Histogram::new(
    "switchboard.gateway.delivery.duration",
    "s",
    "end to end: from an entry's time to the socket's transport taking it",
    SECONDS,
    &[],
);
static DELIVERIES: Counter = Counter::new(
    "switchboard.gateway.deliveries",
    "{event}",
    "events of conversations given to transports",
    &[],
);
static FANOUT: Histogram = Histogram::new(
    "switchboard.gateway.fanout",
    "{session}",
    "sessions of this node that one announced event was for",
    &[0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0],
    &[],
);
static PUBLICATIONS: Counter = Counter::new(
    "switchboard.gateway.publications",
    "{publication}",
    "publications of channels given to sessions",
    &[],
);
static SUBSCRIBERS: Gauge = Gauge::new(
    "switchboard.gateway.channel.subscribers",
    "{subscription}",
    "subscriptions of sessions to channels",
    &[],
);
static CHANNEL_HOLES: Counter = Counter::new(
    "switchboard.gateway.channel.holes",
    "{hole}",
    "publications were missing and were read from a channel's log",
    &[],
);
pub(crate) static CATCHUPS: Counter = Counter::new(
    "switchboard.gateway.catchups",
    "{catchup}",
    "a session began to read from the log",
    &[Label { name: "cause", values: &["resume", "hole", "bus", "behind", "marks"] }],
);
static BUS_LOST: Counter = Counter::new(
    "switchboard.gateway.bus.lost",
    "{loss}",
    "bus holes: the bus may have lost announcements, and every session reads on",
    &[Label { name: "cause", values: &["hole", "silent", "router", "deaf", "lagged", "lease", "store"] }],
);
pub(crate) static BUS_ERRORS: Observable = Observable::counter(
    "switchboard.gateway.bus.errors",
    "{error}",
    "connections to the store's bus that failed, and what it refused or did not answer there",
    &[Label { name: "reason", values: store::Reason::WORDS }],
);
static DROPPED: Counter = Counter::new(
    "switchboard.gateway.ephemeral.dropped",
    "{frame}",
    "frames that may be lost (typing) and were, for slow or busy sessions",
    &[],
);
static ATTACH_QUEUE: Gauge =
    Gauge::new("switchboard.gateway.attach.queue", "{request}", "attaches and pages that wait in line", &[]);
static RELAYED: Counter = Counter::new(
    "switchboard.gateway.relayed",
    "{request}",
    "what was passed on to the gateway that has its session",
    &[Label { name: "kind", values: &["request", "websocket"] }],
);
static RELAYING: Gauge = Gauge::new(
    "switchboard.gateway.relaying",
    "{request}",
    "what is passed on now: requests without a whole response, and open WebSockets",
    &[Label { name: "kind", values: &["request", "websocket"] }],
);
static RELAY_FAILURES: Counter = Counter::new(
    "switchboard.gateway.relay.failures",
    "{request}",
    "what could not be passed on, or had no response: its client begins a new session",
    &[Label { name: "reason", values: &["unknown", "unreachable", "broken", "full"] }],
);
static PEERS_REFUSED: Counter = Counter::new(
    "switchboard.gateway.peers.refused",
    "{connection}",
    "connections between gateways that were refused",
    &[Label { name: "reason", values: &["certificate", "node"] }],
);
pub(crate) static ROUTERS: Observable = Observable::gauge(
    "switchboard.gateway.routers",
    "{router}",
    "routers that take requests of this gateway",
    &[],
);
static ROUTERS_REFUSED: Counter = Counter::new(
    "switchboard.gateway.routers.refused",
    "{connection}",
    "connections to routers that were refused here, because their certificate is none of ours",
    &[],
);
pub(crate) static LATE_ROUTERS: Observable = Observable::gauge(
    "switchboard.gateway.routers.late",
    "{router}",
    "routers that answer late while others do not, and get no new requests until they answer",
    &[],
);
pub(crate) static HALF_SENT: Observable = Observable::gauge(
    "switchboard.gateway.half_sent",
    "By",
    "bytes of requests and frames that clients have begun to send and not ended",
    &[],
);
pub(crate) static PENDING: Observable = Observable::gauge(
    "switchboard.gateway.requests.pending",
    "{request}",
    "requests to routers without an answer",
    &[],
);
pub(crate) static REPEATED: Counter = Counter::new(
    "switchboard.gateway.requests.repeated",
    "{request}",
    "requests that were sent to another router because the first failed or was slow",
    &[],
);

/// A session begins to read from the log, for this cause.
pub(crate) fn catchup(cause: &'static str) {
    CATCHUPS.add(&[cause], 1);
}

/// What this address would hold open, of this kind, is too much.
pub(crate) fn address_refused(kind: &'static str) {
    ADDRESS_REFUSED.add(&[kind], 1);
}

/// A proxy has not said a client's address in this way.
pub(crate) fn address_unreadable(source: &'static str) {
    UNREADABLE_ADDRESSES.add(&[source], 1);
}

/// A credential did not hold.
pub(crate) fn unauthorized(reason: Reason) {
    UNAUTHORIZED.add(&[reason.as_str()], 1);
}

/// A session has begun or ended.
pub(crate) fn connection(transport: &'static str, change: i64) {
    CONNECTIONS.add(&[transport], change);
}

/// A session has ended for this reason.
pub(crate) fn session_ended(end: End) {
    ENDED.add(&[end.as_str()], 1);
}

/// A command has been answered.
pub(crate) fn command(kind: CommandKind, refused: Option<ErrorCode>) {
    COMMANDS.add(&[kind.as_str(), refused.map_or("ok", ErrorCode::as_str)], 1);
}

/// A transport has taken events, the oldest live one of them so many
/// seconds after it was written.
pub(crate) fn delivered(events: usize, oldest: Option<f64>) {
    DELIVERIES.add(&[], events as u64);
    if let Some(seconds) = oldest {
        DELIVERY_DURATION.record(&[], seconds);
    }
}

/// An announced event was for so many sessions here.
pub(crate) fn fanout(sessions: usize) {
    FANOUT.record(&[], sessions as f64);
}

/// The bus may have lost something.
pub(crate) fn bus_lost(cause: &'static str) {
    BUS_LOST.add(&[cause], 1);
}

/// A frame that may be lost was.
pub(crate) fn ephemeral_dropped() {
    DROPPED.add(&[], 1);
}

/// Sessions have been given a publication, or one has been given several.
pub(crate) fn publications(count: usize) {
    PUBLICATIONS.add(&[], count as u64);
}

/// A channel's log is read because publications are missing.
pub(crate) fn channel_hole() {
    CHANNEL_HOLES.add(&[], 1);
}

/// A subscription has begun or ended.
pub(crate) fn subscribers(change: i64) {
    SUBSCRIBERS.add(&[], change);
}

/// A request or a WebSocket is passed on to another gateway.
pub(crate) fn relayed(kind: &'static str) {
    RELAYED.add(&[kind], 1);
}

/// It is under way, or over.
pub(crate) fn relaying(kind: &'static str, change: i64) {
    RELAYING.add(&[kind], change);
}

/// It has failed, for this reason.
pub(crate) fn relay_failed(reason: &'static str) {
    RELAY_FAILURES.add(&[reason], 1);
}

/// A connection between gateways is refused, for this reason.
pub(crate) fn peer_refused(reason: &'static str) {
    PEERS_REFUSED.add(&[reason], 1);
}

/// A router has no certificate of ours, or speaks no TLS.
pub(crate) fn router_refused() {
    ROUTERS_REFUSED.add(&[], 1);
}

/// Somebody queues or has been served.
pub(crate) fn attach_queue(change: i64) {
    ATTACH_QUEUE.add(&[], change);
}
