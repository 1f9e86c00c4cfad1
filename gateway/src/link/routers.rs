//! The gateway's handle to all routers. It chooses the router for a request, and
//! repeats the request, or gives it up, while it has no answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use daemon::lock::{Guard, SharedLock};
use daemon::trace::{self, KeyValue, Span};
use proto::wire::{self, reply, request};
use proto::{Bound, ErrorCode, UserId};
use smallvec::SmallVec;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::cost;
use super::encoded::{EncodedRequest, RequestId};
use super::lateness::Usual;
use super::outbound::{Link, LinkId};
use super::overload::{Bottleneck, Overload};
use super::pending::{Again, Completion, Outcome, Pending, Unanswered};
use crate::metrics::{COMMAND_DURATION, REPEATED};
use crate::order;
use crate::protocol::failure::Failure;

/// The cost (µs in a second, see [`cost`]) of all gateways' requests that one router
/// takes before one more router is used.
const PER_ROUTER: f64 = 200_000.0;

/// Routers in use at least, if there are so many. When one hangs, only a part of the
/// users is affected, and the answers of the other show that the store works.
const LEAST_ROUTERS: u64 = 2;

/// The clock's tick. At each tick requests are repeated or given up, and late routers
/// are looked for.
const TICK: Duration = Duration::from_millis(100);

/// Requests without an answer on one gateway at most.
const UNANSWERED: Bound = Bound::new(256 << 20, 100_000);

/// Timeouts and limits of requests.
#[derive(Debug, Clone, Copy)]
pub struct LinkConfig {
    /// After this a request without an answer is `unavailable`.
    pub timeout: Duration,
    /// How long a client's command may wait; see `overload`.
    pub overload_wait: Duration,
    /// How late the clock may be; see `turns`.
    pub overload_lateness: Duration,
    /// After this a request without an answer is tried on another router, too.
    pub second_try: Duration,
    /// Requests without an answer at most, and their bytes. One more is `unavailable`
    /// at once.
    pub unanswered: Bound,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(8),
            overload_wait: Duration::from_millis(500),
            overload_lateness: Duration::from_millis(100),
            second_try: Duration::from_secs(2),
            unanswered: UNANSWERED,
        }
    }
}

/// Asks routers. All requests of a user go to one router, in their order. They change
/// to another router only when all are answered; or when the router fails or is late,
/// and then all of them go. So pipelined commands keep their order.
///
/// All gateways use the same routers, and no more than the load needs, but at least
/// two: large batches are cheaper. Each gateway assumes that the others have the same
/// load as itself; routers tell it how many gateways there are. The load is the cost of
/// requests and answers for a router, by kind and bytes.
#[derive(Clone)]
pub struct Routers {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    config: LinkConfig,
    /// The routers that take requests, ordered by name, so that all gateways
    /// and all users choose evenly.
    open: SharedLock<{ order::ROUTERS }, Vec<Arc<Link>>>,
    /// How many of them are used, counted from the first.
    width: AtomicU64,
    /// The number of gateways that use the routers, with this one.
    gateways: AtomicU64,
    /// The cost of requests since the clock's last tick.
    cost: AtomicU64,
    pub(super) unanswered: Unanswered,
    usual: Usual,
    overload: Overload,
    /// Notified when a request is made while the clock rests.
    asked: Notify,
    /// Notified when a stream has ended.
    ended: Notify,
    /// Notified when a stream has ended without draining.
    broken: Notify,
}

impl Routers {
    /// A handle without any router yet: requests wait for the first one. The clock runs
    /// on `tracker` until `shutdown`.
    pub fn new(config: LinkConfig, tracker: &TaskTracker, shutdown: CancellationToken) -> Self {
        let routers = Self {
            shared: Arc::new(Shared {
                config,
                open: SharedLock::default(),
                width: AtomicU64::new(LEAST_ROUTERS),
                gateways: AtomicU64::new(1),
                cost: AtomicU64::new(0),
                unanswered: Unanswered::default(),
                usual: Usual::default(),
                overload: Overload::new(config.overload_wait, config.overload_lateness),
                asked: Notify::new(),
                ended: Notify::new(),
                broken: Notify::new(),
            }),
        };
        let ticking = routers.clone();
        tracker.spawn(async move { ticking.tick_until(shutdown).await });
        routers
    }

    /// The number of requests without an answer.
    pub(crate) fn pending(&self) -> usize {
        self.shared.unanswered.len()
    }

    /// Whether a client's command of this user is to be refused, since it would wait for
    /// too long; and where.
    pub(crate) fn refuses(&self, user: &UserId) -> Option<Bottleneck> {
        let shared = &self.shared;
        if !shared.overload.is_on() {
            return None;
        }
        let (waiting, own) = shared.unanswered.waiting(hash_of(user.as_str()));
        shared.overload.refuses(waiting, own)
    }

    /// The number of routers that take requests.
    pub fn available(&self) -> usize {
        self.open().len()
    }

    /// The number of routers that are late, and get no new requests.
    pub(crate) fn late(&self) -> usize {
        self.open().iter().filter(|link| link.punctuality.is_late()).count()
    }

    /// Waits until the stream to a router ends; at once when one has since the
    /// last time. For one waiter.
    pub(crate) async fn stream_ended(&self) {
        self.shared.ended.notified().await;
    }

    /// As [`Routers::stream_ended`], but only of streams that end without
    /// having drained.
    pub(crate) async fn stream_broke(&self) {
        self.shared.broken.notified().await;
    }

    /// Sends a request, and waits for the answer.
    pub async fn call(&self, user: &UserId, command: request::Command) -> Result<reply::Result, Failure> {
        let (answer, answered) = oneshot::channel();
        self.submit(
            user,
            command,
            Box::new(move |outcome| {
                // The caller may have gone.
                let _ = answer.send(outcome.result);
            }),
        );
        match answered.await {
            Ok(Ok(reply::Result::Failure(failure))) => Err(failure.into()),
            Ok(result) => result,
            Err(_) => Err(Failure::unavailable("the gateway is stopping")),
        }
    }

    /// Sends a request. Its outcome is given to `completion`.
    pub fn submit(&self, user: &UserId, command: request::Command, completion: Completion) {
        let shared = &self.shared;
        let span = span_of(&command);
        let hash = hash_of(user.as_str());
        let kind = cost::of(&command);
        let removal = matches!(command, request::Command::RemoveMember(_));
        let request = EncodedRequest::from(wire::Request {
            id: shared.unanswered.next_id().0,
            user: user.as_str().to_owned(),
            command: Some(command),
            trace: span.wire(),
        });
        if !shared.unanswered.has_room(request.bytes.len(), shared.config.unanswered) {
            let failure = Failure::unavailable("too many commands are under way on this node");
            return completion(Outcome { result: Err(failure), repeated: false });
        }
        let now = Instant::now();
        shared.cost.fetch_add(kind.cost, Ordering::Relaxed);
        let pending = Pending {
            request: request.clone(),
            removal,
            hash,
            kind,
            completion,
            span,
            asked: now,
            deadline: now + shared.config.timeout,
            sent: now,
            link: None,
            attempts: 0,
        };
        let link = shared.unanswered.insert(pending, |before| self.choose(hash, before, None));
        shared.asked.notify_one();
        if let Some(link) = link
            && !link.push(request)
        {
            // The stream has closed in this moment. Whoever closed it sends its
            // requests again, but may have done that before this one was added.
            self.send_again(Some(&link), Again::All);
        }
    }

    /// The link for the user with this hash. `before` is the link of the user's other
    /// requests, which is taken if it is still open; `not` is a link to avoid.
    fn choose(&self, user: u64, before: Option<LinkId>, not: Option<LinkId>) -> Option<Arc<Link>> {
        let open = self.open();
        if let Some(same) = open.iter().find(|link| before == Some(link.id)) {
            return Some(same.clone());
        }
        let others: SmallVec<[&Arc<Link>; 8]> = open.iter().filter(|link| not != Some(link.id)).collect();
        let punctual: SmallVec<[&Arc<Link>; 8]> =
            others.iter().copied().filter(|link| !link.punctuality.is_late()).collect();
        let links = if punctual.is_empty() { others } else { punctual };
        if links.is_empty() {
            return open.first().cloned();
        }
        let width = self.shared.width.load(Ordering::Relaxed);
        let place = user % width % links.len() as u64;
        links.get(usize::try_from(place).unwrap_or(0)).map(|link| Arc::clone(link))
    }

    /// Uses more routers when the load needs them, and fewer when half of the load
    /// would need as many. Called once in each `tick`.
    fn widen(&self, tick: Duration) {
        let shared = &self.shared;
        let own = shared.cost.swap(0, Ordering::Relaxed) as f64 / tick.as_secs_f64();
        let cost = own * shared.gateways.load(Ordering::Relaxed) as f64;
        let routers = |cost: f64| ((cost / PER_ROUTER).ceil() as u64).max(LEAST_ROUTERS);
        let width = shared.width.load(Ordering::Relaxed).clamp(routers(cost), routers(cost * 2.0));
        shared.width.store(width.min(self.available().max(1) as u64), Ordering::Relaxed);
    }

    /// Sends requests of a link, or those without a link, again: to another router, if
    /// there is one. Without any router they wait for the next.
    fn send_again(&self, from: Option<&Link>, which: Again) {
        let not = from.map(|link| link.id);
        let ids = self.shared.unanswered.send_again(not, which, |user| self.choose(user, None, not));
        if let Some(from) = from {
            REPEATED.add(&[], ids.len() as u64);
            // Requests that have not left need not be done by that router, too.
            from.take_back(&ids);
        }
    }

    /// Gives no new requests to a router that is late while another is not, and uses it
    /// again once it answers. If all are late the store is slow, and nothing changes.
    fn look_who_is_late(&self, now: Instant) {
        let (open, late) = (self.open().clone(), self.shared.usual.late());
        let oldest = self.shared.unanswered.oldest_hot();
        let age = |link: &Link| oldest.get(&link.id).map_or(Duration::ZERO, |sent| now - *sent);
        for link in open.iter().filter(|link| link.punctuality.is_back(now)) {
            tracing::info!(router = %link.name, "a router that answered late is used again");
        }
        let is_well = |link: &Link| !link.punctuality.is_late() && age(link) <= late / 2;
        if !open.iter().any(|link| is_well(link)) {
            return;
        }
        for link in &open {
            if age(link) > late && !link.punctuality.is_late() {
                tracing::warn!(
                    router = %link.name, for_ms = age(link).as_millis() as u64, late_ms = late.as_millis() as u64,
                    "a router answers late: what can be repeated goes to others until it answers"
                );
                link.punctuality.fell_behind(now);
            }
            if link.punctuality.is_late() {
                self.send_again(Some(link), Again::Soon);
            }
        }
    }

    /// Looks whether more is asked than routers do, or than this node does, whose clock
    /// is so late. What waits for a late router says nothing about the others.
    fn look_at_the_load(&self, now: Instant, tick: Duration, late: Duration) {
        let late_links: SmallVec<[LinkId; 4]> =
            self.open().iter().filter(|link| link.punctuality.is_late()).map(|link| link.id).collect();
        let backlog = self.shared.unanswered.backlog(now, |link| late_links.contains(&link));
        // The first tick comes at once.
        self.shared.overload.tick(backlog, tick.max(TICK), late);
    }

    /// A stream has opened. Requests that waited are sent first.
    pub(super) fn opened(&self, link: &Arc<Link>) {
        let mut open = self.shared.open.write();
        open.push(link.clone());
        open.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        drop(open);
        self.send_again(None, Again::All);
    }

    /// A stream takes no more requests, but still answers.
    pub(super) fn draining(&self, link: &Link) {
        self.shared.open.write().retain(|open| open.id != link.id);
    }

    /// A stream has ended. Its requests without an answer go to other routers.
    pub(super) fn closed(&self, link: &Link) {
        self.draining(link);
        link.close();
        self.shared.unanswered.give_up(link.id);
        self.send_again(Some(link), Again::All);
        self.shared.ended.notify_one();
    }

    /// A stream has ended without draining.
    pub(super) fn broke(&self, link: &Link) {
        self.closed(link);
        self.shared.broken.notify_one();
    }

    /// A router has said how many gateways have a stream to it.
    pub(super) fn counted(&self, gateways: u64) {
        self.shared.gateways.store(gateways.max(1), Ordering::Relaxed);
    }

    /// A router has answered, in a frame that was read `now`.
    pub(super) fn answered(&self, reply: wire::Reply, now: Instant) {
        let Some(pending) = self.shared.unanswered.remove(RequestId(reply.id)) else { return };
        COMMAND_DURATION.record(&[], (now - pending.asked).as_secs_f64());
        if pending.kind.hot {
            self.shared.overload.answered();
        }
        if pending.kind.hot && pending.attempts == 1 {
            self.shared.usual.took(now - pending.sent);
        }
        if let Some(result) = &reply.result {
            self.shared.cost.fetch_add(cost::of_answer(result), Ordering::Relaxed);
        }
        if let Some(reply::Result::Failure(failure)) = &reply.result {
            pending.span.failed(ErrorCode::from_text(&failure.code).as_str());
        }
        let repeated = pending.attempts > 1;
        let result = reply.result.ok_or_else(|| Failure::internal("the router gave an empty answer"));
        let result = result.map(|result| match result {
            // The request was done when it was first sent: the member is gone.
            reply::Result::Failure(failure)
                if repeated && pending.removal && failure.code == ErrorCode::NotFound.as_str() =>
            {
                reply::Result::Done(wire::Done {})
            }
            result => result,
        });
        (pending.completion)(Outcome { result, repeated });
    }

    /// The clock: repeats requests that take long on another router, and gives them up
    /// at their deadline. It rests while there are no requests.
    async fn tick_until(&self, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = Instant::now();
        loop {
            let due = tokio::select! {
                () = shutdown.cancelled() => break,
                due = ticks.tick() => due,
            };
            let now = Instant::now();
            for pending in self.shared.unanswered.expired(now) {
                let repeated = pending.attempts > 0;
                let failure = match pending.link {
                    Some(_) => Failure::unavailable("no answer from the store in time"),
                    None => Failure::unavailable("no router can be reached"),
                };
                (pending.completion)(Outcome { result: Err(failure), repeated });
            }
            self.look_at_the_load(now, now - before, now - due);
            self.widen(TICK);
            for link in self.open().iter() {
                link.flush();
            }
            if self.available() > 0 && self.shared.unanswered.any_waits() {
                // A request may have been added in the moment in which a stream
                // opened, and have missed it.
                self.send_again(None, Again::All);
            }
            if self.available() > 1 {
                // A gateway that stood still itself may have answers that it has not
                // read yet.
                if now - before < TICK * 2 {
                    self.look_who_is_late(now);
                }
                let slow = Again::SentBefore(now - self.shared.config.second_try);
                let open = self.open().clone();
                for link in open {
                    self.send_again(Some(&link), slow);
                }
            }
            before = now;
            if self.pending() == 0 && self.late() == 0 && !self.shared.overload.is_on() {
                // There is nothing to look after: an idle node is not woken for it.
                tokio::select! {
                    () = shutdown.cancelled() => break,
                    () = self.shared.asked.notified() => ticks.reset(),
                }
                self.shared.overload.rest();
                before = Instant::now();
            }
        }
        for pending in self.shared.unanswered.drain() {
            let failure = Failure::unavailable("the gateway is stopping");
            (pending.completion)(Outcome { result: Err(failure), repeated: pending.attempts > 0 });
        }
    }

    pub(super) fn open(&self) -> Guard<std::sync::RwLockReadGuard<'_, Vec<Arc<Link>>>> {
        self.shared.open.read()
    }
}

/// The span of a request to a router, if the command is traced.
fn span_of(command: &request::Command) -> Span {
    Span::child("switchboard.v1.Router/Link", trace::Kind::Client, || {
        let name = match command {
            request::Command::Send(_) => "send",
            request::Command::Publish(_) => "publish",
            request::Command::Attach(_) => "attach",
            request::Command::ReadInbox(_) => "read_inbox",
            _ => "other",
        };
        vec![
            KeyValue::new("rpc.system", "grpc"),
            KeyValue::new("rpc.service", "switchboard.v1.Router"),
            KeyValue::new("rpc.method", "Link"),
            KeyValue::new("switchboard.command", name),
        ]
    })
}

/// The hash by which users are spread over routers.
fn hash_of(name: &str) -> u64 {
    use std::hash::Hasher;
    let mut hasher = rustc_hash::FxHasher::default();
    hasher.write(name.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests;
