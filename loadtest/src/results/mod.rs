//! What was measured, in one file: `docs/performance.json`, written by `make
//! measure` and `loadtest versus`. The tables of `docs/PERFORMANCE.md`, figures
//! in other documents and the costs that capacity is reckoned from are made of
//! it.
//!
//! In reading order: `table` (rows, columns, medians), `machine` (where it was
//! measured), [`pages`] (the documents).

mod machine;
pub mod pages;
mod table;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

pub use machine::{Machine, today};
pub(crate) use machine::{own_version, redis_version, says};
pub use table::{Cell, Row, Table};

/// Below the repository's folder.
const FILE: &str = "docs/performance.json";

/// Those that this program was built with: [`crate::capacity`] reckons from them.
pub static BUILT_IN: LazyLock<Results> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../docs/performance.json"))
        .expect("a test holds the file to its form")
});

/// The file: a sheet a command.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// Of `make measure`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measure: Option<Sheet>,
    /// Of `loadtest versus`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub versus: Option<Sheet>,
}

/// What one command has measured on one day.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sheet {
    /// When, as `2026-11-30`.
    pub date: String,
    /// The machine that it was measured on.
    pub machine: Machine,
    /// The programs and their versions.
    pub versions: BTreeMap<String, String>,
    /// How often each figure was measured.
    pub runs: usize,
    /// What a reader has to know beside the figures.
    pub notes: Vec<String>,
    /// The figures, in the order of the page.
    pub tables: Vec<Table>,
}

impl Results {
    /// Reads the file below a repository's folder.
    pub fn read(root: &Path) -> Result<Self> {
        let file = root.join(FILE);
        let text =
            fs::read_to_string(&file).with_context(|| format!("{} could not be read", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not of the right form", file.display()))
    }

    /// Writes the file below a repository's folder.
    pub fn write(&self, root: &Path) -> Result<()> {
        let file = root.join(FILE);
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(&file, text).with_context(|| format!("{} could not be written", file.display()))
    }

    /// Takes new results into the file below a repository's folder, and writes
    /// all documents anew.
    pub fn record(root: &Path, change: impl FnOnce(&mut Self)) -> Result<()> {
        let mut results = Self::read(root)?;
        change(&mut results);
        results.write(root)?;
        pages::write(root, &results)
    }

    /// A sheet by its name.
    pub fn sheet(&self, name: &str) -> Result<Option<&Sheet>> {
        match name {
            "measure" => Ok(self.measure.as_ref()),
            "versus" => Ok(self.versus.as_ref()),
            other => anyhow::bail!("there is no sheet `{other}`: measure and versus are"),
        }
    }
}

impl Sheet {
    /// A sheet of today, of this machine, without figures.
    pub fn today(runs: usize) -> Self {
        let versions = [("switchboard", own_version()), ("redis", redis_version())];
        Self {
            date: today(),
            machine: Machine::this(),
            versions: versions.map(|(name, version)| (name.to_owned(), version)).into(),
            runs,
            notes: Vec::new(),
            tables: Vec::new(),
        }
    }

    /// Adds what a reader has to know, once.
    pub fn note(&mut self, text: String) {
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    /// The figure at a row and a column, of whichever table has it.
    pub fn cell(&self, row: &str, column: &str) -> Result<&Cell> {
        let found = self.tables.iter().find_map(|table| table.cell(row, column));
        found.with_context(|| {
            let rows = self.tables.iter().flat_map(|table| &table.rows);
            let names: Vec<_> = rows.map(|row| row.name.as_str()).collect();
            format!("no figure `{row}; {column}`; rows are: {}", names.join(" | "))
        })
    }

    /// Its block of a document.
    pub fn markdown(&self) -> String {
        let versions: Vec<_> =
            self.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        let medians = match self.runs {
            1 => "One run".to_owned(),
            runs => format!("Medians of {runs} runs, the range in brackets"),
        };
        let mut text =
            format!("Measured on {} on {}: {}. {medians}.\n", self.date, self.machine, versions.join(", "));
        for table in &self.tables {
            let _ = write!(text, "\n{}", table.markdown());
        }
        let commands: Vec<_> =
            self.tables.iter().flat_map(|table| &table.rows).filter(|row| !row.how.is_empty()).collect();
        if !commands.is_empty() {
            text.push_str("\nA row alone is `loadtest run --spawn gateways=2,routers=2` with\n\n");
            for row in commands {
                let _ = writeln!(text, "- {}: `{}`", row.name, row.how);
            }
        }
        for (index, note) in self.notes.iter().enumerate() {
            let before = if index == 0 { "\n" } else { "" };
            let _ = writeln!(text, "{before}- {note}");
        }
        text
    }
}
