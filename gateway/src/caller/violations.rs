//! How often a connection may break the rules: bad frames, and commands beyond
//! the rate, are answered; too many of them in a minute end it.

use std::time::Duration;

use proto::{End, ErrorCode};
use tokio::time::Instant;

/// More bad frames than this in a minute end the session.
pub const MAX_BAD: u32 = 100;
/// More commands refused as `rate_limited` than this in a minute end the
/// session.
pub const MAX_LIMITED: u32 = 1_000;

const MINUTE: Duration = Duration::from_secs(60);

/// The counts of one connection.
#[derive(Debug, Default)]
pub struct Violations {
    since: Option<Instant>,
    bad: u32,
    limited: u32,
}

impl Violations {
    /// Counts a refused command. Returns the end of the session when it was one
    /// too many.
    pub fn count(&mut self, code: ErrorCode, now: Instant) -> Option<End> {
        if self.since.is_none_or(|since| now.duration_since(since) >= MINUTE) {
            *self = Self { since: Some(now), bad: 0, limited: 0 };
        }
        match code {
            ErrorCode::BadRequest | ErrorCode::TooLarge => self.bad += 1,
            ErrorCode::RateLimited => self.limited += 1,
            _ => {}
        }
        if self.bad > MAX_BAD {
            Some(End::BadFrames)
        } else if self.limited > MAX_LIMITED {
            Some(End::RateLimited)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hundred_and_first_bad_frame_of_a_minute_is_one_too_many() {
        let (mut strikes, now) = (Violations::default(), Instant::now());
        for _ in 0..MAX_BAD {
            assert_eq!(strikes.count(ErrorCode::BadRequest, now), None);
        }
        assert_eq!(strikes.count(ErrorCode::BadRequest, now), Some(End::BadFrames));
        assert_eq!(strikes.count(ErrorCode::BadRequest, now + MINUTE), None);
    }

    #[test]
    fn what_is_forbidden_is_no_strike_and_limits_have_their_own_count() {
        let (mut strikes, now) = (Violations::default(), Instant::now());
        for _ in 0..MAX_LIMITED {
            assert_eq!(strikes.count(ErrorCode::NotFound, now), None);
            assert_eq!(strikes.count(ErrorCode::RateLimited, now), None);
        }
        assert_eq!(strikes.count(ErrorCode::RateLimited, now), Some(End::RateLimited));
    }
}
