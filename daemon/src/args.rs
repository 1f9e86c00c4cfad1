//! The flags that every serving binary has; each is also an environment
//! variable of the same name.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use clap::ValueEnum;

use crate::duration;

/// Flatten these into a binary's own flags.
#[derive(Debug, Clone, clap::Args)]
// The default id is the type's name, which binaries give their own flags, too.
#[group(id = "daemon")]
pub struct Args {
    /// Where /healthz, /readyz and /metrics are served.
    #[arg(long, env = "SWITCHBOARD_ADMIN_LISTEN", default_value = "0.0.0.0:9090", value_name = "ADDRESS")]
    pub admin_listen: SocketAddr,

    /// After SIGTERM: how long what is under way may take to end. A gateway tells
    /// its clients to go elsewhere within half of it (5 s at most), and serves
    /// each until it has, for a quarter of it longer (5 s at most).
    #[arg(long, env = "SWITCHBOARD_DRAIN", default_value = "30s", value_parser = duration::parse)]
    pub drain: Duration,

    /// Threads that do the work. By default as many as there are cores, or as
    /// the cgroup's CPU limit allows. Where several processes share a machine,
    /// fewer for each cost less CPU.
    #[arg(long, env = "SWITCHBOARD_WORKER_THREADS", value_name = "N")]
    pub worker_threads: Option<NonZeroUsize>,

    /// What is logged, to standard error.
    #[command(flatten)]
    pub log: LogArgs,
}

/// The flags of logging alone, for programs without an admin server.
#[derive(Debug, Clone, clap::Args)]
pub struct LogArgs {
    /// What is logged: a level (error, warn, info, debug, trace) or a list
    /// such as `info,router=debug`.
    #[arg(long, env = "SWITCHBOARD_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,

    /// How lines are written.
    #[arg(long, env = "SWITCHBOARD_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    pub log_format: LogFormat,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
