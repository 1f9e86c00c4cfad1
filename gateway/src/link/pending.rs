//! Requests that have no answer yet, whichever router they went to. An answer
//! from any of them counts; later ones find nothing here.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use proto::wire::Request;
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::Completion;
use super::stream::Link;

/// One request without an answer.
pub(super) struct Pending {
    pub(super) request: Request,
    pub(super) completion: Completion,
    /// When to give up.
    pub(super) deadline: Instant,
    /// When it was sent last.
    pub(super) sent: Instant,
    /// The link that it was sent on last; nothing while it waits for one.
    pub(super) link: Option<u64>,
    pub(super) attempts: u32,
}

/// All of them, by id. Ids grow, so their order is the order of asking.
#[derive(Default)]
pub(super) struct Unanswered {
    last: AtomicU64,
    by_id: Mutex<FxHashMap<u64, Pending>>,
}

impl Unanswered {
    pub(super) fn next_id(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    pub(super) fn insert(&self, id: u64, pending: Pending) {
        self.lock().insert(id, pending);
    }

    pub(super) fn remove(&self, id: u64) -> Option<Pending> {
        self.lock().remove(&id)
    }

    /// Those that were sent on this link last, or wait for any, in order.
    pub(super) fn on(&self, link: Option<u64>) -> Vec<u64> {
        self.ids(|pending| pending.link == link)
    }

    /// Those sent before `then`, with their link, in order.
    pub(super) fn sent_before(&self, then: Instant) -> Vec<(u64, Option<u64>)> {
        let ids = self.ids(|pending| pending.link.is_some() && pending.sent < then);
        let by_id = self.lock();
        ids.into_iter().filter_map(|id| Some((id, by_id.get(&id)?.link))).collect()
    }

    /// Notes that a request is sent again on the link that `choose` finds for
    /// its user; nothing when it has been answered or there is no link.
    pub(super) fn again(
        &self,
        id: u64,
        choose: impl FnOnce(&str) -> Option<Arc<Link>>,
    ) -> Option<(Arc<Link>, Request)> {
        let mut by_id = self.lock();
        let pending = by_id.get_mut(&id)?;
        let Some(link) = choose(&pending.request.user) else {
            pending.link = None;
            return None;
        };
        pending.link = Some(link.id);
        pending.sent = Instant::now();
        pending.attempts += 1;
        Some((link, pending.request.clone()))
    }

    /// A request waits for a link.
    pub(super) fn orphan(&self, id: u64) {
        if let Some(pending) = self.lock().get_mut(&id) {
            pending.link = None;
        }
    }

    /// Takes out those whose time is up.
    pub(super) fn expired(&self, now: Instant) -> Vec<Pending> {
        let ids = self.ids(|pending| pending.deadline <= now);
        let mut by_id = self.lock();
        ids.iter().filter_map(|id| by_id.remove(id)).collect()
    }

    /// Takes out all.
    pub(super) fn drain(&self) -> Vec<Pending> {
        self.lock().drain().map(|(_, pending)| pending).collect()
    }

    fn ids(&self, which: impl Fn(&Pending) -> bool) -> Vec<u64> {
        let by_id = self.lock();
        let mut ids: Vec<u64> =
            by_id.iter().filter(|(_, pending)| which(pending)).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }

    fn lock(&self) -> MutexGuard<'_, FxHashMap<u64, Pending>> {
        self.by_id.lock().expect("no code that holds this lock panics")
    }
}
