//! The command line.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use loadtest::client::Transport;
use loadtest::workload::Settings;

/// Loads a Switchboard cluster, checks that it keeps its promises, and says
/// what it costs.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs one scenario; fails when a promise was broken.
    Run(Box<Run>),
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// What the users do.
    #[arg(long, value_enum, default_value = "direct")]
    pub(crate) scenario: Scenario,

    /// Processes to start, with a redis-server of their own.
    #[arg(long, value_name = "gateways=N,routers=N", conflicts_with = "gateways")]
    pub(crate) spawn: Option<Spawn>,

    /// How what is spawned is built.
    #[arg(long, value_enum, default_value = "release")]
    pub(crate) profile: Profile,

    /// Takes the programs from this folder instead of building them.
    #[arg(long, value_name = "FOLDER", requires = "spawn")]
    pub(crate) binaries: Option<PathBuf>,

    /// Gateways that run already, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "URL", requires = "secret")]
    pub(crate) gateways: Vec<String>,

    /// What those gateways were given as --jwt-secret.
    #[arg(long, env = "SWITCHBOARD_JWT_SECRET", hide_env_values = true)]
    pub(crate) secret: Option<String>,

    /// Server processes to count the CPU and memory of, with --gateways.
    #[arg(long, value_delimiter = ',', value_name = "PID", requires = "gateways")]
    pub(crate) pids: Vec<u32>,

    /// Connected users.
    #[arg(long, default_value_t = 200)]
    pub(crate) users: usize,

    /// Messages a second, of all users together.
    #[arg(long, default_value_t = 1000.0)]
    pub(crate) rate: f64,

    /// Seconds that are measured (for `idle`: until memory is looked at).
    #[arg(long, default_value_t = 10.0)]
    pub(crate) duration: f64,

    /// Seconds of the same load before.
    #[arg(long, default_value_t = 3.0)]
    pub(crate) warmup: f64,

    /// Bytes of a message's body.
    #[arg(long, default_value_t = 128)]
    pub(crate) body: usize,

    /// How clients connect.
    #[arg(long, value_enum, default_value = "websocket")]
    pub(crate) transport: TransportName,

    /// Decides who writes when. By default another one each time.
    #[arg(long)]
    pub(crate) seed: Option<u64>,

    /// Also writes the summary here as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Pairs on different nodes write to one another.
    Direct,
    /// Connections that say nothing.
    Idle,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    Debug,
    Release,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TransportName {
    Websocket,
    WebsocketProtobuf,
    Sse,
    Stream,
    Iframe,
    LongPoll,
    LongPollProtobuf,
    ShortPoll,
}

/// How many processes of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spawn {
    pub(crate) gateways: usize,
    pub(crate) routers: usize,
}

impl FromStr for Spawn {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut spawn = Self { gateways: 2, routers: 2 };
        for part in text.split(',') {
            let (name, count) = part.split_once('=').context("expected gateways=N,routers=N")?;
            let count: usize = count.parse().with_context(|| format!("`{count}` is no number"))?;
            ensure!(count > 0, "at least one of each is needed");
            match name {
                "gateways" => spawn.gateways = count,
                "routers" => spawn.routers = count,
                other => bail!("`{other}` cannot be spawned: gateways and routers can"),
            }
        }
        Ok(spawn)
    }
}

impl Run {
    /// What the workloads take.
    pub(crate) fn settings(&self) -> Result<Settings> {
        ensure!(self.users >= 2, "--users: at least 2");
        ensure!(self.rate > 0.0 && self.rate.is_finite(), "--rate: more than nothing");
        Ok(Settings {
            users: self.users,
            rate: self.rate,
            duration: seconds(self.duration)?,
            warmup: seconds(self.warmup)?,
            body: self.body,
            transport: match self.transport {
                TransportName::Websocket => Transport::WebSocket,
                TransportName::WebsocketProtobuf => Transport::WebSocketProtobuf,
                TransportName::Sse => Transport::Sse,
                TransportName::Stream => Transport::Stream,
                TransportName::Iframe => Transport::Iframe,
                TransportName::LongPoll => Transport::LongPoll,
                TransportName::LongPollProtobuf => Transport::LongPollProtobuf,
                TransportName::ShortPoll => Transport::ShortPoll,
            },
            seed: self.seed.unwrap_or_else(rand::random),
        })
    }
}

fn seconds(number: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(number).with_context(|| format!("{number} seconds"))
}
