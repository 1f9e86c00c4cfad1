//! `faults matrix`: the rows of the fault matrix, by name. `faults long`: faults at
//! random. `faults many`: millions of messages while processes die. All end with one table, and with exit code 1 where something failed.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use cluster_tests::Builds;
use cluster_tests::faults::{self, Outcome, Stage, long, many};
use testbed::{Binaries, Profile, SmallDisk};

#[derive(Debug, Parser)]
#[command(about = "What breaks in production, with people who write meanwhile")]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs rows of the matrix one after another
    Matrix {
        /// Only rows whose names contain one of these words
        words: Vec<String>,
        /// Only says which rows there are
        #[arg(long)]
        list: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Upgrades clusters from the programs of one folder to those of another, and back,
    /// process by process
    Upgrade {
        /// The programs of the older commit
        #[arg(long, value_name = "FOLDER")]
        from: PathBuf,
        /// What the older commit is called
        #[arg(long, value_name = "COMMIT")]
        commit: String,
        #[command(flatten)]
        common: Common,
    },
    /// Sends messages by the thousand a second while processes die and stand still, until
    /// so many are acknowledged
    Many {
        /// How many
        #[arg(long, default_value_t = 10_000_000)]
        messages: usize,
        /// How long a piece lasts; each has a cluster and people of its own
        #[arg(long, default_value = "5m", value_parser = duration)]
        lasts: Duration,
        /// Messages a second
        #[arg(long, default_value_t = 4_000.0)]
        rate: f64,
        /// People of a piece
        #[arg(long, default_value_t = 480)]
        users: usize,
        #[command(flatten)]
        common: Common,
    },
    /// Runs faults at random until the time is over
    Long {
        /// How long, in seconds, or with `m` or `h` behind the number
        #[arg(long, default_value = "2m", value_parser = duration)]
        duration: Duration,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, clap::Args)]
struct Common {
    /// What is random: the same seed draws the same faults in the same order
    #[arg(long)]
    seed: Option<u64>,
    /// Writes the table into this document, which is docs/RELIABILITY.md
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Takes the programs of this folder, instead of building them
    #[arg(long, value_name = "FOLDER")]
    binaries: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("faults: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<()> {
    match command {
        Command::Matrix { words, list, common } => {
            let mut rows = faults::rows();
            rows.retain(|row| words.is_empty() || words.iter().any(|word| row.name.contains(word)));
            ensure!(!rows.is_empty(), "no row has such a name: `faults matrix --list` says which there are");
            if list {
                rows.iter().for_each(|row| println!("{}", row.name));
                return Ok(());
            }
            let seed = common.begin();
            let mut outcomes = Vec::new();
            for (number, row) in rows.iter().enumerate() {
                if matches!(row.stage, Stage::SmallDisk | Stage::StandaloneSmallDisk)
                    && SmallDisk::mount(1).is_err()
                {
                    eprintln!("{} is left out: only root can mount the small disk that it fills", row.name);
                    continue;
                }
                eprintln!("[{} of {}] {}", number + 1, rows.len(), row.name);
                let outcome = faults::run(row, seed).await;
                outcome.failure.iter().for_each(|why| eprintln!("{} failed: {why}", row.name));
                outcomes.push(outcome);
            }
            common.end("matrix", &outcomes, seed, "make faults")
        }
        Command::Upgrade { from, commit, common } => {
            let seed = common.begin();
            let new = tokio::task::spawn_blocking(|| Binaries::build(Profile::Debug)).await??;
            let builds = Builds { old: Arc::new(Binaries::in_folder(&from)), new };
            let mut outcomes = Vec::new();
            for row in faults::upgrades() {
                eprintln!("{}", row.name);
                let builder = row.stage.builder().builds(builds.clone());
                let outcome = faults::run_on(builder, &row, seed).await;
                outcome.failure.iter().for_each(|why| eprintln!("{} failed: {why}", row.name));
                outcomes.push(outcome);
            }
            common.end("upgrade", &outcomes, seed, &format!("make upgrade` from `{commit}"))
        }
        Command::Long { duration, common } => {
            let seed = common.begin();
            let outcomes = long::run(duration, seed, |line| eprintln!("{line}")).await?;
            let command = format!("faults long --duration {} --seed {seed}", duration.as_secs());
            common.end("long", &outcomes, seed, &command)
        }
        Command::Many { messages, lasts, rate, users, common } => {
            let seed = common.begin();
            let command = format!("faults many --messages {messages} --seed {seed}");
            let plan = many::Plan { messages, lasts, rate, users };
            let outcomes = many::run(&plan, seed, |outcomes| {
                eprint!("{}", faults::table(outcomes));
                // Half an hour and more: what is done so far is kept.
                common.record("many", outcomes, seed, &command)
            });
            common.end("many", &outcomes.await?, seed, &command)
        }
    }
}

impl Common {
    fn begin(&self) -> u64 {
        let seed = self.seed.unwrap_or_else(|| rand::random_range(0..1_000_000));
        eprintln!("seed {seed}");
        if let Some(folder) = &self.binaries {
            Binaries::take(Profile::Debug, folder);
        }
        seed
    }

    fn record(&self, name: &str, outcomes: &[Outcome], seed: u64, command: &str) -> Result<()> {
        self.record.as_deref().map_or(Ok(()), |file| faults::record(file, name, outcomes, seed, command))
    }

    fn end(&self, name: &str, outcomes: &[Outcome], seed: u64, command: &str) -> Result<()> {
        print!("{}", faults::table(outcomes));
        let failed: Vec<_> = outcomes.iter().filter(|outcome| outcome.failure.is_some()).collect();
        for outcome in &failed {
            eprintln!("{} failed: {}", outcome.name, outcome.failure.as_deref().unwrap_or_default());
        }
        self.record(name, outcomes, seed, command)?;
        ensure!(failed.is_empty(), "{} failed (seed {seed})", failed.len());
        Ok(())
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(number) => (number, text.chars().last()),
        None => (text, None),
    };
    let seconds = match unit {
        Some('m') => 60,
        Some('h') => 3600,
        _ => 1,
    };
    let number: u64 =
        number.parse().map_err(|_| "it is a number, with `s`, `m` or `h` behind it".to_owned())?;
    Ok(Duration::from_secs(number * seconds))
}
