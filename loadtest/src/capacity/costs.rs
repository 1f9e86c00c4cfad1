//! What things cost, each with the command that has measured it. The table of
//! costs in `docs/PERFORMANCE.md` is written from it; `docs/CAPACITY.md` and the
//! simulation reckon with it. To measure anew, run the commands, put the figures
//! here, and run `make capacity`.

/// A measured cost.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Of what.
    pub of: &'static str,
    /// How much.
    pub value: f64,
    /// Of what unit.
    pub unit: &'static str,
    /// How it was found.
    pub how: &'static str,
}

const fn cost(of: &'static str, value: f64, unit: &'static str, how: &'static str) -> Cost {
    Cost { of, value, unit, how }
}

const DIRECT: &str = "`loadtest run --spawn gateways=2,routers=2 --scenario direct --users 2000 --rate 5000`";
const BATCHED: &str = "the same with `--closed`";
const ALONE: &str =
    "the same with `--rate 500`: next to nothing gathers, and each reader acks once a second all the same";
const STEPS: &str = "the same at 5,000/s with `--steps`: what a Cluster does, on one primary";
const GROUP: &str =
    "`loadtest run --spawn gateways=2,routers=2 --scenario groups --users 2000 --members 20 --rate 250`";
const STORM: &str = "`loadtest run --spawn gateways=2,routers=2 --scenario storm --users 10000`";
const IDLE: &str = "`loadtest run --spawn gateways=2,routers=2 --scenario idle --users 20000`";
const REDIS: &str = "`redis-benchmark -P 128`";
const MEMORY: &str = "`used_memory` before and after 100,000 of them, `loadtest run --scenario direct`";
const SIZES: &str =
    "lengths of the frames in `gateway/benches/instructions.rs`, and 20 % for TCP, IP and TLS";

/// CPU of both gateways for a direct message.
pub const GATEWAY_MESSAGE: Cost = cost("direct message: gateways", 89.0, "µs", DIRECT);
/// CPU of the router for a direct message.
pub const ROUTER_MESSAGE: Cost = cost("direct message: routers", 39.0, "µs", DIRECT);
/// CPU of Redis for a direct message, one call.
pub const REDIS_MESSAGE: Cost = cost("direct message: Redis, one call", 79.0, "µs", DIRECT);
/// The same step by step.
pub const REDIS_STEPS: Cost = cost("direct message: Redis, step by step", 88.0, "µs", STEPS);

/// The same where much gathers.
pub const GATEWAY_BATCHED: Cost = cost("direct message in large batches: gateways", 48.0, "µs", BATCHED);
/// The same where much gathers.
pub const ROUTER_BATCHED: Cost = cost("direct message in large batches: routers", 13.0, "µs", BATCHED);
/// The same where much gathers.
pub const REDIS_BATCHED: Cost = cost("direct message in large batches: Redis", 52.0, "µs", BATCHED);

/// The same where nothing gathers.
pub const GATEWAY_ALONE: Cost = cost("direct message alone, and four acks: gateways", 330.0, "µs", ALONE);
/// The same where nothing gathers.
pub const ROUTER_ALONE: Cost = cost("direct message alone, and four acks: routers", 218.0, "µs", ALONE);
/// The same where nothing gathers.
pub const REDIS_ALONE: Cost = cost("direct message alone, and four acks: Redis", 280.0, "µs", ALONE);

/// CPU of gateways for one delivery of a group's message.
pub const GATEWAY_DELIVERY: Cost = cost("a group's delivery: gateways", 58.0, "µs", GROUP);
/// CPU of routers for filing it for one member.
pub const ROUTER_DELIVERY: Cost = cost("a group's delivery: routers", 24.0, "µs", GROUP);
/// CPU of Redis for filing it for one member.
pub const REDIS_DELIVERY: Cost = cost("a group's delivery: Redis", 84.0, "µs", GROUP);

/// CPU of the gateway for a session that begins with a cursor.
pub const GATEWAY_ATTACH: Cost = cost("an attach with one page: gateways", 86.0, "µs", STORM);
/// CPU of the router.
pub const ROUTER_ATTACH: Cost = cost("an attach with one page: routers", 30.0, "µs", STORM);
/// CPU of Redis.
pub const REDIS_ATTACH: Cost = cost("an attach with one page: Redis", 43.0, "µs", STORM);

/// CPU of Redis.
pub const PUBLISH: Cost = cost("a PUBLISH among others", 0.9, "µs", REDIS);
/// CPU of Redis for a gateway's lease and nonce.
pub const LEASE: Cost = cost("a gateway's lease and nonce", 12.0, "µs", REDIS);
/// CPU of Redis for what a router looks at each second, the names of nodes apart.
pub const LOOKS: Cost = cost("a router's looks at Redis, each second", 60.0, "µs", REDIS);
/// CPU of Redis for each name when a router asks which nodes live.
pub const NODE_NAME: Cost = cost("a name in the list of nodes", 0.15, "µs", REDIS);
/// CPU of a gateway for an envelope that says only a count.
pub const HEAR: Cost = cost(
    "an envelope without content: gateway",
    5.0,
    "µs",
    "callgrind, `make instructions`, and a read of the socket",
);

/// Resident memory of a gateway.
pub const CONNECTION: Cost = cost("an idle WebSocket: gateway", 3.4 * 1024.0, "B", IDLE);
/// Redis, for one location.
pub const LOCATION: Cost = cost("a session's location: Redis", 200.0, "B", IDLE);
/// Redis, for a user's record, inbox and marks without their entries.
pub const USER: Cost = cost("a user's record: Redis", 1_000.0, "B", MEMORY);
/// Redis, for an entry of an inbox.
pub const INBOX_ENTRY: Cost = cost("an inbox entry: Redis", 45.0, "B", MEMORY);
/// Redis, beside the body.
pub const MESSAGE: Cost = cost("a message in its log beside its body: Redis", 70.0, "B", MEMORY);
/// Redis, kept for two days.
pub const REPEAT_KEY: Cost = cost("a repeat key, for two days: Redis", 60.0, "B", MEMORY);

/// Between a client and a gateway, beside the body: a message and its answer.
pub const CLIENT_SEND: Cost =
    cost("a send and its answer, beside the body: client to gateway", 300.0, "B", SIZES);
/// Between a gateway and a client, beside the body.
pub const CLIENT_DELIVERY: Cost =
    cost("a delivery and its ack, beside the body: gateway to client", 260.0, "B", SIZES);
/// Between gateway and router, beside the body.
pub const LINK_MESSAGE: Cost =
    cost("a message and its answer, beside the body: gateway to router", 200.0, "B", SIZES);
/// Between router and Redis, beside the body.
pub const STORE_MESSAGE: Cost = cost("a message, beside the body: router to Redis", 350.0, "B", SIZES);
/// Between router and Redis for each inbox.
pub const STORE_FILING: Cost = cost("a filing: router to Redis", 150.0, "B", SIZES);
/// Between Redis and a gateway, beside the body.
pub const BUS_MESSAGE: Cost =
    cost("an envelope of one message, beside the body: Redis to gateway", 190.0, "B", SIZES);

/// All of them, in the order of the page.
pub const ALL: [&Cost; 33] = [
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
    &NODE_NAME,
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
];
