//! The flags of `loadtest simulate`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use loadtest::capacity::{bus, storm};

#[derive(Debug, Args)]
pub(crate) struct Simulate {
    #[command(subcommand)]
    pub(crate) what: What,
}

#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Messages through gateways, routers and Redis primaries.
    Bus(Bus),
    /// A zone is lost, and its sessions come back to what is left.
    Storm(Storm),
    /// Writes the tables and simulations of docs/CAPACITY.md anew, and the table
    /// of costs in docs/PERFORMANCE.md.
    Page(Page),
}

/// Flags that are not given get what --users take by the formula of
/// docs/CAPACITY.md.
#[derive(Debug, Args)]
pub(crate) struct Bus {
    /// Users, whose nodes and messages at the peak are simulated.
    #[arg(long, default_value_t = 1e7)]
    users: f64,

    /// Number of gateways.
    #[arg(long)]
    gateways: Option<usize>,

    /// Number of routers.
    #[arg(long)]
    routers: Option<usize>,

    /// Redis primaries; one takes a batch in one call.
    #[arg(long)]
    primaries: Option<usize>,

    /// Messages a second.
    #[arg(long)]
    rate: Option<f64>,

    /// Members for whom a message is filed, on average.
    #[arg(long)]
    filings: Option<f64>,

    /// Devices that get a message at once, on average.
    #[arg(long)]
    readers: Option<f64>,

    /// Acknowledgements for each copy that a device gets.
    #[arg(long)]
    acks: Option<f64>,

    /// Cores of a gateway and of a router.
    #[arg(long)]
    cores: Option<f64>,

    /// Microseconds from one process to another and back.
    #[arg(long, default_value_t = 300.0)]
    round_trip: f64,

    /// Seconds that are simulated.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,

    /// The same seed gives the same run.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Write the outcome into this file as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// Flags that are not given get what --users take by the formula of
/// docs/CAPACITY.md, with one of three zones lost.
#[derive(Debug, Args)]
pub(crate) struct Storm {
    /// Users, a third of whose sessions come back.
    #[arg(long, default_value_t = 1e7)]
    users: f64,

    /// Sessions that are simulated at most. A larger storm is simulated as so many
    /// sessions on a smaller cluster.
    #[arg(long, default_value_t = 1e6)]
    most: f64,

    /// Sessions that come back.
    #[arg(long)]
    sessions: Option<usize>,

    /// Gateways that are left.
    #[arg(long)]
    gateways: Option<usize>,

    /// Routers that are left.
    #[arg(long)]
    routers: Option<usize>,

    /// Number of Redis primaries.
    #[arg(long)]
    primaries: Option<usize>,

    /// Cores of a gateway and of a router.
    #[arg(long)]
    cores: Option<f64>,

    /// Sessions that may begin at once on a gateway; the others wait.
    #[arg(long, default_value_t = 256)]
    attaches_at_once: usize,

    /// Seconds over which clients spread their return.
    #[arg(long, default_value_t = 5.0)]
    spread: f64,

    /// Seconds after which a client gives up and tries again.
    #[arg(long, default_value_t = 20.0)]
    patience: f64,

    /// Share of every process that other work takes.
    #[arg(long, default_value_t = 0.6)]
    background: f64,

    /// CPU microseconds of a TLS handshake, where gateways do it.
    #[arg(long, default_value_t = 0.0)]
    handshake: f64,

    /// Microseconds from one process to another and back.
    #[arg(long, default_value_t = 300.0)]
    round_trip: f64,

    /// The same seed gives the same run.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Write the outcome into this file as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Page {
    /// The page of what users take.
    #[arg(default_value = "docs/CAPACITY.md")]
    pub(crate) file: PathBuf,

    /// The page of what was measured.
    #[arg(long, value_name = "FILE", default_value = "docs/PERFORMANCE.md")]
    pub(crate) costs: PathBuf,
}

impl Bus {
    pub(crate) fn plan(&self) -> bus::Plan {
        let plan = bus::Plan::of(self.users);
        bus::Plan {
            gateways: self.gateways.unwrap_or(plan.gateways),
            routers: self.routers.unwrap_or(plan.routers),
            primaries: self.primaries.unwrap_or(plan.primaries),
            rate: self.rate.unwrap_or(plan.rate),
            filings: self.filings.unwrap_or(plan.filings),
            readers: self.readers.unwrap_or(plan.readers),
            acks: self.acks.unwrap_or(plan.acks),
            cores: self.cores.unwrap_or(plan.cores),
            round_trip: self.round_trip / 1e6,
            seconds: self.seconds,
            seed: self.seed,
        }
    }
}

impl Storm {
    pub(crate) fn plan(&self) -> storm::Plan {
        let plan = storm::Plan::of(self.users, self.most);
        storm::Plan {
            sessions: self.sessions.unwrap_or(plan.sessions),
            gateways: self.gateways.unwrap_or(plan.gateways),
            routers: self.routers.unwrap_or(plan.routers),
            primaries: self.primaries.unwrap_or(plan.primaries),
            cores: self.cores.unwrap_or(plan.cores),
            turns: self.attaches_at_once,
            spread: self.spread,
            patience: self.patience,
            background: self.background,
            handshake: self.handshake,
            round_trip: self.round_trip / 1e6,
            seed: self.seed,
        }
    }
}
