//! The sessions of this node whose names their clients have chosen, as the store
//! tells the other gateways of them: claimed before they begin, prolonged while
//! they are there, released at their end.

use std::sync::Arc;
use std::time::Duration;

use daemon::lock::{LEAF, Lock};
use rustc_hash::FxHashSet;
use store::{HELD, NamedSession, Peers};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Between two times that what is held is prolonged.
const PROLONG: Duration = Duration::from_secs(HELD.as_secs() / 3);
/// Sessions that are prolonged in one call of the store.
const AT_ONCE: usize = 1_024;

/// What this node has claimed.
pub(crate) struct Claims {
    node: String,
    peers: Arc<dyn Peers>,
    /// Bounded as the sessions themselves are.
    held: Lock<LEAF, FxHashSet<NamedSession>>,
    /// To be released next.
    gone: Lock<LEAF, Vec<NamedSession>>,
    some_gone: Notify,
}

/// Who has a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Holder {
    /// This node has, or had, or nobody has.
    Here,
    /// The node of this name.
    Elsewhere(String),
}

/// The store could not be asked.
#[derive(Debug)]
pub(crate) struct Unknown;

impl Claims {
    /// None yet, for the node of this name.
    pub(crate) fn new(node: &str, peers: Arc<dyn Peers>) -> Arc<Self> {
        Arc::new(Self {
            node: node.to_owned(),
            peers,
            held: Lock::default(),
            gone: Lock::default(),
            some_gone: Notify::new(),
        })
    }

    /// Who has this session.
    pub(crate) async fn holder(&self, session: &NamedSession) -> Result<Holder, Unknown> {
        let holder = self.peers.holder(session).await.map_err(|error| unknown(&error))?;
        Ok(holder.map_or(Holder::Here, |node| self.seen(node)))
    }

    /// Claims a session for this node; or says which other one has it.
    pub(crate) async fn claim(
        self: &Arc<Self>,
        session: &NamedSession,
    ) -> Result<Result<Claim, String>, Unknown> {
        // Before the store is asked: whoever gives up in the middle releases it.
        let claim = Claim { of: self.clone(), session: Some(session.clone()) };
        self.held.lock().insert(session.clone());
        let holders = self.peers.claim(std::slice::from_ref(session), &self.node).await;
        let holder = holders.map_err(|error| unknown(&error))?.pop().ok_or(Unknown)?;
        match self.seen(holder) {
            Holder::Here => Ok(Ok(claim)),
            Holder::Elsewhere(node) => {
                claim.forget();
                Ok(Err(node))
            }
        }
    }

    fn seen(&self, node: String) -> Holder {
        if node == self.node { Holder::Here } else { Holder::Elsewhere(node) }
    }

    /// Prolongs and releases, for as long as it is polled.
    pub(crate) async fn keep(self: Arc<Self>) {
        let mut next = Instant::now() + PROLONG;
        loop {
            let waited = timeout_at(next, self.some_gone.notified()).await;
            self.release().await;
            if waited.is_err() {
                self.prolong().await;
                next = Instant::now() + PROLONG;
            }
        }
    }

    /// Also what a call that was under way has prolonged: it ended before.
    async fn release(&self) {
        let mut gone = std::mem::take(&mut *self.gone.lock());
        // Claimed anew since.
        gone.retain(|session| !self.held.lock().contains(session));
        for some in gone.chunks(AT_ONCE) {
            if let Err(error) = self.peers.release(some, &self.node).await {
                // They end by themselves.
                tracing::debug!(%error, "cannot release sessions");
            }
        }
    }

    async fn prolong(&self) {
        let held: Vec<NamedSession> = self.held.lock().iter().cloned().collect();
        for some in held.chunks(AT_ONCE) {
            if let Err(error) = self.peers.claim(some, &self.node).await {
                tracing::debug!(%error, "cannot prolong the claims of sessions");
            }
        }
    }
}

fn unknown(error: &store::Error) -> Unknown {
    tracing::debug!(%error, "cannot ask who has a session");
    Unknown
}

/// Dropped when its session is over.
pub(crate) struct Claim {
    of: Arc<Claims>,
    session: Option<NamedSession>,
}

impl Claim {
    /// It was never this node's.
    fn forget(mut self) {
        if let Some(session) = self.session.take() {
            self.of.held.lock().remove(&session);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else { return };
        self.of.held.lock().remove(&session);
        self.of.gone.lock().push(session);
        self.of.some_gone.notify_one();
    }
}
