//! What a run has shown: for people as text, for programs as JSON.

mod text;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::history::Report;
use crate::workload::record::millis;
use crate::workload::{Sample, Servers, Settings};

/// A run's results. What a scenario does not measure is absent.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Summary {
    /// The scenario, as the command line names it.
    pub scenario: &'static str,
    /// What was under load.
    pub server: &'static str,
    /// How users were connected.
    pub transports: String,
    /// Whether each user waited for its own message before the next.
    pub closed: bool,
    /// Repeats the run.
    pub seed: u64,
    /// Users who were connected.
    pub users: usize,
    /// Seconds that were measured, without warm-up.
    pub seconds: f64,
    /// Seconds from then until all that was under way had arrived.
    pub settled: f64,
    /// The messages and what became of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<Messages>,
    /// From the moment in which a message should have been sent to its arrival
    /// at the reader.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// Quantiles (0 to 1) of latency and their milliseconds, for a curve.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percentiles: Vec<(f64, f64)>,
    /// CPU in the measured time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// Whether this program was the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generator: Option<Generator>,
    /// Each process in the measured time, this program last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<ProcessCost>,
    /// Of users who were away and came back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub returns: Option<Returns>,
    /// Of the Redis that was started for the run, in the measured time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<LongestCall>,
    /// What takes the memory of the Redis that was started for the run, where that was
    /// asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored: Option<Stored>,
    /// Memory of idle connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryPerConnection>,
    /// Every broken promise in words, the first ones.
    pub violations: Vec<String>,
    /// The whole run, warm-up included, interval by interval.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub series: Vec<Sample>,
}

/// What one process cost.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ProcessCost {
    /// Its name, as reports show it.
    pub name: String,
    /// Cores that it kept busy.
    pub cores: f64,
    /// Resident bytes at the end.
    pub resident: u64,
}

/// Users who were away and came back all at once. Times in milliseconds from
/// the moment at which all began to return.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Returns {
    /// Users who came back.
    pub users: usize,
    /// Messages that waited for each.
    pub backlog: usize,
    /// Attempts beyond the first, of all together.
    pub retries: u64,
    /// Until connected; `max` is when all were.
    pub back: Latency,
    /// Until everything that had been missed was there.
    pub caught_up: Latency,
    /// Messages a second that were caught up with.
    pub messages_per_second: f64,
    /// CPU microseconds of all servers that are known per user who came back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_per_user: Option<f64>,
}

/// How long one call has held Redis up, by its slow log.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LongestCall {
    /// The longest, in milliseconds; 0 if none took 5 ms.
    pub millis: f64,
    /// Which: its first words, of a script the beginning of its hash.
    pub command: String,
    /// Calls of more than 20 ms.
    pub beyond: usize,
}

/// The keys of a Redis.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Stored {
    /// The kinds of keys, those first that take most.
    pub kinds: Vec<KeyKind>,
}

/// All keys of one kind.
#[derive(Debug, Clone, Default, Serialize)]
pub struct KeyKind {
    /// What their names begin with, behind the bucket: see ARCHITECTURE.md.
    pub name: String,
    /// How many keys.
    pub keys: u64,
    /// Elements of these lists, hashes and sets, and strings.
    pub elements: u64,
    /// Their memory, and that of their names.
    pub bytes: u64,
}

/// How this program itself kept up.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Generator {
    /// Cores that it kept busy.
    pub cores: f64,
    /// Milliseconds that its own timers were late, 99 of 100 below.
    pub late_p99: f64,
    /// Milliseconds from when a message should have been sent to when it was,
    /// 99 of 100 below. Over one-way transports a request that is under way
    /// delays the next.
    pub schedule_p99: f64,
    /// It could not follow its schedule: what was measured is this program.
    pub was_the_limit: bool,
}

/// Counts over the whole run, the measured time and what was before and after.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Messages {
    /// Messages a second that were to be sent; 0 in a closed loop.
    pub rate: f64,
    /// Messages a second that were sent, in the measured time.
    pub sent_rate: f64,
    /// Messages a second that reached their reader, in the measured time.
    pub delivered_rate: f64,
    /// Messages whose sending began.
    pub sent: usize,
    /// Answered with `sent`.
    pub acknowledged: usize,
    /// Answered with `error`.
    pub refused: usize,
    /// Not acknowledged by the end.
    pub unanswered: usize,
    /// Times that a user dropped its connection and came back.
    pub reconnects: u64,
    /// Copies that reached a reader in the measured time.
    pub delivered: u64,
    /// Acknowledged and not delivered, or delivered to some only.
    pub missing: usize,
    /// Deliveries of a message that its device had already.
    pub repeated: usize,
    /// Delivered in the wrong order.
    pub reordered: usize,
    /// The codes of refusals, the first ones.
    pub refusals: Vec<String>,
}

/// Latencies in milliseconds.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Latency {
    /// Half of all are below.
    pub p50: f64,
    /// 9 of 10 are below.
    pub p90: f64,
    /// 99 of 100 are below.
    pub p99: f64,
    /// 999 of 1,000 are below.
    pub p999: f64,
    /// The slowest of all.
    pub max: f64,
}

/// CPU microseconds per delivered message, by kind of process. A kind of which
/// no process is known was not measured, and is absent.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Cpu {
    /// All gateways together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateways: Option<f64>,
    /// All routers together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routers: Option<f64>,
    /// Redis, if this run started it or knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<f64>,
    /// Other server processes that were named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub others: Option<f64>,
    /// All servers that are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub servers: Option<f64>,
    /// This program: not a cost of the servers.
    pub generator: f64,
    /// How many of the machine's cores all that is known kept busy, this
    /// program included.
    pub cores_busy: f64,
}

/// Bytes per connection, from the growth between few and all. A kind of which
/// no process is known was not measured, and is absent.
#[derive(Debug, Clone, Default, Serialize)]
pub struct MemoryPerConnection {
    /// Connections between the two looks.
    pub connections: usize,
    /// Of all gateways together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_bytes: Option<f64>,
    /// Of all routers together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router_bytes: Option<f64>,
    /// Of Redis, for locations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis_bytes: Option<f64>,
    /// Of all gateways together, for everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateways_total: Option<u64>,
}

/// Above this many milliseconds at 99 of 100 of its own timers this program
/// was the limit.
const LATE: f64 = 20.0;

impl Summary {
    /// What is known before anything was measured.
    pub(crate) fn new(scenario: &'static str, servers: &Servers, settings: &Settings, users: usize) -> Self {
        Self {
            scenario,
            server: servers.kind.name(),
            transports: settings.transports.to_string(),
            seed: settings.seed,
            users,
            ..Self::default()
        }
    }

    /// Whether every promise was kept and nothing was refused.
    pub fn is_clean(&self) -> bool {
        let answered = |messages: &Messages| messages.refused == 0 && messages.unanswered == 0;
        self.violations.is_empty() && self.messages.as_ref().is_none_or(answered)
    }

    /// Whether the generator was the limit.
    pub fn is_generators(&self) -> bool {
        self.generator.as_ref().is_some_and(|generator| generator.was_the_limit)
    }
}

impl Generator {
    /// From its CPU, how late its timers were, and how late its messages.
    pub(crate) fn of(cores: f64, late: &Histogram<u64>, schedule: &Histogram<u64>) -> Self {
        let late_p99 = millis(late, 0.99);
        Self { cores, late_p99, schedule_p99: millis(schedule, 0.99), was_the_limit: late_p99 > LATE }
    }
}

/// The curve of a histogram, denser toward its end.
pub(crate) fn percentiles(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    if histogram.is_empty() {
        return Vec::new();
    }
    // 0, 0.5, 0.75 …: each step halves what is left above.
    let halves = (0..=68).map(|step| 1.0 - 0.5_f64.powf(f64::from(step) / 4.0));
    let known = halves.take_while(|quantile| (1.0 - quantile) * histogram.len() as f64 >= 0.5);
    known.map(|quantile| (quantile, millis(histogram, quantile))).collect()
}

impl Messages {
    /// The counts of the checker.
    pub fn of(report: &Report) -> Self {
        Self {
            sent: report.sent,
            acknowledged: report.acknowledged,
            missing: report.missing(),
            repeated: report.repeated(),
            reordered: report.reordered(),
            ..Self::default()
        }
    }
}

impl Latency {
    /// Of microseconds; all 0 without any.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile: f64| millis(histogram, quantile);
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: at(1.0) }
    }
}
