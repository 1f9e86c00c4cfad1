//! `fuzz`: runs the fuzz targets that `fuzz/build` has built, one after another, and
//! ends with one table; with exit code 1 where one of them found something.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use loadtest::capacity::page::put;
use loadtest::results::today;

#[derive(Debug, Parser)]
#[command(about = "Runs the fuzz targets; each begins with the inputs that are kept in fuzz/corpus")]
struct Options {
    /// Only these targets
    targets: Vec<String>,
    /// The folder with the programs
    #[arg(long, value_name = "FOLDER")]
    programs: PathBuf,
    /// For how long each runs
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    seconds: u64,
    /// What is random: the same seed tries the same inputs in the same order
    #[arg(long)]
    seed: Option<u32>,
    /// Takes into fuzz/corpus what of the new inputs reaches more, as few as do
    #[arg(long)]
    keep: bool,
    /// Writes the table into this document, which is docs/RELIABILITY.md
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

/// What one target did.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    target: String,
    executions: u64,
    /// Inputs in the kept corpus and beside it that reach something of their own.
    corpus: u64,
    edges: u64,
    failed: bool,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fuzz: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("there is a folder above")?;
    let mut targets = names(&root.join("fuzz/fuzz_targets"))?;
    targets.retain(|target| options.targets.is_empty() || options.targets.contains(target));
    ensure!(!targets.is_empty(), "no target has such a name: fuzz/fuzz_targets has a file for each");
    // libFuzzer takes 0 for none.
    let seed = options.seed.unwrap_or_else(|| rand::random_range(1..1_000_000));
    eprintln!("seed {seed}");
    let mut outcomes = Vec::new();
    for (number, target) in targets.iter().enumerate() {
        eprintln!("[{} of {}] {target}", number + 1, targets.len());
        outcomes.push(fuzz(options, &root.join("fuzz"), target, seed)?);
    }
    let table = table(&outcomes);
    print!("{table}");
    if let Some(file) = &options.record {
        let page = fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
        let seconds = options.seconds;
        let body = format!("\n{}, seed {seed}, {seconds} s for each, `make fuzz`:\n\n{table}\n", today());
        let page = put(&page, "fuzz", &body)?;
        fs::write(file, page).with_context(|| format!("{} cannot be written", file.display()))?;
    }
    let failed: Vec<_> = outcomes.iter().filter(|one| one.failed).map(|one| one.target.as_str()).collect();
    ensure!(failed.is_empty(), "{} found something: its input is in fuzz/artifacts", failed.join(", "));
    Ok(())
}

/// The targets, in the order of their names.
fn names(folder: &Path) -> Result<Vec<String>> {
    let files = fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    let names = files.flatten().map(|file| file.path());
    let mut names: Vec<_> = names.filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    Ok(names)
}

fn fuzz(options: &Options, folder: &Path, target: &str, seed: u32) -> Result<Outcome> {
    let (kept, artifacts) = (folder.join("corpus").join(target), folder.join("artifacts").join(target));
    fs::create_dir_all(&artifacts)?;
    // What it finds on its way is thrown away, or taken over at the end.
    let found = tempfile::tempdir()?;
    let program = options.programs.join(target);
    let ran = Command::new(&program)
        .arg(format!("-max_total_time={}", options.seconds))
        .arg(format!("-seed={seed}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args(["-max_len=4096", "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=1"])
        .args([found.path(), &kept])
        .output()
        .with_context(|| format!("{} cannot be run: `make fuzz` builds it", program.display()))?;
    let said = String::from_utf8_lossy(&ran.stderr);
    let outcome = Outcome { target: target.to_owned(), failed: !ran.status.success(), ..outcome_of(&said) };
    if outcome.failed {
        eprintln!("{said}");
    } else if options.keep {
        // From both folders as few as reach as much.
        let smaller = tempfile::tempdir()?;
        let merged = Command::new(&program)
            .args(["-merge=1", "-max_len=4096"])
            .args([smaller.path(), kept.as_path(), found.path()])
            .output()?;
        ensure!(merged.status.success(), "{target}: {}", String::from_utf8_lossy(&merged.stderr));
        for file in fs::read_dir(smaller.path())?.flatten() {
            fs::copy(file.path(), kept.join(file.file_name()))?;
        }
    }
    Ok(outcome)
}

/// Reads what libFuzzer says: lines such as `#1024 NEW cov: 12 ft: 14 corp: 3/9b …`,
/// and statistics at the end.
fn outcome_of(said: &str) -> Outcome {
    let mut outcome = Outcome::default();
    for line in said.lines() {
        if let Some(count) = line.strip_prefix("stat::number_of_executed_units:") {
            outcome.executions = count.trim().parse().unwrap_or_default();
        } else if line.starts_with('#') {
            let behind = |word: &str| {
                let number = line.split_once(word)?.1.trim_start();
                number.split(|one: char| !one.is_ascii_digit()).next()?.parse().ok()
            };
            outcome.edges = behind(" cov: ").unwrap_or(outcome.edges);
            outcome.corpus = behind(" corp: ").unwrap_or(outcome.corpus);
        }
    }
    outcome
}

fn table(outcomes: &[Outcome]) -> String {
    let mut table =
        "| target | executions | corpus | edges | findings |\n| --- | ---: | ---: | ---: | ---: |\n"
            .to_owned();
    for Outcome { target, executions, corpus, edges, failed } in outcomes {
        let findings = u8::from(*failed);
        table.push_str(&format!("| {target} | {executions} | {corpus} | {edges} | {findings} |\n"));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libfuzzer_says_is_read() {
        let said = "INFO: seed\n#2\tINITED cov: 9 ft: 9 corp: 1/1b exec/s: 0 rss: 30Mb\n\
            #4096\tpulse  cov: 128 ft: 300 corp: 17/2048b lim: 8 exec/s: 2048 rss: 31Mb\n\
            stat::number_of_executed_units: 123456\n";
        let expected = Outcome { executions: 123_456, corpus: 17, edges: 128, ..Outcome::default() };
        assert_eq!(outcome_of(said), expected);
    }
}
