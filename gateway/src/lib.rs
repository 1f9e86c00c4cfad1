//! Holds clients' connections: transports, sessions, credentials, limits and
//! the HTTP resources. No message logic and no membership; of the store only
//! its subscription, and how gateways find each other.
//!
//! The rooms, each with a contents page, from the bottom to the top; none uses
//! one that stands after it (`tests/rooms.rs`):
//! [`protocol`] (what clients say and get), [`config`] and [`metrics`], [`accept`]
//! (sockets and HTTP), [`link`] (to the routers), [`peer`] (to the
//! other gateways), [`session`], [`channels`],
//! [`caller`] (who asks, and how much), [`transport`] (the ways in which frames
//! travel), [`http`] (resources and pages). [`node`] puts them together and is a
//! gateway from start to drain; [`cli`] is its command line.

pub mod accept;
pub mod caller;
pub mod channels;
pub mod cli;
pub mod config;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod gateway;
pub mod http;
pub mod link;
pub mod metrics;
pub mod node;
mod order;
pub mod peer;
pub mod protocol;
pub mod session;
pub mod transport;

pub use node::{Node, RouterSource};
