//! The documents that have figures: blocks and single figures between marks,
//! written from [`Results`], and the test that there are no others.
//!
//! A block is between `<!-- versus -->` and `<!-- /versus -->` (so for each
//! sheet), and a figure within a sentence between `<!-- figure SHEET; ROW;
//! COLUMN -->` and `<!-- /figure -->`.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::{Results, Sheet};
use crate::capacity::page;

/// Where the sheets are blocks.
const PAGE: &str = "docs/PERFORMANCE.md";

/// Where single figures may be; in no other way may these have any.
const DOCUMENTS: [&str; 8] = [
    "README.md",
    "ARCHITECTURE.md",
    "loadtest/README.md",
    "docs/BACKENDS.md",
    "docs/CAPACITY.md",
    "docs/METRICS.md",
    "docs/RUNBOOKS.md",
    "docs/TELEMETRY.md",
];

const OPEN: &str = "<!-- figure ";
const CLOSE: &str = "<!-- /figure -->";

/// Writes all documents below a repository's folder anew; what is not between
/// marks stays.
pub fn write(root: &Path, results: &Results) -> Result<()> {
    for name in [PAGE].iter().chain(&DOCUMENTS) {
        let file = root.join(name);
        let old = fs::read_to_string(&file).with_context(|| format!("{name} could not be read"))?;
        let new = made(name, &old, results).with_context(|| (*name).to_owned())?;
        if new != old {
            fs::write(&file, new).with_context(|| format!("{name} could not be written"))?;
        }
    }
    Ok(())
}

/// A document with what `results` say.
fn made(name: &str, text: &str, results: &Results) -> Result<String> {
    let text = quoted(text, results)?;
    if name != PAGE {
        return Ok(text);
    }
    let block = |sheet: Option<&Sheet>| sheet.map_or("Not measured yet.\n".to_owned(), Sheet::markdown);
    let text = page::put(&text, "measure", &block(results.measure.as_ref()))?;
    page::put(&text, "versus", &block(results.versus.as_ref()))
}

/// Its single figures. One of a sheet that was never measured is a dash.
fn quoted(text: &str, results: &Results) -> Result<String> {
    let mut made = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(OPEN) {
        let (address, after) = after.split_once("-->").context("a mark of a figure without its end")?;
        let (_, after) = after.split_once(CLOSE).with_context(|| format!("no {CLOSE} after {address}"))?;
        let mut parts = address.split(';').map(str::trim);
        let (Some(sheet), Some(row), Some(column)) = (parts.next(), parts.next(), parts.next()) else {
            anyhow::bail!("`{address}` is not `SHEET; ROW; COLUMN`");
        };
        let figure = match results.sheet(sheet)? {
            Some(sheet) => sheet.cell(row, column)?.text(),
            None => "–".to_owned(),
        };
        made.push_str(before);
        made.push_str(&format!("{OPEN}{address}-->{figure}{CLOSE}"));
        rest = after;
    }
    made.push_str(rest);
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::super::{BUILT_IN, Table};
    use super::*;

    fn root() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
    }

    fn results() -> Results {
        let mut table = Table::new("workload");
        for value in [170.0, 162.0, 212.0] {
            table.add("direct", "CPU", "µs", value);
        }
        Results { measure: Some(Sheet { tables: vec![table], ..Sheet::default() }), versus: None }
    }

    #[test]
    fn the_file_reads_back_as_it_was_written() {
        let read: Results = serde_json::from_str(&serde_json::to_string(&results()).unwrap()).unwrap();
        assert_eq!(read, results());
        assert!(BUILT_IN.measure.is_some(), "capacity is reckoned from it");
    }

    #[test]
    fn a_figure_is_written_between_its_marks_and_nothing_else_changes() {
        let text = "| a | <!-- figure measure; direct; CPU -->9 µs<!-- /figure --> |, <!-- figure versus; x; y -->1<!-- /figure -->.\n";
        let made = quoted(text, &results()).unwrap();
        assert_eq!(made, text.replace("9 µs", "170 µs").replace("-->1<", "-->–<"));
        for wrong in [
            "<!-- figure measure; direct; CPU -->9",
            "<!-- figure measure; direct -->9<!-- /figure -->",
            "<!-- figure measure; nothing; CPU -->9<!-- /figure -->",
            "<!-- figure elsewhere; direct; CPU -->9<!-- /figure -->",
        ] {
            assert!(quoted(wrong, &results()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_documents_say_what_was_measured_last() {
        for name in [PAGE].iter().chain(&DOCUMENTS) {
            let text = fs::read_to_string(root().join(name)).unwrap();
            let made = made(name, &text, &BUILT_IN).unwrap();
            assert!(made == text, "{name} has figures of another run: loadtest pages .");
        }
    }

    #[test]
    fn what_was_measured_stands_in_one_file() {
        let yaml = "deploy/helm/switchboard/values.yaml";
        let found: Vec<String> = DOCUMENTS
            .iter()
            .chain([&yaml])
            .flat_map(|name| {
                let text = fs::read_to_string(root().join(name)).unwrap();
                prose(&text)
                    .lines()
                    .flat_map(figures)
                    .map(|found| format!("{name}: {found}"))
                    .collect::<Vec<_>>()
            })
            .collect();
        assert!(
            found.is_empty(),
            "figures of a measurement outside {PAGE}; link to it, or put them between marks \
             (loadtest/src/results/pages.rs):\n{}",
            found.join("\n")
        );
    }

    #[test]
    fn figures_of_a_measurement_are_told_from_limits() {
        for line in [
            "takes **162 to 212 µs** of CPU",
            "an idle WebSocket 8 KiB, an SSE client 37",
            "30 MB and 6 to 14 KiB a connection",
            "so one core does some 10,000 a second",
            "one core delivers some 8,000 messages a second",
            "a channel reaches 264,000 deliveries/s",
            "a channel reaches 264,000 deliveries a second",
        ] {
            assert_eq!(figures(line).len(), 1, "{line}");
        }
        for line in [
            "at most 64 KiB of a body",
            "enough for 100,000 sessions. A router needs 256 MiB.",
            "`--messages-per-second` (50 messages a second)",
            "direct messages at 5,000/s",
            "waits 50 ms for the one before it",
        ] {
            assert!(figures(line).is_empty(), "{line}");
        }
        assert_eq!(
            prose("a\n<!-- costs -->\n5 µs\n<!-- /costs -->\nb <!-- figure x -->5 µs<!-- /figure -->"),
            "a\n\nb "
        );
    }

    /// What nobody generates: the text without what is between marks.
    fn prose(text: &str) -> String {
        let mut prose = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("<!-- ") {
            prose.push_str(before);
            let name: String = after.chars().take_while(|letter| letter.is_ascii_alphabetic()).collect();
            let close = format!("<!-- /{name} -->");
            // A comment that opens nothing is a comment.
            rest = after.split_once(&close).or_else(|| after.split_once("-->")).map_or("", |parts| parts.1);
        }
        prose + rest
    }

    /// The words about each figure of a line that only a measurement can give:
    /// microseconds, memory of a client, deliveries a second, what a core does.
    fn figures(line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let near = |at: usize, what: &[&str]| {
            let around = &words[at.saturating_sub(5)..words.len().min(at + 5)];
            let plain = |word: &str| word.trim_matches(|letter: char| !letter.is_alphabetic()).to_lowercase();
            around.iter().any(|word| what.contains(&plain(word).as_str()))
        };
        let mut found: Vec<String> = Vec::new();
        let mut last = None;
        for (at, pair) in words.windows(2).enumerate() {
            let number = pair[0].trim_matches(|letter: char| !letter.is_ascii_digit());
            if number.is_empty() || number.chars().any(|letter| !"0123456789.,–".contains(letter)) {
                continue;
            }
            let unit = pair[1].trim_start_matches('*');
            let rate =
                unit.starts_with("a") && words.get(at + 2).is_some_and(|word| word.starts_with("second"));
            let is = unit.starts_with("µs")
                || ["KB", "KiB", "MB", "MiB"].iter().any(|of| unit.starts_with(of))
                    && near(at, &["connection", "client", "session", "websocket"])
                || unit.starts_with("deliveries/s")
                || unit == "deliveries" && words.get(at + 2) == Some(&"a")
                || (rate || unit == "messages") && near(at, &["core"]);
            // One finding for a phrase.
            if is && last.is_none_or(|before| at > before + 6) {
                last = Some(at);
                found.push(words[at.saturating_sub(4)..words.len().min(at + 6)].join(" "));
            }
        }
        found
    }
}
