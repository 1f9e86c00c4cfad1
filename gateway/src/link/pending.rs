//! Requests that have no answer yet, whichever router they went to. An answer
//! from any of them counts; later ones find nothing here.

use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use daemon::lock::{Lock, LockGuard};
use daemon::trace::Span;
use proto::Bound;
use proto::request::Repeat;
use proto::wire::reply;
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::time::Instant;

use super::cost::RequestCost;
use super::encoded::{EncodedRequest, RequestId};
use super::outbound::{Link, LinkId};
use crate::order;
use crate::protocol::failure::Failure;

/// What became of a request.
pub struct Outcome {
    /// The router's answer (which may itself be a failure), or that none came.
    pub result: Result<reply::Result, Failure>,
    /// It was tried more than once: an earlier try may have been done.
    pub repeated: bool,
}

/// Called once with the outcome, from the task that read it: must not wait.
pub type Completion = Box<dyn FnOnce(Outcome) + Send>;

/// One request without an answer.
pub(super) struct Pending {
    pub(super) request: EncodedRequest,
    /// It takes a member out of a group.
    pub(super) removal: bool,
    /// Of the user.
    pub(super) hash: u64,
    pub(super) kind: RequestCost,
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
    pub(super) link: Option<LinkId>,
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
    by_id: FxHashMap<RequestId, Pending>,
    /// What they weigh.
    bytes: usize,
    /// The link that a user's last request went to, and how many of the user's
    /// are without an answer: for as long as there are any, the next go the same
    /// way, in their order. By the user's hash; two users of one hash go together.
    users: FxHashMap<u64, (Option<LinkId>, u32)>,
}

/// Which requests are sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// All: their link has ended, or there was none.
    All,
    /// Those sent before this moment, and what their users have asked since.
    SentBefore(Instant),
    /// Of each user those before the first that may not be repeated soon. Each
    /// only once, so that a store that answers nobody is not asked ever more.
    Soon,
}

impl Table {
    fn remove(&mut self, id: RequestId) -> Option<Pending> {
        let pending = self.by_id.remove(&id)?;
        self.bytes -= pending.request.bytes.len();
        if let Entry::Occupied(mut user) = self.users.entry(pending.hash) {
            user.get_mut().1 -= 1;
            if user.get().1 == 0 {
                user.remove();
            }
        }
        Some(pending)
    }

    fn ids(&self, which: impl Fn(&Pending) -> bool) -> Vec<RequestId> {
        let mut ids: Vec<RequestId> =
            self.by_id.iter().filter(|(_, pending)| which(pending)).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }

    /// Those on `link` that `which` means, in their order.
    fn on(&self, link: Option<LinkId>, which: Again) -> Vec<RequestId> {
        if let Again::SentBefore(then) = which
            && !self.by_id.values().any(|pending| pending.link == link && pending.sent < then)
        {
            return Vec::new();
        }
        let mut ids = self.ids(|pending| pending.link == link && pending.kind.repeat != Repeat::Never);
        let mut users = FxHashSet::default();
        ids.retain(|id| {
            let pending = &self.by_id[id];
            match which {
                Again::All => true,
                Again::SentBefore(then) if pending.sent < then => {
                    users.insert(pending.hash);
                    true
                }
                Again::SentBefore(_) => users.contains(&pending.hash),
                Again::Soon => {
                    let may = pending.attempts == 1 && pending.kind.repeat == Repeat::Soon;
                    if !may {
                        users.insert(pending.hash);
                    }
                    !users.contains(&pending.hash)
                }
            }
        });
        ids
    }
}

impl Unanswered {
    pub(super) fn next_id(&self) -> RequestId {
        RequestId(self.last.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub(super) fn len(&self) -> usize {
        self.lock().by_id.len()
    }

    /// Whether one more of so many bytes is within the bound.
    pub(super) fn has_room(&self, bytes: usize, bound: Bound) -> bool {
        let table = self.lock();
        table.by_id.len() < bound.entries && table.bytes + bytes <= bound.bytes
    }

    /// Takes a request, and gives the link that it goes to: `choose` is told
    /// that of the user's unanswered requests, if there are any. Nothing where
    /// there is none, or where earlier ones of the user still wait for one.
    pub(super) fn insert(
        &self,
        mut pending: Pending,
        choose: impl FnOnce(Option<LinkId>) -> Option<Arc<Link>>,
    ) -> Option<Arc<Link>> {
        let mut table = self.lock();
        let user = table.users.entry(pending.hash).or_default();
        let link = match *user {
            (None, waiting) if waiting > 0 => None,
            (before, _) => choose(before),
        };
        pending.link = link.as_ref().map(|link| link.id);
        pending.attempts = u32::from(link.is_some());
        *user = (pending.link, user.1 + 1);
        table.bytes += pending.request.bytes.len();
        table.by_id.insert(pending.request.id, pending);
        link
    }

    pub(super) fn remove(&self, id: RequestId) -> Option<Pending> {
        self.lock().remove(id)
    }

    /// Whether any waits for a link.
    pub(super) fn any_waits(&self) -> bool {
        self.lock().by_id.values().any(|pending| pending.link.is_none())
    }

    /// The moment at which the oldest hot request of each link was sent.
    pub(super) fn oldest_hot(&self) -> FxHashMap<LinkId, Instant> {
        let mut oldest = FxHashMap::default();
        for pending in self.lock().by_id.values().filter(|pending| pending.kind.hot) {
            if let Some(link) = pending.link {
                let sent = oldest.entry(link).or_insert(pending.sent);
                *sent = pending.sent.min(*sent);
            }
        }
        oldest
    }

    /// Sends requests again, in their order, on the links that `choose` finds
    /// for their users; what finds none waits. Returns their ids. In one go, so
    /// that no later request of a user gets between.
    pub(super) fn send_again(
        &self,
        from: Option<LinkId>,
        which: Again,
        choose: impl Fn(u64) -> Option<Arc<Link>>,
    ) -> Vec<RequestId> {
        let mut guard = self.lock();
        let table = &mut *guard;
        let ids = table.on(from, which);
        let now = Instant::now();
        for id in &ids {
            let Some(pending) = table.by_id.get_mut(id) else { continue };
            let link = choose(pending.hash).filter(|link| link.push(pending.request.clone()));
            pending.link = link.map(|link| link.id);
            if pending.link.is_some() {
                pending.sent = now;
                pending.attempts += 1;
            }
            if let Some(user) = table.users.get_mut(&pending.hash) {
                user.0 = pending.link;
            }
        }
        // What stays is behind all that went: the next of that user follow it.
        if which == Again::Soon {
            for id in table.ids(|pending| pending.link == from) {
                let hash = table.by_id[&id].hash;
                if let Some(user) = table.users.get_mut(&hash) {
                    user.0 = from;
                }
            }
        }
        ids
    }

    /// The link has ended: what only its router could have answered never is.
    pub(super) fn give_up(&self, link: LinkId) {
        let left = {
            let mut table = self.lock();
            let never =
                |pending: &Pending| pending.link == Some(link) && pending.kind.repeat == Repeat::Never;
            let ids = table.ids(never);
            ids.iter().filter_map(|id| table.remove(*id)).collect::<Vec<_>>()
        };
        for pending in left {
            let result = Err(Failure::unavailable("the router has ended"));
            (pending.completion)(Outcome { result, repeated: false });
        }
    }

    /// Takes out those whose time is up.
    pub(super) fn expired(&self, now: Instant) -> Vec<Pending> {
        let mut table = self.lock();
        let ids = table.ids(|pending| pending.deadline <= now);
        ids.iter().filter_map(|id| table.remove(*id)).collect()
    }

    /// Takes out all.
    pub(super) fn drain(&self) -> Vec<Pending> {
        std::mem::take(&mut *self.lock()).by_id.into_values().collect()
    }

    fn lock(&self) -> LockGuard<'_, Table> {
        self.table.lock()
    }
}
