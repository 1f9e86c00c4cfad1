//! Why a credential is refused. Every 401 is made here, so that each is counted
//! by its reason, and logged now and then.

use std::sync::LazyLock;

use daemon::log_limit::LogLimit;
use proto::ErrorCode;

use crate::metrics;
use crate::protocol::failure::Failure;
use crate::protocol::unauthorized::Reason;

/// Seconds between two log lines of one reason, since anybody can cause them.
const LINE_EVERY: u64 = 10;

/// Why a token is not believed, before anybody is told. It becomes the answer to
/// a client by `Failure::from`, which counts and logs it.
#[derive(Debug)]
pub struct Refusal {
    /// Nothing where the token is not at fault: the keys cannot be fetched.
    reason: Option<Reason>,
    failure: Failure,
}

impl Refusal {
    /// The message is for the token's holder and for the log: it must have
    /// nothing of the token that could be used.
    pub(super) fn new(reason: Reason, message: impl Into<String>) -> Self {
        let failure =
            Failure { code: ErrorCode::Unauthorized, message: message.into(), retry_after_ms: None };
        Self { reason: Some(reason), failure }
    }

    /// The reason as metrics and logs have it, or `unavailable`.
    pub fn word(&self) -> &'static str {
        self.reason.map_or(self.failure.code.as_str(), Reason::as_str)
    }

    /// What a person reads.
    pub fn message(&self) -> &str {
        &self.failure.message
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self { reason: None, failure }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        static LINES: LazyLock<Vec<LogLimit>> =
            LazyLock::new(|| Reason::WORDS.iter().map(|_| LogLimit::new(LINE_EVERY)).collect());
        let Refusal { reason, failure } = refusal;
        let Some(reason) = reason else { return failure };
        metrics::unauthorized(reason);
        if let Some(unsaid) = LINES[reason as usize].allow() {
            tracing::info!(reason = reason.as_str(), why = failure.message, unsaid, "refused a credential");
        }
        failure
    }
}

/// The answer to whoever brings a credential that does not hold: counted, and
/// logged once in a while. The message must have nothing of the credential that
/// could be used.
pub fn refused(reason: Reason, message: impl Into<String>) -> Failure {
    Refusal::new(reason, message).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_word() {
        assert_eq!((Reason::Missing.as_str(), Reason::Ticket.as_str()), ("missing", "ticket"));
        let failure = refused(Reason::Expired, "the token has expired");
        assert_eq!((failure.code.as_str(), &*failure.message), ("unauthorized", "the token has expired"));
    }
}
