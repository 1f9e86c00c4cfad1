//! The durable log behind everything: conversations, inboxes, locations, and
//! the bus that carries announcements to gateways. One small trait, two
//! implementations side by side, one contract suite that both pass
//! (`tests/contract.rs`). No policy: who may do what is the router's.
//!
//! In reading order: [`config`] (which store, and its bounds), [`model`] (what
//! goes in and comes out), [`Store`] (what routers use), [`Bus`] (what gateways
//! use), [`embedded`] and [`redis`].

pub mod config;
pub mod embedded;
mod error;
pub mod model;
pub mod redis;

mod amended;
mod bus;
mod damage;
mod store;
mod trouble;
mod unheard;

pub use bus::{Bus, Heard, Loss, Subscription};
pub use config::{Bounds, Config, Url};
pub use damage::damaged_skipped;
pub use error::{Error, Result};
pub use store::Store;
pub use trouble::{Reason, bus_errors, bus_trouble, store_errors, store_trouble};
pub use unheard::unheard_dropped;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

/// Opens the store that `config` names for a router. Its background work
/// (watchdogs, the store's incarnation) ends with `shutdown`.
pub async fn open(config: Config, shutdown: CancellationToken) -> Result<Arc<dyn Store>> {
    match &config.url {
        Url::Embedded(_) => Ok(embedded::Embedded::open(config, shutdown).await?),
        Url::Redis(_) => Ok(redis::Redis::connect(config, shutdown).await?),
    }
}

/// Opens the bus of the Redis that `config` names, for a gateway. The embedded
/// store is its own bus.
pub fn open_bus(config: &Config, shutdown: CancellationToken) -> Result<Arc<dyn Bus>> {
    match &config.url {
        Url::Embedded(_) => Err(Error::Config(format!("{} has no bus for other processes", config.url))),
        Url::Redis(_) => redis::connect_bus(config, shutdown),
    }
}
