//! What all parts of a gateway share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use proto::{NodeIncarnation, StoreIncarnation};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::caller::auth::Authenticator;
use crate::caller::half_sent::HalfSent;
use crate::caller::rates::RateLimits;
use crate::caller::typing::TypingLimits;
use crate::channels::Channels;
use crate::config::Config;
use crate::link::Routers;
use crate::link::many;
use crate::metrics::Metrics;
use crate::protocol::failure::Failure;
use crate::session::between_polls::Lingering;
use crate::session::farewell::Farewells;
use crate::session::hub::Hub;
use crate::session::newest_marks::Newest;
use crate::session::presence::Watching;

/// One running gateway.
pub struct Gateway {
    /// How it is configured.
    pub config: Config,
    /// This run of it.
    pub node: NodeIncarnation,
    /// Its sessions.
    pub hub: Hub,
    /// The channels that they are subscribed to.
    pub channels: Channels,
    /// Those that wait for their next poll.
    pub lingering: Lingering,
    /// Those that end and are not gone yet.
    pub farewells: Farewells,
    /// The newest marks of others.
    pub newest: Newest,
    /// Whose presence they watch.
    pub presence: Watching,
    /// The way to the routers.
    pub routers: Routers,
    /// Who may come in.
    pub auth: Authenticator,
    /// How much users may do.
    pub rates: RateLimits,
    /// How often it is passed on that they type.
    pub typing: TypingLimits,
    /// What clients have sent half of.
    pub(crate) half_sent: Arc<HalfSent>,
    /// Room on the way to the routers for messages to many, in bytes.
    pub(crate) many: Semaphore,
    /// Its instruments.
    pub metrics: Metrics,
    /// All its tasks.
    pub tracker: TaskTracker,
    /// Cancelled when it begins to stop: it takes no new sessions.
    pub draining: CancellationToken,
    /// The store's incarnation, once the bus has said it.
    store: AtomicU64,
    /// Attaches and pages of catching up that are under way.
    attaches: Semaphore,
    /// Says whether the bus is heard; set once it was for the first time.
    bus: OnceLock<Arc<dyn Fn() -> bool + Send + Sync>>,
}

impl Gateway {
    /// Puts the parts together.
    pub fn new(
        config: Config,
        node: NodeIncarnation,
        auth: Authenticator,
        routers: Routers,
        tracker: TaskTracker,
        draining: CancellationToken,
    ) -> Arc<Self> {
        let gateway = Arc::new(Self {
            half_sent: HalfSent::new(config.limits.max_request_bytes_held),
            many: Semaphore::new(many::UNDER_WAY),
            attaches: Semaphore::new(config.limits.attaches_at_once),
            rates: RateLimits::new(config.rates),
            typing: TypingLimits::default(),
            hub: Hub::default(),
            farewells: Farewells::default(),
            newest: Newest::new(),
            presence: Watching::new(config.limits.max_watched),
            channels: Channels::default(),
            lingering: Lingering::default(),
            metrics: Metrics::new(),
            store: AtomicU64::new(0),
            bus: OnceLock::new(),
            config,
            node,
            routers,
            auth,
            tracker,
            draining,
        });
        crate::metrics::observe(&gateway);
        gateway
    }

    /// The store's incarnation, as the bus has said it.
    pub(crate) fn store(&self) -> StoreIncarnation {
        StoreIncarnation(self.store.load(Ordering::Acquire))
    }

    /// Every session doubts its place, or none is from before.
    pub(crate) fn set_store(&self, store: StoreIncarnation) {
        self.store.store(store.0, Ordering::Release);
    }

    /// The bus is heard from now on, as `health` says.
    pub(crate) fn hears(&self, health: Arc<dyn Fn() -> bool + Send + Sync>) {
        // Set once, by the one feed.
        let _ = self.bus.set(health);
    }

    /// Whether sessions may begin: not before the bus has been heard, or what
    /// is announced to them would be lost, and not while stopping.
    pub fn takes_sessions(&self) -> bool {
        self.bus.get().is_some() && !self.draining.is_cancelled()
    }

    /// What keeps this node from serving, for `/readyz`.
    pub fn not_ready(&self) -> Vec<String> {
        let bus = self.bus.get().is_some_and(|healthy| healthy());
        let why = store::bus_trouble().unwrap_or_else(|| "the store's bus is not heard".to_owned());
        [
            (!bus, why),
            (self.routers.available() == 0, "no router can be reached".to_owned()),
            (self.draining.is_cancelled(), "draining".to_owned()),
        ]
        .into_iter()
        .filter(|(holds, _)| *holds)
        .map(|(_, reason)| reason)
        .collect()
    }

    /// Waits in line to ask for an attach or a page. Does not count as time
    /// that the router takes: a storm waits and is served.
    pub(crate) async fn turn(&self) -> Result<SemaphorePermit<'_>, Failure> {
        self.metrics.attach_queue(1);
        let turn = self.attaches.acquire().await;
        self.metrics.attach_queue(-1);
        turn.map_err(|_| Failure::unavailable("the gateway is stopping"))
    }
}
