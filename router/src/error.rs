//! Why a command is refused, and how that is said to gateways: the one place
//! where refusals become codes.

use std::borrow::Cow;

use proto::wire::{Failure, reply};
use proto::{ErrorCode, FormError};

/// The outcome of a command.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Why a command is refused. The text goes to the client.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Error {
    /// Not of the right form, or beyond a limit.
    #[error("{0}")]
    BadRequest(String),
    /// The user may not do this.
    #[error("{0}")]
    Forbidden(Cow<'static, str>),
    /// Not there, or hidden from this user.
    #[error("{0}")]
    NotFound(&'static str),
    /// It does not fit the present state.
    #[error("{0}")]
    Conflict(String),
    /// Larger than a limit.
    #[error("{0}")]
    TooLarge(String),
    /// The store is away, or too much waits already. The client may try again.
    #[error("{0}")]
    Unavailable(&'static str),
    /// A fault of ours; the log says more.
    #[error("a fault of the server")]
    Internal,
}

/// The refusal for somebody who is not a member. It is the same when there is no
/// such conversation, so that nobody learns which ids are in use.
pub(crate) const NO_CONVERSATION: Error = Error::NotFound("no such conversation");

/// How long a client should wait after `unavailable`.
const RETRY_AFTER_MS: u64 = 1_000;

impl Error {
    /// The field `name` does not have the right form.
    pub(crate) fn field(name: &str, invalid: FormError) -> Self {
        Self::BadRequest(format!("`{name}` {invalid}"))
    }

    /// The user may not do this, for this reason.
    pub(crate) fn forbidden(why: impl Into<Cow<'static, str>>) -> Self {
        Self::Forbidden(why.into())
    }

    /// The code that clients see; also the `result` in metrics.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::BadRequest(_) => ErrorCode::BadRequest,
            Self::Forbidden(_) => ErrorCode::Forbidden,
            Self::NotFound(_) => ErrorCode::NotFound,
            Self::Conflict(_) => ErrorCode::Conflict,
            Self::TooLarge(_) => ErrorCode::TooLarge,
            Self::Unavailable(_) => ErrorCode::Unavailable,
            Self::Internal => ErrorCode::Internal,
        }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Unavailable(_) => Self::Unavailable("the store does not answer"),
            store::Error::Archive(_) => Self::Unavailable("the archive of older messages does not answer"),
            store::Error::Corrupt(_) | store::Error::Config(_) => Self::Internal,
        }
    }
}

impl From<Error> for reply::Result {
    fn from(error: Error) -> Self {
        let code = error.code();
        reply::Result::Failure(Failure {
            code: code.as_str().to_owned(),
            message: error.to_string(),
            retry_after_ms: if code == ErrorCode::Unavailable { RETRY_AFTER_MS } else { 0 },
        })
    }
}
