//! The tokens that are not believed any more. A node keeps all revocations in memory:
//! it hears of each by the bus, and asks a router for those that it may have missed,
//! at start and whenever something may have been lost. Until it was answered it
//! believes no token ([`Revocations::settled`]).
//!
//! While the node does not hear the bus it asks once a second. When it has been
//! neither heard nor answered for [`BLIND`], it believes no token either.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use daemon::lock::{LEAF, Lock, SharedLock};
use futures_util::future::try_join_all;
use proto::wire::{self, reply, request};
use proto::{End, ErrorCode, Revocation, RevokedTokens, Time, TokenId, UserId};
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::Sessions;
use super::proof::Proof;
use crate::link::NOBODY;
use crate::protocol::failure::Failure;

/// Between two looks at routers while the bus is not heard, or after one that failed.
const AGAIN: Duration = Duration::from_secs(1);
/// How long one look may take.
const LOOK: Duration = Duration::from_secs(10);
/// After so long without the bus and without an answer nothing is known any more. As
/// long as a lease: until then a node that hears nothing is not noticed either.
const BLIND: Duration = Duration::from_secs(10);
/// Between two times that revocations which have ended are forgotten.
const FORGET: Duration = Duration::from_secs(10);
/// Between two passes over all sessions: a flood of revocations is looked at together.
const PASS: Duration = Duration::from_millis(100);
/// Sessions that are looked at before others have their turn.
const CROWD: usize = 500;
/// Revocations that are given back to a store at once.
const AT_ONCE: usize = 64;

/// All revocations, as this node knows them.
#[derive(Debug)]
pub struct Revocations {
    /// Limited by what the store keeps (--max-revocations of the routers).
    held: SharedLock<LEAF, Held>,
    knowledge: Lock<LEAF, Knowledge>,
    /// A look has settled all doubts.
    whole: Notify,
    /// Something may have been missed.
    doubted: Notify,
    /// There are revocations that the sessions were not compared with.
    heard: Notify,
}

#[derive(Debug, Default)]
struct Held {
    users: FxHashMap<UserId, Times>,
    tokens: FxHashMap<TokenId, Times>,
}

/// Of a revocation.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    before: Time,
    until: Time,
}

impl Times {
    fn rise(&mut self, before: Time, until: Time) {
        (self.before, self.until) = (self.before.max(before), self.until.max(until));
    }
}

/// Whether all revocations are here.
#[derive(Debug, Clone, Copy)]
struct Knowledge {
    /// How often something may have been missed.
    doubts: u64,
    /// How many of these doubts a look has settled.
    settled: u64,
    /// The number of the newest revocation at the last look; 0: all are asked for.
    after: u64,
    /// The last look failed, or there was none yet.
    unanswered: bool,
}

impl Knowledge {
    fn is_whole(&self) -> bool {
        self.settled == self.doubts
    }
}

impl Revocations {
    /// Nothing is known yet.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            held: SharedLock::default(),
            knowledge: Lock::new(Knowledge { doubts: 1, settled: 0, after: 0, unanswered: true }),
            whole: Notify::new(),
            doubted: Notify::new(),
            heard: Notify::new(),
        })
    }

    /// Waits until all revocations are known, at most for `patience`. Returns whether
    /// they are.
    pub(crate) async fn settled(&self, patience: Duration) -> bool {
        if self.is_whole() {
            return true;
        }
        let whole = async {
            loop {
                // Before it looks, so that it misses no look of another.
                let mut settled = pin!(self.whole.notified());
                settled.as_mut().enable();
                if self.is_whole() {
                    return;
                }
                settled.await;
            }
        };
        timeout(patience, whole).await.is_ok()
    }

    /// Whether the token was revoked, as far as is known here.
    pub(crate) fn refuses(&self, proof: &Proof) -> bool {
        let held = self.held.read();
        let of = |user: &UserId, issued: Time| {
            held.users.get(user).is_some_and(|revoked| issued <= revoked.before)
        };
        of(&proof.holder, proof.issued)
            || proof.bought.as_ref().is_some_and(|(user, when)| of(user, *when))
            || proof.jti.as_ref().is_some_and(|id| held.tokens.contains_key(id))
    }

    /// How many revocations are kept here.
    pub(crate) fn len(&self) -> usize {
        let held = self.held.read();
        held.users.len() + held.tokens.len()
    }

    /// Keeps what a router has said. Sessions with such tokens end soon.
    pub(super) fn hold(&self, revocations: Vec<wire::Revocation>) {
        if revocations.is_empty() {
            return;
        }
        let mut held = self.held.write();
        for said in revocations {
            match Revocation::try_from(said) {
                Ok(Revocation { tokens: RevokedTokens::Of(user), before, until }) => {
                    held.users.entry(user).or_default().rise(before, until);
                }
                Ok(Revocation { tokens: RevokedTokens::One(id), before, until }) => {
                    held.tokens.entry(id).or_default().rise(before, until);
                }
                Err((field, rule)) => {
                    tracing::warn!(field, %rule, "a router said a revocation that cannot be read")
                }
            }
        }
        drop(held);
        self.heard.notify_one();
    }

    /// Revocations may have been missed: no token is believed until a router was
    /// asked.
    pub(super) fn doubt(&self) {
        self.knowledge.lock().doubts += 1;
        self.doubted.notify_one();
    }

    /// The store may be another one, with other numbers: all are asked for.
    pub(super) fn doubt_all(&self) {
        let mut knowledge = self.knowledge.lock();
        (knowledge.doubts, knowledge.after) = (knowledge.doubts + 1, 0);
        drop(knowledge);
        self.doubted.notify_one();
    }

    /// All revocations up to the number `after` are here, as of so many doubts.
    fn settle(&self, doubts: u64, after: u64) {
        let mut knowledge = self.knowledge.lock();
        // Otherwise something more may have been missed meanwhile.
        if knowledge.doubts == doubts {
            (knowledge.settled, knowledge.after) = (doubts, after);
            drop(knowledge);
            self.whole.notify_waiters();
        }
    }

    fn is_whole(&self) -> bool {
        self.knowledge.lock().is_whole()
    }

    /// Whether no token is believed, and not only for the moment that a look takes.
    pub(crate) fn are_unknown(&self) -> bool {
        let knowledge = *self.knowledge.lock();
        !knowledge.is_whole() && knowledge.unanswered
    }

    /// A look was answered, or was not.
    fn asked(&self, answered: bool) {
        self.knowledge.lock().unanswered = !answered;
    }

    fn forget_ended(&self) {
        let now = Time::now();
        let mut held = self.held.write();
        held.users.retain(|_, revoked| revoked.until > now);
        held.tokens.retain(|_, revoked| revoked.until > now);
    }

    /// Those kept here that are not among `others`.
    fn missing_in(&self, others: &FxHashSet<RevokedTokens>) -> Vec<Revocation> {
        let (held, now) = (self.held.read(), Time::now());
        let users = held.users.iter().map(|(user, times)| (RevokedTokens::Of(user.clone()), *times));
        let tokens = held.tokens.iter().map(|(id, times)| (RevokedTokens::One(id.clone()), *times));
        users
            .chain(tokens)
            .filter(|(tokens, times)| times.until > now && !others.contains(tokens))
            .map(|(tokens, Times { before, until })| Revocation { tokens, before, until })
            .collect()
    }
}

/// Asks routers for what may have been missed, while it is awaited.
pub(crate) async fn keep(sessions: Arc<Sessions>) {
    let revocations = &sessions.revocations;
    let (mut known_at, mut forget_at) = (Instant::now(), Instant::now() + FORGET);
    loop {
        if revocations.is_whole() && sessions.is_heard() {
            known_at = Instant::now();
        } else {
            let outcome = timeout(LOOK, look(&sessions)).await;
            match &outcome {
                Ok(Ok(())) => known_at = Instant::now(),
                Ok(Err(error)) => tracing::debug!(%error, "could not ask which tokens were revoked"),
                Err(_) => tracing::debug!("it was not answered in time which tokens were revoked"),
            }
            revocations.asked(matches!(outcome, Ok(Ok(()))));
            if known_at.elapsed() >= BLIND && revocations.is_whole() {
                tracing::warn!("it is not known which tokens were revoked: none is believed until it is");
                revocations.doubt();
            }
        }
        if Instant::now() >= forget_at {
            revocations.forget_ended();
            forget_at = Instant::now() + FORGET;
        }
        tokio::select! {
            () = revocations.doubted.notified() => {}
            () = sleep(AGAIN) => {}
        }
    }
}

/// Reads the revocations that are newer than those of the last look, or all. Gives a
/// store that has lost its last writes what it does not have any more.
async fn look(sessions: &Sessions) -> Result<(), Failure> {
    let (revocations, routers) = (&sessions.revocations, &sessions.context.routers);
    let Knowledge { doubts, mut after, .. } = *revocations.knowledge.lock();
    let mut all = (after == 0).then(FxHashSet::default);
    loop {
        let asked = request::Command::ReadRevocations(wire::ReadRevocations { after });
        let reply::Result::Revocations(page) = routers.call(&NOBODY, asked).await? else {
            return Err(Failure::internal("the router gave an answer of the wrong kind"));
        };
        if page.head < after {
            (after, all) = (0, Some(FxHashSet::default()));
            continue;
        }
        if let Some(all) = &mut all {
            let read = page.revocations.iter().cloned().filter_map(|said| Revocation::try_from(said).ok());
            all.extend(read.map(|revocation| revocation.tokens));
        }
        revocations.hold(page.revocations);
        let done = page.last >= page.head || page.last <= after;
        after = page.last;
        if done {
            break;
        }
    }
    if let Some(all) = &all {
        for some in revocations.missing_in(all).chunks(AT_ONCE) {
            try_join_all(some.iter().map(|revocation| give_back(sessions, revocation))).await?;
        }
    }
    revocations.settle(doubts, after);
    Ok(())
}

async fn give_back(sessions: &Sessions, revocation: &Revocation) -> Result<(), Failure> {
    let asked = request::Command::Revoke(wire::Revoke { revocation: Some(revocation.into()) });
    match sessions.context.routers.call(&NOBODY, asked).await {
        // There is no room there, and it counts here nevertheless.
        Err(failure) if failure.code == ErrorCode::Conflict => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// Ends the sessions whose tokens were revoked, while it is awaited.
pub(crate) async fn enforce(sessions: Arc<Sessions>) {
    loop {
        sessions.revocations.heard.notified().await;
        for crowd in sessions.hub.all().chunks(CROWD) {
            for session in crowd {
                if sessions.revocations.refuses(&session.proof()) && session.has_ended().is_none() {
                    sessions.farewells.end(session.clone(), End::Revoked);
                }
            }
            tokio::task::yield_now().await;
        }
        sleep(PASS).await;
    }
}

#[cfg(test)]
mod tests {
    use proto::TokenEnd;

    use super::*;

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    fn id(text: &str) -> TokenId {
        TokenId::parse(text).unwrap()
    }

    fn proof(issued: u64) -> Proof {
        Proof { issued: Time(issued), jti: Some(id("t-1")), ..Proof::of(user("alice"), TokenEnd(u64::MAX)) }
    }

    fn of_user(name: &str, before: u64) -> wire::Revocation {
        wire::Revocation { user: name.into(), before, until: u64::MAX, ..wire::Revocation::default() }
    }

    fn of_token(jti: &str, until: u64) -> wire::Revocation {
        wire::Revocation { jti: jti.into(), until, ..wire::Revocation::default() }
    }

    #[test]
    fn a_users_revocation_is_about_what_was_issued_up_to_then_and_what_says_nothing() {
        let revocations = Revocations::new();
        assert!(!revocations.refuses(&proof(0)));
        revocations.hold(vec![of_user("alice", 5_000)]);
        // An earlier one takes nothing back.
        revocations.hold(vec![of_user("alice", 3_000)]);
        let refused = |issued| revocations.refuses(&proof(issued));
        assert_eq!([0, 4_000, 5_000, 5_001].map(refused), [true, true, true, false]);
        assert!(!revocations.refuses(&Proof::of(user("bob"), TokenEnd(9))));
    }

    #[test]
    fn one_token_is_revoked_by_its_id_and_others_are_not() {
        let revocations = Revocations::new();
        revocations.hold(vec![of_token("t-1", u64::MAX), of_token("t\n", 1)]);
        assert_eq!(revocations.len(), 1, "what cannot be read is passed over");
        assert!(revocations.refuses(&proof(9_000)));
        assert!(!revocations.refuses(&Proof { jti: Some(id("t-2")), ..proof(9_000) }));
        assert!(!revocations.refuses(&Proof { jti: None, ..proof(9_000) }));
    }

    #[test]
    fn a_ticket_of_a_backend_is_its_users_and_its_backends() {
        let backend = Proof::of(user("backend"), TokenEnd(u64::MAX));
        let ticket = Proof { bought: Some((user("alice"), Time(5_000))), issued: Time(1_000), ..backend };
        for (revoked, refused) in [
            (of_user("alice", 4_999), false),
            (of_user("alice", 5_000), true),
            (of_user("backend", 999), false),
            (of_user("backend", 1_000), true),
        ] {
            let revocations = Revocations::new();
            revocations.hold(vec![revoked.clone()]);
            assert_eq!(revocations.refuses(&ticket), refused, "{revoked:?}");
        }
    }

    #[test]
    fn what_has_ended_is_forgotten() {
        let revocations = Revocations::new();
        revocations.hold(vec![of_token("over", 1), of_token("t-1", u64::MAX), of_user("alice", 5)]);
        revocations.forget_ended();
        assert_eq!(revocations.len(), 2);
        assert!(revocations.refuses(&proof(9)));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_settled_while_something_may_be_missing() {
        let revocations = Revocations::new();
        assert!(!revocations.settled(BLIND).await, "nothing was asked for yet");
        assert!(revocations.are_unknown());
        revocations.settle(1, 0);
        revocations.asked(true);
        assert!(revocations.settled(Duration::ZERO).await);
        revocations.doubt();
        assert!(!revocations.settled(BLIND).await);
        assert!(!revocations.are_unknown(), "it is being asked");
        revocations.asked(false);
        assert!(revocations.are_unknown());
        let waiting = revocations.settled(BLIND);
        let answered = async {
            tokio::task::yield_now().await;
            revocations.settle(1, 0);
            revocations.settle(2, 7);
        };
        assert!(tokio::join!(waiting, answered).0);
        assert!(!revocations.are_unknown());
    }

    #[test]
    fn what_a_store_has_forgotten_is_found() {
        let revocations = Revocations::new();
        let until = Time::now().0 + 60_000;
        revocations.hold(vec![of_token("t-1", until), of_token("over", 1), of_user("alice", 5)]);
        let known = FxHashSet::from_iter([RevokedTokens::Of(user("alice"))]);
        let missing = revocations.missing_in(&known);
        let tokens = RevokedTokens::One(id("t-1"));
        assert_eq!(missing, [Revocation { tokens, before: Time(0), until: Time(until) }]);
    }
}
