//! Where a test lets a router die.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::Step;

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
