//! Counts the bytes of requests' bodies and WebSocket frames that clients have
//! begun to send but not finished. Each one has its own limit; here are the
//! limits of all together, and of one user's, so that a few slow senders do not
//! keep others from sending. What arrives in one piece is not counted.

use std::sync::Arc;

use daemon::lock::{LEAF, Lock, LockGuard};
use proto::UserId;
use rustc_hash::FxHashMap;

use crate::protocol::failure::Failure;

/// One user may have this fraction of all bytes.
const SHARES: usize = 8;
/// The `retry_after_ms` of a refusal.
const RETRY_AFTER_MS: u64 = 1_000;

/// The bytes that this node holds.
#[derive(Debug)]
pub struct HalfSent {
    most: usize,
    /// Protects the sums; locked only briefly.
    held: Lock<LEAF, Totals>,
}

#[derive(Debug, Default)]
struct Totals {
    all: usize,
    /// The bytes of each user who has any; clients that have not said who they are
    /// count as one.
    users: FxHashMap<Option<UserId>, usize>,
}

impl HalfSent {
    /// At most this many bytes; for one user an eighth of them.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, held: Lock::default() })
    }

    /// The bytes held now.
    pub fn bytes(&self) -> usize {
        self.lock().all
    }

    fn lock(&self) -> LockGuard<'_, Totals> {
        self.held.lock()
    }

    fn change(&self, user: &Option<UserId>, from: usize, to: usize) -> Result<(), Failure> {
        let mut held = self.lock();
        let own = held.users.get(user).copied().unwrap_or(0) - from + to;
        let all = held.all - from + to;
        if to > from && own > self.most / SHARES {
            return Err(Failure::rate_limited(
                format!("this user has half-sent requests of more than {} bytes here", self.most / SHARES),
                RETRY_AFTER_MS,
            ));
        }
        if to > from && all > self.most {
            return Err(Failure::unavailable("this node has as many half-sent requests as it can hold"));
        }
        held.all = all;
        if own > 0 {
            held.users.insert(user.clone(), own);
        } else {
            held.users.remove(user);
        }
        Ok(())
    }
}

/// The bytes of one request or connection, which are free again when this is
/// dropped.
#[derive(Debug)]
pub struct Part {
    of: Arc<HalfSent>,
    user: Option<UserId>,
    bytes: usize,
}

impl Part {
    /// Holds nothing yet.
    pub fn new(of: &Arc<HalfSent>, user: &UserId) -> Self {
        Self { of: of.clone(), user: Some(user.clone()), bytes: 0 }
    }

    /// Nothing yet, of a client that has not said who it is.
    pub fn of_nobody(of: &Arc<HalfSent>) -> Self {
        Self { of: of.clone(), user: None, bytes: 0 }
    }

    /// Sets the number of bytes held. Fails when it is more than before and
    /// there is no room; then nothing changes.
    pub fn hold(&mut self, bytes: usize) -> Result<(), Failure> {
        if bytes != self.bytes {
            self.of.change(&self.user, self.bytes, bytes)?;
            self.bytes = bytes;
        }
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Less is never refused.
        let _ = self.hold(0);
    }
}

#[cfg(test)]
mod tests {
    use proto::ErrorCode;

    use super::*;

    fn part(of: &Arc<HalfSent>, user: &str) -> Part {
        Part::new(of, &UserId::parse(user).unwrap())
    }

    #[test]
    fn one_user_has_an_eighth_and_all_have_the_whole() {
        let held = HalfSent::new(800);
        let (mut first, mut second) = (part(&held, "alice"), part(&held, "alice"));
        assert_eq!((first.hold(60), second.hold(40)), (Ok(()), Ok(())));
        let refused = second.hold(41).unwrap_err();
        assert_eq!((refused.code, refused.retry_after_ms), (ErrorCode::RateLimited, Some(1_000)));
        let others: Vec<Part> = (0..7)
            .map(|number| {
                let mut part = part(&held, &format!("u{number}"));
                part.hold(100).unwrap();
                part
            })
            .collect();
        assert_eq!(held.bytes(), 800);
        assert_eq!(part(&held, "bob").hold(1).unwrap_err().code, ErrorCode::Unavailable);
        // What has begun may finish, and frees its bytes.
        assert_eq!(first.hold(59), Ok(()));
        assert_eq!(part(&held, "bob").hold(1), Ok(()));
        drop((first, second, others));
        assert_eq!((held.bytes(), held.lock().users.len()), (0, 0));
    }
}
