//! What a run has shown: for people as text, for programs as JSON.

use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::history::Report;

/// A run's results. What a scenario does not measure is absent.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Which.
    pub scenario: &'static str,
    /// Repeats the run.
    pub seed: u64,
    /// Connected.
    pub users: usize,
    /// Measured seconds.
    pub seconds: f64,
    /// The messages and what became of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<Messages>,
    /// From the moment in which a message should have been sent to its arrival
    /// at the reader.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// CPU in the measured time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// Memory of idle connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryPerConnection>,
    /// Every broken promise in words, the first ones.
    pub violations: Vec<String>,
}

/// Counts over the whole run, the measured time and what was before and after.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Messages {
    /// Messages a second that were to be sent.
    pub rate: f64,
    /// Messages a second that reached their reader, in the measured time.
    pub delivered_rate: f64,
    /// Begun.
    pub sent: usize,
    /// Answered with `sent`.
    pub acknowledged: usize,
    /// Answered with `error`.
    pub refused: usize,
    /// Copies that reached a reader in the measured time.
    pub delivered: u64,
    /// Acknowledged and not delivered, or delivered to some only.
    pub missing: usize,
    /// Delivered twice.
    pub repeated: usize,
    /// Delivered in the wrong order.
    pub reordered: usize,
    /// The codes of refusals, the first ones.
    pub refusals: Vec<String>,
}

/// Milliseconds.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Latency {
    /// The median.
    pub p50: f64,
    /// 9 of 10 are below.
    pub p90: f64,
    /// 99 of 100 are below.
    pub p99: f64,
    /// 999 of 1,000 are below.
    pub p999: f64,
    /// The highest.
    pub max: f64,
}

/// CPU microseconds per delivered message, by kind of process.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Cpu {
    /// All gateways together.
    pub gateways: f64,
    /// All routers together.
    pub routers: f64,
    /// Redis.
    pub redis: f64,
    /// Other server processes that were named.
    pub others: f64,
    /// All servers.
    pub servers: f64,
    /// This program: not a cost of the servers.
    pub generator: f64,
    /// How many of the machine's cores all of it together kept busy.
    pub cores_busy: f64,
}

/// Bytes per connection, from the growth between few and all.
#[derive(Debug, Clone, Default, Serialize)]
pub struct MemoryPerConnection {
    /// Connections between the two looks.
    pub connections: usize,
    /// Of all gateways together.
    pub gateway_bytes: f64,
    /// Of all routers together.
    pub router_bytes: f64,
    /// Of Redis.
    pub redis_bytes: f64,
    /// Of all gateways together, for everything.
    pub gateways_total: u64,
}

impl Summary {
    /// Whether every promise was kept and nothing was refused.
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty() && self.messages.as_ref().is_none_or(|messages| messages.refused == 0)
    }
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
    /// Of microseconds.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: at(1.0) }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} users, {:.1} s measured, seed {}",
            self.scenario, self.users, self.seconds, self.seed
        )?;
        if let Some(m) = &self.messages {
            writeln!(
                f,
                "  messages   {} sent, {} acknowledged, {} refused; {:.0}/s delivered of {:.0}/s",
                m.sent, m.acknowledged, m.refused, m.delivered_rate, m.rate
            )?;
            writeln!(
                f,
                "  promises   {} missing, {} repeated, {} reordered",
                m.missing, m.repeated, m.reordered
            )?;
            for refusal in &m.refusals {
                writeln!(f, "  refused    {refusal}")?;
            }
        }
        if let Some(l) = &self.latency {
            writeln!(
                f,
                "  latency    p50 {:.2} ms, p90 {:.2}, p99 {:.2}, p99.9 {:.2}, max {:.2}",
                l.p50, l.p90, l.p99, l.p999, l.max
            )?;
        }
        if let Some(c) = &self.cpu {
            writeln!(
                f,
                "  CPU        {:.1} µs per delivered message (gateways {:.1}, routers {:.1}, redis {:.1}, others {:.1})",
                c.servers, c.gateways, c.routers, c.redis, c.others
            )?;
            writeln!(
                f,
                "             generator {:.1} µs; {:.2} cores busy in all",
                c.generator, c.cores_busy
            )?;
        }
        if let Some(m) = &self.memory {
            writeln!(
                f,
                "  memory     {:.2} KiB per idle connection in gateways, {:.2} in routers, {:.2} in redis (gateways {:.1} MiB in all)",
                m.gateway_bytes / 1024.0,
                m.router_bytes / 1024.0,
                m.redis_bytes / 1024.0,
                m.gateways_total as f64 / 1024.0 / 1024.0
            )?;
        }
        for violation in &self.violations {
            writeln!(f, "  {violation}")?;
        }
        Ok(())
    }
}
