//! Acknowledgements of messages of groups wait for up to a second. Nobody waits for
//! their answers, and those of one group go together: the store then writes and notes
//! its marks once, and each member is told once. So each group has its moment in
//! every second, at which this node sends what has come since the last one. Other
//! nodes do so at the same moment, as far as their clocks agree; where they do not,
//! less goes together.
//!
//! A session keeps its own, and they go at once when it ends.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::Hasher as _;
use std::sync::Arc;
use std::time::Duration;

use daemon::lock::{LEAF, Lock};
use proto::wire::request;
use proto::{Time, UserId};
use rustc_hash::FxHasher;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::handle::LATE_ANSWERS;
use super::{Session, Sessions};
use crate::link::{Completion, Routers};

/// The moments of a second; each group has one of them. A router gathers for about
/// as long as from one to the next.
const MOMENTS: u64 = 40;
/// From one moment to the next.
const STEP: Duration = Duration::from_millis(1_000 / MOMENTS);

/// An acknowledgement that waits, as [`Routers::submit`] takes it.
pub(crate) struct HeldAck {
    pub(crate) user: UserId,
    pub(crate) command: request::Command,
    pub(crate) completion: Completion,
}

/// The sessions that hold some, and until when. Limited by the sessions: each is here
/// once for each ack that it holds.
pub(crate) struct GatheredAcks {
    /// The beginning of a second of this node's clock.
    since: Instant,
    /// By the moment, counted from `since`.
    moments: Lock<LEAF, BTreeMap<u64, Vec<Arc<Session>>>>,
    /// Notified when a moment comes sooner than all others.
    sooner: Notify,
}

impl GatheredAcks {
    pub(crate) fn new() -> Self {
        let into = Duration::from_millis(Time::now().0 % 1_000);
        let now = Instant::now();
        Self { since: now.checked_sub(into).unwrap_or(now), moments: Lock::default(), sooner: Notify::new() }
    }

    /// Holds an acknowledgement that names messages of this group only, until the
    /// group's next moment. Gives it back where it is to go at once.
    pub(crate) fn hold(&self, group: &str, session: &Arc<Session>, ack: HeldAck) -> Option<HeldAck> {
        if let Some(ack) = session.hold(ack) {
            return Some(ack);
        }
        let moment = self.next_moment(group);
        let mut moments = self.moments.lock();
        let is_first = moments.first_key_value().is_none_or(|(first, _)| moment < *first);
        moments.entry(moment).or_default().push(session.clone());
        drop(moments);
        if is_first {
            self.sooner.notify_one();
        }
        None
    }

    /// The next moment of a group.
    fn next_moment(&self, group: &str) -> u64 {
        let mut hasher = FxHasher::default();
        hasher.write(group.as_bytes());
        let next = u64::try_from(self.since.elapsed().as_nanos() / STEP.as_nanos()).unwrap_or(u64::MAX) + 1;
        next + (hasher.finish() % MOMENTS + MOMENTS - next % MOMENTS) % MOMENTS
    }

    /// Gives sessions to `release` when one of their moments has come; once `draining`
    /// all at once.
    pub(crate) async fn run(&self, draining: &CancellationToken, release: impl Fn(&Session)) {
        loop {
            let first = self.moments.lock().first_key_value().map(|(moment, _)| *moment);
            let Some(moment) = first else {
                self.sooner.notified().await;
                continue;
            };
            tokio::select! {
                biased;
                () = draining.cancelled() => {}
                () = self.sooner.notified() => continue,
                () = sleep_until(self.since + Duration::from_millis(moment * 1_000 / MOMENTS)) => {}
            }
            let sessions = self.moments.lock().remove(&moment);
            sessions.iter().flatten().for_each(|session| release(session));
        }
    }
}

/// Sends what sessions hold, each at its moment.
pub(crate) async fn run(sessions: &Sessions) {
    let release = |session: &Session| release(&sessions.context.routers, session);
    sessions.gathered_acks.run(&sessions.context.draining, release).await;
}

/// Sends what a session holds.
pub(crate) fn release(routers: &Routers, session: &Session) {
    for HeldAck { user, command, completion } in session.take_held() {
        routers.submit(&user, command, completion);
    }
}

/// The group whose messages an acknowledgement names, if it names such and no
/// others; of several the first.
pub(crate) fn group_of(command: &request::Command) -> Option<String> {
    let request::Command::Ack(ack) = command else { return None };
    let marks = &ack.handed_out.as_ref()?.marks;
    let are_groups = marks.iter().all(|mark| !mark.conversation.contains('~'));
    marks.first().filter(|_| are_groups).map(|mark| mark.conversation.clone())
}

impl Session {
    /// Holds an acknowledgement. Gives it back where much is without an answer
    /// already, or the session has ended.
    fn hold(&self, ack: HeldAck) -> Option<HeldAck> {
        let mut state = self.lock();
        if state.ended.is_some() || state.in_flight >= LATE_ANSWERS {
            return Some(ack);
        }
        match &mut state.handed_out {
            Some(handed_out) => handed_out.held.push(ack),
            None => return Some(ack),
        }
        None
    }

    fn take_held(&self) -> Vec<HeldAck> {
        let mut state = self.lock();
        state.handed_out.as_mut().map(|handed_out| std::mem::take(&mut handed_out.held)).unwrap_or_default()
    }
}

impl fmt::Debug for HeldAck {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("HeldAck").field("user", &self.user).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use proto::wire::{self, DeliveredMark};

    use super::super::NextStep;
    use super::super::handle::tests::live_at;
    use super::*;
    use crate::protocol::frame::Frame;

    fn ack(groups: &[&str]) -> HeldAck {
        let mark = |group: &&str| DeliveredMark { conversation: (*group).to_owned(), seq: 1 };
        let marks = groups.iter().map(mark).collect();
        let handed_out = Some(wire::HandedOut { store: 1, marks, position: false });
        let command = request::Command::Ack(wire::Ack { handed_out, ..wire::Ack::default() });
        HeldAck { user: UserId::parse("alice").unwrap(), command, completion: Box::new(|_| {}) }
    }

    fn session() -> Arc<Session> {
        let session = live_at(0);
        session.remember();
        Arc::new(session)
    }

    /// Runs until nothing is held any more. Returns when each session was released,
    /// and how many acknowledgements it held.
    async fn released(gathered: &GatheredAcks, draining: &CancellationToken) -> Vec<(Duration, usize)> {
        let (begun, seen) = (Instant::now(), Mutex::new(Vec::new()));
        let release = |session: &Session| {
            seen.lock().unwrap().push((begun.elapsed(), session.take_held().len()));
        };
        // No moment is farther away.
        let long = Duration::from_secs(2);
        assert!(tokio::time::timeout(long, gathered.run(draining, release)).await.is_err());
        assert!(gathered.moments.lock().is_empty());
        seen.into_inner().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn those_of_one_group_go_together_within_a_second() {
        let gathered = GatheredAcks::new();
        let draining = CancellationToken::new();
        let sessions: Vec<_> = (0..20).map(|_| session()).collect();
        for session in &sessions {
            session.command_begins();
            assert!(gathered.hold("g_tea", session, ack(&["g_tea"])).is_none());
        }
        let seen = released(&gathered, &draining).await;
        assert_eq!(seen.len(), 20);
        assert!(seen.iter().all(|(after, count)| *after == seen[0].0 && *count == 1), "{seen:?}");
        assert!(seen[0].0 <= Duration::from_secs(1) + STEP, "{seen:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn groups_have_different_moments() {
        let gathered = GatheredAcks::new();
        let sessions: Vec<_> = (0..200).map(|_| session()).collect();
        for (number, session) in sessions.iter().enumerate() {
            let group = format!("g_{number}");
            assert!(gathered.hold(&group, session, ack(&[&group])).is_none());
        }
        let mut moments: Vec<_> = gathered.moments.lock().keys().copied().collect();
        moments.dedup();
        assert!(moments.len() > 30, "{moments:?}");
        let seen = released(&gathered, &CancellationToken::new()).await;
        assert!(seen.is_sorted() && seen.len() == 200);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_stops_holds_none() {
        let gathered = GatheredAcks::new();
        let (session, draining) = (session(), CancellationToken::new());
        draining.cancel();
        assert!(gathered.hold("g_tea", &session, ack(&["g_tea"])).is_none());
        assert_eq!(released(&gathered, &draining).await, [(Duration::ZERO, 1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_has_ended_or_has_much_under_way_holds_none() {
        let gathered = GatheredAcks::new();
        let busy = session();
        (0..LATE_ANSWERS).for_each(|_| busy.command_begins());
        assert!(gathered.hold("g_tea", &busy, ack(&["g_tea"])).is_some());
        let ended = session();
        ended.end(proto::End::Bye);
        assert!(gathered.hold("g_tea", &ended, ack(&["g_tea"])).is_some());
        assert!(gathered.moments.lock().is_empty());
    }

    #[tokio::test]
    async fn who_ends_while_one_is_held_is_to_send_it_at_once() {
        let gathered = GatheredAcks::new();
        let session = session();
        session.command_begins();
        assert!(gathered.hold("g_tea", &session, ack(&["g_tea"])).is_none());
        let next = || session.take(&mut Vec::new(), 10);
        assert!(matches!(next(), NextStep::Nothing), "it waits");
        session.end(proto::End::Bye);
        assert!(matches!(next(), NextStep::Release));
        assert_eq!(session.take_held().len(), 1);
        assert!(matches!(next(), NextStep::Nothing), "its answer is to come");
        session.answer(Frame::Pong(None));
        assert!(matches!(next(), NextStep::Frames));
        assert!(matches!(next(), NextStep::Ended(proto::End::Bye)));
    }

    #[test]
    fn only_what_names_messages_of_groups_alone_may_wait() {
        let group = "g_01ARZ3NDEKTSV4RRFFQ69G5FAV";
        assert_eq!(group_of(&ack(&[group, "g_other"]).command).as_deref(), Some(group));
        for marks in [&[][..], &["alice~bob"], &[group, "alice~bob"]] {
            assert_eq!(group_of(&ack(marks).command), None, "{marks:?}");
        }
        let looked_up = request::Command::Ack(wire::Ack::default());
        assert_eq!(group_of(&looked_up), None);
    }
}
