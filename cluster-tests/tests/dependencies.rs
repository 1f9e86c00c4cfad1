//! The directions of dependencies between the workspace's crates, that one crate
//! alone knows the databases, and that locks know their order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What each part may need of the others, tests aside.
const MAY_NEED: [(&str, &[&str]); 11] = [
    ("proto", &[]),
    ("daemon", &[]),
    ("testbed", &[]),
    ("store", &["proto"]),
    ("router", &["proto", "store", "daemon"]),
    ("gateway", &["proto", "store", "daemon"]),
    ("standalone", &["proto", "store", "daemon", "router", "gateway"]),
    ("loadtest", &["proto", "testbed"]),
    ("conformance", &["gateway", "proto", "store", "daemon"]),
    ("cluster-tests", &["proto", "testbed", "loadtest"]),
    ("simulation", &["proto", "store", "daemon", "router", "gateway", "testbed", "loadtest"]),
];

/// Only `store` may name these, in whatever section.
const DATABASES: [&str; 2] = ["fred", "redb"];

/// Each crate's dependencies: name and kind (`None` for ordinary ones).
fn crates() -> BTreeMap<String, Vec<(String, Option<String>)>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo answers JSON");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let packages = metadata["packages"].as_array().expect("a list").iter();
    packages
        .map(|package| {
            let needs = package["dependencies"].as_array().expect("a list").iter();
            let needs =
                needs.map(|need| (text(&need["name"]).expect("a name"), text(&need["kind"]))).collect();
            (text(&package["name"]).expect("a name"), needs)
        })
        .collect()
}

#[test]
fn dependencies_point_one_way() {
    let crates = crates();
    let known: BTreeSet<&str> = MAY_NEED.iter().map(|(name, _)| *name).collect();
    let present: BTreeSet<&str> = crates.keys().map(String::as_str).collect();
    assert_eq!(known, present, "a new crate says here what it may need");
    for (name, allowed) in MAY_NEED {
        for (need, kind) in &crates[name] {
            let ours = present.contains(need.as_str()) && kind.as_deref() != Some("dev");
            assert!(!ours || allowed.contains(&need.as_str()), "{name} must not need {need}");
        }
    }
}

#[test]
fn only_the_store_knows_the_databases() {
    for (name, needs) in crates() {
        for (need, _) in needs {
            let database = DATABASES.contains(&need.as_str());
            assert!(!database || name == "store", "{name} must not name {need}");
        }
    }
}

/// Where threads wait for each other: their locks have ranks (`daemon::lock`).
const RANKED: [&str; 3] = ["daemon", "router", "gateway"];

#[test]
fn locks_of_the_servers_know_their_order() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a folder above");
    for name in RANKED {
        let mut looked = 0;
        for file in sources(&workspace.join(name).join("src")) {
            let text = std::fs::read_to_string(&file).expect("a source is text");
            // Tests of a file stand at its end, or in a file of their own.
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
            let is_exempt = file.ends_with("daemon/src/lock.rs") || file.ends_with("tests.rs");
            looked += 1;
            for line in code.lines().filter(|line| !is_exempt && line.contains("std::sync::")) {
                let plain = ["Mutex", "RwLock"].iter().any(|lock| line.contains(lock));
                let lent = line.contains("Guard<");
                assert!(!plain || lent, "{}: `{}` knows no order: daemon::lock", file.display(), line.trim());
            }
        }
        assert!(looked > 5, "{name} has sources");
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => sources(&path),
            false if path.extension().is_some_and(|of| of == "rs") => vec![path],
            false => Vec::new(),
        })
        .collect()
}
