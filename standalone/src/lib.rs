//! The whole system in one process: one gateway, one router and the embedded
//! store. A cluster of one node, not a mode: the gateway asks the router through
//! the generated gRPC client, only without a socket between them.
//!
//! In reading order: [`args`] (the flags), [`mod@check`] (whether they would work), [`secret`] (the one it makes when it
//! is given none), [`system`] (the parts put together, from start to drain),
//! [`dev`] (`POST /dev/token`), [`hints`] (what to try first).

pub mod args;
pub mod check;
pub mod dev;
pub mod hints;
pub mod secret;
pub mod system;

pub use args::{Args, Config};
pub use system::{System, serve};
