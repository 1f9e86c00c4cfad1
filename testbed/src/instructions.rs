//! Counts the instructions of small pieces of code under callgrind and compares
//! them with the numbers that were accepted: how busy the machine is does not
//! matter. A benchmark target without a harness calls [`main`]; the same
//! program is then started again under valgrind, once for each piece, so that
//! no piece's count depends on another's.
//!
//! Which variant of memcpy or SHA-256 is run would depend on the processor;
//! the child's environment asks for the plain ones.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

/// Runs that are counted, and their mean taken: growing buffers are in it.
const RUNS: u64 = 64;

/// Runs before: what is done once is not counted.
const BEFORE: u64 = 64;

/// Percent that a piece may need more than was accepted.
const TOLERANCE: u64 = 10;

/// What keeps glibc and aws-lc from code that only some processors have.
const PLAIN: [(&str, &str); 2] = [
    (
        "GLIBC_TUNABLES",
        "glibc.cpu.hwcaps=-AVX2,-AVX2_Usable,-AVX,-AVX_Usable,-AVX512F,-AVX512VL,-ERMS,-FSRM,-BMI2,-RTM,\
         -AVX_Fast_Unaligned_Load,-Prefer_ERMS,-Prefer_FSRM",
    ),
    // AVX, then AVX2, both BMI and SHA.
    ("OPENSSL_ia32cap", "~0x1000000000000000:~0x20000128"),
];

/// Something whose instructions are counted.
pub struct Piece {
    name: &'static str,
    run: Box<dyn Fn(u64, Count)>,
}

/// Whether callgrind counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Count {
    No,
    Yes,
}

/// What is to be done with the counts.
enum Aim {
    /// Print the counts, and judge nothing.
    Show,
    /// Fail if one is too high.
    Check,
    /// Keep them as the accepted ones.
    Accept,
    /// Be the child in which this piece is run.
    Run(String),
}

impl Piece {
    /// `run` is counted with what becomes of its result; making its `input` is
    /// not.
    pub fn new<I: 'static, O: 'static>(
        name: &'static str,
        input: impl Fn() -> I + 'static,
        run: impl Fn(I) -> O + 'static,
    ) -> Self {
        let run = move |times, count| {
            let inputs: Vec<I> = (0..times).map(|_| input()).collect();
            match count {
                Count::No => inputs.into_iter().for_each(|input| drop(black_box(run(black_box(input))))),
                Count::Yes => counted_pieces(inputs, &run),
            }
        };
        Self { name, run: Box::new(run) }
    }
}

/// Callgrind counts while this function is on the stack: it knows it by name.
#[inline(never)]
fn counted_pieces<I, O>(inputs: Vec<I>, run: &impl Fn(I) -> O) {
    for input in inputs {
        black_box(run(black_box(input)));
    }
}

/// The whole program: `--check` or `--accept`, or nothing to see the counts.
/// `accepted` is the file of numbers, a line each.
pub fn main(accepted: &Path, pieces: &[Piece]) -> ExitCode {
    let done = aim().and_then(|aim| match aim {
        Aim::Run(name) => run(pieces, &name),
        aim => count(accepted, pieces, &aim),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("instructions: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn aim() -> Result<Aim> {
    let mut aim = Aim::Show;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        aim = match argument.as_str() {
            // Cargo's own.
            "--bench" => continue,
            "--check" => Aim::Check,
            "--accept" => Aim::Accept,
            "--run" => Aim::Run(arguments.next().context("--run which piece?")?),
            other => bail!("`{other}`: expected --check or --accept"),
        };
    }
    Ok(aim)
}

fn run(pieces: &[Piece], name: &str) -> Result<()> {
    let piece = pieces.iter().find(|piece| piece.name == name).context("no such piece")?;
    (piece.run)(BEFORE, Count::No);
    (piece.run)(RUNS, Count::Yes);
    Ok(())
}

fn count(accepted: &Path, pieces: &[Piece], aim: &Aim) -> Result<()> {
    if !cfg!(target_arch = "x86_64") {
        eprintln!("instructions: not counted: the accepted numbers are those of x86_64");
        return Ok(());
    }
    let known = read(accepted)?;
    let (mut text, mut high, mut low) = (String::new(), Vec::new(), Vec::new());
    for piece in pieces {
        let counted = under_callgrind(piece)?;
        writeln!(text, "{counted:>9}  {}", piece.name)?;
        let Some(before) = known.get(piece.name).copied() else {
            println!("{counted:>9}              {}", piece.name);
            high.push(format!("{} has no accepted number", piece.name));
            continue;
        };
        let change = (counted as f64 / before.max(1) as f64 - 1.0) * 100.0;
        println!("{counted:>9}  {change:>+7.1} %   {}", piece.name);
        if counted * 100 > before * (100 + TOLERANCE) {
            high.push(format!("{} took {before} instructions, and now {counted}", piece.name));
        } else if counted * 100 < before * (100 - TOLERANCE) {
            low.push(piece.name);
        }
    }
    if let Aim::Accept = aim {
        return std::fs::write(accepted, text).with_context(|| accepted.display().to_string());
    }
    let gone = known.keys().filter(|name| !pieces.iter().any(|piece| piece.name == **name));
    high.extend(gone.map(|name| format!("{name} has a number and is no more")));
    if !low.is_empty() {
        println!(
            "faster by more than {TOLERANCE} %, so lower the numbers: make instructions-accept: {}",
            low.join("; ")
        );
    }
    if let Aim::Check = aim {
        ensure!(
            high.is_empty(),
            "{}\nif that is as it should be, accept it: make instructions-accept",
            high.join("\n")
        );
    }
    Ok(())
}

/// The accepted numbers; none where there is no file yet.
fn read(accepted: &Path) -> Result<BTreeMap<String, u64>> {
    let text = match std::fs::read_to_string(accepted) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        text => text.with_context(|| accepted.display().to_string())?,
    };
    text.lines()
        .map(|line| {
            let (count, name) =
                line.trim().split_once("  ").with_context(|| format!("not a count: {line}"))?;
            Ok((name.to_owned(), count.parse().with_context(|| format!("not a count: {line}"))?))
        })
        .collect()
}

/// Instructions of one run of the piece.
fn under_callgrind(piece: &Piece) -> Result<u64> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("out");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=*counted_pieces*"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(std::env::current_exe()?)
        .args(["--run", piece.name])
        .env_clear()
        .envs(PLAIN)
        .stdin(Stdio::null())
        .output()
        .context("valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: under valgrind: {said}", piece.name);
    let text = std::fs::read_to_string(&file).with_context(|| format!("{}: {said}", piece.name))?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    let total: u64 = total.context("callgrind gave no total")?.trim().parse()?;
    ensure!(total > 0, "{}: nothing was counted", piece.name);
    Ok(total / RUNS)
}
