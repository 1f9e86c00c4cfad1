//! The users whose presence the sessions of this node watch. Answers and
//! notices go in; a watching session gets a `presence` frame when its last
//! information is out of date.
//!
//! Notices may be lost and may cross answers. So what is in doubt is asked for
//! again: after a loss everything, after a crossing that one user.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use daemon::lock::{Lock, LockGuard};
use proto::wire::{self, request};
use proto::{CommandKind, SessionId, UserId};
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::Sessions;
use crate::metrics;
use crate::order;
use crate::protocol::answer::Answer;
use crate::protocol::failure::Failure;
use crate::protocol::frame::{Frame, Reference};
use crate::session::Session;

/// Doubts within this time are one question.
const DEBOUNCE: Duration = Duration::from_millis(500);
/// A router that has ended may have had to report a user's absence, which comes
/// at most this long after the user's last session ended.
const AFTER_ROUTER: Duration = Duration::from_secs(7);
/// The store forgets a watcher that has not asked for 30 days.
const REFRESH: Duration = Duration::from_secs(24 * 60 * 60);
/// The most users of one request.
const CHUNK: usize = 500;
/// The pause between two requests, and after one without an answer.
const PAUSE: Duration = Duration::from_millis(20);
const RETRY: Duration = Duration::from_secs(1);
/// How long a user that nobody watches any more is kept, for somebody who comes
/// back.
const GRACE: Duration = Duration::from_secs(5);

/// All users watched from this node. Limited by the sessions, each of which
/// watches a limited number of users.
pub struct Watching {
    /// The most users that one session may watch.
    most: usize,
    inner: Lock<{ order::WATCHING }, Inner>,
    /// Notified when something is due.
    due: Notify,
}

#[derive(Default)]
struct Inner {
    users: FxHashMap<UserId, Watched>,
    /// The users that each session watches, from its first `presence` with
    /// `watch` to its end.
    sessions: FxHashMap<SessionId, FxHashSet<UserId>>,
    /// Users to ask for again, and from when on.
    doubted: FxHashSet<UserId>,
    ask_at: Option<Instant>,
    /// When all users become doubted. Limited by the delays: see
    /// [`Inner::doubt_all`].
    all_at: Vec<Instant>,
    /// Users without a watcher, each once, and when to tell the store.
    unwatched: VecDeque<(Instant, UserId)>,
}

#[derive(Default)]
struct Watched {
    /// The presence last heard; `None` before the first answer.
    state: Option<Arc<wire::Presence>>,
    /// Goes up with everything that is heard. An answer to a question of
    /// another version may be older than what is known.
    version: u64,
    /// Whether it is in `unwatched`.
    may_go: bool,
    watchers: FxHashMap<SessionId, Watcher>,
}

struct Watcher {
    session: Arc<Session>,
    /// What the session was told last; `None` before its command is answered.
    told: Option<bool>,
}

/// Users to ask for, each with the version at that time.
type Question = Vec<(UserId, u64)>;

/// Executes `presence` with `watch: true` for a session: first the answer, then
/// changes.
pub(crate) fn watch(
    sessions: &Arc<Sessions>,
    session: &Arc<Session>,
    users: Vec<UserId>,
    reference: Reference,
) -> Result<(), Failure> {
    let question = sessions.presence.begin(session, users).inspect_err(|failure| {
        metrics::command(CommandKind::Presence, Some(failure.code));
    })?;
    let command = ask(sessions, &question);
    let (to, session) = (sessions.clone(), session.clone());
    let user = session.user.clone();
    let completion = move |outcome: crate::link::Outcome| {
        let answer = outcome.result.and_then(|reply| Answer::from_reply(reply, None));
        let answer = match answer {
            Ok(Answer::Presence(states)) => Ok(states),
            Ok(_) => Err(Failure::internal("the router gave an answer of the wrong kind")),
            Err(failure) => Err(failure),
        };
        metrics::command(CommandKind::Presence, answer.as_ref().err().map(|failure| failure.code));
        match answer {
            Ok(states) => to.presence.answered(&session, question, states, reference),
            Err(failure) => {
                to.presence.refused(&session, &question);
                session.answer(Frame::Error(reference, Box::new(failure)));
            }
        }
    };
    sessions.context.routers.submit(&user, command, Box::new(completion));
    Ok(())
}

/// Asks again for users in doubt, and reports users that are no longer watched,
/// until it is dropped.
pub async fn run(sessions: Arc<Sessions>) {
    let watching = &sessions.presence;
    let mut refresh = Instant::now() + REFRESH;
    loop {
        let next = watching.next_due();
        tokio::select! {
            () = sleep_until(refresh) => {
                refresh += REFRESH;
                watching.doubt_all(Duration::ZERO);
            }
            () = sessions.context.routers.stream_ended() => watching.doubt_all(AFTER_ROUTER),
            () = watching.due.notified() => {}
            () = at(next) => {
                ask_again(&sessions).await;
                say_farewell(&sessions).await;
            }
        }
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

async fn ask_again(sessions: &Sessions) {
    let question = sessions.presence.doubted(Instant::now());
    let Some((first, _)) = question.first() else { return };
    let answer = sessions.context.routers.call(&first.clone(), ask(sessions, &question)).await;
    match answer.and_then(|reply| Answer::from_reply(reply, None)) {
        Ok(Answer::Presence(states)) => sessions.presence.told_again(question, states),
        Ok(_) => tracing::warn!("the router gave an answer of the wrong kind"),
        Err(failure) => {
            tracing::debug!(%failure, users = question.len(), "asking for presence waits");
            let users = question.into_iter().map(|(user, _)| user);
            sessions.presence.lock().doubt(users, Instant::now() + RETRY);
        }
    }
}

async fn say_farewell(sessions: &Sessions) {
    let users = sessions.presence.forget_unwatched(Instant::now());
    let Some(first) = users.first() else { return };
    let farewell = wire::Unwatch {
        users: users.iter().map(ToString::to_string).collect(),
        node: sessions.context.node.to_string(),
    };
    let done = sessions.context.routers.call(first, request::Command::Unwatch(farewell)).await;
    if let Err(failure) = &done {
        tracing::debug!(%failure, users = users.len(), "ending to watch waits");
    }
    sessions.presence.farewell_said(users, done.is_ok());
}

fn ask(sessions: &Sessions, question: &Question) -> request::Command {
    request::Command::Presence(wire::AskPresence {
        users: question.iter().map(|(user, _)| user.to_string()).collect(),
        node: sessions.context.node.to_string(),
    })
}

impl Watching {
    /// Nobody is watched yet. A session may watch `most` users.
    pub fn new(most: usize) -> Self {
        Self { most, inner: Lock::default(), due: Notify::new() }
    }

    /// Handles a user's presence that a router has announced.
    pub(crate) fn heard(&self, presence: wire::Presence) {
        let mut inner = self.lock();
        let Ok(user) = UserId::parse(&presence.user) else { return };
        if let Some(watched) = inner.users.get_mut(&user) {
            return watched.set(presence);
        }
        // Nobody watches this user, and the store should know that: it is told
        // again.
        inner.unwatch(user);
        drop(inner);
        self.due.notify_one();
    }

    /// Notices may have been lost: asks for all users again, after this delay.
    pub(crate) fn doubt_all(&self, delay: Duration) {
        self.lock().doubt_all(Instant::now() + delay.max(DEBOUNCE));
        self.due.notify_one();
    }

    /// Offers missing states of presence to a session that is live and has
    /// room.
    pub(crate) fn settle(&self, session: &Session) {
        let mut inner = self.lock();
        let Inner { users, sessions, .. } = &mut *inner;
        for user in sessions.get(&session.id).into_iter().flatten() {
            let Some(Watched { state: Some(state), watchers, .. }) = users.get_mut(user) else { continue };
            if let Some(watcher) = watchers.get_mut(&session.id)
                && !watcher.tell(state)
            {
                // No room for more: the session will ask again.
                return;
            }
        }
    }

    /// The session has ended.
    pub(crate) fn leave(&self, session: &Session) {
        let mut inner = self.lock();
        let Some(users) = inner.sessions.remove(&session.id) else { return };
        for user in users {
            inner.remove_watcher(&user, &session.id);
        }
        drop(inner);
        self.due.notify_one();
    }

    /// Notes that the session will watch these users; it is told of no change
    /// before [`Watching::answered`]. Fails when there are too many.
    fn begin(&self, session: &Arc<Session>, users: Vec<UserId>) -> Result<Question, Failure> {
        let mut inner = self.lock();
        let Inner { users: all, sessions, .. } = &mut *inner;
        let watched = sessions.entry(session.id.clone()).or_default();
        let new: FxHashSet<&UserId> = users.iter().filter(|user| !watched.contains(*user)).collect();
        if watched.len() + new.len() > self.most {
            return Err(Failure::bad_request(format!("a session may watch {} users at most", self.most)));
        }
        let question = users.into_iter().map(|user| {
            watched.insert(user.clone());
            let known = all.entry(user.clone()).or_default();
            known.watcher(session);
            (user, known.version)
        });
        Ok(question.collect())
    }

    fn answered(
        &self,
        session: &Arc<Session>,
        question: Question,
        states: Vec<wire::Presence>,
        reference: Reference,
    ) {
        let mut inner = self.lock();
        if !inner.sessions.contains_key(&session.id) {
            return;
        }
        let mut list = Vec::with_capacity(states.len());
        for ((user, version), state) in question.into_iter().zip(states) {
            let watched = inner.take_over(&user, version, state);
            let Some(state) = watched.state.clone() else { continue };
            watched.watcher(session).told = Some(state.online);
            if let Some(watched) = inner.sessions.get_mut(&session.id) {
                // A command that failed meanwhile may have removed it.
                watched.insert(user);
            }
            list.push(state.as_ref().clone());
        }
        // Under the lock: no change comes before the answer.
        session.answer(Frame::Ok(reference, Box::new(Answer::Presence(list))));
        drop(inner);
        self.due.notify_one();
    }

    fn refused(&self, session: &Session, question: &Question) {
        let mut inner = self.lock();
        for (user, _) in question {
            let told = inner.users.get(user).and_then(|watched| watched.watchers.get(&session.id)?.told);
            if told.is_none() {
                inner.remove_watcher(user, &session.id);
                if let Some(watched) = inner.sessions.get_mut(&session.id) {
                    watched.remove(user);
                }
            }
        }
        drop(inner);
        self.due.notify_one();
    }

    fn told_again(&self, question: Question, states: Vec<wire::Presence>) {
        let mut inner = self.lock();
        for ((user, version), state) in question.into_iter().zip(states) {
            if inner.users.contains_key(&user) {
                inner.take_over(&user, version, state);
            }
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let inner = self.lock();
        let unwatched = inner.unwatched.front().map(|(at, _)| *at);
        let all = inner.all_at.iter().min().copied();
        [inner.ask_at, unwatched, all].into_iter().flatten().min()
    }

    /// The users to ask for now.
    fn doubted(&self, now: Instant) -> Question {
        let mut inner = self.lock();
        let before = inner.all_at.len();
        inner.all_at.retain(|at| *at > now);
        if inner.all_at.len() < before {
            let users: Vec<UserId> = inner.users.keys().cloned().collect();
            inner.doubt(users, now);
        }
        if inner.ask_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        let chunk: Vec<UserId> = inner.doubted.iter().take(CHUNK).cloned().collect();
        for user in &chunk {
            inner.doubted.remove(user);
        }
        inner.ask_at = (!inner.doubted.is_empty()).then_some(now + PAUSE);
        let version = |user: UserId| inner.users.get(&user).map(|watched| watched.version).map(|v| (user, v));
        chunk.into_iter().filter_map(version).collect()
    }

    /// Removes users whom nobody watches any more.
    fn forget_unwatched(&self, now: Instant) -> Vec<UserId> {
        let mut inner = self.lock();
        let mut users = Vec::new();
        while users.len() < CHUNK {
            let Some((_, user)) = inner.unwatched.pop_front_if(|(at, _)| *at <= now) else { break };
            let Some(watched) = inner.users.get_mut(&user) else { continue };
            watched.may_go = false;
            if watched.watchers.is_empty() {
                inner.users.remove(&user);
                users.push(user);
            }
        }
        users
    }

    /// A user that was watched again meanwhile may have been forgotten by the
    /// store.
    fn farewell_said(&self, users: Vec<UserId>, done: bool) {
        let mut inner = self.lock();
        for user in users {
            if inner.users.contains_key(&user) {
                inner.doubt([user], Instant::now());
            } else if !done {
                inner.unwatch(user);
            }
        }
    }

    fn lock(&self) -> LockGuard<'_, Inner> {
        self.inner.lock()
    }
}

impl Inner {
    /// Handles an answer to a question of this `version`. If something
    /// different was heard since, that stays, and the user is asked for again.
    fn take_over(&mut self, user: &UserId, version: u64, state: wire::Presence) -> &mut Watched {
        let watched = self.users.entry(user.clone()).or_default();
        let crossed = watched.version != version;
        match &watched.state {
            Some(known) if crossed && known.online != state.online => {
                self.doubt([user.clone()], Instant::now() + DEBOUNCE);
            }
            Some(_) if crossed => {}
            _ => watched.set(state),
        }
        self.users.entry(user.clone()).or_default()
    }

    fn doubt(&mut self, users: impl IntoIterator<Item = UserId>, at: Instant) {
        self.doubted.extend(users);
        if !self.doubted.is_empty() {
            self.ask_at = Some(self.ask_at.map_or(at, |before| before.min(at)));
        }
    }

    /// A doubt that is due shortly after `at` is enough.
    fn doubt_all(&mut self, at: Instant) {
        if !self.all_at.iter().any(|due| *due >= at && *due < at + DEBOUNCE) {
            self.all_at.push(at + DEBOUNCE / 2);
        }
    }

    fn remove_watcher(&mut self, user: &UserId, session: &SessionId) {
        let Some(watched) = self.users.get_mut(user) else { return };
        if watched.watchers.remove(session).is_some() && watched.watchers.is_empty() {
            self.unwatch(user.clone());
        }
    }

    /// Removes a user later, if nobody watches then.
    fn unwatch(&mut self, user: UserId) {
        let watched = self.users.entry(user.clone()).or_default();
        if !watched.may_go {
            watched.may_go = true;
            self.unwatched.push_back((Instant::now() + GRACE, user));
        }
    }
}

impl Watched {
    fn set(&mut self, state: wire::Presence) {
        let state = Arc::new(state);
        self.version += 1;
        for watcher in self.watchers.values_mut() {
            watcher.tell(&state);
        }
        self.state = Some(state);
    }

    fn watcher(&mut self, session: &Arc<Session>) -> &mut Watcher {
        let new = || Watcher { session: session.clone(), told: None };
        self.watchers.entry(session.id.clone()).or_insert_with(new)
    }
}

impl Watcher {
    /// Tells the session of a change. Returns false if it has no room now, so
    /// that it is told later.
    fn tell(&mut self, state: &Arc<wire::Presence>) -> bool {
        if self.told.is_none_or(|told| told == state.online) {
            return true;
        }
        let told = self.session.offer_presence(state.clone());
        if told {
            self.told = Some(state.online);
        }
        told
    }
}

#[cfg(test)]
mod tests;
