//! docs/METRICS.md says what metrics there are, and so does the code: neither
//! has one, or a label's value, that the other has not.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use daemon::metric::{Kind, Metric};

fn declared() -> impl Iterator<Item = &'static Metric> {
    let all = [gateway::metrics::METRICS, router::metrics::METRICS, daemon::process::METRICS];
    all.into_iter().flatten().map(|instrument| instrument.metric())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The cells of every row whose first cell is a name in backquotes.
fn rows() -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(root().join("docs/METRICS.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

fn quoted(text: &str) -> String {
    format!("`{text}`")
}

#[test]
fn the_table_and_the_code_have_the_same_metrics() {
    let kind = |metric: &Metric| match metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram(_) => "histogram",
    };
    let written: BTreeMap<String, Vec<String>> = rows()
        .into_iter()
        .filter(|row| row.len() == 7)
        .map(|row| (row[0].clone(), row[1..5].to_vec()))
        .collect();
    let coded: BTreeMap<String, Vec<String>> = declared()
        .map(|metric| {
            let labels: Vec<_> = metric.labels.iter().map(|label| quoted(label.name)).collect();
            let row =
                [quoted(&metric.prometheus()), kind(metric).into(), metric.unit.into(), labels.join(", ")];
            (quoted(metric.name), row.to_vec())
        })
        .collect();
    assert_eq!(written, coded);
}

#[test]
fn the_table_and_the_code_have_the_same_labels() {
    let written: BTreeMap<(String, String), String> = rows()
        .into_iter()
        .filter(|row| row.len() == 3)
        .map(|row| ((row[0].clone(), row[1].clone()), row[2].clone()))
        .collect();
    let coded: BTreeMap<(String, String), String> = declared()
        .flat_map(|metric| {
            let labels = metric.labels.iter();
            labels.map(|label| ((quoted(metric.name), quoted(label.name)), label.values.join(", ")))
        })
        .collect();
    assert_eq!(written, coded);
}

/// An instrument that is made without a declaration would not be in the table.
#[test]
fn instruments_are_made_from_declarations_only() {
    for part in ["gateway", "router", "store", "standalone"] {
        let mut folders = vec![root().join(part).join("src")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let text = std::fs::read_to_string(&path).unwrap();
                    assert!(!text.contains("meter()"), "{} makes an instrument itself", path.display());
                }
            }
        }
    }
    let names: Vec<_> = declared().map(|metric| metric.name).collect();
    let mut once = names.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), names.len(), "a name is declared twice");
}

/// Prometheus keeps these endings for the parts of a histogram and for counters.
#[test]
fn no_name_ends_in_what_prometheus_keeps_for_itself() {
    for metric in declared() {
        let name = metric.prometheus();
        let kept = ["_count", "_sum", "_bucket", "_info"];
        let total = metric.kind == Kind::Counter;
        assert!(!kept.iter().any(|ending| name.ends_with(ending)), "{name}");
        assert_eq!(name.ends_with("_total"), total, "{name}");
    }
}

/// A value that is not declared is not counted: those that the code uses are.
#[test]
fn labels_have_every_word_of_the_protocol() {
    let values = |name: &str, label: &str| {
        let metric = declared().find(|metric| metric.name == name).unwrap();
        metric.labels.iter().find(|known| known.name == label).unwrap().values
    };
    for name in ["switchboard.gateway.commands", "switchboard.router.commands"] {
        let results = values(name, "result");
        let of_router = |code: &str| !matches!(code, "unauthorized" | "rate_limited");
        for code in proto::ErrorCode::all().map(proto::ErrorCode::as_str) {
            if name.contains("gateway") || of_router(code) {
                assert!(results.contains(&code), "{name} has no result {code}");
            }
        }
    }
    let types = values("switchboard.gateway.commands", "type");
    let resources = gateway::http::catalogue::RESOURCES
        .iter()
        .filter(|resource| matches!(resource.served, gateway::http::catalogue::Served::Command(..)));
    for resource in resources {
        assert!(types.contains(&resource.name), "no type {}", resource.name);
    }
}
