//! The flags of `loadtest overload`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use loadtest::overload::Plan;

use super::{Programs, Spawn};

#[derive(Debug, Args)]
pub(crate) struct Overload {
    /// Processes to start, with a redis-server of their own.
    #[arg(long, value_name = "gateways=N,routers=N", default_value = "gateways=2,routers=2")]
    pub(crate) spawn: Spawn,

    #[command(flatten)]
    pub(crate) programs: Programs,

    /// Users who ask for too much.
    #[arg(long, default_value_t = 400)]
    users: usize,

    /// Users who write now and then, and whose latency is measured.
    #[arg(long, default_value_t = 20)]
    quiet: usize,

    /// How many times what can be done is asked for.
    #[arg(long, default_value_t = 10.0)]
    times: f64,

    /// Seconds of that.
    #[arg(long, default_value_t = 60)]
    seconds: u64,

    /// Seconds of each other part.
    #[arg(long, default_value_t = 10)]
    part: u64,

    /// Users who return at once.
    #[arg(long, default_value_t = 10_000)]
    returning: usize,

    /// Messages that have come for each of them meanwhile.
    #[arg(long, default_value_t = 50)]
    missed: usize,

    /// Readers who are too slow, twenty in each group.
    #[arg(long, default_value_t = 1_000)]
    slow: usize,

    /// Seconds of that.
    #[arg(long, default_value_t = 90)]
    slow_seconds: u64,

    /// The page that gets the table.
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
}

impl Overload {
    pub(crate) fn plan(&self) -> Plan {
        Plan {
            users: self.users,
            quiet: self.quiet / 2 * 2,
            times: self.times,
            overload: Duration::from_secs(self.seconds),
            part: Duration::from_secs(self.part),
            returning: self.returning,
            missed: self.missed,
            slow: self.slow,
            slow_for: Duration::from_secs(self.slow_seconds),
        }
    }
}
