//! What can be wrong with a flag: the error, and the checks that several files share.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

/// What is wrong with the flags, in one line that names the flag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Wrong(pub String);

/// The number, if it is in this range.
pub(super) fn within(flag: &str, number: usize, least: usize, most: usize) -> Result<usize, Wrong> {
    if (least..=most).contains(&number) {
        return Ok(number);
    }
    Err(Wrong(format!("{flag}: must be from {least} to {most}, not {number}")))
}

/// The time, if it is in this range.
pub(super) fn between(
    flag: &str,
    given: Duration,
    least: Duration,
    most: Duration,
) -> Result<Duration, Wrong> {
    if (least..=most).contains(&given) {
        return Ok(given);
    }
    Err(Wrong(format!("{flag}: must be from {least:?} to {most:?}, not {given:?}")))
}

/// A warning for a file with a secret that every user of the machine may read.
pub fn readable_by_all(file: &Path) -> Option<String> {
    // A file that is gone is found by whoever reads it.
    let mode = std::fs::metadata(file).map_or(0, |metadata| metadata.permissions().mode());
    let file = file.display();
    (mode & 0o007 != 0).then(|| format!("every user of this machine may read {file}: chmod o= it"))
}
