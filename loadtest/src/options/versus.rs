//! The flags of `loadtest versus`. What they are by default takes a few minutes.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use loadtest::versus::{Contender, Plan, Scenario};

use super::{LOAD, Programs, REPORT, SERVERS, seconds};

#[derive(Debug, Args)]
pub(crate) struct Versus {
    /// What is measured, in this order.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "idle,direct,room,groups,storm,resume", help_heading = LOAD)]
    scenarios: Vec<ScenarioName>,

    /// What is compared; `-polling` is over polls, the rest over WebSockets.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "switchboard,switchboard-socketio,switchboard-socketio-polling,socketio,socketio-polling,socketioxide,centrifugo,centrifugo-history,relay",
        help_heading = SERVERS
    )]
    servers: Vec<ServerName>,

    #[command(flatten)]
    pub(crate) programs: Programs,

    /// How often each server is started and measured.
    #[arg(long, default_value_t = 3, help_heading = LOAD)]
    rounds: usize,

    /// Seconds of each measurement.
    #[arg(long, default_value_t = 3.0, help_heading = LOAD)]
    seconds: f64,

    /// Users of `direct`, in pairs.
    #[arg(long, default_value_t = 200, help_heading = LOAD)]
    users: usize,

    /// Messages a second of `direct` at which CPU and latency are measured.
    #[arg(long, value_delimiter = ',', default_value = "1000,4000", help_heading = LOAD)]
    rates: Vec<f64>,

    /// The highest rate that the search for the largest one tries.
    #[arg(long, default_value_t = 40_000.0, help_heading = LOAD)]
    most: f64,

    /// Subscribers of `room`.
    #[arg(long, default_value_t = 200, help_heading = LOAD)]
    subscribers: usize,

    /// Members of the group in `groups`, who all write; of each size one.
    #[arg(long, value_delimiter = ',', default_value = "20,200", help_heading = LOAD)]
    members: Vec<usize>,

    /// Deliveries a second in `room` and in `groups`.
    #[arg(long, default_value_t = 10_000.0, help_heading = LOAD)]
    deliveries: f64,

    /// Connections of `idle`.
    #[arg(long, default_value_t = 1000, help_heading = LOAD)]
    idle: usize,

    /// Users of `storm`.
    #[arg(long, default_value_t = 1000, help_heading = LOAD)]
    storm: usize,

    /// Users of `resume`, who were away and come back at once.
    #[arg(long, default_value_t = 200, help_heading = LOAD)]
    resume: usize,

    /// Messages that each of them missed.
    #[arg(long, default_value_t = 50, help_heading = LOAD)]
    missed: usize,

    /// Bytes of a message's body.
    #[arg(long, default_value_t = 128, help_heading = LOAD)]
    body: usize,

    /// Decides who writes when; the same seed gives the same load. By default
    /// another one each time.
    #[arg(long, help_heading = LOAD)]
    seed: Option<u64>,

    /// The folder that the other servers are installed into, once.
    #[arg(long, value_name = "FOLDER", default_value = "target/versus", help_heading = SERVERS)]
    work: PathBuf,

    /// Write the figures into this file as JSON.
    #[arg(long, value_name = "FILE", help_heading = REPORT)]
    pub(crate) json: Option<PathBuf>,

    /// The repository's folder: write docs/performance.json there, and the
    /// documents that are made from it.
    #[arg(long, value_name = "FOLDER", help_heading = REPORT)]
    pub(crate) record: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ScenarioName {
    Direct,
    Room,
    Groups,
    Idle,
    Storm,
    Resume,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ServerName {
    Switchboard,
    SwitchboardSocketio,
    SwitchboardSocketioPolling,
    Socketio,
    SocketioPolling,
    Socketioxide,
    Centrifugo,
    CentrifugoHistory,
    Relay,
}

impl Versus {
    /// What is compared, and for how long.
    pub(crate) fn plan(&self) -> Result<Plan> {
        let plan = Plan {
            contenders: self.servers.iter().map(|name| contender(*name)).collect(),
            scenarios: self.scenarios.iter().map(|name| scenario(*name)).collect(),
            rounds: self.rounds,
            seconds: seconds(self.seconds)?,
            users: self.users,
            rates: self.rates.clone(),
            most: self.most,
            subscribers: self.subscribers,
            deliveries: self.deliveries,
            members: self.members.clone(),
            idle: self.idle,
            storm: self.storm,
            resume: self.resume,
            missed: self.missed,
            body: self.body,
            seed: self.seed.unwrap_or_else(rand::random),
            work: std::path::absolute(&self.work).context("--work")?,
        };
        plan.check()?;
        Ok(plan)
    }
}

fn contender(name: ServerName) -> Contender {
    match name {
        ServerName::Switchboard => Contender::Switchboard,
        ServerName::SwitchboardSocketio => Contender::SwitchboardSocketIo,
        ServerName::SwitchboardSocketioPolling => Contender::SwitchboardSocketIoPolling,
        ServerName::Socketio => Contender::SocketIo,
        ServerName::SocketioPolling => Contender::SocketIoPolling,
        ServerName::Socketioxide => Contender::Socketioxide,
        ServerName::Centrifugo => Contender::Centrifugo,
        ServerName::CentrifugoHistory => Contender::CentrifugoHistory,
        ServerName::Relay => Contender::Relay,
    }
}

fn scenario(name: ScenarioName) -> Scenario {
    match name {
        ScenarioName::Direct => Scenario::Direct,
        ScenarioName::Room => Scenario::Room,
        ScenarioName::Groups => Scenario::Groups,
        ScenarioName::Idle => Scenario::Idle,
        ScenarioName::Storm => Scenario::Storm,
        ScenarioName::Resume => Scenario::Resume,
    }
}
