//! How gateways find each other, and each other's sessions.

use std::time::Duration;

use async_trait::async_trait;
use proto::{NodeIncarnation, UserId};

use crate::Result;

/// How long a claim lasts. After that the node is taken to have gone.
pub const HELD: Duration = Duration::from_secs(30);

/// What gateways know of each other. Called by many requests at once; each call is
/// safe to repeat.
#[async_trait]
pub trait Peers: Send + Sync + 'static {
    /// Writes where other gateways reach a node. It counts while the node has its
    /// lease ([`Bus::subscribe`](crate::Bus::subscribe)), and is gone with it. A
    /// node calls it before it takes its lease, and again and again: a failover may
    /// have lost it.
    async fn announce(&self, node: &NodeIncarnation, address: &str) -> Result<()>;

    /// The gateways that have a lease and have said where they are reached. Of two
    /// runs of one node only the one whose lease was renewed last.
    async fn list(&self) -> Result<Vec<Peer>>;

    /// The node that has this session; nothing if none has.
    async fn holder(&self, session: &NamedSession) -> Result<Option<String>>;

    /// Makes `node` the holder of each session that has none, for
    /// [`HELD`](crate::HELD) from now, and prolongs it where `node` is the holder
    /// already. Returns who holds each now, in the same order.
    async fn claim(&self, sessions: &[NamedSession], node: &str) -> Result<Vec<String>>;

    /// The sessions that `node` holds of these have none any more.
    async fn release(&self, sessions: &[NamedSession], node: &str) -> Result<()>;
}

/// A gateway that others can reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The node's name, which it keeps from one run to the next.
    pub node: String,
    /// What it has announced.
    pub address: String,
}

/// A session whose name a client has chosen: the same name of another user is
/// another session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NamedSession {
    /// Who has opened it, and may continue it.
    pub owner: UserId,
    /// What its client calls it; anything but empty.
    pub name: Box<str>,
}
