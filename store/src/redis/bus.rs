//! The bus as gateways use it: each subscription has connections of its own.

use std::sync::Arc;

use async_trait::async_trait;
use proto::NodeIncarnation;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::address::Address;
use super::peers::RedisPeers;
use super::subscription::RedisSubscription;
use crate::{Bus, Config, Peers, Result, Subscription};

/// Opens the bus of the Redis that `config` names. It connects with the first
/// subscription. Fails when the URL is wrong.
pub fn connect_bus(
    config: &Config,
    tasks: &TaskTracker,
    shutdown: CancellationToken,
) -> Result<Arc<dyn Bus>> {
    let address = Address::of(config)?;
    let peers = Arc::new(RedisPeers::new(address.clone(), tasks.clone(), shutdown.clone()));
    Ok(Arc::new(RedisBus { address, peers, tasks: tasks.clone(), shutdown }))
}

struct RedisBus {
    address: Address,
    peers: Arc<RedisPeers>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

#[async_trait]
impl Bus for RedisBus {
    async fn subscribe(&self, node: NodeIncarnation) -> Result<Box<dyn Subscription>> {
        let subscription = RedisSubscription::begin(&self.address, node, &self.tasks, &self.shutdown).await?;
        Ok(Box::new(subscription))
    }

    fn peers(&self) -> Arc<dyn Peers> {
        self.peers.clone()
    }
}
