//! Every crate that is built in comes from crates.io, under a licence that
//! `deny.toml` allows, and is none that it bans. `make deny` asks for more, but needs
//! cargo-deny and the network.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// `deny.toml` without its comments.
fn rules() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deny.toml");
    let text = std::fs::read_to_string(file).expect("deny.toml is there");
    text.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n")
}

/// The texts of a list in a section of `deny.toml`.
fn list(rules: &str, section: &str, name: &str) -> Vec<String> {
    let section = rules.split_once(&format!("[{section}]")).expect("a section").1;
    let section = section.split("\n[").next().unwrap_or_default();
    let list = section.split_once(&format!("\n{name} = [")).expect("a list").1;
    let list = list.split_once(']').expect("its end").0;
    let texts: Vec<_> = list.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    assert!(!texts.is_empty(), "{name} is empty");
    texts
}

/// The crates of a build for this kind of machine that are not ours.
fn others() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--locked",
            "--format-version",
            "1",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo answers JSON");
    let packages = metadata["packages"].as_array().expect("a list").iter();
    let others: Vec<_> = packages.filter(|package| !package["source"].is_null()).cloned().collect();
    assert!(others.len() > 100, "{} crates", others.len());
    others
}

/// Whether a licence expression (SPDX, or with slashes, as old crates have it) can be
/// met by these licences alone.
fn is_met(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let met = any(&mut words, allowed);
    assert_eq!(words.next(), None, "`{expression}` is no licence expression");
    met
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut met = all(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= all(words, allowed);
    }
    met
}

fn all(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut name = words.next().expect("a licence").to_owned();
    if name == "(" {
        let met = any(words, allowed);
        assert_eq!(words.next(), Some(")"));
        return met;
    }
    if words.next_if_eq(&"WITH").is_some() {
        name = format!("{name} WITH {}", words.next().expect("an exception"));
    }
    allowed.contains(&name)
}

#[test]
fn every_dependency_is_allowed() {
    let rules = rules();
    let (licences, banned) = (list(&rules, "licenses", "allow"), list(&rules, "bans", "deny"));
    let registries = list(&rules, "sources", "allow-registry");
    let mut wrong = Vec::new();
    for package in others() {
        let text = |name: &str| package[name].as_str().unwrap_or_default().to_owned();
        let (name, licence, source) = (text("name"), text("license"), text("source"));
        if licence.is_empty() || !is_met(&licence, &licences) {
            wrong.push(format!("{name}: its licence `{licence}` is not allowed"));
        }
        if !source.strip_prefix("registry+").is_some_and(|url| registries.iter().any(|known| known == url)) {
            wrong.push(format!("{name}: comes from {source}"));
        }
        if banned.contains(&name) {
            wrong.push(format!("{name} is banned"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_licence_expression_is_met_by_what_is_allowed() {
    let allowed = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
    for met in
        ["MIT", "GPL-3.0 OR MIT", "GPL-3.0/MIT", "ISC AND (MIT OR GPL-3.0)", "Apache-2.0 WITH LLVM-exception"]
    {
        assert!(is_met(met, &allowed), "{met}");
    }
    for not in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND GPL-3.0", "Apache-2.0"] {
        assert!(!is_met(not, &allowed), "{not}");
    }
}
