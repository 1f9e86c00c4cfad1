//! The router: decides who may do what and writes it. Stateless replicas, with
//! nothing in memory that another one could not read from the store.
//!
//! In reading order: [`Args`] and [`Config`], [`Service`] (the gRPC service, over
//! a socket or in process), [`serve`] (on a listener, with health and drain);
//! within: `link` (one gateway's stream), `dispatch` (which command goes
//! where), `batcher` (what gathers goes to the store at once), `command` (one
//! file a kind), `receipts`, `absences` (who is away), `members` (of groups, for a
//! moment), `nodes` (those that died), `pause` (this process stood still), `rates` (what
//! users do, counted for all gateways), `sweep`.

mod absences;
mod batcher;
mod command;
mod config;
mod dispatch;
mod error;
mod link;
mod measured;
mod members;
pub mod metrics;
mod nodes;
mod pause;
mod rates;
mod receipts;
mod server;
mod service;
mod sweep;
pub mod webhook;

pub use config::{AddToGroups, Args, Config, Options};
pub use server::serve;
pub use service::Service;
