//! The durable log: conversations, inboxes, locations of sessions, and the bus
//! that carries announcements to gateways. One trait, two implementations side
//! by side, and one contract suite that both pass (`tests/contract.rs`). It has
//! no policy: the router decides who may do what.
//!
//! In reading order: [`config`] (which store, and the limits of what it keeps),
//! [`model`] (arguments and results), [`Store`] (what routers use), [`Bus`] and
//! [`Peers`] (what gateways use), [`embedded`] and [`redis`], with the archive
//! of what has left Redis.

#![cfg_attr(not(feature = "redis"), allow(dead_code, reason = "some of it serves the store on Redis alone"))]

#[cfg(feature = "redis")]
mod archive;
#[cfg(not(feature = "redis"))]
#[path = "without_archive.rs"]
mod archive;
pub mod config;
pub mod embedded;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod model;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(not(feature = "redis"))]
#[path = "without_redis.rs"]
mod redis;

mod bus;
mod damage;
mod dialer;
mod message_state;
mod peers;
mod revocations;
mod step;
mod store;
mod trouble;
mod unheard;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use bus::{Bus, BusItem, Loss, Subscription};
pub use config::{ArchiveConfig, ArchiveUrl, Bounds, Config, Url};
pub use damage::damaged_skipped;
pub use dialer::{Dialer, Stream};
pub use error::{Error, Result};
pub use peers::{HELD, NamedSession, Peer, Peers};
pub use step::Step;
pub use store::Store;
pub use trouble::{Reason, bus_errors, bus_trouble, store_errors, store_trouble};
pub use unheard::unheard_dropped;

/// Opens the store that `config` names, for a router. Its background tasks
/// (watchdogs, the check of the store's incarnation) end with `shutdown`. Fails
/// when the file cannot be opened or the URL is wrong; a Redis that cannot be
/// reached is no error.
pub async fn open(
    config: Config,
    tasks: &TaskTracker,
    shutdown: CancellationToken,
) -> Result<Arc<dyn Store>> {
    match &config.url {
        Url::Embedded(_) if config.archive.is_some() => Err(Error::Config(
            "--archive is for a store on Redis: the embedded store keeps its history on disk already".into(),
        )),
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

/// The same for the archive of a router.
pub async fn look_at_archive(config: &ArchiveConfig) -> std::result::Result<Look, String> {
    archive::look(config).await.map_err(|error| error.to_string())
}

/// The same for a gateway, which uses the bus alone.
pub async fn look_at_bus(config: &Config) -> std::result::Result<Look, String> {
    let looked = match &config.url {
        Url::Embedded(_) => Err(Error::Config(format!("{} has no bus for other processes", config.url))),
        Url::Redis(_) => redis::look_at_bus(config).await,
    };
    looked.map_err(|error| trouble::explained(&error))
}

/// Opens the bus of the Redis that `config` names, for a gateway. Fails for the
/// embedded store, which is its own bus.
pub fn open_bus(config: &Config, tasks: &TaskTracker, shutdown: CancellationToken) -> Result<Arc<dyn Bus>> {
    match &config.url {
        Url::Embedded(_) => Err(Error::Config(format!("{} has no bus for other processes", config.url))),
        Url::Redis(_) => redis::connect_bus(config, tasks, shutdown),
    }
}
