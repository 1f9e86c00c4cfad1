//! From the text of Rust files to modules and the paths that they use.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path as File;

use super::tokens::{tokens, without_tests};

/// The segments of a path that begins at the crate's root.
type Path = Vec<String>;

/// All modules of a crate, by their paths.
pub(super) type Modules = BTreeMap<Path, Module>;

#[derive(Default)]
pub(super) struct Module {
    /// Paths within the crate that the module uses, as written but from the root.
    pub(super) paths: BTreeSet<Path>,
    /// What its `use` and `mod` items call by a name of their own.
    names: BTreeMap<String, Path>,
}

/// Reads the file at the root and all modules that it declares.
pub(super) fn read(root: &File, modules: &mut Modules) {
    let folder = root.parent().expect("a file is in a folder");
    read_module(root, folder, Vec::new(), modules);
}

/// Reads one file. Its children's files are in `folder`.
fn read_module(file: &File, folder: &File, path: Path, modules: &mut Modules) {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let tokens = without_tests(&tokens(&text));
    let mut module = Module::default();
    let children: Vec<&String> = tokens
        .windows(3)
        .filter(|window| window[0] == "mod" && window[2] == ";")
        .map(|window| &window[1])
        .collect();
    for child in &children {
        module.names.insert((*child).clone(), joined(&path, child));
    }
    // `use` items first: the rest of the file goes on from their names.
    let mut reader = Reader { tokens: &tokens, at: 0, home: &path, module: &mut module };
    reader.read_uses();
    reader.read_paths();
    modules.insert(path.clone(), module);
    for child in children {
        let nested = folder.join(child).join("mod.rs");
        let file = if nested.exists() { nested } else { folder.join(format!("{child}.rs")) };
        read_module(&file, &folder.join(child), joined(&path, child), modules);
    }
}

/// The module where `used` is at home, a path that the module `from` uses:
/// follows names that are passed on. `None` when the path leaves the crate.
pub(super) fn target(modules: &Modules, from: &Path, used: &Path) -> Option<Path> {
    let mut used = used.clone();
    // As many steps as there can be, so that names in a circle end.
    for _ in 0..modules.len() {
        let deepest = (0..=used.len()).rev().find(|&length| modules.contains_key(&used[..length]))?;
        let Some(passed_on) = used.get(deepest).and_then(|name| modules[&used[..deepest]].names.get(name))
        else {
            return Some(used[..deepest].to_vec());
        };
        // A module's own names are its own affair.
        if used[..deepest] == from[..] {
            return None;
        }
        used = passed_on.iter().chain(&used[deepest + 1..]).cloned().collect();
    }
    None
}

struct Reader<'a> {
    tokens: &'a [String],
    at: usize,
    /// The module's own path.
    home: &'a Path,
    module: &'a mut Module,
}

impl Reader<'_> {
    /// Reads `use` items.
    fn read_uses(&mut self) {
        self.at = 0;
        while self.at < self.tokens.len() {
            let is_use = self.token(0) == "use";
            self.at += 1;
            if is_use && let Some(start) = self.start() {
                self.tree(start, true);
            }
        }
    }

    /// Reads what is in none.
    fn read_paths(&mut self) {
        self.at = 0;
        while self.at < self.tokens.len() {
            if self.token(0) == "use" && self.token(1) != "<" {
                let item = self.tokens[self.at..].iter().take_while(|token| *token != ";");
                self.at += item.count();
                continue;
            }
            let before = |back: usize| self.at.checked_sub(back).map(|at| self.tokens[at].as_str());
            // The middle of another path is no start, and `pub(in crate::x)` imports nothing.
            let is_start = before(1) != Some("::") && (before(2), before(1)) != (Some("("), Some("in"));
            match self.start().filter(|_| is_start && self.token(1) == "::") {
                Some(start) => self.tree(start, false),
                None => self.at += 1,
            }
        }
    }

    /// What the next token means at the start of a path; `None` when it leads out of this crate.
    fn start(&self) -> Option<Path> {
        match self.token(0) {
            "crate" => Some(Vec::new()),
            "self" => Some(self.home.clone()),
            "super" => Some(self.home[..self.home.len().saturating_sub(1)].to_vec()),
            name => self.module.names.get(name).cloned(),
        }
    }

    /// Reads a path to its end, or to its ends if it is a tree. Its next token is known to mean `path`.
    fn tree(&mut self, mut path: Path, is_use: bool) {
        self.at += 1;
        while self.token(0) == "::" {
            let segment = self.token(1).to_owned();
            self.at += 2;
            match segment.as_str() {
                "{" if is_use => return self.branches(&path),
                "super" => drop(path.pop()),
                segment if is_identifier(segment) => path.push(segment.to_owned()),
                // A glob, or the `::<` of a generic call.
                _ => {
                    self.module.paths.insert(path);
                    return;
                }
            }
        }
        self.end(path, is_use);
    }

    /// Reads the branches of a tree up to the closing brace.
    fn branches(&mut self, stem: &Path) {
        loop {
            match self.token(0).to_owned().as_str() {
                "}" | "" => break,
                "self" => self.tree(stem.clone(), true),
                segment if is_identifier(segment) => self.tree(joined(stem, segment), true),
                "*" => {
                    self.module.paths.insert(stem.clone());
                    self.at += 1;
                }
                _ => self.at += 1,
            }
        }
        self.at += 1;
    }

    /// Notes a path that has been read to its end.
    fn end(&mut self, path: Path, is_use: bool) {
        let mut name = path.last().cloned();
        if is_use && self.token(0) == "as" {
            name = Some(self.token(1).to_owned());
            self.at += 2;
        }
        if is_use && let Some(name) = name {
            self.module.names.insert(name, path.clone());
        }
        self.module.paths.insert(path);
    }

    fn token(&self, ahead: usize) -> &str {
        self.tokens.get(self.at + ahead).map_or("", String::as_str)
    }
}

fn joined(path: &Path, segment: &str) -> Path {
    path.iter().cloned().chain([segment.to_owned()]).collect()
}

fn is_identifier(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}
