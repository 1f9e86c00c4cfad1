//! The same workloads against this project, against a Socket.IO cluster,
//! against Centrifugo, and against a bare relay: in turns on one machine,
//! because nothing else can be compared.
//!
//! In reading order: [`Plan`], [`Contender`] (what is compared), `servers` (how
//! each is started), [`relay`] (the floor), `search` (the largest rate), `board`
//! (figures and ratios).

mod board;
mod contender;
pub mod relay;
mod search;
mod servers;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use testbed::Binaries;

use board::Board;
pub use contender::Contender;
pub use servers::{Running, switchboard, switchboard_on};

use crate::results::Sheet;
use crate::summary::Summary;
use crate::workload::{self, Kind, Servers, Settings};

/// What is compared, and for how long.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What is compared, in this order within each round.
    pub contenders: Vec<Contender>,
    /// What is measured.
    pub scenarios: Vec<Scenario>,
    /// How often; each starts every server anew.
    pub rounds: usize,
    /// Of each measurement.
    pub seconds: Duration,
    /// In pairs, for `direct`.
    pub users: usize,
    /// Messages a second at which CPU is measured, for `direct`.
    pub rates: Vec<f64>,
    /// Where the search for the largest rate ends.
    pub most: f64,
    /// Subscribers of the room.
    pub subscribers: usize,
    /// Deliveries a second in the room, and in the group.
    pub deliveries: f64,
    /// Members of the groups, each measured.
    pub members: Vec<usize>,
    /// Connections of `idle`.
    pub idle: usize,
    /// Users who drop and return.
    pub storm: usize,
    /// Users who were away and resume.
    pub resume: usize,
    /// Messages that each of them missed.
    pub missed: usize,
    /// Bytes of a body.
    pub body: usize,
    /// Decides who writes when.
    pub seed: u64,
    /// Where other servers are installed to, and found the next time.
    pub work: PathBuf,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// Pairs on different nodes.
    Direct,
    /// A channel with many subscribers.
    Room,
    /// A group whose members all write: elsewhere a channel.
    Groups,
    /// Connections that say nothing.
    Idle,
    /// All drop and return at once.
    Storm,
    /// All were away, return at once, and are given what they missed.
    Resume,
}

/// Measures all. A server that cannot be started is left out with a line that
/// says why; a measurement that fails is an error of this project's servers and
/// a line for others.
pub async fn run(plan: &Plan, binaries: &Arc<Binaries>) -> Result<Sheet> {
    let mut board = Board::new(plan.rounds);
    let mut left_out = Vec::new();
    let turns = plan.rounds * plan.contenders.len();
    eprintln!(
        "versus: {turns} turns of {} scenarios, at most {} minutes. Nothing else should run on this machine \
         meanwhile.",
        plan.scenarios.len(),
        (plan.turn() * u32::try_from(turns)?).as_secs().div_ceil(60)
    );
    for round in 1..=plan.rounds {
        for (index, &contender) in plan.contenders.iter().enumerate() {
            if left_out.contains(&contender) {
                continue;
            }
            let (kind, name) = (contender.kind(), contender.name());
            board.note(format!("{name}: {}", contender.promise()));
            let turn = (round - 1) * plan.contenders.len() + index + 1;
            eprintln!("versus: turn {turn} of {turns}: {name}, round {round} of {}", plan.rounds);
            let running = match start(plan, kind, binaries).await {
                Ok(running) => running,
                Err(error) if kind != Kind::Switchboard => {
                    left_out.push(contender);
                    let line = format!("{name} left out: {error:#}");
                    eprintln!("versus: {line}");
                    board.note(line);
                    continue;
                }
                Err(error) => return Err(error),
            };
            for (program, version) in servers::versions(kind, &plan.work) {
                board.version(program, version);
            }
            for &scenario in &plan.scenarios {
                eprintln!("versus:   {scenario:?}");
                match measure(plan, contender, &running.servers, scenario, &mut board).await {
                    Ok(()) => {}
                    Err(error) if kind != Kind::Switchboard => {
                        board.note(format!("{name}: {scenario:?} failed: {error:#}"));
                    }
                    Err(error) => return Err(error.context(format!("{name}: {scenario:?}"))),
                }
            }
        }
    }
    Ok(board.finish(&plan.contenders))
}

async fn start(plan: &Plan, kind: Kind, binaries: &Arc<Binaries>) -> Result<Running> {
    match kind {
        Kind::Switchboard => switchboard(binaries, 2, 2).await,
        Kind::SocketIo => servers::socketio(&plan.work).await,
        Kind::Socketioxide => servers::socketioxide(&plan.work).await,
        Kind::Centrifugo | Kind::CentrifugoHistory => servers::centrifugo(&plan.work, kind).await,
        Kind::Relay => servers::relay().await,
    }
}

async fn measure(
    plan: &Plan,
    contender: Contender,
    servers: &Servers,
    scenario: Scenario,
    board: &mut Board,
) -> Result<()> {
    let settings = plan.settings(contender);
    match scenario {
        Scenario::Direct => direct(plan, contender, servers, board).await?,
        Scenario::Room => {
            let rate = plan.deliveries / plan.subscribers as f64;
            let settings = Settings { users: plan.subscribers, rate, ..settings };
            let summary = workload::room::run(servers, &settings).await?;
            sound(&summary, board)?;
            let name = format!("room of {} at {:.0}/s: CPU per delivery", plan.subscribers, plan.deliveries);
            costs(&summary, contender, &name, "room", board);
        }
        Scenario::Groups => {
            for &members in &plan.members {
                let rate = plan.deliveries / members as f64;
                let settings = Settings { users: members, members, rate, ..settings.clone() };
                let summary = workload::groups::run(servers, &settings).await?;
                sound(&summary, board)?;
                let name = format!("group of {members} at {:.0}/s: CPU per delivery", plan.deliveries);
                costs(&summary, contender, &name, "group", board);
            }
        }
        Scenario::Idle => {
            let settings = Settings { users: plan.idle, duration: Duration::from_secs(2), ..settings };
            let summary = workload::idle::run(servers, &settings).await?;
            // The generator is the last.
            if let Some((_, processes)) = summary.processes.split_last() {
                let cores: f64 = processes.iter().map(|process| process.cores).sum();
                let each = cores * 1e6 / plan.idle as f64;
                board.add(contender, "idle: CPU of each connection, a second", "µs", each);
            }
            let memory = summary.memory.unwrap_or_default();
            let kib = |bytes: f64| bytes / 1024.0;
            board.add_known(
                contender,
                "idle: memory of gateways per connection",
                "KiB",
                memory.gateway_bytes.map(kib),
            );
            let all = [memory.gateway_bytes, memory.router_bytes, memory.redis_bytes];
            let all = memory.gateway_bytes.map(|_| all.into_iter().flatten().sum()).map(kib);
            board.add_known(contender, "idle: memory of all per connection", "KiB", all);
        }
        Scenario::Storm => {
            let settings = Settings { users: plan.storm, ..settings };
            let summary = workload::storm::run(servers, &settings).await?;
            sound(&summary, board)?;
            let returns = summary.returns.unwrap_or_default();
            let name = format!("storm of {}", plan.storm);
            board.add(contender, &format!("{name}: all back"), "ms", returns.back.max);
            board.add(contender, &format!("{name}: all back and caught up"), "ms", returns.caught_up.max);
            board.add_known(contender, &format!("{name}: CPU per user"), "µs", returns.cpu_per_user);
        }
        Scenario::Resume if !contender.kind().keeps() => {}
        Scenario::Resume => {
            let settings = Settings { users: plan.resume, backlog: plan.missed, ..settings };
            let summary = workload::catchup::run(servers, &settings).await?;
            sound(&summary, board)?;
            let returns = summary.returns.unwrap_or_default();
            let name = format!("{} who missed {} messages each", plan.resume, plan.missed);
            board.add(contender, &format!("{name}: all caught up"), "ms", returns.caught_up.max);
            board.add_known(contender, &format!("{name}: CPU per user"), "µs", returns.cpu_per_user);
        }
    }
    Ok(())
}

/// CPU at fixed rates, a closed loop, the largest rate, and latencies at half
/// of that.
async fn direct(plan: &Plan, contender: Contender, servers: &Servers, board: &mut Board) -> Result<()> {
    let settings = plan.settings(contender);
    for &rate in &plan.rates {
        let summary = workload::direct::run(servers, &Settings { rate, ..settings.clone() }).await?;
        sound(&summary, board)?;
        costs(&summary, contender, &format!("direct at {rate:.0}/s: CPU per message"), "direct", board);
    }
    let closed = Settings { closed: true, ..settings.clone() };
    let summary = workload::direct::run(servers, &closed).await?;
    sound(&summary, board)?;
    let delivered = summary.messages.as_ref().map_or(0.0, |messages| messages.delivered_rate);
    board.add(contender, "direct, closed loop: delivered", "/s", delivered);
    board.add_known(
        contender,
        "direct, closed loop: CPU per message",
        "µs",
        summary.cpu.as_ref().and_then(|cpu| cpu.servers),
    );

    let largest = search::largest(plan, contender, servers, board).await?;
    board.add(contender, "direct: largest rate without loss", "/s", largest);
    let half = Settings { rate: largest / 2.0, ..settings.clone() };
    let summary = workload::direct::run(servers, &half).await?;
    let latency = summary.latency.as_ref();
    board.add_known(contender, "direct at half of its largest rate: p50", "ms", latency.map(|of| of.p50));
    board.add_known(contender, "direct at half of its largest rate: p99", "ms", latency.map(|of| of.p99));
    Ok(())
}

fn costs(summary: &Summary, contender: Contender, name: &str, scenario: &str, board: &mut Board) {
    let latency = summary.latency.as_ref();
    let at = name.split(':').next().unwrap_or(scenario);
    board.add_known(contender, name, "µs", summary.cpu.as_ref().and_then(|cpu| cpu.servers));
    let delivered = summary.messages.as_ref().map(|messages| messages.delivered_rate);
    board.add_known(contender, &format!("{at}: delivered"), "/s", delivered);
    board.add_known(contender, &format!("{at}: p50"), "ms", latency.map(|latency| latency.p50));
    board.add_known(contender, &format!("{at}: p99"), "ms", latency.map(|latency| latency.p99));
}

/// A figure of a run that lost something is none.
fn sound(summary: &Summary, board: &mut Board) -> Result<()> {
    if summary.is_generators() {
        board.note(format!("{} on {}: the generator was the limit", summary.scenario, summary.server));
    }
    if summary.is_clean() {
        return Ok(());
    }
    let first = summary.violations.first().cloned();
    let refusal = summary.messages.as_ref().and_then(|messages| messages.refusals.first().cloned());
    bail!("{}: {}", summary.scenario, first.or(refusal).unwrap_or_else(|| "not all was answered".to_owned()))
}

impl Plan {
    /// Refuses what cannot be measured.
    pub fn check(&self) -> Result<()> {
        ensure!(self.rounds > 0, "--rounds: at least 1");
        ensure!(!self.contenders.is_empty() && !self.scenarios.is_empty(), "nothing to measure");
        ensure!(self.subscribers >= 2 && self.idle >= 10 && self.storm >= 2, "too few users");
        ensure!(self.members.iter().all(|members| (2..=500).contains(members)), "--members: 2 to 500");
        ensure!(self.resume >= 2 && (1..=9_000).contains(&self.missed), "--missed: 1 to 9000");
        ensure!(self.rates.iter().all(|rate| rate.is_finite() && *rate > 0.0), "--rates: more than nothing");
        ensure!(self.deliveries.is_finite() && self.deliveries > 0.0, "--deliveries: more than nothing");
        self.settings(Contender::Switchboard).check()
    }

    /// What one contender takes in one round, at most about.
    fn turn(&self) -> Duration {
        let around = Duration::from_secs(8);
        // Fixed rates, closed loop, half of the largest; and the search for it.
        let direct = self.rates.len() as u32 + 2 + search::STEPS;
        let runs = self.scenarios.iter().map(|scenario| match scenario {
            Scenario::Direct => direct,
            Scenario::Groups => self.members.len() as u32,
            _ => 1,
        });
        around + (self.seconds + around / 2) * runs.sum::<u32>()
    }

    fn settings(&self, contender: Contender) -> Settings {
        Settings {
            rate: 1000.0,
            duration: self.seconds,
            warmup: Duration::from_secs(1).min(self.seconds),
            body: self.body,
            seed: self.seed,
            transports: contender.transports(),
            ..Settings::idle(self.users)
        }
    }
}
