//! What programs say and do when they are asked for help, start, and cannot.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test that meets something unexpected must fail")]

mod checks;
mod listening;
mod pasting;
mod secrets;

use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(60);
