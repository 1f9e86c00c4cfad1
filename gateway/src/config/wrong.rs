//! What can be wrong with a flag: the error, and the checks that several files share.

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
