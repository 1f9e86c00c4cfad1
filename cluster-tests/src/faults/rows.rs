//! The rows of the matrix. Order: processes that die, that stand still, that are
//! restarted; ways that break, that are slow; a bus that cannot be relied on; who
//! is called present, and ready; stores; clocks and descriptors; standalone.

use std::fmt;
use std::time::Duration;

use testbed::Direction;

use super::{Fault, Part, StoreFault};
use crate::{Between, Builder, Cluster, StoreKind};

/// One row: a cluster, and what happens to it.
#[derive(Debug, Clone)]
pub struct Row {
    /// What it is called with, and listed as.
    pub name: String,
    /// The cluster on which it happens.
    pub stage: Stage,
    /// One after another, each after the one before has healed.
    pub trials: Vec<Trial>,
    /// The store loses writes: who has seen them is told `reset`.
    pub may_reset: bool,
    /// No client sees an error, or a connection that ends before it left it.
    pub is_unfelt: bool,
    /// Somebody is there whose gateway dies, and somebody else watches.
    pub has_ghost: bool,
    /// These say that they are not ready while it lasts, and are ready afterwards.
    pub red: Vec<Part>,
}

/// The cluster of a row: two gateways and two routers on this store, or standalone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// A single Redis, with a proxy on each way.
    Single,
    /// The same, written step by step as a Cluster is.
    Steps,
    /// The same without proxies, each process with a clock of its own.
    Clocks,
    /// The same without proxies, its data on a small disk.
    SmallDisk,
    /// A primary, a replica and three sentinels.
    Sentinel,
    /// The same, and nothing is answered before the replica has it.
    SentinelWaits,
    /// A Redis Cluster of three primaries with a replica each.
    Replicated,
    /// The same, and nothing is answered before the replica has it.
    ReplicatedWaits,
    /// As `Replicated`, and clients are a user of Redis of their own.
    Isolable,
    /// As `ReplicatedWaits`, and clients are a user of Redis of their own.
    IsolableWaits,
    /// Standalone: one process, with its own store.
    Standalone,
    /// The same with a clock of its own.
    StandaloneClock,
    /// The same, its data on a small disk.
    StandaloneSmallDisk,
}

/// A fault, and how long it lasts.
#[derive(Debug, Clone, Copy)]
pub struct Trial {
    /// The fault that begins first.
    pub fault: Fault,
    /// What breaks together with it.
    pub also: Option<Fault>,
    /// From when it has begun until it is mended.
    pub lasts: Duration,
    /// So many messages at least are acknowledged meanwhile: the others go on.
    pub least: usize,
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.also {
            Some(also) => write!(f, "{} and {also}", self.fault),
            None => write!(f, "{}", self.fault),
        }
    }
}

impl Stage {
    /// How its cluster is built.
    pub fn builder(self) -> Builder {
        let on = |store| Cluster::builder().store(store).gateway_flags("--drain 10s");
        let alone = || on(StoreKind::Embedded).gateways(1).routers(0);
        let waits = "--store-replicas 1";
        // Sentinels must not be mistaken for clients, and clients not for them.
        let client = ["on", "~*", "&*", "+@all"].map(str::to_owned);
        match self {
            Self::Single => on(StoreKind::Single).ways(),
            Self::Steps => on(StoreKind::Steps).ways(),
            Self::Clocks => on(StoreKind::Single).clocks(),
            Self::SmallDisk => on(StoreKind::Single).small_disk(),
            Self::Sentinel => on(StoreKind::Sentinel).redis_user(client.into()),
            Self::SentinelWaits => on(StoreKind::Sentinel).redis_user(client.into()).router_flags(waits),
            Self::Replicated => on(StoreKind::Replicated),
            Self::ReplicatedWaits => on(StoreKind::Replicated).router_flags(waits),
            Self::Isolable => on(StoreKind::Replicated).redis_user(client.into()),
            Self::IsolableWaits => on(StoreKind::Replicated).redis_user(client.into()).router_flags(waits),
            Self::Standalone => alone(),
            Self::StandaloneClock => alone().clocks(),
            Self::StandaloneSmallDisk => alone().small_disk(),
        }
    }

    /// Whether whatever was answered is with the replica that may be promoted.
    pub fn waits(self) -> bool {
        matches!(self, Self::SentinelWaits | Self::ReplicatedWaits | Self::IsolableWaits)
    }
}

/// Acknowledged during a fault that leaves a way to write.
const SOME: usize = 10;

/// Longer than a watchdog's 2 s.
const SECONDS_5: Duration = Duration::from_secs(5);
/// Shorter than a node's lease of 10 s.
const SECONDS_8: Duration = Duration::from_secs(8);
/// Longer than that.
const SECONDS_14: Duration = Duration::from_secs(14);
/// Longer than the silence of 30 s after which a router ends a link.
const SECONDS_35: Duration = Duration::from_secs(35);

/// The rows of the matrix, in the order in which they are run.
pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    rows.extend(deaths());
    rows.extend(standstills());
    rows.push(Row {
        is_unfelt: true,
        ..row("rolling-restart", [trial(Fault::RollingRestart, Duration::ZERO, SOME)])
    });
    rows.extend(partitions());
    rows.extend(bad_ways());
    rows.extend(presence());
    rows.extend(stores());
    rows.extend(machines());
    rows.extend(standalone());
    rows
}

fn deaths() -> Vec<Row> {
    let second = Duration::from_secs(1);
    let die = |part, least| trial(Fault::Kill(part), second, least);
    let both = [Part::Gateway(0), Part::Router(1), Part::Gateway(1), Part::Router(0)];
    let in_turn: Vec<_> = both.map(|part| die(part, 1)).into();
    vec![
        row("kill-gateway", [die(Part::Gateway(0), 1), die(Part::Gateway(1), 1)]),
        row("kill-router", [die(Part::Router(0), 1), die(Part::Router(1), 1)]),
        row("kill-redis", [die(Part::Redis, 0), die(Part::Redis, 0)]),
        Row { stage: Stage::Steps, ..row("kill-in-turn-steps", in_turn) },
    ]
}

fn standstills() -> Vec<Row> {
    let stand = |part, lasts, least| trial(Fault::Freeze(part), lasts, least);
    let short = Duration::from_millis(700);
    vec![
        row("freeze-gateway-short", [stand(Part::Gateway(0), SECONDS_8, SOME)]),
        row("freeze-gateway-long", [stand(Part::Gateway(0), SECONDS_14, SOME)]),
        row("freeze-router-short", [stand(Part::Router(0), short, 1)]),
        row("freeze-router-watchdog", [stand(Part::Router(0), SECONDS_5, SOME)]),
        row("freeze-router-lease", [stand(Part::Router(1), SECONDS_14, SOME)]),
        row("freeze-router-long", [stand(Part::Router(0), SECONDS_35, SOME)]),
        row("freeze-redis-short", [stand(Part::Redis, short, 0)]),
        row("freeze-redis-watchdog", [stand(Part::Redis, SECONDS_5, 0)]),
        row("freeze-redis-lease", [stand(Part::Redis, SECONDS_14, 0)]),
    ]
}

fn partitions() -> Vec<Row> {
    let pairs = [
        ("gateway-router", Between::GatewayAndRouter(0, 0), SECONDS_8),
        ("gateway-routers", Between::GatewayAndRouters(0), SECONDS_5),
        ("gateway-redis", Between::GatewayAndStore(0), SECONDS_14),
        ("router-redis", Between::RouterAndStore(0), SECONDS_8),
        ("one-router", Between::RouterAndAll(1), SECONDS_8),
    ];
    let directions = [("", Direction::Both), ("-up", Direction::Up), ("-down", Direction::Down)];
    let mut rows = Vec::new();
    for (pair, between, lasts) in pairs {
        for (suffix, direction) in directions {
            let fault = Fault::Partition(between, direction);
            rows.push(row(&format!("partition-{pair}{suffix}"), [trial(fault, lasts, SOME)]));
        }
    }
    rows
}

fn bad_ways() -> Vec<Row> {
    let on_all = [
        ("lag", Fault::Lag(Between::All, Duration::from_millis(60))),
        ("drip", Fault::Drip(Between::All)),
        ("bus", Fault::Bus(15)),
    ];
    let mut rows: Vec<_> =
        on_all.into_iter().map(|(name, fault)| row(name, [trial(fault, SECONDS_8, SOME)])).collect();
    let half_open = [
        ("gateway-routers", Between::GatewayAndRouters(0)),
        ("gateway-redis", Between::GatewayAndStore(0)),
        ("router-redis", Between::RouterAndStore(0)),
    ];
    for (pair, between) in half_open {
        rows.push(row(&format!("half-open-{pair}"), [trial(Fault::HalfOpen(between), SECONDS_5, SOME)]));
    }
    let refuse = Fault::Refuse(Between::RouterAndAll(0));
    rows.push(row("refuse-one-router", [trial(refuse, SECONDS_5, SOME)]));
    rows.push(Row { stage: Stage::Steps, ..row("bus-steps", [trial(Fault::Bus(15), SECONDS_8, SOME)]) });
    rows
}

fn presence() -> Vec<Row> {
    let all = vec![Part::Gateway(0), Part::Gateway(1), Part::Router(0), Part::Router(1)];
    let die = trial(Fault::Kill(Part::Gateway(0)), SECONDS_14, SOME);
    let stand = trial(Fault::Freeze(Part::Redis), SECONDS_8, 0);
    let deaf = Fault::Partition(Between::GatewayAndStore(0), Direction::Both);
    let alone = Fault::Partition(Between::GatewayAndRouters(0), Direction::Both);
    let mute = Fault::Partition(Between::RouterAndStore(0), Direction::Both);
    let one = |part| vec![part];
    vec![
        Row { has_ghost: true, ..row("ghost", [die]) },
        Row { red: all, ..row("readiness-redis", [stand]) },
        Row { red: one(Part::Gateway(0)), ..row("readiness-gateway-redis", [trial(deaf, SECONDS_8, SOME)]) },
        Row {
            red: one(Part::Gateway(0)),
            ..row("readiness-gateway-routers", [trial(alone, SECONDS_8, SOME)])
        },
        Row { red: one(Part::Router(0)), ..row("readiness-router-redis", [trial(mute, SECONDS_8, SOME)]) },
    ]
}

fn stores() -> Vec<Row> {
    let of = |name: &str, stage, fault: StoreFault, lasts| Row {
        stage,
        may_reset: fault.loses_writes(),
        ..row(name, [trial(Fault::Store(fault), lasts, 0)])
    };
    vec![
        of("sentinel-failover", Stage::Sentinel, StoreFault::Failover, SECONDS_8),
        of("sentinel-failover-waits", Stage::SentinelWaits, StoreFault::Failover, SECONDS_8),
        of("isolated-primary", Stage::Sentinel, StoreFault::IsolatedPrimary, SECONDS_5),
        of("isolated-primary-waits", Stage::SentinelWaits, StoreFault::IsolatedPrimary, SECONDS_5),
        of("cluster-failover", Stage::Replicated, StoreFault::ClusterFailover, SECONDS_8),
        of("cluster-failover-waits", Stage::ReplicatedWaits, StoreFault::ClusterFailover, SECONDS_8),
        of("cluster-isolated-primary", Stage::Isolable, StoreFault::IsolatedInCluster, SECONDS_5),
        of("cluster-isolated-primary-waits", Stage::IsolableWaits, StoreFault::IsolatedInCluster, SECONDS_5),
        of("cluster-primary-lost", Stage::Replicated, StoreFault::PrimaryLost, SECONDS_8),
        of("cluster-slots-move", Stage::Replicated, StoreFault::SlotsMove, Duration::ZERO),
        of("torn-tail", Stage::Single, StoreFault::TornTail, Duration::from_secs(1)),
        of("memory-full", Stage::Single, StoreFault::MemoryFull, SECONDS_5),
        of("disk-full", Stage::SmallDisk, StoreFault::DiskFull, SECONDS_5),
    ]
}

fn machines() -> Vec<Row> {
    let parts = [("gateway", Part::Gateway(0)), ("router", Part::Router(0))];
    let mut rows = Vec::new();
    let jumps = |part| [3600, -3600].map(|seconds| trial(Fault::Clock(part, seconds), SECONDS_5, SOME));
    for (name, part) in parts.into_iter().chain([("redis", Part::Redis)]) {
        rows.push(Row { stage: Stage::Clocks, ..row(&format!("clock-{name}"), jumps(part)) });
    }
    for (name, part) in parts {
        let short = trial(Fault::Descriptors(part), SECONDS_5, SOME);
        rows.push(row(&format!("descriptors-{name}"), [short]));
    }
    rows
}

/// What may happen to one process with its own store.
fn standalone() -> Vec<Row> {
    let (whole, second) = (Part::Gateway(0), Duration::from_secs(1));
    let alone = |name: &str, trials: &[Trial]| Row {
        stage: Stage::Standalone,
        ..row(&format!("standalone-{name}"), trials)
    };
    let die = trial(Fault::Kill(whole), second, 0);
    let jumps = [3600, -3600].map(|seconds| trial(Fault::Clock(whole, seconds), SECONDS_5, SOME));
    vec![
        alone("kill", &[die, die, die]),
        alone("freeze", &[trial(Fault::Freeze(whole), SECONDS_5, 0)]),
        alone("freeze-long", &[trial(Fault::Freeze(whole), SECONDS_14, 0)]),
        alone("restart", &[trial(Fault::RollingRestart, Duration::ZERO, 0)]),
        alone("descriptors", &[trial(Fault::Descriptors(whole), SECONDS_5, SOME)]),
        Row { stage: Stage::StandaloneClock, ..alone("clock", &jumps) },
        Row {
            stage: Stage::StandaloneSmallDisk,
            ..alone("disk-full", &[trial(Fault::Store(StoreFault::DiskFull), SECONDS_5, 0)])
        },
    ]
}

/// The rows of `make upgrade`: from the older programs to the newer, back, and again.
pub fn upgrades() -> Vec<Row> {
    let steps = [Fault::Upgrade, Fault::Rollback, Fault::Upgrade];
    let steps = steps.map(|step| trial(step, Duration::ZERO, 0));
    let on = |name: &str, stage| Row { stage, ..row(&format!("upgrade-{name}"), steps) };
    vec![
        Row { is_unfelt: true, ..on("single", Stage::Single) },
        Row { is_unfelt: true, ..on("steps", Stage::Steps) },
        Row { is_unfelt: true, ..on("cluster", Stage::Replicated) },
        // One process: its clients wait for it while it is started again.
        on("standalone", Stage::Standalone),
    ]
}

fn row(name: &str, trials: impl Into<Vec<Trial>>) -> Row {
    Row {
        name: name.to_owned(),
        stage: Stage::Single,
        trials: trials.into(),
        may_reset: false,
        is_unfelt: false,
        has_ghost: false,
        red: Vec::new(),
    }
}

fn trial(fault: Fault, lasts: Duration, least: usize) -> Trial {
    Trial { fault, also: None, lasts, least }
}
