//! When a live session's token ends (PROTOCOL.md §3).

use std::time::Duration;

use proto::{End, TokenEnd};
use tokio::time::Instant;

use crate::config::TOKEN_LEEWAY;
use crate::session::Session;

/// When to check the token; at most a day ahead, since timers have limits and
/// clocks are set.
pub fn of(session: &Session) -> Instant {
    Instant::now() + left(session).min(Duration::from_secs(86_400))
}

/// Ends the session if its token has ended. A session that has ended, but whose
/// client was not told yet, is told: it could not come back anyway. Returns
/// true if it has just ended.
pub fn check(session: &Session) -> bool {
    let ends = left(session).is_zero();
    if ends {
        session.end(End::TokenExpired);
    }
    ends
}

/// Whether a token has ended, with its leeway.
pub fn is_over(end: TokenEnd) -> bool {
    end.left_with(TOKEN_LEEWAY).is_zero()
}

fn left(session: &Session) -> Duration {
    if session.is_over() {
        // By then its transport is gone.
        return Duration::MAX;
    }
    session.token_end().left_with(TOKEN_LEEWAY)
}
