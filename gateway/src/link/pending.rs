//! Requests that have no answer yet, whichever router they went to. An answer
//! from any of them counts; later ones find nothing here.

use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use daemon::lock::{Lock, Locked};
use daemon::trace::Span;
use proto::wire::Request;
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::Completion;
use super::stream::Link;
use crate::order;

/// One request without an answer.
pub(super) struct Pending {
    pub(super) request: Request,
    /// Of the user.
    pub(super) hash: u64,
    pub(super) completion: Completion,
    /// Ends with the answer, if it is traced.
    pub(super) span: Span,
    /// When it was asked first.
    pub(super) asked: Instant,
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
    table: Lock<{ order::UNANSWERED }, Table>,
}

#[derive(Default)]
struct Table {
    by_id: FxHashMap<u64, Pending>,
    /// The link that a user's last request went to, and how many of the user's
    /// are without an answer: for as long as there are any, the next go the same
    /// way, in their order. By the user's hash; two users of one hash go together.
    users: FxHashMap<u64, (Option<u64>, u32)>,
}

impl Table {
    fn remove(&mut self, id: u64) -> Option<Pending> {
        let pending = self.by_id.remove(&id)?;
        if let Entry::Occupied(mut user) = self.users.entry(pending.hash) {
            user.get_mut().1 -= 1;
            if user.get().1 == 0 {
                user.remove();
            }
        }
        Some(pending)
    }
}

impl Unanswered {
    pub(super) fn next_id(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn len(&self) -> usize {
        self.lock().by_id.len()
    }

    /// The link that the unanswered requests of a user go to, if there are any.
    pub(super) fn link_of(&self, hash: u64) -> Option<u64> {
        self.lock().users.get(&hash)?.0
    }

    pub(super) fn insert(&self, id: u64, pending: Pending) {
        let mut table = self.lock();
        let user = table.users.entry(pending.hash).or_default();
        *user = (pending.link, user.1 + 1);
        table.by_id.insert(id, pending);
    }

    pub(super) fn remove(&self, id: u64) -> Option<Pending> {
        self.lock().remove(id)
    }

    /// Those that were sent on this link last, or wait for any, in order.
    pub(super) fn on(&self, link: Option<u64>) -> Vec<u64> {
        self.ids(|pending| pending.link == link)
    }

    /// Those sent before `then`, with their link, in order.
    pub(super) fn sent_before(&self, then: Instant) -> Vec<(u64, Option<u64>)> {
        let ids = self.ids(|pending| pending.link.is_some() && pending.sent < then);
        let table = self.lock();
        ids.into_iter().filter_map(|id| Some((id, table.by_id.get(&id)?.link))).collect()
    }

    /// Notes that a request is sent again on the link that `choose` finds for
    /// its user; nothing when it has been answered or there is no link.
    pub(super) fn again(
        &self,
        id: u64,
        choose: impl FnOnce(u64) -> Option<Arc<Link>>,
    ) -> Option<(Arc<Link>, Request)> {
        let mut table = self.lock();
        let pending = table.by_id.get_mut(&id)?;
        let Some(link) = choose(pending.hash) else {
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
        if let Some(pending) = self.lock().by_id.get_mut(&id) {
            pending.link = None;
        }
    }

    /// Takes out those whose time is up.
    pub(super) fn expired(&self, now: Instant) -> Vec<Pending> {
        let ids = self.ids(|pending| pending.deadline <= now);
        let mut table = self.lock();
        ids.iter().filter_map(|id| table.remove(*id)).collect()
    }

    /// Takes out all.
    pub(super) fn drain(&self) -> Vec<Pending> {
        std::mem::take(&mut *self.lock()).by_id.into_values().collect()
    }

    fn ids(&self, which: impl Fn(&Pending) -> bool) -> Vec<u64> {
        let table = self.lock();
        let mut ids: Vec<u64> =
            table.by_id.iter().filter(|(_, pending)| which(pending)).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }

    fn lock(&self) -> Locked<'_, Table> {
        self.table.lock()
    }
}
