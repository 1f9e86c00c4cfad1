//! Requests that have no answer yet, whichever router they went to. The first answer
//! counts, from whichever router it comes. A later one finds no request here.

use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

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
use super::overload::Backlog;
use crate::order;
use crate::protocol::failure::Failure;

/// The outcome of a request.
pub struct Outcome {
    /// The router's answer, which may itself be a failure; or the failure that says
    /// why there is none.
    pub result: Result<reply::Result, Failure>,
    /// Whether it was sent more than once. Then a router may have done it before.
    pub repeated: bool,
}

/// Called once with the outcome, by the task that has read it. It must not block.
pub type Completion = Box<dyn FnOnce(Outcome) + Send>;

/// One request without an answer.
pub(super) struct Pending {
    pub(super) request: EncodedRequest,
    /// Whether it takes a member out of a group.
    pub(super) removal: bool,
    /// The hash of its user.
    pub(super) hash: u64,
    pub(super) kind: RequestCost,
    pub(super) completion: Completion,
    /// Its span, which ends with the answer. No span if the request is not traced.
    pub(super) span: Span,
    /// When the request was made.
    pub(super) asked: Instant,
    /// When to give up.
    pub(super) deadline: Instant,
    /// When it was last sent.
    pub(super) sent: Instant,
    /// The link on which it was last sent; `None` while it waits for a link.
    pub(super) link: Option<LinkId>,
    pub(super) attempts: u32,
}

/// All requests without an answer, by id. Requests were made in the order of their
/// ids.
#[derive(Default)]
pub(super) struct Unanswered {
    last: AtomicU64,
    table: Lock<{ order::UNANSWERED }, Table>,
}

#[derive(Default)]
struct Table {
    by_id: FxHashMap<RequestId, Pending>,
    /// The bytes of all requests.
    bytes: usize,
    /// How many of the requests are hot.
    hot: usize,
    /// By the hash of a user: the link of the user's last request, and how many of the
    /// user's requests are without an answer. While there are any, the next requests
    /// go to the same link, which keeps their order. Two users with the same hash
    /// count as one.
    users: FxHashMap<u64, (Option<LinkId>, u32)>,
}

/// Which requests are sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// All, as their link has ended, or there was none.
    All,
    /// Those sent before this moment, and the later requests of the same users.
    SentBefore(Instant),
    /// Of each user the requests before the first one that may not be repeated soon.
    /// Each is repeated only once, so that the load of a store that does not answer
    /// does not grow.
    Soon,
}

impl Table {
    fn remove(&mut self, id: RequestId) -> Option<Pending> {
        let pending = self.by_id.remove(&id)?;
        self.bytes -= pending.request.bytes.len();
        self.hot -= usize::from(pending.kind.hot);
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

    /// The ids of the requests on `link` that are to be sent again, in their order.
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

    /// Whether one more request of so many bytes is within the bound.
    pub(super) fn has_room(&self, bytes: usize, bound: Bound) -> bool {
        let table = self.lock();
        table.by_id.len() < bound.entries && table.bytes + bytes <= bound.bytes
    }

    /// Adds a request, and returns the link to send it on. `choose` is given the link
    /// of the user's other requests, if there are any. `None` if there is no link, or
    /// if earlier requests of the user still wait for one.
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
        table.hot += usize::from(pending.kind.hot);
        table.by_id.insert(pending.request.id, pending);
        link
    }

    pub(super) fn remove(&self, id: RequestId) -> Option<Pending> {
        self.lock().remove(id)
    }

    /// Whether any request waits for a link.
    pub(super) fn any_waits(&self) -> bool {
        self.lock().by_id.values().any(|pending| pending.link.is_none())
    }

    /// When the oldest hot request of each link was sent.
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

    /// The hot requests, without those of links that are `set_aside`.
    pub(super) fn backlog(&self, now: Instant, set_aside: impl Fn(LinkId) -> bool) -> Backlog {
        let table = self.lock();
        if table.hot == 0 {
            return Backlog { waiting: 0, oldest: Duration::ZERO };
        }
        let hot = table.by_id.values().filter(|pending| pending.kind.hot);
        let counted = hot.filter(|pending| !pending.link.is_some_and(&set_aside));
        counted.fold(Backlog { waiting: 0, oldest: Duration::ZERO }, |backlog, pending| Backlog {
            waiting: backlog.waiting + 1,
            oldest: backlog.oldest.max(now - pending.asked),
        })
    }

    /// How many hot requests there are, and how many requests of the user with this
    /// hash.
    pub(super) fn waiting(&self, user: u64) -> (usize, usize) {
        let table = self.lock();
        (table.hot, table.users.get(&user).map_or(0, |user| user.1 as usize))
    }

    /// Sends requests again, in their order, on the links that `choose` returns for
    /// the hashes of their users. A request without a link waits. Returns the ids. All
    /// happens under one lock, so that no later request of a user comes between.
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
        // The requests that stay come after those that went. So the next requests of
        // the same users stay, too.
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

    /// Ends the requests that may not be repeated, as their link has ended.
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

    /// Takes out the requests whose deadline has passed.
    pub(super) fn expired(&self, now: Instant) -> Vec<Pending> {
        let mut table = self.lock();
        let ids = table.ids(|pending| pending.deadline <= now);
        ids.iter().filter_map(|id| table.remove(*id)).collect()
    }

    /// Takes out all requests.
    pub(super) fn drain(&self) -> Vec<Pending> {
        std::mem::take(&mut *self.lock()).by_id.into_values().collect()
    }

    fn lock(&self) -> LockGuard<'_, Table> {
        self.table.lock()
    }
}
