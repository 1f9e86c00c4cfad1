//! What one call of [`Store::archive`](crate::Store::archive) did.

use std::time::Duration;

/// What was archived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Archived {
    /// Messages and changes that were copied and trimmed.
    pub entries: u64,
    /// By how much the oldest entry that this call has looked for was older than it
    /// has to be for the archive; nothing when none was.
    pub late: Duration,
    /// Whether more waits: the caller may go on at once.
    pub more: bool,
    /// Whether this call ends a walk over all conversations.
    pub round: bool,
}
