//! When a live session's token ends (PROTOCOL.md §3).

use std::time::Duration;

use proto::End;
use tokio::time::Instant;

use crate::link::request::now_ms;
use crate::session::Session;

/// The leeway of `exp`, also for live sessions.
pub const LEEWAY: Duration = Duration::from_secs(5);

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

/// Whether an `exp` has passed, with its leeway.
pub fn is_over(expires: u64) -> bool {
    until(expires).is_zero()
}

fn left(session: &Session) -> Duration {
    if session.is_over() {
        // By then its transport is gone.
        return Duration::MAX;
    }
    until(session.expires())
}

fn until(expires: u64) -> Duration {
    let end = Duration::from_secs(expires).saturating_add(LEEWAY);
    end.saturating_sub(Duration::from_millis(now_ms()))
}
