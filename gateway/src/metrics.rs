//! The gateway's instruments, `switchboard.gateway.*`. Label sets are bounded:
//! words of the protocol only.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, UpDownCounter};
use proto::{End, ErrorCode};

/// All instruments of a gateway.
pub struct Metrics {
    connections: UpDownCounter<i64>,
    ended: Counter<u64>,
    commands: Counter<u64>,
    lost: Counter<u64>,
    dropped: Counter<u64>,
    queue: UpDownCounter<i64>,
    publications: Counter<u64>,
    channel_holes: Counter<u64>,
    subscribers: UpDownCounter<i64>,
}

impl Metrics {
    /// Registers them.
    pub fn new() -> Self {
        let meter = daemon::meter();
        Self {
            connections: meter
                .i64_up_down_counter("switchboard.gateway.connections")
                .with_description("Open sessions, by transport")
                .build(),
            ended: meter
                .u64_counter("switchboard.gateway.sessions.ended")
                .with_description("Sessions that have ended, by reason")
                .build(),
            commands: meter
                .u64_counter("switchboard.gateway.commands")
                .with_description("Commands from clients, by type and result")
                .build(),
            lost: meter
                .u64_counter("switchboard.gateway.bus.lost")
                .with_description("Times that the bus may have lost announcements, by cause")
                .build(),
            dropped: meter
                .u64_counter("switchboard.gateway.ephemeral.dropped")
                .with_description("Typing frames dropped for slow or busy sessions")
                .build(),
            queue: meter
                .i64_up_down_counter("switchboard.gateway.attach.queue")
                .with_description("Attaches and pages that wait in line")
                .build(),
            publications: meter
                .u64_counter("switchboard.gateway.publications")
                .with_description("Publications given to sessions")
                .build(),
            channel_holes: meter
                .u64_counter("switchboard.gateway.channel.holes")
                .with_description("Times that publications were missing and read from a channel's log")
                .build(),
            subscribers: meter
                .i64_up_down_counter("switchboard.gateway.channel.subscribers")
                .with_description("Subscriptions of sessions to channels")
                .build(),
        }
    }

    /// A session has begun or ended.
    pub fn connection(&self, transport: &'static str, change: i64) {
        self.connections.add(change, &[KeyValue::new("transport", transport)]);
    }

    /// A session has ended for this reason.
    pub fn session_ended(&self, end: End) {
        self.ended.add(1, &[KeyValue::new("reason", end.as_str())]);
    }

    /// A command has been answered.
    pub fn command(&self, kind: &'static str, refused: Option<ErrorCode>) {
        let result = refused.map_or("ok", ErrorCode::as_str);
        self.commands.add(1, &[KeyValue::new("type", kind), KeyValue::new("result", result)]);
    }

    /// The bus may have lost something.
    pub fn bus_lost(&self, cause: &'static str) {
        self.lost.add(1, &[KeyValue::new("cause", cause)]);
    }

    /// A frame that may be lost was.
    pub fn ephemeral_dropped(&self) {
        self.dropped.add(1, &[]);
    }

    /// Sessions have been given a publication, or one has been given several.
    pub fn publications(&self, count: usize) {
        self.publications.add(count as u64, &[]);
    }

    /// A channel's log is read because publications are missing.
    pub fn channel_hole(&self) {
        self.channel_holes.add(1, &[]);
    }

    /// A subscription has begun or ended.
    pub fn subscribers(&self, change: i64) {
        self.subscribers.add(change, &[]);
    }

    /// Somebody queues or has been served.
    pub fn attach_queue(&self, change: i64) {
        self.queue.add(change, &[]);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
