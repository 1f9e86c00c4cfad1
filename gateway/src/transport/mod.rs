//! Transports: ways in which frames travel. Each is one file with its routes
//! and its framing, and one line in [`TRANSPORTS`]. Transports pull: one opens
//! a session ([`crate::session::tail::Tail`]) and asks it for the next frames.

pub mod engineio;
pub mod iframe;
pub mod inside;
mod opening;
pub mod poll;
mod pump;
pub mod socketio;
pub mod sse;
pub mod stream;
mod uplink;
pub mod websocket;

use std::sync::Arc;

use axum::Router;

use crate::gateway::Gateway;

/// The routes of every transport.
pub const TRANSPORTS: [fn() -> Router<Arc<Gateway>>; 5] =
    [websocket::routes, sse::routes, stream::routes, poll::routes, iframe::routes];
