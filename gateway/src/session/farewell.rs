//! Goodbyes that take a while: of sessions that were replaced, of those whose
//! peer takes nothing any more, and of all when the node stops.
//!
//! Two programs with one device replace each other for ever if neither heeds
//! `replaced`. So whoever is replaced while it waits here hears of it late, and
//! comes back no sooner, wherever it comes back to: where the other one lives
//! does not matter, and nobody keeps books. The one that came last is served at
//! once, so a program that changes its own transport or node loses no time, and
//! neither does one whose polls each land on another node: between two polls
//! nobody waits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use daemon::lock::{LEAF, Lock, LockGuard};
use proto::End;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::Sessions;
use crate::session::Session;
use crate::session::expiry;
use crate::session::tail;

/// How long after the fact a client hears that it was replaced. Two clients
/// that ignore `replaced` attach once in this time, or twice if one is between
/// two polls.
const HOLD: Duration = Duration::from_secs(2);
/// How long a session may take for its last frames. After that it is detached
/// although its peer takes no data.
const PATIENCE: Duration = HOLD;

/// Sessions that wait for their end. Limited to those that were replaced or
/// kicked within [`HOLD`] and [`PATIENCE`].
#[derive(Default)]
pub struct Farewells {
    /// In the order of their times, since all wait equally long.
    due: Lock<LEAF, VecDeque<(Instant, Arc<Session>)>>,
    some: Notify,
}

impl Farewells {
    /// Handles a session whose device has attached elsewhere.
    pub(crate) fn replaced(&self, session: Arc<Session>) {
        if session.replace() {
            self.look_later(session, HOLD);
        }
    }

    /// Ends a session now.
    pub(crate) fn end(&self, session: Arc<Session>, end: End) {
        session.end(end);
        self.look_later(session, PATIENCE);
    }

    fn look_later(&self, session: Arc<Session>, pause: Duration) {
        self.lock().push_back((Instant::now() + pause, session));
        self.some.notify_one();
    }

    fn take_due(&self) -> Vec<Arc<Session>> {
        let now = Instant::now();
        let mut due = self.lock();
        let count = due.iter().take_while(|(at, _)| *at <= now).count();
        due.drain(..count).map(|(_, session)| session).collect()
    }

    fn lock(&self) -> LockGuard<'_, VecDeque<(Instant, Arc<Session>)>> {
        self.due.lock()
    }
}

/// Handles sessions whose time has come, while it is awaited.
pub(crate) async fn run(sessions: Arc<Sessions>) {
    let farewells = &sessions.farewells;
    let mut tokens = interval(TOKENS);
    tokens.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let first = farewells.lock().front().map(|(at, _)| *at);
        let next = async {
            match first {
                None => farewells.some.notified().await,
                Some(at) => sleep_until(at).await,
            }
        };
        tokio::select! {
            () = next => {}
            _ = tokens.tick() => end_expired(&sessions),
        }
        for session in farewells.take_due() {
            if session.tell() {
                farewells.look_later(session, PATIENCE);
            } else {
                tail::close(&sessions, &session);
            }
        }
    }
}

fn end_expired(sessions: &Sessions) {
    for session in sessions.hub.all() {
        if expiry::check(&session) {
            sessions.farewells.look_later(session, PATIENCE);
        }
    }
}

/// How the sessions leave when the node stops.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Departure {
    /// Clients are told to reconnect elsewhere at a random moment within this
    /// time.
    spread: Duration,
    /// A session stays open for this long after its client should have left:
    /// the new one should exist before the old one ends.
    stay: Duration,
    /// Whether there is no other node to go to; then no session stays longer.
    alone: bool,
}

/// The longest `spread` and `stay`.
const SPREAD: Duration = Duration::from_secs(5);
const STAY: Duration = Duration::from_secs(5);
/// Time for connections without a session, such as a balancer's, to make their
/// last request.
const LAST_REQUESTS: Duration = Duration::from_secs(1);
/// The time between two checks whether all have left.
const LOOK: Duration = Duration::from_millis(100);
/// The time between two checks for sessions whose token has ended. Most
/// sessions notice that themselves, but not those whose peer takes no data.
const TOKENS: Duration = Duration::from_secs(10);

impl Departure {
    /// The departure for a drain of this length. A node that is `alone` ends
    /// its sessions at once: they have no other node, and the next run cannot
    /// begin before this one has ended.
    pub(crate) fn within(drain: Duration, alone: bool) -> Self {
        Self { spread: SPREAD.min(drain / 2), stay: STAY.min(drain / 4), alone }
    }

    /// Tells every session when to leave, and ends each when its time is over.
    /// Returns when none is left, and requests that have just come are
    /// answered.
    pub(crate) async fn run(self, sessions: &Sessions) {
        let begun = Instant::now();
        let spread = u64::try_from(self.spread.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut leaving: Vec<(Instant, Arc<Session>)> = Vec::new();
        for session in sessions.hub.all() {
            let reconnect_in_ms = rand::random_range(0..spread);
            session.send_away(reconnect_in_ms);
            if self.alone {
                session.end(End::Shutdown);
            } else {
                leaving.push((begun + Duration::from_millis(reconnect_in_ms) + self.stay, session));
            }
        }
        leaving.sort_unstable_by_key(|(at, _)| *at);
        for (at, session) in leaving {
            while Instant::now() < at && !sessions.hub.is_empty() {
                sleep_until(at.min(Instant::now() + LOOK)).await;
            }
            session.end(End::Shutdown);
        }
        if !self.alone {
            sleep_until(begun + LAST_REQUESTS.min(self.stay)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_session_has_left_before_the_drain_is_over() {
        for drain in
            [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(30), Duration::from_secs(600)]
        {
            let departure = Departure::within(drain, false);
            assert!(departure.spread + departure.stay <= drain * 3 / 4, "{departure:?}");
            assert!(departure.spread <= SPREAD && departure.stay <= STAY);
        }
    }
}
