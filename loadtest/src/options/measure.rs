//! The flags of `loadtest measure`.

use std::path::PathBuf;

use clap::Args;

use super::{LOAD, Programs, REPORT};

#[derive(Debug, Args)]
pub(crate) struct Measure {
    #[command(flatten)]
    pub(crate) programs: Programs,

    /// How often each workload is run; the tables have medians and ranges.
    #[arg(long, default_value_t = 3, help_heading = LOAD)]
    pub(crate) runs: usize,

    /// Seconds that are measured of each run.
    #[arg(long, default_value_t = 10.0, help_heading = LOAD)]
    pub(crate) seconds: f64,

    /// The share of users and messages of each workload: below 1 to try it out.
    #[arg(long, default_value_t = 1.0, help_heading = LOAD)]
    pub(crate) share: f64,

    /// The repository's folder: writes docs/performance.json and the documents
    /// that are made from it. Without it the tables are only printed.
    #[arg(long, value_name = "FOLDER", help_heading = REPORT)]
    pub(crate) record: Option<PathBuf>,
}
