//! The steps of a post, between which crash tests let a router die.

use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

/// A point between two steps of a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Before anything is written.
    Begun,
    /// In the conversation's log, in no inbox.
    Numbered,
    /// In the inboxes of the members of one bucket, not yet in the others'.
    FiledSome,
    /// In every inbox, not announced.
    Filed,
    /// Announced, not answered.
    Announced,
}

impl Step {
    /// All steps, in order. The one-call way has only the first and the last.
    pub const ALL: [Self; 5] = [Self::Begun, Self::Numbered, Self::FiledSome, Self::Filed, Self::Announced];

    /// The name that the flag `--fail-at` uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Numbered => "numbered",
            Self::FiledSome => "filed-some",
            Self::Filed => "filed",
            Self::Announced => "announced",
        }
    }
}

impl FromStr for Step {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|step| step.as_str() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|step| step.as_str()).collect();
            format!("`{text}` is no step; there are {}", known.join(", "))
        })
    }
}

/// Ends the process at the step that a test has chosen.
#[derive(Debug)]
pub(super) struct FailPoint(Option<Step>);

impl FailPoint {
    pub(super) fn new(step: Option<Step>) -> Self {
        Self(step.filter(|_| cfg!(debug_assertions)))
    }

    /// Whether a test has chosen this step.
    pub(super) fn at(&self, step: Step) -> bool {
        self.0 == Some(step)
    }

    /// Ends the process if a test has chosen this step.
    pub(super) fn reached(&self, step: Step) {
        static GONE: AtomicBool = AtomicBool::new(false);
        if self.0 == Some(step) && !GONE.swap(true, Ordering::Relaxed) {
            tracing::warn!(step = step.as_str(), "ending the process at the step that was asked for");
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_comes_back_from_its_name() {
        for step in Step::ALL {
            assert_eq!(step.as_str().parse(), Ok(step));
        }
        assert!("later".parse::<Step>().unwrap_err().contains("filed-some"));
    }
}
