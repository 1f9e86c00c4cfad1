//! What can go wrong with a store, as its callers would tell it apart.

/// A store's answer.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call failed as a whole. Refusals of single items are in the answers.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Out of reach, out of memory, or no answer in time. What was asked may
    /// or may not have been done: every call is safe to repeat.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// What is stored there is not what this version writes.
    #[error("the store holds what cannot be read: {0}")]
    Corrupt(String),
    /// The configuration names no store that can be opened.
    #[error("{0}")]
    Config(String),
}
