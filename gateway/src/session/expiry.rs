//! When a live session's token ends (PROTOCOL.md §3).

use std::time::Duration;

use proto::End;
use tokio::time::Instant;

use crate::link::request::now_ms;
use crate::session::Session;

/// `exp` has a leeway, on live sessions too.
pub const LEEWAY: Duration = Duration::from_secs(5);

/// The moment to look at; at most a day ahead, for timers reach only so far
/// and clocks are set.
pub fn of(session: &Session) -> Instant {
    Instant::now() + left(session).min(Duration::from_secs(86_400))
}

/// Ends the session if its token has. One that has ended and was not to be told
/// yet is told: it could not come back anyway.
/// True if it has just ended.
pub fn check(session: &Session) -> bool {
    let ends = left(session).is_zero();
    if ends {
        session.end(End::TokenExpired);
    }
    ends
}

/// Whether an `exp` is over, with its leeway.
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
