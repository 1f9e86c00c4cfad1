//! `loadtest measure`: a list of runs as one would start them by hand, each
//! several times, and what they show put into one sheet of results.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Parser as _;
use loadtest::results::{Sheet, Table};
use loadtest::summary::Summary;

use crate::options::{Command, Measure, Options, Run};

/// A run takes this much longer than its warm-up and its measured time, about:
/// starting servers, connecting, settling.
const AROUND: Duration = Duration::from_secs(10);
/// A run that has not ended after this many times the expected is given up.
const PATIENCE: u32 = 6;

/// Which figures of a summary go into the sheet, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// CPU and latency of delivered messages.
    Messages,
    /// The same, beside the memory of the same transport.
    Transport,
    /// Memory of an idle client on a transport.
    TransportMemory,
    /// Memory of an idle client, by kind of process.
    Memory,
    /// Everybody comes back at once.
    Storm,
}

#[derive(Debug)]
struct Step {
    part: Part,
    row: &'static str,
    /// What `loadtest run --spawn gateways=2,routers=2` is given.
    flags: String,
}

const MESSAGES: [(&str, &str); 6] = [
    ("direct", "--scenario direct --users 2000 --rate 5000"),
    ("direct, step by step", "--scenario direct --users 2000 --rate 5000 --steps"),
    ("direct, closed loop", "--scenario direct --users 2000 --closed"),
    ("direct, alone", "--scenario direct --users 2000 --rate 500"),
    ("group of 20", "--scenario groups --users 2000 --members 20 --rate 250"),
    ("channel", "--scenario room --users 10000 --rate 1"),
];

/// As `--transport` knows them; short polls never wait, so they have no idle
/// client.
const TRANSPORTS: [&str; 8] = [
    "websocket",
    "websocket-protobuf",
    "sse",
    "stream",
    "iframe",
    "long-poll",
    "socketio-websocket",
    "socketio-polling",
];

fn steps(options: &Measure) -> Vec<Step> {
    let seconds = format!(" --duration {}", options.seconds);
    let mut steps = Vec::new();
    for (row, flags) in MESSAGES {
        steps.push(Step { part: Part::Messages, row, flags: flags.to_owned() + &seconds });
    }
    for row in TRANSPORTS {
        let flags = format!("--scenario direct --users 500 --rate 1000 --transport {row}{seconds}");
        steps.push(Step { part: Part::Transport, row, flags });
        let flags = format!("--scenario idle --users 4000 --duration 5 --transport {row}");
        steps.push(Step { part: Part::TransportMemory, row, flags });
    }
    let flags = "--scenario idle --users 15000 --duration 5".to_owned();
    steps.push(Step { part: Part::Memory, row: "idle WebSocket", flags });
    steps.push(Step { part: Part::Storm, row: "storm", flags: "--scenario storm --users 10000".to_owned() });
    steps
}

/// The same with a share of the users and messages.
fn scaled(flags: &str, share: f64) -> String {
    let mut words = flags.split(' ');
    let mut text = String::new();
    while let Some(word) = words.next() {
        let before = if text.is_empty() { "" } else { " " };
        let _ = write!(text, "{before}{word}");
        let least = match word {
            "--users" => 40.0,
            "--rate" => 1.0,
            _ => continue,
        };
        let value: f64 = words.next().and_then(|word| word.parse().ok()).unwrap_or(least);
        let _ = write!(text, " {}", (value * share).max(least).min(value).round());
    }
    text
}

/// What all runs have shown.
pub(crate) struct Outcome {
    pub(crate) sheet: Sheet,
    /// Runs that failed, or broke a promise, and why.
    pub(crate) failures: Vec<String>,
    /// Whether each workload has at least one sound run.
    pub(crate) complete: bool,
}

/// Does them all, one after the other.
pub(crate) async fn run(options: &Measure) -> Result<Outcome> {
    ensure!(options.runs > 0, "--runs: at least 1");
    ensure!(options.share > 0.0 && options.share <= 1.0, "--share: more than 0, at most 1");
    let binaries = options.programs.binaries().await?;
    let folder = binaries.folder().to_string_lossy().into_owned();
    let mut steps = steps(options);
    for step in &mut steps {
        step.flags = scaled(&step.flags, options.share);
    }
    let runs: Vec<(&Step, Run)> =
        steps.iter().map(|step| Ok((step, parsed(&step.flags, &folder)?))).collect::<Result<_>>()?;
    // Now, and not when the other workloads have taken their time.
    crate::sockets_for(runs.iter().map(|(_, run)| run.users).max().unwrap_or(0))?;
    let all: Duration =
        runs.iter().map(|(_, run)| expected(run)).sum::<Duration>() * u32::try_from(options.runs)?;
    eprintln!(
        "measure: {} workloads, {} times each: about {} minutes. Nothing else should run on this machine meanwhile.",
        runs.len(),
        options.runs,
        minutes(all)
    );
    let mut sheet = Sheet::today(options.runs);
    let mut tables = Tables::default();
    let mut failures = Vec::new();
    let mut sound = vec![false; runs.len()];
    let (begun, mut left) = (Instant::now(), all);
    for number in 1..=options.runs {
        for (index, (step, run)) in runs.iter().enumerate() {
            eprintln!(
                "measure: run {number} of {}, workload {} of {}, {} min so far, about {} to go: {}",
                options.runs,
                index + 1,
                runs.len(),
                begun.elapsed().as_secs() / 60,
                minutes(left),
                step.flags
            );
            let expected = expected(run);
            let summary = tokio::time::timeout(expected * PATIENCE, crate::measured(run)).await;
            left = left.saturating_sub(expected);
            match summary {
                Ok(Ok(summary)) if summary.is_clean() => {
                    sound[index] = true;
                    tables.take(step, &summary);
                    if summary.is_generators() {
                        sheet.note(format!("`{}`: the load generator was the limit", step.flags));
                    }
                    continue;
                }
                Ok(Ok(summary)) => failures.push(format!("{}: a promise was broken:\n{summary}", step.flags)),
                Ok(Err(error)) => failures.push(format!("{}: {error:#}", step.flags)),
                Err(_) => {
                    failures.push(format!("{}: it did not end in {expected:?} × {PATIENCE}", step.flags))
                }
            }
            eprintln!("measure: FAILED: {}", failures.last().map_or("", String::as_str));
        }
    }
    sheet.tables = tables.all().into_iter().filter(|table| !table.rows.is_empty()).collect();
    Ok(Outcome { sheet, failures, complete: sound.iter().all(|sound| *sound) })
}

/// The command line that anybody could type.
fn parsed(flags: &str, folder: &str) -> Result<Run> {
    let words = ["loadtest", "run", "--spawn", "gateways=2,routers=2", "--seed", "1", "--binaries", folder];
    let options = Options::try_parse_from(words.into_iter().chain(flags.split(' ')))
        .with_context(|| format!("`{flags}`"))?;
    match options.command {
        Command::Run(run) => Ok(*run),
        _ => anyhow::bail!("`{flags}` is not a run"),
    }
}

fn expected(run: &Run) -> Duration {
    // Some 1,500 connections begin a second.
    let connecting = Duration::from_secs_f64(run.users as f64 / 1500.0);
    AROUND + connecting + run.measured_time()
}

fn minutes(time: Duration) -> u64 {
    time.as_secs().div_ceil(60)
}

#[derive(Debug)]
struct Tables {
    messages: Table,
    transports: Table,
    memory: Table,
    storm: Table,
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            messages: Table::new("messages: CPU of each that was delivered, latency"),
            transports: Table::new("transport: direct messages, and memory of each idle client"),
            memory: Table::new("memory of each"),
            storm: Table::new("return: of everybody at once, and CPU of each"),
        }
    }
}

impl Tables {
    fn all(self) -> [Table; 4] {
        [self.messages, self.transports, self.memory, self.storm]
    }

    /// The figures of one run.
    fn take(&mut self, step: &Step, summary: &Summary) {
        let row = step.row;
        let cpu = summary.cpu.clone().unwrap_or_default();
        let memory = summary.memory.clone().unwrap_or_default();
        let kib = |bytes: Option<f64>| bytes.map(|bytes| bytes / 1024.0);
        let latency = summary.latency.as_ref();
        let (p50, p99) = (latency.map(|latency| latency.p50), latency.map(|latency| latency.p99));
        let rate = summary.messages.as_ref().map(|messages| messages.delivered_rate);
        let by_process = [("gateways", cpu.gateways), ("routers", cpu.routers), ("Redis", cpu.redis)];
        let mut figures: Vec<(&str, &str, Option<f64>)> = Vec::new();
        let table = match step.part {
            Part::Messages => {
                figures.push(("CPU", "µs", cpu.servers));
                figures.extend(by_process.map(|(name, value)| (name, "µs", value)));
                figures.extend([("p50", "ms", p50), ("p99", "ms", p99), ("delivered", "/s", rate)]);
                &mut self.messages
            }
            Part::Transport => {
                figures.extend([("CPU", "µs", cpu.servers), ("p50", "ms", p50), ("p99", "ms", p99)]);
                &mut self.transports
            }
            Part::TransportMemory => {
                figures.extend([
                    ("memory of gateways", "KiB", kib(memory.gateway_bytes)),
                    ("of routers", "KiB", kib(memory.router_bytes)),
                    ("of Redis", "KiB", kib(memory.redis_bytes)),
                ]);
                &mut self.transports
            }
            Part::Memory => {
                figures.extend([
                    ("gateways", "KiB", kib(memory.gateway_bytes)),
                    ("routers", "KiB", kib(memory.router_bytes)),
                    ("Redis", "KiB", kib(memory.redis_bytes)),
                ]);
                &mut self.memory
            }
            Part::Storm => {
                let returns = summary.returns.clone().unwrap_or_default();
                figures.push(("all back", "ms", Some(returns.back.max)));
                figures.push(("all have everything", "ms", Some(returns.caught_up.max)));
                figures.push(("CPU", "µs", returns.cpu_per_user));
                figures.extend(by_process.map(|(name, value)| (name, "µs", value)));
                &mut self.storm
            }
        };
        for (column, unit, value) in figures {
            if let Some(value) = value {
                table.add(row, column, unit, value);
            }
        }
        let how = &mut table.row_mut(row).how;
        if !how.contains(&step.flags) {
            let before = if how.is_empty() { "" } else { "`, and `" };
            let _ = write!(how, "{before}{}", step.flags);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_leaves_the_other_flags_and_never_less_than_a_few_users() {
        let flags = "--scenario direct --users 2000 --rate 5000 --steps";
        assert_eq!(scaled(flags, 1.0), flags);
        assert_eq!(scaled(flags, 0.01), "--scenario direct --users 40 --rate 50 --steps");
        assert_eq!(scaled("--users 30 --closed", 0.1), "--users 30 --closed");
    }

    #[test]
    fn every_workload_is_a_command_that_can_be_typed() {
        let Command::Measure(options) = Options::try_parse_from(["loadtest", "measure"]).unwrap().command
        else {
            panic!()
        };
        for step in steps(&options) {
            parsed(&step.flags, "/").unwrap();
        }
    }
}
