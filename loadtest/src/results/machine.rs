//! Where and with what something was measured.

use std::fmt;
use std::fs;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// The machine, as it says itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Processors that this process may use.
    pub cores: usize,
    /// The processor's model.
    pub cpu: String,
    /// Memory in GiB.
    pub memory_gib: f64,
    /// The kernel's release.
    pub kernel: String,
    /// The distribution and its version.
    pub system: String,
}

impl Machine {
    /// This one. What cannot be found out is `unknown`.
    pub fn this() -> Self {
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            let (_, value) = line.split_once([':', '='])?;
            Some(value.trim().trim_matches('"').to_owned())
        };
        let of = |file: &str, name: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            field(&text, name).unwrap_or_else(unknown)
        };
        let kib: f64 =
            of("/proc/meminfo", "MemTotal").trim_end_matches("kB").trim().parse().unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease");
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cpu: of("/proc/cpuinfo", "model name"),
            memory_gib: (kib / 1024.0 / 1024.0 * 10.0).round() / 10.0,
            kernel: kernel.map_or_else(|_| unknown(), |text| text.trim().to_owned()),
            system: of("/etc/os-release", "PRETTY_NAME"),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cores, cpu, memory_gib, kernel, system } = self;
        write!(f, "{cores} cores ({cpu}), {memory_gib} GiB, {system}, Linux {kernel}")
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// The first line that a program prints; `unknown` where it cannot be started.
pub(crate) fn says(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().map(str::trim).filter(|line| !line.is_empty()).map_or_else(unknown, str::to_owned)
}

/// Today, as `2026-11-30`.
pub fn today() -> String {
    says("date", &["-u", "+%F"])
}

/// The version and the commit of this project; a `+` where files are changed.
pub(crate) fn own_version() -> String {
    let changes = says("git", &["status", "--porcelain", "--untracked-files=no"]);
    let changed = if changes == "unknown" { "" } else { "+" };
    format!("{} ({}{changed})", env!("CARGO_PKG_VERSION"), says("git", &["rev-parse", "--short", "HEAD"]))
}

/// `7.0.15` from `Redis server v=7.0.15 sha=…`.
pub(crate) fn redis_version() -> String {
    let line = says("redis-server", &["--version"]);
    let version = line.split_whitespace().find_map(|word| word.strip_prefix("v="));
    version.map_or_else(unknown, str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_says_what_it_is() {
        let machine = Machine::this();
        assert!(machine.cores > 0 && machine.memory_gib > 0.0, "{machine}");
        assert!(!machine.kernel.contains('\n') && machine.kernel != "unknown", "{machine}");
        assert_eq!(redis_version().split('.').count(), 3);
        assert_eq!(today().len(), "2026-11-30".len());
    }

    #[test]
    fn a_program_that_is_not_there_is_unknown() {
        assert_eq!(says("no-such-program-here", &[]), "unknown");
    }
}
