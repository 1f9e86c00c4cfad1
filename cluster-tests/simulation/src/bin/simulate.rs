//! Runs seeds of the simulation, each in a process of its own, and prints a table. A
//! seed that fails fails again, in the same way, whenever it is run.

use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use loadtest::capacity::page::put;
use loadtest::results::today;
use simulation::{Seeds, run};
use tracing_subscriber::EnvFilter;

#[derive(Debug, Parser)]
#[command(name = "simulate")]
struct Options {
    /// How many seeds.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Processes at once [default: one a core].
    #[arg(long)]
    processes: Option<usize>,
    /// Ends with success at the first seed that fails, and fails when there is none: for
    /// programs with a defect.
    #[arg(long)]
    find: bool,
    /// Writes the table into this document, between its marks `simulate`.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Instead of running anything, takes these lines for the table of defects.
    #[arg(long, value_name = "FILE", requires = "record")]
    defects: Option<PathBuf>,
    /// Runs this seed in this process and prints its outcome as JSON. RUST_LOG=debug
    /// shows what the programs log meanwhile.
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    only: Option<u64>,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    if let Some(seed) = options.only {
        if std::env::var_os("RUST_LOG").is_some() {
            let filter = EnvFilter::from_default_env();
            tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
        }
        let outcome = run(seed);
        serde_json::to_writer(std::io::stdout().lock(), &outcome)?;
        std::io::stdout().flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    if let (Some(lines), Some(page)) = (&options.defects, &options.record) {
        let lines = std::fs::read_to_string(lines).context("the lines of the table")?;
        let table = format!("| defect | found after |\n| --- | ---: |\n{lines}");
        record(page, "simulate defects", "make simulate-defects", &table)?;
        return Ok(ExitCode::SUCCESS);
    }
    let program = std::env::current_exe().context("this program")?;
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let seeds = Seeds {
        program: &program,
        from: options.from,
        count: options.seeds,
        processes: options.processes.unwrap_or(cores),
        until_found: options.find,
    };
    let report = seeds.run()?;
    println!("{report}");
    if let Some(page) = &options.record {
        record(page, "simulate", "make simulate", &report.to_string())?;
    }
    let found = !report.failed().is_empty();
    Ok(if found == options.find { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Writes a table between its marks, with the day and the command.
fn record(page: &Path, name: &str, command: &str, table: &str) -> Result<()> {
    let text = std::fs::read_to_string(page).with_context(|| page.display().to_string())?;
    let text = put(&text, name, &format!("\n{}, `{command}`:\n\n{table}", today()))?;
    std::fs::write(page, text).with_context(|| page.display().to_string())
}
