//! The fault matrix: what breaks in production, each with people on all
//! transports who go on writing, and one checker that judges what they got.
//! And the long run, which mixes the same faults at random, and many messages, under
//! which processes die.
//!
//! In reading order: [`Fault`] and [`StoreFault`] (how to begin and end one), [`rows`] (the table of
//! all that is tried), [`Scene`] (the cluster and its people under a fault),
//! [`Outcome`] and [`table`] (how it went), [`long`] (at random),
//! [`many`] (under load).

mod fault;
pub mod long;
pub mod many;
mod outcome;
mod presence;
mod rows;
mod scene;
mod store;

pub use fault::{Fault, Part};
pub use outcome::{Outcome, record, table};
pub use rows::{Row, Stage, Trial, rows, upgrades};
pub use scene::{Scene, run, run_on};
pub use store::StoreFault;
