//! Builds our programs once a test process and says where they are.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex};

use anyhow::{Context as _, Result, ensure};

/// How the programs are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Profile {
    /// With debug assertions, and with what only they bring (`--fail-at`).
    Debug,
    /// As they are shipped: for measuring.
    Release,
}

/// Our programs, built.
#[derive(Debug)]
pub struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    /// Builds them, or takes those of the first call. Blocks for as long as
    /// cargo takes.
    pub fn build(profile: Profile) -> Result<Arc<Self>> {
        static BUILT: LazyLock<Mutex<HashMap<Profile, Arc<Binaries>>>> = LazyLock::new(Mutex::default);
        // Held while building, so that whoever comes meanwhile waits for it.
        let mut built = BUILT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(binaries) = built.get(&profile) {
            return Ok(Arc::clone(binaries));
        }
        let binaries = Arc::new(Self { folder: run_cargo(profile)? });
        built.insert(profile, Arc::clone(&binaries));
        Ok(binaries)
    }

    /// Takes programs that are there already, from one folder.
    pub fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The gateway.
    pub fn gateway(&self) -> PathBuf {
        self.folder.join("gateway")
    }

    /// The router.
    pub fn router(&self) -> PathBuf {
        self.folder.join("router")
    }

    /// All in one process.
    pub fn standalone(&self) -> PathBuf {
        self.folder.join("standalone")
    }
}

/// Builds, and gives the folder that cargo put the programs into.
fn run_cargo(profile: Profile) -> Result<PathBuf> {
    let mut cargo = Command::new(option_env!("CARGO").unwrap_or("cargo"));
    cargo
        .args(["build", "--bins", "--message-format=json"])
        .args(["-p", "gateway", "-p", "router", "-p", "standalone"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    let output = cargo.output().context("cargo could not be started")?;
    ensure!(output.status.success(), "cargo build of gateway, router and standalone failed");
    let lines = String::from_utf8(output.stdout).context("cargo's messages are text")?;
    let program = lines
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo named no program")?;
    Ok(program.parent().context("a program lies in a folder")?.to_owned())
}
