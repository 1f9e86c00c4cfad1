//! What every service of a node is given.

use std::sync::Arc;

use proto::NodeIncarnation;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Routers;
use crate::metrics;
use crate::protocol::failure::Failure;

/// This node, its way to the routers, and its end. Clones share everything.
#[derive(Clone)]
pub struct NodeContext {
    /// This run of the node.
    pub node: NodeIncarnation,
    /// The way to the routers.
    pub routers: Routers,
    /// All tasks of the node; whoever stops the node waits for them.
    pub tracker: TaskTracker,
    /// Cancelled when the node begins to stop: it takes no new sessions.
    pub draining: CancellationToken,
    /// One for each attach and page of catching up that may be under way.
    turns: Arc<Semaphore>,
}

impl NodeContext {
    /// Of a node that asks routers for `turns` attaches and pages at once.
    pub fn new(
        node: NodeIncarnation,
        routers: Routers,
        tracker: TaskTracker,
        draining: CancellationToken,
        turns: usize,
    ) -> Self {
        Self { node, routers, tracker, draining, turns: Arc::new(Semaphore::new(turns)) }
    }

    /// Waits in line to ask for an attach or a page. The time in line does not
    /// count as time that a router takes: after a storm everybody waits, and is
    /// served. Fails when the node stops.
    pub(crate) async fn turn(&self) -> Result<SemaphorePermit<'_>, Failure> {
        metrics::attach_queue(1);
        let turn = self.turns.acquire().await;
        metrics::attach_queue(-1);
        turn.map_err(|_| Failure::unavailable("the gateway is stopping"))
    }
}
