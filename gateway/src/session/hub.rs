//! The hub: the sessions of this node, by user.

use std::sync::Arc;
use std::time::Duration;

use daemon::lock::{LEAF, Lock, LockGuard, SharedLock};
use proto::UserId;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::session::{OfferOutcome, Session};

/// How long an event waits for an earlier one before its session reads the log:
/// more than answers and announcements differ, less than a person notices.
const GAP_PATIENCE: Duration = Duration::from_millis(50);

/// Frames that may wait for others (receipts, answers that nobody waits for)
/// wait for one to two times this long.
const LATE: Duration = Duration::from_millis(100);

type Sessions = SmallVec<[Arc<Session>; 1]>;

/// All sessions of this node.
#[derive(Debug, Default)]
pub struct Hub {
    by_user: SharedLock<LEAF, FxHashMap<UserId, Sessions>>,
    /// Sessions in which an event waits for an earlier one, and until when.
    /// Limited by the sessions: each is here at most once in `GAP_PATIENCE`.
    gaps: Lock<LEAF, Vec<(Instant, Arc<Session>)>>,
    gap: Notify,
    /// Sessions with frames that may wait: to be hurried the next time, and the
    /// time after. Limited by the sessions: each is here once.
    late: Lock<LEAF, [Vec<Arc<Session>>; 2]>,
    lateness: Notify,
}

impl Hub {
    /// Adds a session, which then gets events of the bus.
    pub fn add(&self, session: Arc<Session>) {
        let mut by_user = self.by_user.write();
        by_user.entry(session.user.clone()).or_default().push(session);
    }

    /// Removes a session. Returns whether it was here.
    pub fn remove(&self, session: &Session) -> bool {
        let mut by_user = self.by_user.write();
        let Some(sessions) = by_user.get_mut(&session.user) else { return false };
        let before = sessions.len();
        sessions.retain(|known| known.id != session.id);
        let there = sessions.len() < before;
        if sessions.is_empty() {
            by_user.remove(&session.user);
        }
        there
    }

    /// The user's sessions here.
    pub fn of(&self, user: &str) -> SmallVec<[Arc<Session>; 2]> {
        let by_user = self.by_user.read();
        by_user.get(user).map(|sessions| sessions.iter().cloned().collect()).unwrap_or_default()
    }

    /// All sessions here.
    pub fn all(&self) -> Vec<Arc<Session>> {
        let by_user = self.by_user.read();
        by_user.values().flatten().cloned().collect()
    }

    /// How many sessions read the log because they were too slow.
    pub(crate) fn behind(&self) -> usize {
        self.all().iter().filter(|session| session.is_behind()).count()
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.by_user.read().values().map(SmallVec::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Does what the result of an offer asks for.
    pub fn settle(&self, session: &Arc<Session>, offered: OfferOutcome) {
        if offered == OfferOutcome::Gap {
            let mut gaps = self.gaps();
            if !gaps.iter().rev().take(8).any(|(_, known)| known.id == session.id) {
                gaps.push((Instant::now() + GAP_PATIENCE, session.clone()));
                drop(gaps);
                self.gap.notify_one();
            }
        }
    }

    /// Waits until a gap is open for too long, and lets its session catch up.
    /// The bus reader calls it in a loop; the future may be dropped at any
    /// time.
    pub async fn close_gaps(&self) {
        let first = self.gaps().first().map(|(until, _)| *until);
        match first {
            None => return self.gap.notified().await,
            Some(until) => tokio::time::sleep_until(until).await,
        }
        let now = Instant::now();
        let mut due = Vec::new();
        self.gaps().retain(|(until, session)| {
            let waits = *until > now;
            if !waits {
                due.push(session.clone());
            }
            waits
        });
        for session in due {
            session.give_up_waiting();
        }
    }

    /// Hurries a session soon (see [`Session::offer_receipts`]).
    pub fn hurry_later(&self, session: Arc<Session>) {
        let mut late = self.late();
        let [now, then] = &mut *late;
        let first = now.is_empty() && then.is_empty();
        then.push(session);
        drop(late);
        if first {
            self.lateness.notify_one();
        }
    }

    /// Hurries sessions while it is awaited.
    pub async fn hurry(&self) {
        loop {
            if self.late().iter().all(Vec::is_empty) {
                self.lateness.notified().await;
            }
            tokio::time::sleep(LATE).await;
            let due = {
                let mut late = self.late();
                late.swap(0, 1);
                std::mem::take(&mut late[1])
            };
            due.iter().for_each(|session| session.hurry());
        }
    }

    fn late(&self) -> LockGuard<'_, [Vec<Arc<Session>>; 2]> {
        self.late.lock()
    }

    fn gaps(&self) -> LockGuard<'_, Vec<(Instant, Arc<Session>)>> {
        self.gaps.lock()
    }
}
