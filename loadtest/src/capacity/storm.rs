//! A zone is lost. Its sessions come back to the nodes that are left: how long does
//! that take?
//!
//! A session that begins costs its gateway CPU (to accept it and to check the
//! token). It waits there for one of a bounded number of turns; with a turn it costs
//! a router and a primary CPU. Clients spread their return over some seconds. A
//! client that waits too long gives up, and tries again after a pause that grows;
//! the work for the attempt was in vain. Other work takes a share of each process.

use std::collections::VecDeque;
use std::fmt;

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;

use super::agenda::Agenda;
use super::costs as cost;
use super::need::{Habits, Machines, Need, SHORT};
use super::station::{self, Station};
use super::{Busy, Times, record, times};
use crate::workload::progress;

/// Pieces of work that a process takes together, at most, once it has done those
/// before.
const AT_ONCE: usize = 64;

/// The storm that is simulated.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Plan {
    /// Sessions that come back.
    pub sessions: usize,
    /// Gateways that are left.
    pub gateways: usize,
    /// Routers that are left.
    pub routers: usize,
    /// Primaries after the loss, with the replicas that were promoted.
    pub primaries: usize,
    /// Cores of each gateway and of each router.
    pub cores: f64,
    /// Sessions that may begin at the same time on one gateway
    /// (`--attaches-at-once`).
    pub turns: usize,
    /// Seconds over which clients spread their return.
    pub spread: f64,
    /// Seconds after which a client gives up and comes again.
    pub patience: f64,
    /// Share of every process that other work takes.
    pub background: f64,
    /// CPU microseconds of a gateway for each connection, in addition to what was
    /// measured: the TLS handshake, if gateways do it.
    pub handshake: f64,
    /// Seconds that a packet takes from one process to another and back.
    pub round_trip: f64,
    /// Starts the random numbers: the same seed gives the same run.
    pub seed: u64,
}

/// The result of a simulated storm.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The storm that was simulated.
    pub plan: Plan,
    /// For each session, the time from the loss until it was back.
    pub back: Times,
    /// Seconds until all sessions were back.
    pub all: f64,
    /// Seconds that the busiest kind of process needs at least.
    pub at_least: f64,
    /// The busiest kind: `gateways`, `routers` or `primaries`.
    pub limit: &'static str,
    /// Attempts that clients gave up.
    pub given_up: u64,
    /// The most sessions that waited for a turn on one gateway.
    pub line: usize,
    /// How busy the gateways were until all sessions were back.
    pub gateways: Busy,
    /// How busy the routers were until all sessions were back.
    pub routers: Busy,
    /// How busy the primaries were until all sessions were back.
    pub primaries: Busy,
}

/// One attempt of one client to come back.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    client: u32,
    number: u16,
    gateway: u32,
}

enum Event {
    Comes(u32),
    GivesUp(Attempt),
    GatewayDone(usize, Vec<Attempt>),
    RouterDone(usize, Vec<Attempt>),
    PrimaryDone(usize, Vec<Attempt>),
    ToRouter(Attempt),
    ToPrimary(Attempt),
    Attached(Attempt),
}

#[derive(Debug, Clone, Copy, Default)]
struct Client {
    attempt: u16,
    back: bool,
}

struct Zone {
    plan: Plan,
    /// Seconds of a gateway, a router and a primary for one session.
    takes: [f64; 3],
    agenda: Agenda<Event>,
    random: StdRng,
    gateways: Vec<Station<Attempt>>,
    routers: Vec<Station<Attempt>>,
    primaries: Vec<Station<Attempt>>,
    turns: Vec<usize>,
    lines: Vec<VecDeque<Attempt>>,
    clients: Vec<Client>,
    back: Histogram<u64>,
    missing: usize,
    given_up: u64,
    longest: usize,
}

impl Plan {
    /// A third of the sessions of so many users, on two thirds of their nodes. If
    /// that is more than `most` sessions, `most` are simulated on a cluster that is
    /// smaller in the same proportion.
    pub fn of(users: f64, most: f64) -> Self {
        let machines = Machines::default();
        let need = Need::of(users, &Habits { kept: SHORT, ..Habits::default() }, &machines);
        let scale = (most / (need.sessions / 3.0)).min(1.0);
        let left = |nodes: f64| (nodes * scale * 2.0 / 3.0).ceil().max(1.0) as usize;
        Self {
            sessions: (need.sessions / 3.0 * scale) as usize,
            gateways: left(need.gateways),
            routers: left(need.routers),
            // Replicas in other zones have become primaries.
            primaries: (need.primaries.min(1_024.0) * scale).ceil().max(1.0) as usize,
            cores: machines.gateway_cores,
            turns: 256,
            spread: 5.0,
            patience: 20.0,
            background: machines.filled,
            handshake: 0.0,
            round_trip: 0.0003,
            seed: 1,
        }
    }

    /// Fails if the plan cannot be simulated.
    pub fn check(&self) -> Result<()> {
        ensure!(self.sessions > 0 && self.gateways > 0 && self.routers > 0, "at least one of each");
        ensure!(self.primaries > 0 && self.turns > 0, "at least one of each");
        ensure!(u32::try_from(self.sessions).is_ok(), "too many sessions");
        ensure!((0.0..1.0).contains(&self.background), "--background: 0 to 1, and less than 1");
        let numbers = [self.spread, self.handshake, self.round_trip];
        ensure!(numbers.iter().all(|number| number.is_finite() && *number >= 0.0), "not less than nothing");
        ensure!(self.cores > 0.0 && self.patience > 0.0, "more than nothing");
        Ok(())
    }

    /// Seconds that an attach takes at a gateway, a router and a primary.
    fn takes(&self) -> [f64; 3] {
        let rest = 1e6 * (1.0 - self.background);
        [
            (cost::GATEWAY_ATTACH.value + self.handshake) / self.cores / rest,
            cost::ROUTER_ATTACH.value / self.cores / rest,
            cost::REDIS_ATTACH.value / rest,
        ]
    }

    /// The seconds that the busiest kind of process needs if no attempt is in vain,
    /// and the name of that kind.
    fn at_least(&self) -> (f64, &'static str) {
        let nodes = [self.gateways, self.routers, self.primaries];
        let names = ["gateways", "routers", "primaries"];
        let each = self.takes().into_iter().zip(nodes).zip(names);
        each.map(|((takes, nodes), name)| (takes * self.sessions as f64 / nodes as f64, name))
            .fold((0.0, ""), |most, one| if one.0 > most.0 { one } else { most })
    }
}

/// Runs the simulation until all sessions are back.
pub fn run(plan: &Plan) -> Result<Outcome> {
    plan.check()?;
    let mut zone = Zone::new(plan);
    for client in 0..plan.sessions {
        let at = zone.random.random::<f64>() * plan.spread;
        zone.agenda.after(at, Event::Comes(u32::try_from(client)?));
    }
    let bar = progress::count("returning", plan.sessions);
    let mut events = 0_u64;
    while zone.missing > 0 {
        let Some(event) = zone.agenda.next() else { break };
        zone.happens(event);
        events += 1;
        if events.is_multiple_of(65_536) {
            bar.set_position((plan.sessions - zone.missing) as u64);
        }
        // Pauses grow, so a run that goes on for so long would end some day, but
        // nobody waits for that.
        ensure!(zone.agenda.now() < 24.0 * 3600.0, "after a day {} are not back", zone.missing);
    }
    bar.finish_and_clear();
    Ok(zone.outcome())
}

impl Zone {
    fn new(plan: &Plan) -> Self {
        Self {
            plan: *plan,
            takes: plan.takes(),
            agenda: Agenda::new(),
            random: StdRng::seed_from_u64(plan.seed),
            gateways: (0..plan.gateways).map(|_| Station::new(0.0, AT_ONCE)).collect(),
            routers: (0..plan.routers).map(|_| Station::new(0.0, AT_ONCE)).collect(),
            primaries: (0..plan.primaries).map(|_| Station::new(0.0, AT_ONCE)).collect(),
            turns: vec![plan.turns; plan.gateways],
            lines: vec![VecDeque::new(); plan.gateways],
            clients: vec![Client::default(); plan.sessions],
            back: times(),
            missing: plan.sessions,
            given_up: 0,
            longest: 0,
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Comes(client) => self.comes(client),
            Event::GivesUp(attempt) => self.gives_up(attempt),
            Event::GatewayDone(gateway, attempts) => {
                attempts.into_iter().for_each(|attempt| self.stands_in_line(attempt));
                self.gateway_begins(gateway);
            }
            Event::RouterDone(router, attempts) => {
                attempts.into_iter().for_each(|attempt| self.travel(Event::ToPrimary(attempt)));
                self.router_begins(router);
            }
            Event::PrimaryDone(primary, attempts) => {
                attempts.into_iter().for_each(|attempt| self.travel(Event::Attached(attempt)));
                self.primary_begins(primary);
            }
            Event::ToRouter(attempt) => {
                let router = self.random.random_range(0..self.plan.routers);
                if self.routers[router].give(attempt, self.takes[1]) {
                    self.router_begins(router);
                }
            }
            Event::ToPrimary(attempt) => {
                let primary = self.random.random_range(0..self.plan.primaries);
                if self.primaries[primary].give(attempt, self.takes[2]) {
                    self.primary_begins(primary);
                }
            }
            Event::Attached(attempt) => self.attached(attempt),
        }
    }

    fn comes(&mut self, client: u32) {
        let gateway = self.random.random_range(0..self.plan.gateways);
        let number = self.clients[client as usize].attempt;
        let attempt = Attempt { client, number, gateway: gateway as u32 };
        self.agenda.after(self.plan.patience, Event::GivesUp(attempt));
        if self.gateways[gateway].give(attempt, self.takes[0]) {
            self.gateway_begins(gateway);
        }
    }

    fn gives_up(&mut self, attempt: Attempt) {
        if !self.stands(attempt) {
            return;
        }
        self.given_up += 1;
        let client = &mut self.clients[attempt.client as usize];
        client.attempt += 1;
        let longest = self.plan.spread.max(1.0) * f64::from(1_u32 << client.attempt.min(5));
        let pause = longest * self.random.random_range(0.5..1.0);
        self.agenda.after(pause, Event::Comes(attempt.client));
    }

    /// Whether the client still waits for this attempt.
    fn stands(&self, attempt: Attempt) -> bool {
        let client = self.clients[attempt.client as usize];
        !client.back && client.attempt == attempt.number
    }

    fn stands_in_line(&mut self, attempt: Attempt) {
        let gateway = attempt.gateway as usize;
        self.lines[gateway].push_back(attempt);
        self.longest = self.longest.max(self.lines[gateway].len());
        self.next_turn(gateway);
    }

    /// Takes the next attempt from the line; those that were given up are passed
    /// over.
    fn next_turn(&mut self, gateway: usize) {
        while self.turns[gateway] > 0 {
            let Some(attempt) = self.lines[gateway].pop_front() else { return };
            if self.stands(attempt) {
                self.turns[gateway] -= 1;
                self.travel(Event::ToRouter(attempt));
            }
        }
    }

    fn attached(&mut self, attempt: Attempt) {
        let gateway = attempt.gateway as usize;
        self.turns[gateway] += 1;
        if self.stands(attempt) {
            self.clients[attempt.client as usize].back = true;
            self.missing -= 1;
            record(&mut self.back, self.agenda.now());
        }
        self.next_turn(gateway);
    }

    fn gateway_begins(&mut self, gateway: usize) {
        if let Some((attempts, seconds)) = self.gateways[gateway].begin() {
            self.agenda.after(seconds, Event::GatewayDone(gateway, attempts));
        }
    }

    fn router_begins(&mut self, router: usize) {
        if let Some((attempts, seconds)) = self.routers[router].begin() {
            self.agenda.after(seconds, Event::RouterDone(router, attempts));
        }
    }

    fn primary_begins(&mut self, primary: usize) {
        if let Some((attempts, seconds)) = self.primaries[primary].begin() {
            self.agenda.after(seconds, Event::PrimaryDone(primary, attempts));
        }
    }

    fn travel(&mut self, event: Event) {
        self.agenda.after(self.plan.round_trip / 2.0, event);
    }

    fn outcome(self) -> Outcome {
        let seconds = self.agenda.now();
        let (at_least, limit) = self.plan.at_least();
        Outcome {
            plan: self.plan,
            back: Times::of(&self.back),
            all: seconds,
            at_least,
            limit,
            given_up: self.given_up,
            line: self.longest,
            gateways: station::busy(&self.gateways, seconds),
            routers: station::busy(&self.routers, seconds),
            primaries: station::busy(&self.primaries, seconds),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let p = &self.plan;
        writeln!(
            f,
            "storm: {} sessions come back over {:.1} s to {} gateways, {} routers, {} primaries, {:.0} % busy with other things; seed {}",
            p.sessions,
            p.spread,
            p.gateways,
            p.routers,
            p.primaries,
            p.background * 100.0,
            p.seed
        )?;
        writeln!(
            f,
            "  all back after {:.1} s, half after {:.1}, 99 % after {:.1}",
            self.all,
            self.back.p50 / 1000.0,
            self.back.p99 / 1000.0
        )?;
        writeln!(f, "  the limit are the {}: {:.1} s of work each", self.limit, self.at_least)?;
        writeln!(
            f,
            "  {} attempts were given up after {:.0} s; at most {} waited for one of {} turns of a gateway",
            self.given_up, p.patience, self.line, p.turns
        )?;
        let busy = [("gateways", &self.gateways), ("routers", &self.routers), ("primaries", &self.primaries)];
        for (name, busy) in busy {
            writeln!(
                f,
                "  {name:10} {:.0} % of what was left to them, the busiest {:.0} %",
                busy.mean * 100.0,
                busy.most * 100.0
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Plan {
        Plan {
            sessions: 20_000,
            gateways: 4,
            routers: 3,
            primaries: 2,
            cores: 1.0,
            turns: 256,
            spread: 0.0,
            patience: 1_000.0,
            background: 0.0,
            handshake: 0.0,
            round_trip: 0.0003,
            seed: 5,
        }
    }

    #[test]
    fn all_at_once_take_as_long_as_the_busiest_kind() {
        for plan in [
            small(),
            Plan { primaries: 1, ..small() },
            Plan { handshake: 1_000.0, ..small() },
            Plan { background: 0.5, ..small() },
        ] {
            let outcome = run(&plan).unwrap();
            let over = outcome.all / outcome.at_least;
            assert!((1.0..1.2).contains(&over), "{over}: {outcome}");
            assert_eq!(outcome.given_up, 0);
        }
    }

    #[test]
    fn those_who_come_slowly_wait_for_nothing() {
        let work = run(&small()).unwrap().at_least;
        let outcome = run(&Plan { spread: work * 4.0, ..small() }).unwrap();
        assert!((outcome.all / (work * 4.0) - 1.0).abs() < 0.05, "{outcome}");
        // Half of the sessions come in the first half of the time.
        assert!((outcome.back.p50 / 1000.0 / (work * 2.0) - 1.0).abs() < 0.05, "{outcome}");
    }

    #[test]
    fn turns_bound_what_is_under_way() {
        // Little: one turn at a time lasts two hops, a router's and a primary's
        // work; the rest stands in line.
        let plan = Plan { gateways: 1, turns: 1, sessions: 2_000, ..small() };
        let [_, router, primary] = plan.takes();
        let outcome = run(&plan).unwrap();
        let each = router + primary + 1.5 * plan.round_trip;
        assert!((outcome.all / (each * 2_000.0) - 1.0).abs() < 0.05, "{outcome}");
        assert!(outcome.line > 500);
    }

    #[test]
    fn impatience_makes_it_longer_and_everybody_comes_back_all_the_same() {
        let calm = run(&small()).unwrap();
        let hasty = run(&Plan { patience: calm.all / 4.0, ..small() }).unwrap();
        assert!(hasty.given_up > 0 && hasty.all > calm.all, "{hasty}");
    }

    #[test]
    fn a_tenth_on_a_tenth_takes_as_long() {
        let plan = Plan { sessions: 60_000, gateways: 20, routers: 10, primaries: 10, ..small() };
        let tenth = Plan { sessions: 6_000, gateways: 2, routers: 1, primaries: 1, ..plan };
        let (whole, tenth) = (run(&plan).unwrap(), run(&tenth).unwrap());
        assert!((tenth.all / whole.all - 1.0).abs() < 0.15, "{whole}{tenth}");
    }
}
