//! Many seeds, each in a process of its own: what a process has learned (keys of hash
//! tables, statics) must not change the next seed. And the table of how they went.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::Outcome;

/// Which seeds, and by which program.
#[derive(Debug, Clone)]
pub struct Seeds<'a> {
    /// The program `simulate`.
    pub program: &'a Path,
    /// The first one.
    pub from: u64,
    /// How many seeds.
    pub count: u64,
    /// Processes at once, one for each seed.
    pub processes: usize,
    /// Nothing more is begun when one has failed.
    pub until_found: bool,
}

/// How they went.
#[derive(Debug, Default)]
pub struct Report {
    /// Of each seed that was run.
    pub outcomes: Vec<Outcome>,
    /// Seconds of this machine's time.
    pub seconds: f64,
}

impl Seeds<'_> {
    /// Runs them all.
    pub fn run(&self) -> Result<Report> {
        let begun = Instant::now();
        let (next, outcomes) = (AtomicU64::new(0), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            let runners: Vec<_> = (0..self.processes.max(1))
                .map(|_| {
                    scope.spawn(|| -> Result<()> {
                        loop {
                            let number = next.fetch_add(1, Ordering::Relaxed);
                            if number >= self.count {
                                return Ok(());
                            }
                            let outcome = one(self.program, self.from + number)?;
                            let failed = !outcome.violations.is_empty();
                            outcomes.lock().expect("no holder panics").push(outcome);
                            if failed && self.until_found {
                                next.store(self.count, Ordering::Relaxed);
                            }
                        }
                    })
                })
                .collect();
            runners.into_iter().try_for_each(|runner| match runner.join() {
                Ok(done) => done,
                Err(_) => anyhow::bail!("a runner panicked"),
            })
        })?;
        let mut outcomes = outcomes.into_inner().expect("no holder panics");
        outcomes.sort_by_key(|outcome| outcome.seed);
        Ok(Report { outcomes, seconds: begun.elapsed().as_secs_f64() })
    }
}

/// Runs one seed in a process of its own. A process that dies is a violation: our own
/// code has panicked.
pub fn one(program: &Path, seed: u64) -> Result<Outcome> {
    let output = Command::new(program)
        .args(["--only", &seed.to_string()])
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{} does not start", program.display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last: Vec<&str> = said.lines().rev().take(6).collect();
        let violation = format!("the process ended with {}: {}", output.status, last.join(" | "));
        return Ok(Outcome { seed, violations: vec![violation], ..Outcome::default() });
    }
    let outcome: Outcome = serde_json::from_slice(&output.stdout).context("an outcome")?;
    ensure!(outcome.seed == seed, "asked for seed {seed}, and got {}", outcome.seed);
    Ok(outcome)
}

impl Report {
    /// Those that did not go well.
    pub fn failed(&self) -> Vec<&Outcome> {
        self.outcomes.iter().filter(|outcome| !outcome.violations.is_empty()).collect()
    }

    /// How many seeds this machine does in an hour.
    pub fn seeds_per_hour(&self) -> f64 {
        self.outcomes.len() as f64 / self.seconds.max(0.001) * 3_600.0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |of: fn(&Outcome) -> usize| self.outcomes.iter().map(of).sum::<usize>();
        let (sent, acknowledged) = (sum(|one| one.sent), sum(|one| one.acknowledged));
        let mut healed: Vec<u64> = self.outcomes.iter().map(|one| one.healed_ms).collect();
        healed.sort_unstable();
        let at =
            |part: f64| healed.get(((healed.len().max(1) - 1) as f64 * part) as usize).copied().unwrap_or(0);
        let simulated: u64 = self.outcomes.iter().map(|one| one.simulated_ms).sum();
        let first = self.outcomes.first().map_or(0, |one| one.seed);
        let last = self.outcomes.last().map_or(0, |one| one.seed);
        writeln!(f, "| what | how much |\n| --- | ---: |")?;
        writeln!(f, "| seeds | {} ({first} to {last}) |", self.outcomes.len())?;
        writeln!(f, "| seeds that found something | {} |", self.failed().len())?;
        writeln!(f, "| messages, of them acknowledged | {sent}, {acknowledged} |")?;
        writeln!(f, "| simulated time | {} minutes |", simulated / 60_000)?;
        writeln!(
            f,
            "| time to heal, p50, p99, longest | {:.1} s, {:.1} s, {:.1} s |",
            at(0.5) as f64 / 1e3,
            at(0.99) as f64 / 1e3,
            at(1.0) as f64 / 1e3
        )?;
        writeln!(f, "| seeds an hour | {:.0} |", self.seeds_per_hour())?;
        let mut faults: BTreeMap<&str, u64> = BTreeMap::new();
        for (kind, count) in self.outcomes.iter().flat_map(|one| &one.faults) {
            *faults.entry(kind).or_default() += count;
        }
        for (kind, count) in faults {
            writeln!(f, "| {kind} | {count} |")?;
        }
        let mut words = String::new();
        for one in self.failed().iter().take(20) {
            let first: Vec<&str> = one.violations.iter().take(2).map(String::as_str).collect();
            let _ = writeln!(
                words,
                "seed {}: {} violations: {}",
                one.seed,
                one.violations.len(),
                first.join("; ")
            );
        }
        if !words.is_empty() {
            write!(f, "\n{words}")?;
        }
        Ok(())
    }
}
