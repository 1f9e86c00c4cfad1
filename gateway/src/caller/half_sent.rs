//! Bytes of what clients have begun to send and not ended: bodies of requests,
//! frames of WebSockets. Each is bounded by itself; here is the bound of all of
//! them together, and of one user's, so that a few who send slowly keep nobody
//! else from sending. What comes in one piece is not counted at all.

use std::sync::Arc;

use daemon::lock::{LEAF, Lock, Locked};
use proto::UserId;
use rustc_hash::FxHashMap;

use crate::protocol::failure::Failure;

/// One user's part of all.
const SHARES: usize = 8;
/// When to try again.
const RETRY_AFTER_MS: u64 = 1_000;

/// The bytes that this node holds.
#[derive(Debug)]
pub struct HalfSent {
    most: usize,
    /// Protects the sums; held for moments.
    held: Lock<LEAF, Held>,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    /// Of users who have any.
    users: FxHashMap<UserId, usize>,
}

impl HalfSent {
    /// So many bytes at most; of one user an eighth of them.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, held: Lock::default() })
    }

    /// How many there are.
    pub fn bytes(&self) -> usize {
        self.lock().all
    }

    fn lock(&self) -> Locked<'_, Held> {
        self.held.lock()
    }

    fn change(&self, user: &UserId, from: usize, to: usize) -> Result<(), Failure> {
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

/// One request's or one connection's part. Gives it back when it is dropped.
#[derive(Debug)]
pub struct Part {
    of: Arc<HalfSent>,
    user: UserId,
    bytes: usize,
}

impl Part {
    /// Nothing yet.
    pub fn new(of: &Arc<HalfSent>, user: &UserId) -> Self {
        Self { of: of.clone(), user: user.clone(), bytes: 0 }
    }

    /// So many bytes are held now. Refused when that is more than before and there
    /// is no room: then it stays as it was.
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
        // What is there already may end, and makes room.
        assert_eq!(first.hold(59), Ok(()));
        assert_eq!(part(&held, "bob").hold(1), Ok(()));
        drop((first, second, others));
        assert_eq!((held.bytes(), held.lock().users.len()), (0, 0));
    }
}
