//! Costs: the one table that `docs/CAPACITY.md` and the simulation share. Costs that
//! a load test measures come from `docs/performance.json` (`make measure`); the
//! others stand here, with how they were found.

use std::borrow::Cow;
use std::sync::LazyLock;

use crate::results::BUILT_IN;

/// The cost of one piece of work.
#[derive(Debug, Clone)]
pub struct Cost {
    /// The piece of work.
    pub of: &'static str,
    /// The cost, in `unit`.
    pub value: f64,
    /// `µs` of CPU, or `B`.
    pub unit: &'static str,
    /// How it was found.
    pub how: Cow<'static, str>,
}

const fn cost(of: &'static str, value: f64, unit: &'static str, how: &'static str) -> Cost {
    Cost { of, value, unit, how: Cow::Borrowed(how) }
}

/// A cost that `make measure` finds: the median at a row and a column.
fn measured(of: &'static str, row: &'static str, column: &str) -> Cost {
    let sheet = BUILT_IN.measure.as_ref().expect("a test holds the file to having it");
    let cell = sheet.cell(row, column).unwrap_or_else(|error| panic!("docs/performance.json: {error}"));
    let value = cell.median().expect("a figure has at least one run");
    let (value, unit) = if cell.unit == "KiB" { (value * 1024.0, "B") } else { (value, "µs") };
    Cost { of, value, unit, how: Cow::Owned(format!("`make measure`, row *{row}*")) }
}

const REDIS: &str = "`redis-benchmark -P 128`";
const MEMORY: &str = "`used_memory` before and after 100,000 of them, `loadtest run --scenario direct`";
const STORED: &str =
    "`loadtest run --scenario mixed --users 240 --members 12 --rate 3500 --duration 40 --stored`";
const INBOX: &str = "`MEMORY USAGE` of an inbox of 1,680 events in six groups and six direct conversations, at random; 48 without compression; a test holds it to 30";
const SIZES: &str =
    "lengths of the frames in `gateway/benches/instructions.rs`, and 20 % for TCP, IP and TLS";

/// CPU of all gateways for a direct message.
pub static GATEWAY_MESSAGE: LazyLock<Cost> =
    LazyLock::new(|| measured("direct message: gateways", "direct", "gateways"));
/// CPU of routers for a direct message.
pub static ROUTER_MESSAGE: LazyLock<Cost> =
    LazyLock::new(|| measured("direct message: routers", "direct", "routers"));
/// CPU of Redis for a direct message that is posted in one call.
pub static REDIS_MESSAGE: LazyLock<Cost> =
    LazyLock::new(|| measured("direct message: Redis, one call", "direct", "Redis"));
/// CPU of Redis for a direct message that is posted step by step, as in a Cluster.
pub static REDIS_STEPS: LazyLock<Cost> =
    LazyLock::new(|| measured("direct message: Redis, step by step", "direct, step by step", "Redis"));
/// CPU of gateways for a direct message under a load with large batches.
pub static GATEWAY_BATCHED: LazyLock<Cost> = LazyLock::new(|| {
    measured("direct message in large batches: gateways", "direct, closed loop", "gateways")
});
/// CPU of routers for a direct message under a load with large batches.
pub static ROUTER_BATCHED: LazyLock<Cost> =
    LazyLock::new(|| measured("direct message in large batches: routers", "direct, closed loop", "routers"));
/// CPU of Redis for a direct message under a load with large batches.
pub static REDIS_BATCHED: LazyLock<Cost> =
    LazyLock::new(|| measured("direct message in large batches: Redis", "direct, closed loop", "Redis"));
/// CPU of gateways for a direct message at a low rate, with batches of one. Each
/// reader acknowledges once a second all the same.
pub static GATEWAY_ALONE: LazyLock<Cost> =
    LazyLock::new(|| measured("direct message alone, and four acks: gateways", "direct, alone", "gateways"));
/// CPU of routers for a direct message at a low rate.
pub static ROUTER_ALONE: LazyLock<Cost> =
    LazyLock::new(|| measured("direct message alone, and four acks: routers", "direct, alone", "routers"));
/// CPU of Redis for a direct message at a low rate.
pub static REDIS_ALONE: LazyLock<Cost> =
    LazyLock::new(|| measured("direct message alone, and four acks: Redis", "direct, alone", "Redis"));
/// CPU of gateways for one delivery of a group's message.
pub static GATEWAY_DELIVERY: LazyLock<Cost> =
    LazyLock::new(|| measured("a group's delivery: gateways", "group of 20", "gateways"));
/// CPU of routers for a group's message, for each member.
pub static ROUTER_DELIVERY: LazyLock<Cost> =
    LazyLock::new(|| measured("a group's delivery: routers", "group of 20", "routers"));
/// CPU of Redis for a group's message, for each member.
pub static REDIS_DELIVERY: LazyLock<Cost> =
    LazyLock::new(|| measured("a group's delivery: Redis", "group of 20", "Redis"));
/// CPU of the gateway when a session begins with a cursor.
pub static GATEWAY_ATTACH: LazyLock<Cost> =
    LazyLock::new(|| measured("an attach with one page: gateways", "storm", "gateways"));
/// CPU of the router when a session begins with a cursor.
pub static ROUTER_ATTACH: LazyLock<Cost> =
    LazyLock::new(|| measured("an attach with one page: routers", "storm", "routers"));
/// CPU of Redis when a session begins with a cursor.
pub static REDIS_ATTACH: LazyLock<Cost> =
    LazyLock::new(|| measured("an attach with one page: Redis", "storm", "Redis"));

/// CPU of Redis for one PUBLISH.
pub static PUBLISH: Cost = cost("a PUBLISH among others", 0.9, "µs", REDIS);
/// CPU of Redis when a gateway prolongs its lease and publishes its nonce.
pub static LEASE: Cost = cost("a gateway's lease and nonce", 12.0, "µs", REDIS);
/// CPU of Redis for what a router reads each second. The list of nodes is read only
/// when it has changed.
pub static LOOKS: Cost = cost("a router's looks at Redis, each second", 60.0, "µs", REDIS);
/// CPU of a gateway for an envelope with nothing but a count.
pub static HEAR: Cost = cost(
    "an envelope without content: gateway",
    5.0,
    "µs",
    "callgrind, `make instructions`, and a read of the socket",
);

/// Resident memory of a gateway for each session.
pub static CONNECTION: LazyLock<Cost> =
    LazyLock::new(|| measured("an idle WebSocket: gateway", "idle WebSocket", "gateways"));
/// Memory of Redis for one location.
pub static LOCATION: LazyLock<Cost> =
    LazyLock::new(|| measured("a session's location: Redis", "idle WebSocket", "Redis"));
/// Memory of Redis for a user and the user's part of conversations, without entries of
/// logs and inboxes: records, marks, members, groups' changes.
pub static USER: Cost = cost("a user's record, and of conversations: Redis", 2_500.0, "B", STORED);
/// Memory of Redis for an entry of an inbox, with `list-compress-depth 1`.
pub static INBOX_ENTRY: Cost = cost("an inbox entry: Redis", 29.0, "B", INBOX);
/// Memory of Redis for an entry of a log, without the body.
pub static MESSAGE: Cost = cost("a message in its log beside its body: Redis", 70.0, "B", MEMORY);
/// Memory of Redis for a repeat key, which is kept for up to two days.
pub static REPEAT_KEY: Cost = cost("a repeat key, for two days: Redis", 66.0, "B", STORED);

/// Bytes between a client and a gateway for a message and its answer, without the
/// body.
pub static CLIENT_SEND: Cost =
    cost("a send and its answer, beside the body: client to gateway", 300.0, "B", SIZES);
/// Bytes between a gateway and a client for a delivery, without the body.
pub static CLIENT_DELIVERY: Cost =
    cost("a delivery and its ack, beside the body: gateway to client", 260.0, "B", SIZES);
/// Bytes between a gateway and a router for a message, without the body.
pub static LINK_MESSAGE: Cost =
    cost("a message and its answer, beside the body: gateway to router", 200.0, "B", SIZES);
/// Bytes between a router and Redis for a message, without the body.
pub static STORE_MESSAGE: Cost = cost("a message, beside the body: router to Redis", 350.0, "B", SIZES);
/// Bytes between a router and Redis for each inbox.
pub static STORE_FILING: Cost = cost("a filing: router to Redis", 150.0, "B", SIZES);
/// Bytes between Redis and a gateway for a delivery, without the body.
pub static BUS_MESSAGE: Cost =
    cost("an envelope of one message, beside the body: Redis to gateway", 190.0, "B", SIZES);

/// All costs, in the order of `docs/PERFORMANCE.md`.
pub static ALL: LazyLock<Vec<&'static Cost>> = LazyLock::new(|| {
    vec![
        &GATEWAY_MESSAGE,
        &ROUTER_MESSAGE,
        &REDIS_MESSAGE,
        &REDIS_STEPS,
        &GATEWAY_BATCHED,
        &ROUTER_BATCHED,
        &REDIS_BATCHED,
        &GATEWAY_ALONE,
        &ROUTER_ALONE,
        &REDIS_ALONE,
        &GATEWAY_DELIVERY,
        &ROUTER_DELIVERY,
        &REDIS_DELIVERY,
        &GATEWAY_ATTACH,
        &ROUTER_ATTACH,
        &REDIS_ATTACH,
        &PUBLISH,
        &LEASE,
        &HEAR,
        &CONNECTION,
        &LOCATION,
        &USER,
        &INBOX_ENTRY,
        &MESSAGE,
        &REPEAT_KEY,
        &CLIENT_SEND,
        &CLIENT_DELIVERY,
        &LINK_MESSAGE,
        &STORE_MESSAGE,
        &STORE_FILING,
        &BUS_MESSAGE,
        &LOOKS,
    ]
});
