//! The bus as gateways use it: each subscribes to its own node's channel.

use std::sync::Arc;

use async_trait::async_trait;
use proto::wire::Envelope;
use proto::{NodeIncarnation, StoreIncarnation};

use crate::{Peers, Result};

/// A bus that gateways subscribe to.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Subscribes to the node's channel and takes the node's lease; returns
    /// when it has both, so that sessions can attach. While the value lives,
    /// the lease is renewed and a broken subscription is made again; dropping
    /// it gives the lease back. Fails when the store is unavailable.
    async fn subscribe(&self, node: NodeIncarnation) -> Result<Box<dyn Subscription>>;

    /// How the gateways on this bus find each other.
    fn peers(&self) -> Arc<dyn Peers>;
}

/// One node's subscription.
#[async_trait]
pub trait Subscription: Send + Sync + 'static {
    /// Waits for the next item; never ends. The future may be dropped at any
    /// time without losing an item.
    async fn next(&mut self) -> BusItem;

    /// Returns a function that says whether the subscription works now. It may
    /// be called at any time.
    fn health(&self) -> Arc<dyn Fn() -> bool + Send + Sync>;
}

/// What a subscription receives.
#[derive(Debug, Clone, PartialEq)]
pub enum BusItem {
    /// Announcements and notices, in order.
    Envelope(Envelope),
    /// Something before this may have been lost: every session must read on
    /// from the log.
    Lost(Loss),
    /// The store's incarnation: the first item, and again when it has changed.
    /// Then the history may be another one, and every session must compare its
    /// position with the log.
    Store(StoreIncarnation),
}

/// Why something may have been lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Loss {
    /// An envelope's number was skipped, or an origin's count says that its
    /// last envelopes are missing.
    Hole,
    /// A router is not heard any more, for two seconds, and did not say that it
    /// ends: it may have written something that it told nobody.
    Silent,
    /// Two nonces of our own did not come back, or the connection broke. The
    /// subscription has been made again.
    Deaf,
    /// The queue of the subscription was full, and envelopes were dropped.
    Lagged,
    /// The node's lease had ended, so routers may have removed its sessions.
    Lease,
}

impl Loss {
    /// The word for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hole => "hole",
            Self::Silent => "silent",
            Self::Deaf => "deaf",
            Self::Lagged => "lagged",
            Self::Lease => "lease",
        }
    }
}
