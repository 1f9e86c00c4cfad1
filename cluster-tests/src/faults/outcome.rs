//! How it went: one line a row, as a table here and in docs/RELIABILITY.md.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use loadtest::history::Report;

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

/// Writes a table into a document, between its comments `faults NAME` and
/// `/faults`, with the day, the seed and the command.
pub fn record(file: &Path, name: &str, outcomes: &[Outcome], seed: u64, command: &str) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let days = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() / (24 * 3600);
    let body = format!("\n{}, seed {seed}, `{command}`:\n\n{}", date(days), table(outcomes));
    let text = between(&text, &format!("<!-- faults {name} -->"), "<!-- /faults -->", &body)?;
    fs::write(file, text).with_context(|| format!("{} cannot be written", file.display()))
}

fn between(text: &str, open: &str, close: &str, body: &str) -> Result<String> {
    let (before, rest) = text.split_once(open).with_context(|| format!("{open} is not there"))?;
    let (_, after) = rest.split_once(close).with_context(|| format!("{close} is not there"))?;
    Ok(format!("{before}{open}\n{body}{close}{after}"))
}

/// The date of a day after 1970-01-01, in the proleptic Gregorian calendar.
fn date(mut days: u64) -> String {
    let mut year = 1970;
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        for (days, text) in
            [(0, "1970-01-01"), (59, "1970-03-01"), (11_016, "2000-02-29"), (20_787, "2026-11-30")]
        {
            assert_eq!(date(days), text);
        }
    }

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

    #[test]
    fn a_document_keeps_what_stands_around_the_table() {
        let text = "a\n<!-- faults x -->\nold\n<!-- /faults -->\nb\n";
        let new = between(text, "<!-- faults x -->", "<!-- /faults -->", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- faults x -->\nnew\n<!-- /faults -->\nb\n");
        assert!(between(text, "<!-- faults y -->", "<!-- /faults -->", "new\n").is_err());
    }
}
