//! The sessions of one service that poll and stream, by what their clients call
//! them. A client chooses its session's name, so the same name of another user is
//! another session.

use std::sync::Arc;
use std::time::Duration;

use daemon::lock::{LEAF, Lock};
use rustc_hash::FxHashMap;

use super::session::{Absence, Session};
use crate::accept::AddressSlot;
use crate::peer::Claim;
use crate::transport::inside::Exchange;

/// How often it is looked who has not come back.
const LOOK: Duration = Duration::from_secs(1);

/// Whose session, and how its client calls it.
pub(super) type Name = store::NamedSession;

/// The sessions of a service.
pub(super) struct Sessions {
    /// Bounded by what users may open, and by the time for which a session waits.
    by_name: Lock<LEAF, FxHashMap<Name, Entry>>,
    /// Those that nobody receives of, or did when it was last looked; each once.
    left: Lock<LEAF, Vec<Arc<Session>>>,
    /// How long a session waits for a request that receives.
    timeout: Duration,
}

enum Entry {
    /// Its first request is being let in.
    Opening,
    /// With what it holds.
    Here(Arc<Session>, #[expect(dead_code, reason = "its drop gives back what it has")] Holding),
}

/// What is given back when a session is forgotten.
#[expect(dead_code, reason = "its drop gives back what it has")]
pub(super) struct Holding {
    /// What the other gateways know of it, if there are any.
    pub(super) claim: Option<Claim>,
    /// What its client's address holds, where that is limited.
    pub(super) slot: Option<AddressSlot>,
}

/// What a name stands for at the moment.
pub(super) enum Lookup {
    /// A session of this node.
    Here(Arc<Session>),
    /// One whose first request is not answered yet.
    Opening,
    /// Nothing: whoever receives begins a session.
    Nothing,
}

impl Sessions {
    pub(super) fn new(timeout: Duration) -> Arc<Self> {
        Arc::new(Self { by_name: Lock::default(), left: Lock::default(), timeout })
    }

    /// What this node has of this name.
    pub(super) fn find(&self, name: &Name) -> Lookup {
        match self.by_name.lock().get(name) {
            Some(Entry::Here(session, _)) => Lookup::Here(session.clone()),
            Some(Entry::Opening) => Lookup::Opening,
            None => Lookup::Nothing,
        }
    }

    /// Keeps a name for a session that is being opened; nothing if it is taken.
    pub(super) fn reserve(self: &Arc<Self>, name: Name) -> Option<Reserved> {
        let mut by_name = self.by_name.lock();
        if by_name.contains_key(&name) {
            return None;
        }
        by_name.insert(name.clone(), Entry::Opening);
        Some(Reserved { sessions: self.clone(), name: Some(name) })
    }

    /// Nobody receives of this session any more.
    pub(super) fn watch(&self, session: &Arc<Session>) {
        self.left.lock().push(session.clone());
    }

    /// Forgets sessions that nobody comes back to, for as long as it is polled.
    pub(super) async fn forget(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK).await;
            self.forget_once();
        }
    }

    fn forget_once(&self) {
        let mut left = std::mem::take(&mut *self.left.lock());
        left.retain(|session| match session.absence(self.timeout) {
            Absence::None => false,
            Absence::Soon => true,
            Absence::Over => {
                self.remove(session);
                false
            }
        });
        self.left.lock().append(&mut left);
    }

    /// Its name is free again.
    pub(super) fn remove(&self, session: &Arc<Session>) {
        let mut by_name = self.by_name.lock();
        let known = by_name.get(&session.name);
        if known.is_some_and(|known| matches!(known, Entry::Here(known, _) if Arc::ptr_eq(known, session))) {
            let removed = by_name.remove(&session.name);
            // What it holds takes locks of its own at its end.
            drop(by_name);
            drop(removed);
        }
    }
}

/// A name without a session, yet. Dropped, it is free again.
pub(super) struct Reserved {
    sessions: Arc<Sessions>,
    name: Option<Name>,
}

impl Reserved {
    /// Gives it to a session with this exchange.
    pub(super) fn begin(mut self, exchange: Box<dyn Exchange>, holding: Holding) -> Arc<Session> {
        let name = self.name.take().expect("it is taken here, and this is called once");
        let session = Session::new(name.clone(), &self.sessions, exchange);
        self.sessions.by_name.lock().insert(name, Entry::Here(session.clone(), holding));
        session
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            self.sessions.by_name.lock().remove(&name);
        }
    }
}
