//! What every service of a node is given.

use std::sync::{Arc, LazyLock};

use proto::{NodeIncarnation, UserId};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Routers;
use crate::metrics;
use crate::protocol::failure::Failure;

/// Requests go to a router by user: for whom those are that are no user's, or whose
/// user is not known yet.
pub(crate) static NOBODY: LazyLock<UserId> =
    LazyLock::new(|| UserId::parse("-").expect("a dash is a user id"));

/// This node: its name, its way to the routers, its tasks, and how they are stopped.
/// Clones share everything.
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
    /// One permit for each attach, and for each page of catching up, that may be under
    /// way.
    turns: Arc<Semaphore>,
}

impl NodeContext {
    /// The context of a node that asks routers for `turns` attaches and pages at
    /// once.
    pub fn new(
        node: NodeIncarnation,
        routers: Routers,
        tracker: TaskTracker,
        draining: CancellationToken,
        turns: usize,
    ) -> Self {
        Self { node, routers, tracker, draining, turns: Arc::new(Semaphore::new(turns)) }
    }

    /// Waits for a permit to ask for an attach or a page. This time does not count for
    /// the timeout of the request: after a storm all sessions wait, and all are
    /// served. Fails when the node stops.
    pub(crate) async fn turn(&self) -> Result<SemaphorePermit<'_>, Failure> {
        metrics::attach_queue(1);
        let turn = self.turns.acquire().await;
        metrics::attach_queue(-1);
        turn.map_err(|_| Failure::unavailable("the gateway is stopping"))
    }
}
