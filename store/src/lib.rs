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

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use bus::{Bus, Heard, Loss, Subscription};
pub use config::{Bounds, Config, Url};
pub use damage::damaged_skipped;
pub use error::{Error, Result};
pub use store::Store;
pub use trouble::{Reason, bus_errors, bus_trouble, store_errors, store_trouble};
pub use unheard::unheard_dropped;

/// Opens the store that `config` names for a router. Its background work
/// (watchdogs, the store's incarnation) runs on `tasks` and ends soon after
/// `shutdown` is cancelled. Fails when `config` cannot be used; a Redis that is
/// away is no failure. The embedded store has its own tasks: see
/// [`embedded::Embedded::closed`].
pub async fn open(
    config: Config,
    tasks: &TaskTracker,
    shutdown: CancellationToken,
) -> Result<Arc<dyn Store>> {
    match &config.url {
        Url::Embedded(_) => Ok(embedded::Embedded::open(config, shutdown).await?),
        Url::Redis(_) => Ok(redis::Redis::connect(config, tasks, shutdown).await?),
    }
}

/// What one look at a store found, for a check of a configuration.
#[derive(Debug)]
pub struct Look {
    /// What answers, in a few words.
    pub what: String,
    /// The settings that lose messages, each with what to change.
    pub warnings: Vec<String>,
}

/// Looks whether a router could work with the store that `config` names, and
/// writes nothing to it. The error says what to change. Takes some seconds at
/// most.
pub async fn look(config: &Config) -> std::result::Result<Look, String> {
    let looked = match &config.url {
        Url::Embedded(folder) => embedded::look(folder).await,
        Url::Redis(_) => redis::look(config).await,
    };
    looked.map_err(|error| trouble::explained(&error))
}

/// The same for a gateway, which uses the bus alone.
pub async fn look_at_bus(config: &Config) -> std::result::Result<Look, String> {
    let looked = match &config.url {
        Url::Embedded(_) => Err(Error::Config(format!("{} has no bus for other processes", config.url))),
        Url::Redis(_) => redis::look_at_bus(config).await,
    };
    looked.map_err(|error| trouble::explained(&error))
}

/// Opens the bus of the Redis that `config` names, for a gateway. What its
/// subscriptions do runs on `tasks` and ends soon after `shutdown` is cancelled:
/// waiting for it gives a node's lease back. Fails when `config` cannot be used,
/// and for the embedded store, which is its own bus.
pub fn open_bus(config: &Config, tasks: &TaskTracker, shutdown: CancellationToken) -> Result<Arc<dyn Bus>> {
    match &config.url {
        Url::Embedded(_) => Err(Error::Config(format!("{} has no bus for other processes", config.url))),
        Url::Redis(_) => redis::connect_bus(config, tasks, shutdown),
    }
}
