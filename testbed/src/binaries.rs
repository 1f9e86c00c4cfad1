//! Builds our programs once a test process and says where they are.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// Between two lines about a build under way.
const SAY_EVERY: Duration = Duration::from_secs(5);
/// Of cargo's messages, which wait to be read.
const LINES: usize = 64;

/// How the programs are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Profile {
    /// With debug assertions, and with what only they bring (`--fail-at`).
    Debug,
    /// As `cargo run --release` has them: built within minutes.
    Release,
    /// As they are shipped: for measuring.
    Dist,
}

impl Profile {
    /// Which packages' programs are built: for tests those of all, since cargo
    /// takes the features of what it builds together, and with the whole
    /// workspace's all that tests were built with is there already. For
    /// measuring what a cluster needs, with its own features.
    fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Debug => &["--workspace"],
            Self::Release | Self::Dist => &["-pgateway", "-prouter"],
        }
    }

    /// What cargo is told, and how long that takes.
    fn choice(self) -> (&'static str, &'static str) {
        match self {
            Self::Debug => ("--profile=dev", "debug"),
            Self::Release => {
                ("--profile=release", "release, which takes minutes where it was not built before")
            }
            Self::Dist => ("--profile=dist", "dist, which takes many minutes where it was not built before"),
        }
    }
}

/// What was built, or taken, in this process.
static BUILT: LazyLock<Mutex<HashMap<Profile, Arc<Binaries>>>> = LazyLock::new(Mutex::default);

/// Our programs, built.
#[derive(Debug)]
pub struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    /// Builds them, or takes those of the first call. Blocks for as long as
    /// cargo takes.
    pub fn build(profile: Profile) -> Result<Arc<Self>> {
        Self::build_saying(profile, |_| {})
    }

    /// The same; `say` is given a line about what is built, and every few
    /// seconds one about how far it is: an optimized build takes minutes.
    pub fn build_saying(profile: Profile, say: impl FnMut(&str)) -> Result<Arc<Self>> {
        // Held while building, so that whoever comes meanwhile waits for it.
        let mut built = BUILT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(binaries) = built.get(&profile) {
            return Ok(Arc::clone(binaries));
        }
        let binaries = Arc::new(Self { folder: run_cargo(profile, say)? });
        built.insert(profile, Arc::clone(&binaries));
        Ok(binaries)
    }

    /// From now on [`build`](Self::build) takes the programs of this folder, as they are:
    /// for what must not be built anew under a run that lasts long.
    pub fn take(profile: Profile, folder: &Path) {
        let mut built = BUILT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        built.insert(profile, Arc::new(Self::in_folder(folder)));
    }

    /// Takes programs that are there already, from one folder.
    pub fn in_folder(folder: &Path) -> Self {
        // A process that is started with them has a folder of its own.
        Self { folder: std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()) }
    }

    /// The folder that the programs are in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The gateway's file.
    pub fn gateway(&self) -> PathBuf {
        self.folder.join("gateway")
    }

    /// The router's file.
    pub fn router(&self) -> PathBuf {
        self.folder.join("router")
    }

    /// All in one process; not built for measuring.
    pub fn standalone(&self) -> PathBuf {
        self.folder.join("standalone")
    }
}

/// Builds, and gives the folder that cargo put the programs into.
fn run_cargo(profile: Profile, mut say: impl FnMut(&str)) -> Result<PathBuf> {
    let (choice, how) = profile.choice();
    let mut cargo = Command::new(option_env!("CARGO").unwrap_or("cargo"));
    cargo
        .args(["build", "--bins", "--message-format=json", choice])
        .args(profile.packages())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    say(&format!("building the programs ({how})"));
    let begun = Instant::now();
    let mut child = cargo.spawn().context("cargo could not be started")?;
    let output = child.stdout.take().context("cargo's output is a pipe")?;
    let (sender, lines) = mpsc::sync_channel(LINES);
    // Ends with cargo, which closes its end of the pipe.
    let reading = std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let (mut crates, mut built, mut folder) = (0, Vec::new(), None);
    let mut said = begun;
    loop {
        match lines.recv_timeout(SAY_EVERY) {
            Ok(line) => {
                let message: Value = serde_json::from_str(&line).unwrap_or_default();
                crates += usize::from(message["reason"] == "compiler-artifact");
                if let Some(program) = message["executable"].as_str().map(PathBuf::from) {
                    built.extend(program.file_name().map(|name| name.to_string_lossy().into_owned()));
                    folder = program.parent().map(Path::to_owned);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if said.elapsed() >= SAY_EVERY {
            said = Instant::now();
            let done = if built.is_empty() { "no program yet".to_owned() } else { built.join(", ") };
            say(&format!("building for {} s: {crates} crates, {done}", begun.elapsed().as_secs()));
        }
    }
    let status = child.wait().context("cargo could not be waited for")?;
    reading.join().ok().context("reading what cargo says failed")?;
    ensure!(status.success(), "cargo build of the programs failed");
    say(&format!("built after {} s", begun.elapsed().as_secs()));
    folder.context("cargo named no program")
}
