//! Messages through any number of gateways, routers and primaries: how busy each is,
//! how large batches become, how long a message takes, and how much of the work is
//! for the bus and for heartbeats.
//!
//! A message goes from its sender's gateway to a router, waits there for the
//! batch before it, is posted (one call on a single primary; numbered, filed
//! and announced in three rounds on several), and reaches its readers'
//! gateways in one envelope for each batch and gateway. Processes are stations
//! (`station`); a process with several cores is a station that is so many times
//! faster.

mod cluster;
mod outcome;
mod prices;
mod work;

pub use self::outcome::{ORIGINS, Outcome};

use anyhow::{Result, ensure};
use serde::Serialize;

use self::cluster::Cluster;
use super::need::{Habits, Machines, Need, SHORT};
use crate::workload::progress;

/// The cluster and the load that are simulated.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Plan {
    /// Number of gateways.
    pub gateways: usize,
    /// Number of routers.
    pub routers: usize,
    /// Number of primaries. One primary takes a batch in one call.
    pub primaries: usize,
    /// Messages in a second, from all users together.
    pub rate: f64,
    /// The mean number of members for whom a message is filed.
    pub filings: f64,
    /// The mean number of devices that get a message.
    pub readers: f64,
    /// Acknowledgements of devices for each copy that they get.
    pub acks: f64,
    /// Cores of each gateway and of each router.
    pub cores: f64,
    /// Seconds that a packet takes from one process to another and back.
    pub round_trip: f64,
    /// Seconds that are simulated.
    pub seconds: f64,
    /// Starts the random numbers: the same seed gives the same run.
    pub seed: u64,
}

impl Plan {
    /// The nodes that so many users need, at their peak.
    pub fn of(users: f64) -> Self {
        // If all messages were kept in Redis, memory alone would decide.
        let habits = Habits { kept: SHORT, ..Habits::default() };
        let machines = Machines::default();
        let need = Need::of(users, &habits, &machines);
        Self {
            gateways: need.gateways as usize,
            routers: need.routers as usize,
            // There are no more primaries with work than there are buckets, however
            // many memory needs.
            primaries: need.primaries.min(1_024.0) as usize,
            rate: need.messages,
            filings: habits.filed_for(),
            readers: habits.heard_by(),
            acks: (need.sessions / need.deliveries).min(1.0),
            cores: machines.gateway_cores,
            round_trip: 0.0003,
            seconds: 1.0,
            seed: 1,
        }
    }

    /// Fails if the plan cannot be simulated.
    pub fn check(&self) -> Result<()> {
        ensure!(self.gateways > 0 && self.routers > 0 && self.primaries > 0, "at least one of each");
        ensure!(self.primaries <= 1_024, "there are 1,024 buckets: no more primaries have work");
        let positive = [self.rate, self.filings, self.cores, self.seconds];
        ensure!(positive.iter().all(|number| number.is_finite() && *number > 0.0), "more than nothing");
        ensure!(self.acks >= 0.0 && self.readers >= 0.0 && self.round_trip >= 0.0, "not less than nothing");
        Ok(())
    }
}

/// Simulates a plan. Fails when the plan has nothing to simulate.
pub fn run(plan: &Plan) -> Result<Outcome> {
    plan.check()?;
    let mut cluster = Cluster::new(plan);
    let bar = progress::count("simulating", (plan.seconds * 1000.0) as usize);
    let mut looked = 0.0;
    while let Some(now) = cluster.goes_on() {
        if now > looked {
            bar.set_position((now * 1000.0) as u64);
            looked = now + plan.seconds / 200.0;
        }
    }
    bar.finish_and_clear();
    Ok(cluster.outcome())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::costs as cost;

    fn small() -> Plan {
        Plan {
            gateways: 2,
            routers: 2,
            primaries: 1,
            rate: 4_000.0,
            filings: 2.0,
            readers: 1.0,
            acks: 0.5,
            cores: 1.0,
            round_trip: 0.0001,
            seconds: 2.0,
            seed: 3,
        }
    }

    #[test]
    fn every_message_is_delivered_to_as_many_as_hear_it() {
        for plan in [
            small(),
            Plan { primaries: 4, readers: 2.5, filings: 5.0, rate: 1_000.0, ..small() },
            Plan { gateways: 50, routers: 20, primaries: 30, rate: 10_000.0, seconds: 1.0, ..small() },
        ] {
            let outcome = run(&plan).unwrap();
            assert!(outcome.keeps_up, "{outcome}");
            let each = outcome.deliveries as f64 / outcome.messages as f64;
            assert!((each / plan.readers - 1.0).abs() < 0.03, "{outcome}");
        }
    }

    #[test]
    fn alone_a_message_costs_what_one_alone_was_measured_to_cost() {
        let outcome = run(&Plan { rate: 10.0, acks: 1.0, seconds: 200.0, ..small() }).unwrap();
        let beats = (2.0 * cost::LEASE.value + 2.0 * cost::LOOKS.value) / 10.0;
        // Two gateways and two routers give Redis work each second.
        let wakes = 4.0 / 10.0 * (cost::REDIS_ALONE.value - cost::REDIS_BATCHED.value) / 2.0;
        let alone = cost::GATEWAY_ALONE.value + cost::ROUTER_ALONE.value + cost::REDIS_ALONE.value;
        let expected = alone + cost::PUBLISH.value + beats + wakes;
        assert!((outcome.cpu / expected - 1.0).abs() < 0.03, "{} for {expected}: {outcome}", outcome.cpu);
    }

    #[test]
    fn under_load_it_costs_less_and_no_less_than_in_large_batches() {
        let alone = run(&Plan { rate: 100.0, acks: 1.0, seconds: 10.0, ..small() }).unwrap().cpu;
        let loaded = run(&Plan { rate: 8_000.0, ..small() }).unwrap();
        let batched = cost::GATEWAY_BATCHED.value + cost::ROUTER_BATCHED.value + cost::REDIS_BATCHED.value;
        assert!(loaded.cpu < alone * 0.8 && loaded.cpu > batched, "{loaded}");
        assert!(loaded.batch > 1.0 && loaded.per_envelope >= 1.0);
    }

    #[test]
    fn more_than_the_primary_can_do_does_not_keep_up() {
        let most = 1e6 / cost::REDIS_BATCHED.value;
        let plan = Plan { cores: 16.0, seconds: 1.0, ..small() };
        assert!(!run(&Plan { rate: most * 2.0, ..plan }).unwrap().keeps_up);
        assert!(run(&Plan { rate: most * 0.5, ..plan }).unwrap().keeps_up);
    }

    #[test]
    fn a_seed_repeats_a_run() {
        let plan = Plan { gateways: 20, routers: 10, primaries: 6, seconds: 0.3, ..small() };
        let text = |plan: &Plan| serde_json::to_string(&run(plan).unwrap()).unwrap();
        assert_eq!(text(&plan), text(&plan));
        assert_ne!(text(&plan), text(&Plan { seed: 4, ..plan }));
    }
}
