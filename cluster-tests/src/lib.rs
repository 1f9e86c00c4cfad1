//! Real clusters for tests: gateways and routers as processes on a store of
//! their own, people who write and read through them whatever happens, and the
//! history that they leave for the checker.
//!
//! In reading order: [`Cluster`] and its builder, [`Ways`] between its
//! processes, [`Person`], [`Talk`] (a load while things are broken), [`faults`]
//! (what may break, and the table of how it went).

mod cluster;
pub mod faults;
mod person;
mod subscriptions;
mod talk;
mod ways;

pub use cluster::{Builder, Builds, Cluster, Store, StoreKind};
pub use person::{Deceit, Person, Standing};
pub use talk::Talk;
pub use ways::{Between, Ways};

use std::time::Duration;

/// How long a test waits for anything before it fails. Far more than anything
/// takes on a machine that is not overloaded.
pub const PATIENCE: Duration = Duration::from_secs(40);
