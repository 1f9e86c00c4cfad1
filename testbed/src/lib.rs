//! Real servers for tests, each with its own folder and port, gone when the
//! value is dropped (and when the test process dies, however it dies).
//!
//! In reading order: [`RedisServer`], [`RedisCluster`], [`RedisSentinel`],
//! [`PostgresServer`],
//! [`FaultProxy`] between a client and any of them, [`Balancer`] before
//! gateways, [`Process`] for our own
//! programs and [`Binaries`] that builds them, [`SmallDisk`] to be filled, [`Clocks`] that
//! jump, [`wait`] for conditions with a deadline. [`Reply`] is what Redis answers;
//! [`stand_in`] speaks as Redis does, in this process. [`instructions`] counts those of
//! small pieces of code; [`kept_inputs`] are those of the fuzz targets; [`Imports`] are those between a crate's modules.
//! [`certificates`] are for TLS between our own processes.

mod balancer;
mod binaries;
mod clock;
mod disk;
mod guarded;
mod imports;
pub mod instructions;
pub mod kept_inputs;
pub mod port;
mod postgres;
mod process;
mod proxy;
mod redis;
pub mod resp;
pub mod stand_in;
pub mod wait;

use std::path::{Path, PathBuf};

pub use balancer::{Balancer, Gateways, Program};
pub use binaries::{Binaries, Profile};
pub use clock::Clocks;
pub use disk::SmallDisk;
pub use imports::Imports;
pub use postgres::PostgresServer;
pub use process::{Memory, Process, Usage};
pub use proxy::{Direction, FaultProxy, Pushed};
pub use redis::cluster::RedisCluster;
pub use redis::sentinel::RedisSentinel;
pub use redis::server::{DataCopy, RedisBuilder, RedisServer};
pub use resp::Reply;

/// The folder with certificates for tests of TLS between our own processes; its
/// `README.md` says which there are.
pub fn certificates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("certificates")
}
