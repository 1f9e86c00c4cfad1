//! Revocations of tokens.

use proto::Revocation;

/// Revocations of one page at most.
pub const REVOCATIONS: usize = 1_000;

/// What became of a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevokeResult {
    /// It is stored, and the nodes were told.
    Done,
    /// As many as may be are kept already ([`crate::Bounds::revocations`]).
    Full,
}

/// A page of revocations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationPage {
    /// In the order of their numbers; at most [`REVOCATIONS`].
    pub revocations: Vec<Revocation>,
    /// The number up to which this page has them.
    pub last: u64,
    /// The number of the newest.
    pub head: u64,
}
