//! The inputs that fuzzing has kept (`fuzz/corpus`), in tests: each is given to its
//! target again, and after them mutations of them.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Mutations of one target in one test. `make fuzz` tries millions.
const MUTATIONS: usize = 2_000;
/// Bytes of a mutation at most, as libFuzzer has it.
const LONGEST: usize = 4_096;
/// Bytes and numbers that parsers treat apart.
const TELLING: [&[u8]; 16] = [
    b"\0",
    b"\n",
    b"\r\n",
    b"\"",
    b"\\",
    b"{",
    b"[",
    b":",
    b";",
    b".",
    b"*",
    b"-1",
    b"0",
    b"9007199254740993",
    b"18446744073709551615",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
];

/// The folder with the inputs of a target.
fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target)
}

/// Gives a target its kept inputs and mutations of them. The target panics where
/// something is wrong; then the input is printed. Panics where there are none.
pub fn try_all(target: &str, run: fn(&[u8])) {
    let folder = folder(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = files.flatten().map(|file| file.path()).collect();
    files.sort();
    let read = |file| fs::read(file).unwrap_or_else(|error| panic!("{target}: {error}"));
    let inputs: Vec<Vec<u8>> = files.iter().map(read).collect();
    assert!(!inputs.is_empty(), "{} is empty", folder.display());
    for (file, input) in files.iter().zip(&inputs) {
        try_one(run, input, &format!("{}", file.display()));
    }
    let seed: u64 = rand::random();
    let mut random = StdRng::seed_from_u64(seed);
    for number in 0..MUTATIONS {
        let mut input = inputs[random.random_range(0..inputs.len())].clone();
        for _ in 0..random.random_range(1..=4) {
            mutate(&mut input, &inputs, &mut random);
        }
        input.truncate(LONGEST);
        try_one(run, &input, &format!("mutation {number} of seed {seed}"));
    }
}

fn try_one(run: fn(&[u8]), input: &[u8], name: &str) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(input))) {
        eprintln!("{name} is the input b\"{}\"", input.escape_ascii());
        resume_unwind(panic);
    }
}

/// Changes something, somewhere.
fn mutate(input: &mut Vec<u8>, others: &[Vec<u8>], random: &mut StdRng) {
    let at = random.random_range(0..=input.len());
    let end = (at + random.random_range(0..=8)).min(input.len());
    match random.random_range(0..6) {
        0 if at < input.len() => input[at] ^= 1 << random.random_range(0..8),
        1 if at < input.len() => input[at] = random.random(),
        2 => drop(input.drain(at..end)),
        3 => {
            let twice = input[at..end].to_vec();
            input.splice(at..at, twice);
        }
        4 => {
            let other = &others[random.random_range(0..others.len())];
            let from = random.random_range(0..=other.len());
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        _ => {
            let piece = TELLING[random.random_range(0..TELLING.len())];
            input.splice(at..at, piece.iter().copied());
        }
    }
}
