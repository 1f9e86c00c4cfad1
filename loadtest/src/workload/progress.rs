//! Progress at a terminal; nothing where standard error is none.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar that counts to `total`.
pub(crate) fn count(what: &'static str, total: usize) -> ProgressBar {
    bar(what, total as u64, "{msg:12} {wide_bar} {pos}/{len} {eta}")
}

/// A bar over a time, in milliseconds.
pub(crate) fn time(what: &'static str, total: Duration) -> ProgressBar {
    bar(what, u64::try_from(total.as_millis()).unwrap_or(u64::MAX), "{elapsed:>4} {bar:30} {msg}")
}

fn bar(what: &'static str, total: u64, template: &str) -> ProgressBar {
    // Drawn to standard error, and hidden by indicatif when that is no
    // terminal.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(total).with_style(style).with_message(what)
}
