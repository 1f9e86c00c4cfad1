//! The errors of a store, one variant for each thing that callers do
//! differently.

/// The result of a call.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a whole call failed. Refusals of single items are in the results.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The store cannot be reached, is out of memory, or did not reply in time.
    /// What was asked may have been done or not: every call may be repeated.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The archive of old messages cannot be reached, or did not reply in time, and
    /// what was asked needs it. What was asked may be repeated.
    #[error("the archive is unavailable: {0}")]
    Archive(String),
    /// Stored data is not in the form that this version writes.
    #[error("the store holds what cannot be read: {0}")]
    Corrupt(String),
    /// The configuration names no store that can be opened.
    #[error("{0}")]
    Config(String),
}
