//! `loadtest run`: one scenario against a cluster that runs already or that is
//! spawned for it.

mod open;
mod options;

use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use loadtest::workload;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use options::{Command, Options, Run, Scenario};

#[tokio::main]
async fn main() -> ExitCode {
    let Command::Run(run) = Options::parse().command;
    match measure(&run).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(run: &Run) -> Result<()> {
    // Thousands of sockets here, and as many in what is spawned.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    // They live as long as the run, and end with it.
    let (servers, _running) = open::servers(run).await?;
    let settings = run.settings()?;
    let summary = match run.scenario {
        Scenario::Direct => workload::direct::run(&servers, &settings).await?,
        Scenario::Idle => workload::idle::run(&servers, &settings).await?,
    };
    println!("{summary}");
    if let Some(file) = &run.json {
        fs::write(file, serde_json::to_vec_pretty(&summary)?)
            .with_context(|| format!("{} could not be written", file.display()))?;
    }
    ensure!(summary.is_clean(), "a promise was broken");
    Ok(())
}
