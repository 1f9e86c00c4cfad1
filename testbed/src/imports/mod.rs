//! Which module of a crate imports which, read from its sources: for tests that
//! keep a crate's modules in order, as `cargo metadata` does for crates.
//!
//! A module is a file. Its imports are the paths that lead to other modules of
//! the crate, in `use` items and elsewhere: `crate::link::Routers`,
//! `super::state::State`, or `amend::edit` after `mod amend;` or
//! `use crate::command::amend;`. A name that a module passes on with `use`
//! counts for the module that it comes from. Items under `#[cfg(test)]` do not
//! count. Not understood: `#[path]`, modules written inside a file, and globs
//! (`use super::*` is an import of the module above, whatever is used of it).

mod graph;
mod source;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

/// The name of `lib.rs` or `main.rs`, where every path begins.
const ROOT: &str = "crate";

/// The imports between the modules of one crate. A module is named by its path,
/// as `command::amend`; the file at the root is `crate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imports {
    edges: BTreeMap<String, BTreeSet<String>>,
}

impl Imports {
    /// Reads the crate whose root is the file `root` (`src/lib.rs`, say) and
    /// every file that its `mod` items lead to.
    ///
    /// # Panics
    ///
    /// When a file cannot be read, or is not there.
    pub fn read(root: &Path) -> Self {
        let mut modules = BTreeMap::new();
        source::read(root, &mut modules);
        let edges = modules.iter().map(|(path, module)| {
            let targets = module.paths.iter().filter_map(|used| source::target(&modules, path, used));
            let targets = targets.filter(|target| target != path).map(|target| name(&target));
            (name(path), targets.collect())
        });
        Self { edges: edges.collect() }
    }

    /// What each module imports, by its name. Modules that import nothing are
    /// there, too.
    pub fn edges(&self) -> &BTreeMap<String, BTreeSet<String>> {
        &self.edges
    }

    /// The same with each top-level module and all modules below it as one: for
    /// a crate whose folders may know each other in one direction only.
    pub fn rooms(&self) -> Self {
        let room = |name: &String| name.split("::").next().unwrap_or(name).to_owned();
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (module, imports) in &self.edges {
            let imports = imports.iter().map(room).filter(|import| *import != room(module));
            edges.entry(room(module)).or_default().extend(imports);
        }
        Self { edges }
    }

    /// Groups of modules that import each other, directly or by way of others.
    /// Empty when all imports run one way.
    pub fn cycles(&self) -> Vec<Vec<String>> {
        self.groups().into_iter().filter(|group| group.len() > 1).collect()
    }

    /// The longest way along imports, each importer before what it imports. A
    /// cycle counts as one step, as its modules in one group.
    pub fn longest_chain(&self) -> Vec<Vec<String>> {
        graph::longest_chain(&self.edges, &self.groups())
    }

    fn groups(&self) -> Vec<Vec<String>> {
        graph::groups(&self.edges)
    }
}

/// In a few lines, for a test to print.
impl fmt::Display for Imports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chain = self.longest_chain();
        let cycles = self.cycles();
        let steps: Vec<String> = chain.iter().map(|group| group.join(" + ")).collect();
        writeln!(f, "{} modules", self.edges.len())?;
        writeln!(f, "longest chain of imports, {} steps: {}", chain.len(), steps.join(" > "))?;
        write!(f, "modules in cycles: {}", cycles.iter().map(Vec::len).sum::<usize>())?;
        for cycle in cycles {
            write!(f, "\n  {}", cycle.join(", "))?;
        }
        Ok(())
    }
}

fn name(path: &[String]) -> String {
    if path.is_empty() { ROOT.to_owned() } else { path.join("::") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The imports of a crate with these files under `src`.
    fn imports(files: &[(&str, &str)]) -> Imports {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        Imports::read(&folder.path().join("lib.rs"))
    }

    fn of<'a>(imports: &'a Imports, module: &str) -> Vec<&'a str> {
        imports.edges()[module].iter().map(String::as_str).collect()
    }

    #[test]
    fn paths_of_every_form_are_imports() {
        let found = imports(&[
            ("lib.rs", "mod a; pub mod b; pub(crate) mod c; mod d;"),
            (
                "a.rs",
                "use crate::{b::{self as other, deep::{Thing, more}}, c};\nfn f() { d(\"\\\"crate::d\") }",
            ),
            ("b/mod.rs", "mod deep; fn f() -> u8 { deep::one::<'a'>() }"),
            ("b/deep.rs", "use super::Parent; use super::super::c::C; use std::d::D;"),
            ("c.rs", "fn f<'a>(x: &'a str) { crate::d::run('\"', x) } // crate::a"),
            ("d.rs", "/* crate::a /* crate::b */ */ /// [`crate::c`]\nconst A: &str = r#\"crate::\"a\"#;"),
        ]);
        assert_eq!(of(&found, "crate"), [""; 0], "to declare a module is not to import it");
        assert_eq!(of(&found, "a"), ["b", "b::deep", "c"]);
        assert_eq!(of(&found, "b"), ["b::deep"]);
        assert_eq!(of(&found, "b::deep"), ["b", "c"]);
        assert_eq!(of(&found, "c"), ["d"]);
        assert_eq!(of(&found, "d"), [""; 0]);
    }

    #[test]
    fn a_name_that_is_passed_on_counts_where_it_comes_from() {
        let found = imports(&[
            ("lib.rs", "mod a; mod b; pub use b::Thing;"),
            ("a.rs", "use crate::Thing; use crate::b::{Other as Another, inner};\nfn f() { inner::run() }"),
            ("b/mod.rs", "pub mod inner; pub use inner::{Thing, Other};"),
            ("b/inner.rs", ""),
        ]);
        assert_eq!(of(&found, "a"), ["b::inner"]);
        assert_eq!(of(&found, "crate"), ["b::inner"]);
    }

    #[test]
    fn what_tests_import_does_not_count() {
        let found = imports(&[
            ("lib.rs", "mod a; mod b; #[cfg(test)] mod tests;"),
            (
                "a.rs",
                "#[cfg(test)] use crate::{b, b::B};\n#[cfg(test)]\nmod tests { use crate::b; fn f() { {} } }",
            ),
            ("b.rs", "pub(in crate::a) struct B; use crate::a::A;"),
        ]);
        assert_eq!(of(&found, "a"), [""; 0]);
        assert_eq!(of(&found, "b"), ["a"]);
    }

    #[test]
    fn cycles_are_found_and_are_one_step_of_a_chain() {
        let found = imports(&[
            ("lib.rs", "mod a; mod b; mod c; mod d; mod e;"),
            ("a.rs", "use crate::b; use crate::e;"),
            ("b.rs", "use crate::c;"),
            ("c.rs", "use crate::{b, d};"),
            ("d.rs", ""),
            ("e.rs", "use crate::d;"),
        ]);
        assert_eq!(found.cycles(), [["b", "c"]]);
        assert_eq!(found.longest_chain(), [vec!["a"], vec!["b", "c"], vec!["d"]]);
        assert_eq!(
            found.to_string(),
            "6 modules\nlongest chain of imports, 3 steps: a > b + c > d\nmodules in cycles: 2\n  b, c"
        );
    }

    #[test]
    fn a_room_is_a_module_with_all_below_it() {
        let found = imports(&[
            ("lib.rs", "mod a; mod b;"),
            ("a/mod.rs", "mod one; mod two;"),
            ("a/one.rs", "use crate::b; use super::two;"),
            ("a/two.rs", ""),
            ("b.rs", "use crate::a::two;"),
        ]);
        assert_eq!(found.cycles(), Vec::<Vec<String>>::new());
        assert_eq!(of(&found.rooms(), "a"), ["b"]);
        assert_eq!(found.rooms().cycles(), [["a", "b"]]);
    }
}
