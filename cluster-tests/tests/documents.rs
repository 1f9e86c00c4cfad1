//! The links between the repository's documents lead somewhere: each relative
//! one to a file that is there, each anchor to a heading. And PROTOCOL.md and the
//! JavaScript client know every command.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proto::CommandKind;

/// Folders that are made by programs; the client's reference is made with anchors of its own.
const MADE: [&str; 7] = ["target", "node_modules", "dist", "build", "reference", ".git", "switchboard-data"];

#[test]
fn links_lead_to_files_and_headings() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a folder above");
    let documents = documents(root);
    assert!(
        documents.iter().any(|document| document.ends_with("docs/PROTOCOL.md")),
        "the documents are here"
    );
    let mut broken = Vec::new();
    for document in &documents {
        let text = fs::read_to_string(document).expect("a document is text");
        for target in targets(&text) {
            if let Err(why) = leads_somewhere(document, target) {
                let name = document.strip_prefix(root).expect("below the root");
                broken.push(format!("{}: {target}: {why}", name.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_command_is_in_the_protocol_and_in_the_client() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a folder above");
    let read = |file: &str| fs::read_to_string(root.join(file)).expect("a file of the repository");
    let protocol = read("docs/PROTOCOL.md");
    let client = read("clients/javascript/src/client.ts") + &read("clients/javascript/src/vocabulary.ts");
    // Those that clients have; the rest are backends' requests.
    for kind in CommandKind::ALL.iter().filter(|kind| kind.protobuf().is_some()) {
        let name = kind.as_str();
        assert!(protocol.contains(&format!("\n| `{name}` | ")), "`{name}` is not in PROTOCOL.md §5");
        assert!(client.contains(&format!("type: '{name}'")), "the JavaScript client has no `{name}`");
    }
}

#[test]
fn targets_are_found_outside_of_code() {
    let text = "[a](one.md#b) `[c](no)` ![d](two.png)\n```\n[e](no)\n```\n<img src=\"three.png\" srcset=\"four.png\">";
    assert_eq!(targets(text), ["one.md#b", "two.png", "three.png", "four.png"]);
}

#[test]
fn headings_have_the_anchors_that_github_gives_them() {
    let text = "# A `b`, c\n## 4. Frames from the server\n```sh\n# no heading\n```\n## A `b`, c\n";
    let expected = ["a-b-c", "4-frames-from-the-server", "a-b-c-1"];
    assert_eq!(anchors(text), expected.map(str::to_owned).into());
}

fn documents(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && !MADE.contains(&&*name) {
            found.extend(documents(&path));
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
    found
}

/// The lines outside of blocks of code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !fence && !in_code
    })
}

/// Where links and images lead.
fn targets(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for line in prose(text) {
        // Between backquotes is code: every second piece.
        for piece in line.split('`').step_by(2) {
            for (open, close) in [("](", ')'), ("src=\"", '"'), ("srcset=\"", '"')] {
                let pieces = piece.split(open).skip(1);
                found.extend(pieces.filter_map(|rest| rest.split_once(close)).map(|(target, _)| target));
            }
        }
    }
    found
}

/// The anchors of a document's headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for heading in prose(text).filter(|line| line.starts_with('#')) {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        // The same heading again has a number behind it.
        let numbered = (1..).map(|number| format!("{anchor}-{number}"));
        let free = std::iter::once(anchor.clone()).chain(numbered).find(|name| !found.contains(name));
        found.extend(free);
    }
    found
}

fn leads_somewhere(document: &Path, target: &str) -> Result<(), String> {
    if ["https://", "http://", "mailto:"].iter().any(|scheme| target.starts_with(scheme)) {
        return Ok(());
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = match path {
        "" => document.to_owned(),
        _ => document.parent().expect("a file has a folder").join(path),
    };
    if !file.exists() {
        return Err("no such file".to_owned());
    }
    if anchor.is_empty() || file.extension().is_none_or(|of| of != "md") {
        return Ok(());
    }
    let text = fs::read_to_string(&file).map_err(|error| error.to_string())?;
    if anchors(&text).contains(anchor) { Ok(()) } else { Err("no such heading".to_owned()) }
}
