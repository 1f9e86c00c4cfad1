//! Whether something may have been written that nobody was told of: a reply of
//! the server was lost, or a call ended between the reply and the announcement.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shared by those who write and the one who tells the nodes.
#[derive(Debug, Clone, Default)]
pub(super) struct Doubt(Arc<AtomicBool>);

/// Until it is settled, dropping it (also because the call's time is over)
/// leaves a doubt.
#[derive(Debug)]
pub(super) struct Unsettled(Option<Doubt>);

impl Doubt {
    /// Begins what leaves a doubt if it is not brought to its end.
    pub(super) fn begin(&self) -> Unsettled {
        Unsettled(Some(self.clone()))
    }

    /// Whether there was a doubt since the last call.
    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }

    /// There is a doubt.
    pub(super) fn leave(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Unsettled {
    /// It came to its end.
    pub(super) fn settled(mut self) {
        self.0 = None;
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        if let Some(doubt) = &self.0 {
            doubt.leave();
        }
    }
}
