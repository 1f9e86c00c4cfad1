//! The result of a simulation, and how it is printed.

use std::fmt;

use serde::Serialize;

use super::Plan;
use crate::capacity::{Busy, Times};

/// Routers whose envelopes a gateway can count. With more routers it forgets some, and
/// every session catches up.
pub const ORIGINS: usize = 1_024;
/// The share of the time at the beginning that is left out of the result.
pub(super) const WARM: f64 = 0.2;

/// What a run measured.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The cluster and the load that were simulated.
    pub plan: Plan,
    /// Messages in the time that counts.
    pub messages: u64,
    /// Messages that were handed to devices in that time.
    pub deliveries: u64,
    /// The times from the sender's socket to the readers'.
    pub latency: Times,
    /// Whether as much was delivered as was sent.
    pub keeps_up: bool,
    /// How busy the gateways were.
    pub gateways: Busy,
    /// How busy the routers were.
    pub routers: Busy,
    /// How busy the primaries were.
    pub primaries: Busy,
    /// CPU of all processes for a message, in microseconds.
    pub cpu: f64,
    /// The mean number of messages in a router's batch.
    pub batch: f64,
    /// Envelopes published in a second.
    pub envelopes: f64,
    /// The mean number of deliveries in an envelope.
    pub per_envelope: f64,
    /// Share of the primary that has the leases, for leases and routers' looks.
    pub leases: f64,
    /// Counts that routers publish for gateways in a second.
    pub counts: f64,
    /// Streams between gateways and routers.
    pub links: usize,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let p = &self.plan;
        writeln!(
            f,
            "bus: {} gateways, {} routers, {} primaries, {:.0} messages/s, each filed for {:.1} and heard by {:.1}; {:.1} s, seed {}",
            p.gateways, p.routers, p.primaries, p.rate, p.filings, p.readers, p.seconds, p.seed
        )?;
        let verdict = if self.keeps_up { "keeps up" } else { "DOES NOT KEEP UP" };
        writeln!(
            f,
            "  {verdict}: {:.0} deliveries/s, latency p50 {:.2} ms, p99 {:.2}, max {:.2}",
            self.deliveries as f64 / (p.seconds * (1.0 - WARM)),
            self.latency.p50,
            self.latency.p99,
            self.latency.max
        )?;
        for (name, busy) in
            [("gateways", &self.gateways), ("routers", &self.routers), ("primaries", &self.primaries)]
        {
            writeln!(
                f,
                "  {name:10} {:.0} % busy, the busiest {:.0} %; {:.1} at once",
                busy.mean * 100.0,
                busy.most * 100.0,
                busy.batch
            )?;
        }
        writeln!(
            f,
            "  a message  {:.0} µs of CPU in all; a router's batch {:.1}; {:.0} envelopes/s of {:.2} deliveries",
            self.cpu, self.batch, self.envelopes, self.per_envelope
        )?;
        writeln!(
            f,
            "  heartbeats {:.1} % of the primary with the leases, {:.0} counts/s, {} links",
            self.leases * 100.0,
            self.counts,
            self.links
        )?;
        if p.routers > ORIGINS {
            writeln!(
                f,
                "  NOTE       more than {ORIGINS} routers: gateways forget their numbers, and sessions catch up for nothing"
            )?;
        }
        if self.leases > 0.6 {
            writeln!(f, "  NOTE       the leases alone are too much for their primary")?;
        }
        Ok(())
    }
}
