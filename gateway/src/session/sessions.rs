//! The sessions of a node, and what they share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use proto::{End, StoreIncarnation};

use super::between_polls::Lingering;
use super::farewell::Farewells;
use super::gathered_acks::GatheredAcks;
use super::handle::Session;
use super::hub::Hub;
use super::newest_marks::Newest;
use super::presence::Watching;
use super::proof::Proof;
use super::revocations::Revocations;
use super::subscribed::SubscribedChannels;
use crate::link::NodeContext;

/// The settings of sessions.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// The node's name, in `welcome`.
    pub node: String,
    /// The time between two signs of life.
    pub heartbeat: Duration,
    /// The most frames that wait in a session before it reads the log instead.
    pub queue: usize,
    /// The most users whose presence one session may watch.
    pub max_watched: usize,
}

/// All sessions of a node.
pub struct Sessions {
    /// The node and its routers.
    pub(crate) context: NodeContext,
    pub(super) config: SessionConfig,
    /// Finds the sessions of a user.
    pub hub: Hub,
    /// Sessions that wait for their next poll.
    pub lingering: Lingering,
    /// Which sessions hold acknowledgements, and until when.
    pub(crate) gathered_acks: GatheredAcks,
    /// Sessions that end and are not gone yet.
    pub(crate) farewells: Farewells,
    /// The newest marks of others.
    pub(crate) newest: Newest,
    /// The users whose presence sessions watch.
    pub(crate) presence: Watching,
    /// The tokens that are not believed any more.
    pub(crate) revocations: Arc<Revocations>,
    /// The channels that sessions are subscribed to.
    pub(super) channels: Arc<dyn SubscribedChannels>,
    /// The store's incarnation; 0 until the bus reports it.
    store: AtomicU64,
    /// Says whether the bus is heard; set when it is heard for the first time.
    bus: OnceLock<Arc<dyn Fn() -> bool + Send + Sync>>,
}

impl Sessions {
    /// No session yet.
    pub(crate) fn new(
        context: NodeContext,
        config: SessionConfig,
        channels: Arc<dyn SubscribedChannels>,
    ) -> Arc<Self> {
        Arc::new(Self {
            hub: Hub::default(),
            lingering: Lingering::default(),
            gathered_acks: GatheredAcks::new(),
            farewells: Farewells::default(),
            newest: Newest::new(),
            presence: Watching::new(config.max_watched),
            revocations: Revocations::new(),
            channels,
            store: AtomicU64::new(0),
            bus: OnceLock::new(),
            context,
            config,
        })
    }

    /// The store's incarnation, as the bus reported it.
    pub(crate) fn store(&self) -> StoreIncarnation {
        StoreIncarnation(self.store.load(Ordering::Acquire))
    }

    /// Sets the store's incarnation. If it is another one, every session must
    /// have been made to doubt its position before.
    pub(super) fn set_store(&self, store: StoreIncarnation) {
        self.store.store(store.0, Ordering::Release);
    }

    /// The session goes on with another token; it ends if that was revoked since it
    /// was verified.
    pub(crate) fn renew(&self, session: &Arc<Session>, proof: Arc<Proof>) {
        session.renew(proof.clone());
        if self.revocations.refuses(&proof) {
            self.farewells.end(session.clone(), End::Revoked);
        }
    }

    /// Notes that the bus is heard from now on, as `health` says.
    pub(crate) fn hears(&self, health: Arc<dyn Fn() -> bool + Send + Sync>) {
        // Set once, by the bus reader.
        let _ = self.bus.set(health);
    }

    /// Whether the bus is heard now.
    pub(crate) fn is_heard(&self) -> bool {
        self.bus.get().is_some_and(|healthy| healthy())
    }

    /// Whether sessions may begin: not before the bus is heard, or
    /// announcements to them would be lost, and not while stopping.
    pub fn takes_sessions(&self) -> bool {
        self.bus.get().is_some() && !self.context.draining.is_cancelled()
    }
}
