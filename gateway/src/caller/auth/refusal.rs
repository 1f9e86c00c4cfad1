//! Why a credential does not hold. Every 401 is made here, so that none is
//! without a trace: it is counted by its reason, and logged once in a while.

use std::sync::LazyLock;

use daemon::seldom::Seldom;
use proto::ErrorCode;

use crate::metrics;
use crate::protocol::failure::Failure;
use crate::protocol::unauthorized::Reason;

/// Between two log lines of one reason, in seconds: anybody can cause them.
const LINE_EVERY: u64 = 10;

/// The failure of whoever brings a credential that does not hold. The message is
/// for its holder and for the log: it must have nothing of the credential that
/// could be used.
pub fn refused(reason: Reason, message: impl Into<String>) -> Failure {
    static LINES: LazyLock<Vec<Seldom>> =
        LazyLock::new(|| Reason::WORDS.iter().map(|_| Seldom::new(LINE_EVERY)).collect());
    let message = message.into();
    metrics::unauthorized(reason);
    if let Some(unsaid) = LINES[reason as usize].again() {
        tracing::info!(reason = reason.as_str(), why = message, unsaid, "refused a credential");
    }
    Failure { code: ErrorCode::Unauthorized, message, retry_after_ms: None }
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
