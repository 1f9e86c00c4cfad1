//! The bus as gateways use it: a subscription to their own node's channel.

use std::sync::Arc;

use async_trait::async_trait;
use proto::wire::Envelope;
use proto::{NodeIncarnation, StoreIncarnation};

use crate::Result;

/// Where gateways subscribe.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Subscribes to the node's channel and takes the node's lease; returns
    /// when both hold, so that sessions can attach. The lease is renewed and
    /// the subscription mended for as long as the value lives; dropping it
    /// gives the lease back.
    async fn subscribe(&self, node: NodeIncarnation) -> Result<Box<dyn Subscription>>;
}

/// One node's ear on the bus.
#[async_trait]
pub trait Subscription: Send + Sync + 'static {
    /// The next thing heard. Waits for as long as it takes; never ends. Safe
    /// to drop half way: nothing is lost by it.
    async fn next(&mut self) -> Heard;

    /// Says whether the bus is heard at the moment; to be asked at any time.
    fn health(&self) -> Arc<dyn Fn() -> bool + Send + Sync>;
}

/// What a subscription hears.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// Announcements and notices, in order.
    Envelope(Envelope),
    /// Something may have been lost before this: every session reads on from
    /// the log.
    Lost(Loss),
    /// The store's incarnation, when it is first heard of and when it has
    /// become another: its history may be another one then, and every session
    /// compares its place with the log.
    Store(StoreIncarnation),
}

/// Why something may have been lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Loss {
    /// A number was skipped, or a count says that the last ones are missing.
    Hole,
    /// The own nonce was not heard twice, or the connection broke; the
    /// subscription has been made again.
    Deaf,
    /// The reader of the subscription was too slow for its bounded queue.
    Lagged,
    /// The node's lease had ended: its sessions may have been swept.
    Lease,
}

impl Loss {
    /// For logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hole => "hole",
            Self::Deaf => "deaf",
            Self::Lagged => "lagged",
            Self::Lease => "lease",
        }
    }
}
