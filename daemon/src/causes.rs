//! Errors with what is under them: a client's own words are often only
//! `client error (Connect)`, and its cause says why.

use std::error::Error;

/// The error and its causes in one line, the outermost first.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
