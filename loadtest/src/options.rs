//! The command line.

mod measure;
mod overload;
mod simulate;
mod versus;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use loadtest::workload::{Mix, Settings};
use testbed::Binaries;

pub(crate) use measure::Measure;
pub(crate) use overload::Overload;
pub(crate) use simulate::{Simulate, What};
pub(crate) use versus::Versus;

/// The groups of flags in the help of `run`.
const LOAD: &str = "The load";
const SERVERS: &str = "The servers";
const REPORT: &str = "The report";

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
    /// Runs one scenario; fails with exit code 1 when a promise was broken.
    Run(Box<Run>),
    /// Runs the workloads of docs/PERFORMANCE.md several times each, on this
    /// machine; takes some twenty minutes.
    Measure(Measure),
    /// Runs the same workloads against Switchboard, Socket.IO with the Redis
    /// adapter, Centrifugo with Redis, and a bare relay, in turns.
    Versus(Box<Versus>),
    /// Simulates thousands of nodes, which one machine cannot run.
    Simulate(Simulate),
    /// Asks for many times what a cluster can do, and says what became of it; takes
    /// some eight minutes.
    Overload(Overload),
    /// Writes the documents anew from docs/performance.json.
    Pages(Pages),
    /// The bare relay that `versus` measures as the floor.
    #[command(hide = true)]
    Relay(Relay),
    /// Some of the idle sessions of `run --beside`.
    #[command(hide = true)]
    StandBy(StandBy),
}

/// The flags that `run` gives to a process that holds idle sessions.
#[derive(Debug, Args)]
pub(crate) struct StandBy {
    #[arg(long, value_delimiter = ',')]
    pub(crate) gateways: Vec<String>,

    #[arg(long, env = "SWITCHBOARD_JWT_SECRET", hide_env_values = true)]
    pub(crate) jwt_secret: String,

    /// The number of the first user.
    #[arg(long)]
    pub(crate) first: usize,

    #[arg(long)]
    pub(crate) users: usize,
}

#[derive(Debug, Args)]
pub(crate) struct Pages {
    /// The repository's folder.
    #[arg(default_value = ".")]
    pub(crate) folder: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Relay {
    /// Where to listen.
    #[arg(long)]
    pub(crate) listen: SocketAddr,
}

/// Where the gateway and the router come from.
#[derive(Debug, Args)]
#[command(next_help_heading = SERVERS)]
pub(crate) struct Programs {
    /// How what is started is built.
    #[arg(long, value_enum, default_value = "dist")]
    profile: Profile,

    /// Takes the programs from this folder instead of building them.
    #[arg(long, value_name = "FOLDER")]
    binaries: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// What the users do.
    #[arg(long, value_enum, default_value = "direct", help_heading = LOAD)]
    pub(crate) scenario: Scenario,

    /// Processes to start, with a redis-server of their own.
    #[arg(long, value_name = "gateways=N,routers=N", conflicts_with = "gateways", help_heading = SERVERS)]
    pub(crate) spawn: Option<Spawn>,

    #[command(flatten)]
    pub(crate) programs: Programs,

    /// Write to the spawned Redis step by step, as to a Cluster.
    #[arg(long, requires = "spawn", help_heading = SERVERS)]
    pub(crate) steps: bool,

    /// Says at the end what takes the memory of the spawned Redis, by kind of key.
    #[arg(long, requires = "spawn", help_heading = REPORT)]
    pub(crate) stored: bool,

    /// Gateways that run already, instead of --spawn.
    ///
    /// A list with commas. Start them with --messages-per-second 0,
    /// --invites-per-minute 0 and so on, or those limits are what is measured.
    #[arg(long, value_delimiter = ',', value_name = "URL", requires = "jwt_secret", help_heading = SERVERS)]
    pub(crate) gateways: Vec<String>,

    /// The --jwt-secret of those gateways.
    #[arg(long, alias = "secret", env = "SWITCHBOARD_JWT_SECRET", hide_env_values = true, help_heading = SERVERS)]
    pub(crate) jwt_secret: Option<String>,

    /// Server processes to count the CPU and memory of, with --gateways.
    #[arg(long, value_delimiter = ',', value_name = "PID", requires = "gateways", help_heading = SERVERS)]
    pub(crate) pids: Vec<u32>,

    /// Connected users; in `room` subscribers.
    #[arg(long, default_value_t = 200, help_heading = LOAD)]
    pub(crate) users: usize,

    /// Idle WebSocket sessions beside the load.
    ///
    /// They are of other users, which do not count as --users, and in processes
    /// of their own.
    #[arg(long, value_name = "SESSIONS", default_value_t = 0, help_heading = SERVERS)]
    pub(crate) beside: usize,

    /// Messages a second, of all users together; in `room` publications.
    #[arg(long, default_value_t = 1000.0, help_heading = LOAD)]
    rate: f64,

    /// A closed loop instead of a rate: each user has one message in flight.
    #[arg(long, conflicts_with = "rate", help_heading = LOAD)]
    closed: bool,

    /// Seconds that are measured (for `idle`: until memory is looked at).
    #[arg(long, default_value_t = 10.0, help_heading = LOAD)]
    duration: f64,

    /// Seconds of the same load before.
    #[arg(long, default_value_t = 3.0, help_heading = LOAD)]
    warmup: f64,

    /// Bytes of a message's body; `mixed` has its own.
    #[arg(long, default_value_t = 128, help_heading = LOAD)]
    body: usize,

    /// Members of each group; as many groups as there are users for.
    #[arg(long, default_value_t = 20, help_heading = LOAD)]
    members: usize,

    /// Users who publish to the room.
    #[arg(long, default_value_t = 1, help_heading = LOAD)]
    publishers: usize,

    /// Messages that wait for each user who comes back.
    ///
    /// Of --body bytes. The default is 1 in `storm` and 2000 in `catchup`.
    #[arg(long, help_heading = LOAD)]
    backlog: Option<usize>,

    /// How clients connect: one transport, or several by weight.
    ///
    /// websocket, websocket-protobuf, sse, stream, iframe, long-poll (or poll),
    /// long-poll-protobuf, short-poll, socketio-websocket, socketio-polling,
    /// sockjs-websocket, sockjs-polling.
    #[arg(long, default_value = "websocket", value_name = "websocket=70,sse=20,poll=10", help_heading = LOAD)]
    transport: Mix,

    /// Decides who writes what when [default: another one each time].
    #[arg(long, help_heading = LOAD)]
    seed: Option<u64>,

    /// Also writes the summary here as JSON.
    #[arg(long, value_name = "FILE", help_heading = REPORT)]
    pub(crate) json: Option<PathBuf>,

    /// Also writes the summary and its plots here as one HTML file.
    #[arg(long, value_name = "FILE", help_heading = REPORT)]
    pub(crate) report: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Pairs on different nodes write to one another.
    Direct,
    /// Groups of --members whose members all write.
    Groups,
    /// A channel with --users subscribers.
    Room,
    /// Connections that say nothing.
    Idle,
    /// All users drop their connections and return at once with their cursors;
    /// --backlog messages came for each meanwhile.
    Storm,
    /// As `storm`, with many messages to catch up with.
    Catchup,
    /// Groups in which one reader in a hundred reads too slowly.
    Slow,
    /// A day of chat: direct and groups, receipts, typing, joins and leaves,
    /// reconnects, bodies from 256 bytes to 16 KiB.
    Mixed,
    /// As `mixed`, and everybody leaves for another gateway and transport again
    /// and again, and repeats what is under way: looks for losses.
    Restless,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Profile {
    Debug,
    Release,
    Dist,
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

impl Programs {
    /// Builds them, saying so, or takes those of the folder.
    pub(crate) async fn binaries(&self) -> Result<Arc<Binaries>> {
        let profile = match self.profile {
            Profile::Debug => testbed::Profile::Debug,
            Profile::Release => testbed::Profile::Release,
            Profile::Dist => testbed::Profile::Dist,
        };
        match &self.binaries {
            Some(folder) => Ok(Arc::new(Binaries::in_folder(&std::path::absolute(folder)?))),
            None => {
                let say = |line: &str| eprintln!("loadtest: {line}");
                tokio::task::spawn_blocking(move || Binaries::build_saying(profile, say)).await?
            }
        }
    }
}

impl Run {
    /// What the workloads take.
    pub(crate) fn settings(&self) -> Result<Settings> {
        let settings = Settings {
            users: self.users,
            rate: self.rate,
            closed: self.closed,
            duration: seconds(self.duration)?,
            warmup: seconds(self.warmup)?,
            body: self.body,
            transports: self.transport.clone(),
            seed: self.seed.unwrap_or_else(rand::random),
            members: self.members,
            publishers: self.publishers,
            backlog: self.backlog.unwrap_or(if self.scenario == Scenario::Catchup { 2_000 } else { 1 }),
        };
        settings.check()?;
        Ok(settings)
    }
}

impl Run {
    /// Warm-up and measured time.
    pub(crate) fn measured_time(&self) -> Duration {
        Duration::try_from_secs_f64(self.warmup + self.duration).unwrap_or_default()
    }
}

fn seconds(number: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(number).with_context(|| format!("{number} seconds"))
}
