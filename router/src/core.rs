//! What all links of one router share: the store with a batcher before each
//! frequent call, the background loops, and what is remembered for a moment.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use daemon::{Tasks, trace};
use proto::Revocation;
use proto::wire::reply;
use store::Store;
use store::model::{
    Acknowledge, AcknowledgeResult, Attach, AttachResult, Broadcast, BroadcastResult, ChannelPage,
    ChannelQuery, Detach, InboxPage, InboxQuery, Mark, MarkResult, Post, PostResult, RevokeResult,
};
use tokio::sync::{Semaphore, oneshot};
use tokio_util::task::TaskTracker;

use crate::absences::Absences;
use crate::answers::Responder;
use crate::archiver;
use crate::batcher::{BatchLimits, Batcher};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::measured_store::MeasuredStore;
use crate::members::MemberCache;
use crate::metrics;
use crate::nodes;
use crate::pace::Pause;
use crate::rates::Rates;
use crate::receipts::{Notices, Receipts};
use crate::standstill::Standstills;
use crate::sweep;
use crate::webhook;

/// Rare commands that use the store at the same time.
const RARE_AT_ONCE: usize = 128;
/// Rare commands that wait or run. One more is answered `unavailable` at once.
const RARE_WAITING: usize = 8_192;

/// How long acknowledgements gather. Clients do not wait for these.
const ACKNOWLEDGE_PAUSE: Duration = Duration::from_millis(25);

/// What the links and commands of one router share.
pub(crate) struct Core {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) config: Config,
    pub(crate) notices: Notices,
    pub(crate) groups: MemberCache,
    pub(crate) absences: Absences,
    pub(crate) receipts: Receipts,
    pub(crate) posts: Batcher<Post, PostResult>,
    pub(crate) attaches: Batcher<Attach, AttachResult>,
    pub(crate) detaches: Batcher<Detach, bool>,
    pub(crate) inboxes: Batcher<InboxQuery, InboxPage>,
    pub(crate) acknowledges: Batcher<Acknowledge, AcknowledgeResult>,
    pub(crate) marks: Batcher<Mark, MarkResult>,
    pub(crate) broadcasts: Batcher<Broadcast, BroadcastResult>,
    pub(crate) channels: Batcher<ChannelQuery, ChannelPage>,
    pub(crate) revocations: Batcher<Revocation, RevokeResult>,
    under_way: TaskTracker,
    rare_waiting: Arc<Semaphore>,
    rare_running: Arc<Semaphore>,
    /// How many links are open.
    pub(crate) links: Arc<AtomicU64>,
    pub(crate) standstills: Arc<Standstills>,
    pub(crate) rates: Rates,
    /// The background work. Some of it gives items to the batchers.
    loops: Tasks,
    batchers: Tasks,
}

impl Core {
    /// Starts the loops and batchers. They run until [`Self::end`], or until this
    /// is dropped. `under_way` tracks the commands that run as tasks.
    pub(crate) fn start(store: Arc<dyn Store>, config: Config, under_way: TaskTracker) -> Self {
        metrics::report();
        let store: Arc<dyn Store> = Arc::new(MeasuredStore::new(store));
        let (loops, batchers) = (Tasks::new("the router's loops"), Tasks::new("the router's batchers"));
        let stop = loops.stop().clone();
        // A batcher for one of the store's calls.
        macro_rules! batcher {
            ($call:ident) => {
                batcher!($call, Pause::NONE, BatchLimits::WRITES)
            };
            ($call:ident, $pause:expr, $batch:expr) => {{
                let store = store.clone();
                Batcher::start(stringify!($call), $pause, $batch, &batchers, move |batch| {
                    let store = store.clone();
                    async move { store.$call(batch).await }
                })
            }};
        }
        // The same for a call whose batch succeeds or fails as a whole.
        macro_rules! batcher_of_all {
            ($call:ident) => {{
                let store = store.clone();
                let call = move |batch: Vec<_>| {
                    let store = store.clone();
                    async move {
                        let count = batch.len();
                        store.$call(batch).await.map(|()| vec![(); count])
                    }
                };
                Batcher::start(stringify!($call), Pause::NONE, BatchLimits::WRITES, &batchers, call)
            }};
        }
        let notices: Notices = batcher_of_all!(publish);
        let receipts = Receipts::new();
        let groups = MemberCache::new(store.clone());
        let telling = receipts.clone().run(store.clone(), groups.clone(), notices.clone(), stop.clone());
        loops.tracker().spawn(telling);
        let absences = Absences::new();
        loops.tracker().spawn(absences.clone().run(store.clone(), notices.clone(), stop.clone()));
        loops.tracker().spawn(nodes::run(store.clone(), stop.clone()));
        let standstills = Arc::new(Standstills::new());
        let beating = standstills.clone();
        loops.spawn_until_stop(async move { beating.beat().await });
        loops.tracker().spawn(sweep::run(store.clone(), stop.clone()));
        if config.archives {
            loops.tracker().spawn(archiver::run(store.clone(), stop.clone()));
        }
        if let Some(hook) = config.webhook.clone() {
            loops.tracker().spawn(webhook::run(hook, store.clone(), stop));
        }
        Self {
            posts: batcher!(post, Pause::ByLoad(config.batch_pause), BatchLimits::WRITES),
            attaches: batcher!(attach, Pause::NONE, BatchLimits::PAGES),
            detaches: batcher!(detach),
            inboxes: batcher!(read_inbox, Pause::NONE, BatchLimits::PAGES),
            acknowledges: batcher!(acknowledge, Pause::Gather(ACKNOWLEDGE_PAUSE), BatchLimits::WRITES),
            marks: batcher!(mark),
            broadcasts: batcher!(broadcast, Pause::ByLoad(config.batch_pause), BatchLimits::WRITES),
            channels: batcher!(read_channels, Pause::NONE, BatchLimits::PAGES),
            revocations: batcher!(revoke),
            receipts,
            notices,
            groups,
            absences,
            under_way,
            rare_waiting: Arc::new(Semaphore::new(RARE_WAITING)),
            rare_running: Arc::new(Semaphore::new(RARE_AT_ONCE)),
            links: Arc::default(),
            standstills,
            rates: Rates::default(),
            store,
            config,
            loops,
            batchers,
        }
    }

    /// Ends what [`Self::start`] has started, and waits for it. The loops come
    /// first: what they tell last still goes through a batcher.
    pub(crate) async fn end(&self) {
        self.loops.end().await;
        self.batchers.end().await;
    }

    /// Puts a post into the batcher of posts, and waits for the outcome. Fails as
    /// the store does, or with `unavailable` when too much waits.
    pub(crate) async fn post(&self, post: Post) -> Result<PostResult> {
        let (sender, outcome) = oneshot::channel();
        let bytes = post.entries.iter().map(|entry| entry.bytes.len()).sum();
        self.posts.submit(traced(post), bytes, move |answer| {
            // Whoever waited may be gone.
            let _ = sender.send(answer);
        });
        outcome.await.map_err(|_| Error::Internal)?
    }

    /// Runs a rare command as a task, and answers what it returns.
    pub(crate) fn run(
        &self,
        to: Responder,
        command: impl Future<Output = Result<reply::Result>> + Send + 'static,
    ) {
        let Ok(waiting) = self.rare_waiting.clone().try_acquire_owned() else {
            return to.answer(Err(Error::Unavailable("too much waits for the store")));
        };
        let running = self.rare_running.clone();
        self.under_way.spawn(async move {
            let _running = running.acquire().await.expect("the semaphore is never closed");
            let outcome = to.span().clone().hold(command).await;
            to.answer(outcome);
            drop(waiting);
        });
    }
}

/// Adds the trace that this thread is in, if any. Gateways that deliver the post
/// continue it.
pub(crate) fn traced(post: Post) -> Post {
    match trace::current() {
        None => post,
        Some(place) => Post { trace: place.wire(), ..post },
    }
}
