//! Why a client cannot go on, as its callers tell it apart.

/// A client's result.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server answered with an error; the connection stays.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The connection has ended.
    #[error("closed: {0}")]
    Closed(Close),
    /// There was no connection, and none could be made: nothing was sent.
    #[error("not reached: {0}")]
    Unreached(String),
    /// The connection failed, or what came over it is not the protocol.
    #[error("broken: {0}")]
    Broken(String),
}

/// An `error` frame, or the body of an HTTP answer that is none of 2xx.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code} ({status}): {message}")]
pub struct Refusal {
    /// HTTP's status; 0 in a frame.
    pub status: u16,
    /// One of the codes of PROTOCOL.md §4.
    pub code: String,
    /// For a person.
    pub message: String,
    /// When it helps to try again.
    pub retry_after_ms: Option<u64>,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("code {code:?} {reason}")]
pub struct Close {
    /// The WebSocket close code; nothing when the stream just ended.
    pub code: Option<u16>,
    /// The text of the close frame.
    pub reason: String,
}

impl Error {
    pub(crate) fn broken(text: impl std::fmt::Display) -> Self {
        Self::Broken(text.to_string())
    }

    /// The code, if the server answered with an error.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(refusal) => Some(&refusal.code),
            _ => None,
        }
    }
}
