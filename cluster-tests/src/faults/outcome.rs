//! How it went: one line a row, as a table here and in docs/RELIABILITY.md.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use loadtest::capacity::page::put;
use loadtest::history::Report;
use loadtest::results::today;

/// Of one row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// The row's name.
    pub name: String,
    /// Messages that were to be sent.
    pub messages: usize,
    /// Of them acknowledged.
    pub acknowledged: usize,
    /// Acknowledged and not with everybody.
    pub lost: usize,
    /// With somebody twice.
    pub repeated: usize,
    /// With somebody in the wrong order.
    pub reordered: usize,
    /// Other promises that were broken: two numbers for one message, a mark that
    /// goes back, a `reset` without a cause.
    pub other: usize,
    /// From the end of a fault until all is well; the longest of the row.
    pub heal: Duration,
    /// Why the row failed; also where no promise was broken.
    pub failure: Option<String>,
}

impl Outcome {
    /// What a report says.
    pub fn new(name: &str, report: &Report, heal: Duration, failure: Option<String>) -> Self {
        let (lost, repeated, reordered) = (report.missing(), report.repeated(), report.reordered());
        Self {
            name: name.to_owned(),
            messages: report.sent,
            acknowledged: report.acknowledged,
            lost,
            repeated,
            reordered,
            other: report.violations.len() - lost - repeated - reordered,
            heal,
            failure: failure.or_else(|| (!report.is_clean()).then(|| report.to_string())),
        }
    }

    /// One that did not come to anything.
    pub fn failed(name: &str, why: String) -> Self {
        Self { name: name.to_owned(), failure: Some(why), ..Self::default() }
    }

    /// Counts another one in.
    pub fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.reordered += other.reordered;
        self.other += other.other;
        self.heal = self.heal.max(other.heal);
        self.failure = self.failure.take().or_else(|| other.failure.clone());
    }

    fn cells(&self) -> [String; 8] {
        let heal = match &self.failure {
            Some(_) => "failed".to_owned(),
            None => format!("{:.1} s", self.heal.as_secs_f64()),
        };
        let counts = [self.messages, self.acknowledged, self.lost, self.repeated, self.reordered, self.other];
        let [messages, acknowledged, lost, repeated, reordered, other] =
            counts.map(|count| count.to_string());
        [self.name.clone(), messages, acknowledged, lost, repeated, reordered, other, heal]
    }
}

const HEADS: [&str; 8] =
    ["row", "messages", "acknowledged", "lost", "repeated", "reordered", "other", "time to heal"];

/// All of them as Markdown, and the sum of those that passed or failed.
pub fn table(outcomes: &[Outcome]) -> String {
    let mut sum = Outcome { name: "all".to_owned(), ..Outcome::default() };
    outcomes.iter().for_each(|outcome| sum.add(outcome));
    let mut text = format!("| {} |\n| --- |{}\n", HEADS.join(" | "), " ---: |".repeat(HEADS.len() - 1));
    for outcome in outcomes.iter().chain([&sum]) {
        let _ = writeln!(text, "| {} |", outcome.cells().join(" | "));
    }
    text
}

/// Writes a table into a document, between its marks `faults NAME`, with the day, the
/// seed and the command.
pub fn record(file: &Path, name: &str, outcomes: &[Outcome], seed: u64, command: &str) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let body = format!("\n{}, seed {seed}, `{command}`:\n\n{}", today(), table(outcomes));
    let text = put(&text, &format!("faults {name}"), &body)?;
    fs::write(file, text).with_context(|| format!("{} cannot be written", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_line_a_row_and_their_sum() {
        let good = Outcome { name: "a".into(), messages: 5, acknowledged: 4, ..Outcome::default() };
        let bad = Outcome {
            name: "b".into(),
            messages: 1,
            lost: 1,
            failure: Some("…".into()),
            ..Outcome::default()
        };
        let text = table(&[good, bad]);
        let lines: Vec<_> = text.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "| a | 5 | 4 | 0 | 0 | 0 | 0 | 0.0 s |",
                "| b | 1 | 0 | 1 | 0 | 0 | 0 | failed |",
                "| all | 6 | 4 | 1 | 0 | 0 | 0 | failed |"
            ]
        );
    }
}
