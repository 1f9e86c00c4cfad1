//! The short form of the simulation, and what it must be: the same for the same seed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::num::NonZeroUsize;
use std::path::Path;
use std::process::Command;

use simulation::{Seeds, one};

const PROGRAM: &str = env!("CARGO_BIN_EXE_simulate");
/// Of `make check`; `make simulate` runs thousands.
const SEEDS: u64 = 20;

#[test]
fn a_seed_is_the_same_run_to_the_byte_each_time() {
    for seed in [1, 2] {
        let (first, second) =
            (one(Path::new(PROGRAM), seed).unwrap(), one(Path::new(PROGRAM), seed).unwrap());
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert!(first.acknowledged > 0 && first.acknowledged == second.acknowledged);
    }
    let other = one(Path::new(PROGRAM), 3).unwrap();
    assert_ne!(one(Path::new(PROGRAM), 1).unwrap().trace, other.trace);
}

#[test]
fn nothing_is_lost_repeated_or_reordered_in_some_seeds() {
    let processes = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let seeds = Seeds { program: Path::new(PROGRAM), from: 1, count: SEEDS, processes, until_found: false };
    let report = seeds.run().unwrap();
    println!("{report}");
    assert!(report.failed().is_empty(), "{report}");
}

#[test]
fn every_defect_still_fits_the_code() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut patches = 0;
    for patch in std::fs::read_dir(folder.join("defects")).unwrap() {
        let patch = patch.unwrap().path();
        let fits = Command::new("git")
            .args(["apply", "--check"])
            .arg(&patch)
            .current_dir(folder.join("../.."))
            .status()
            .unwrap();
        assert!(fits.success(), "{} does not fit: change it with the code", patch.display());
        patches += 1;
    }
    assert!(patches >= 10);
}
