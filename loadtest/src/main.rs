//! `loadtest run`: one scenario against a cluster that runs already or that is
//! spawned for it. `loadtest measure`: all that docs/PERFORMANCE.md says of it.
//! `loadtest versus`: the same against other servers. `loadtest simulate`: what
//! one machine cannot run.

mod beside;
mod measure;
mod open;
mod options;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use beside::Beside;
use clap::Parser;
use loadtest::capacity::{bus, page, storm};
use loadtest::results::Results;
use loadtest::summary::Summary;
use loadtest::{overload, report, versus, workload};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use options::{Command, Measure, Options, Overload, Run, Scenario, Versus, What};
use serde::Serialize;

/// Open files of a process besides its users' sockets, at most.
const OTHER_FILES: u64 = 200;

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Options::parse().command {
        Command::Run(options) => run(&options).await,
        Command::Measure(options) => measure_all(&options).await,
        Command::Versus(options) => compare(&options).await,
        Command::Simulate(options) => simulate(&options.what),
        Command::Overload(options) => ask_too_much(&options).await,
        Command::Pages(options) => Results::record(&options.folder, |_| {}),
        Command::Relay(options) => relay(options.listen).await,
        Command::StandBy(options) => stand_by(&options).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(run: &Run) -> Result<()> {
    let summary = measured(run).await?;
    print!("{summary}");
    if let Some(file) = &run.json {
        write_json(file, &summary)?;
    }
    if let Some(file) = &run.report {
        write(file, report::html(&summary)?.as_bytes())?;
    }
    ensure!(summary.is_clean(), "a promise was broken");
    Ok(())
}

async fn ask_too_much(options: &Overload) -> Result<()> {
    let plan = options.plan();
    sockets_for((plan.users + plan.quiet).max(plan.returning).max(plan.slow))?;
    let binaries = options.programs.binaries().await?;
    let spawn = options.spawn;
    let start = async || versus::switchboard_on(&binaries, spawn.gateways, spawn.routers, "").await;
    let table = overload::run(start, &plan).await?;
    print!("{table}");
    options.record.as_deref().map_or(Ok(()), |page| table.record(page))?;
    ensure!(table.is_clean(), "a promise was broken");
    Ok(())
}

/// One run from its servers' start to their end.
async fn measured(run: &Run) -> Result<Summary> {
    let settings = run.settings()?;
    sockets_for(run.users)?;
    // They live as long as the run, and end with it.
    let running = open::servers(run).await?;
    let servers = &running.servers;
    let mut beside = Beside::start(servers, run).await?;
    let mut summary = match run.scenario {
        Scenario::Direct => workload::direct::run(servers, &settings).await?,
        Scenario::Groups => workload::groups::run(servers, &settings).await?,
        Scenario::Room => workload::room::run(servers, &settings).await?,
        Scenario::Idle => workload::idle::run(servers, &settings).await?,
        Scenario::Storm => workload::storm::run(servers, &settings).await?,
        Scenario::Catchup => workload::catchup::run(servers, &settings).await?,
        Scenario::Slow => workload::slow::run(servers, &settings).await?,
        Scenario::Mixed => workload::mixed::run(servers, &settings).await?,
        Scenario::Restless => workload::restless::run(servers, &settings).await?,
    };
    beside.all_there()?;
    if run.stored {
        summary.stored = Some(workload::stored::look(servers).await?);
    }
    Ok(summary)
}

async fn measure_all(options: &Measure) -> Result<()> {
    let outcome = measure::run(options).await?;
    print!("{}", outcome.sheet.markdown());
    let failures = outcome.failures.len();
    match &options.record {
        Some(folder) if outcome.complete => {
            Results::record(folder, |results| results.measure = Some(outcome.sheet))?;
        }
        Some(_) => eprintln!("loadtest: not recorded, because a workload has no sound run"),
        None => {}
    }
    ensure!(failures == 0, "{failures} runs failed:\n{}", outcome.failures.join("\n"));
    Ok(())
}

async fn compare(options: &Versus) -> Result<()> {
    let plan = options.plan()?;
    let sizes = [plan.users, plan.subscribers, plan.idle, plan.storm, plan.resume];
    sockets_for(sizes.into_iter().max().unwrap_or(0))?;
    let binaries = options.programs.binaries().await?;
    let sheet = versus::run(&plan, &binaries).await?;
    print!("{}", sheet.markdown());
    if let Some(file) = &options.json {
        write_json(file, &sheet)?;
    }
    match &options.record {
        Some(folder) => Results::record(folder, |results| results.versus = Some(sheet)),
        None => Ok(()),
    }
}

async fn relay(listen: std::net::SocketAddr) -> Result<()> {
    many_sockets()?;
    versus::relay::serve(listen).await
}

async fn stand_by(options: &options::StandBy) -> Result<()> {
    many_sockets()?;
    beside::stand_by(options).await
}

fn simulate(what: &What) -> Result<()> {
    match what {
        What::Bus(options) => shown(&bus::run(&options.plan())?, options.json.as_deref()),
        What::Storm(options) => shown(&storm::run(&options.plan())?, options.json.as_deref()),
        What::Page(options) => {
            write(&options.costs, page::put_costs(&read(&options.costs)?)?.as_bytes())?;
            let capacity = page::put_tables(&read(&options.file)?)?;
            // At once, since the simulations take minutes and may be broken off.
            write(&options.file, capacity.as_bytes())?;
            write(&options.file, page::put_simulated(&capacity)?.as_bytes())
        }
    }
}

/// As text here, and as JSON there.
fn shown(outcome: &(impl std::fmt::Display + Serialize), json: Option<&Path>) -> Result<()> {
    print!("{outcome}");
    json.map_or(Ok(()), |file| write_json(file, outcome))
}

/// Thousands of sockets here, and as many in what is spawned. Returns how many.
fn many_sockets() -> Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

/// The same; fails where so many users cannot have one each.
fn sockets_for(users: usize) -> Result<()> {
    let (most, wanted) = (many_sockets()?, u64::try_from(users)? + OTHER_FILES);
    ensure!(
        wanted <= most,
        "{users} users need {wanted} open files, and a process here has {most}: take fewer, or more files (as \
         root, `ulimit -n {wanted}`)"
    );
    Ok(())
}

fn write_json(file: &Path, value: &impl Serialize) -> Result<()> {
    write(file, &serde_json::to_vec_pretty(value)?)
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("{} could not be read", file.display()))
}

fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(file, bytes).with_context(|| format!("{} could not be written", file.display()))
}
