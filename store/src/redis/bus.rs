//! The bus as gateways use it: subscriptions on connections of their own.

use std::sync::Arc;

use async_trait::async_trait;
use proto::NodeIncarnation;
use tokio_util::sync::CancellationToken;

use super::address::Address;
use super::subscription::RedisSubscription;
use crate::{Bus, Config, Result, Subscription};

/// Opens the bus of the Redis that `config` names. Nothing connects before
/// something is subscribed to.
pub fn connect_bus(config: &Config, shutdown: CancellationToken) -> Result<Arc<dyn Bus>> {
    Ok(Arc::new(RedisBus { address: Address::parse(&config.url, config.timeout)?, shutdown }))
}

struct RedisBus {
    address: Address,
    shutdown: CancellationToken,
}

#[async_trait]
impl Bus for RedisBus {
    async fn subscribe(&self, node: NodeIncarnation) -> Result<Box<dyn Subscription>> {
        let subscription = RedisSubscription::begin(&self.address, node, &self.shutdown).await?;
        Ok(Box::new(subscription))
    }
}
