//! The router: it decides who may do what, and writes it to the store. Any number
//! of routers run side by side: none has anything in memory that another could not
//! read from the store.
//!
//! In reading order: [`Args`] and [`Config`] (flags and limits), [`mod@check`]
//! (whether the flags would work here), [`Service`] (the gRPC service, over a
//! socket or in process), [`Port`] (who may connect), [`serve`] (it on a listener, with
//! health and drain).
//! Within:
//!
//! - `link` (the stream of one gateway), `answers` (what goes back on it),
//!   `dispatch` (which command goes where), `command` (one file for each kind);
//! - `core` (what all links share), `batcher` (many items, one call to the
//!   store), `pace` (how long a batch waits for the next), `measured_store`
//!   (counts and times those calls);
//! - `receipts` (who is told how far a member has read), `absences` (who has
//!   gone offline), `nodes` (which gateways have died), `sweep` (what a crash
//!   left half done), `archiver` (old messages leave memory), [`webhook`] (tells a
//!   backend of messages for absent users);
//! - `members` (of groups, remembered for a second), `rates` (what users do,
//!   counted for all gateways), `standstill` (this process was stopped for a
//!   while), [`metrics`], `error`.
//!
//! Imports between these modules run one way (`tests/rooms.rs`).

mod absences;
mod answers;
mod archiver;
mod batcher;
pub mod check;
mod command;
mod config;
mod core;
mod dispatch;
mod error;
mod link;
mod measured_store;
mod members;
pub mod metrics;
mod nodes;
mod pace;
mod port;
mod rates;
mod receipts;
mod server;
mod service;
mod standstill;
mod sweep;
pub mod webhook;

pub use config::{AddToGroups, Args, Config, Options};
pub use port::Port;
pub use server::serve;
pub use service::Service;
