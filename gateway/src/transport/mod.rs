//! Transports: ways in which frames travel. Each is one file with its routes
//! and its framing, and one line in [`TRANSPORTS`]. They pull: a transport
//! opens a session ([`crate::session::tail::Tail`]) and asks it for what comes next.

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

/// Every transport's routes.
pub const TRANSPORTS: [fn() -> Router<Arc<Gateway>>; 5] =
    [websocket::routes, sse::routes, stream::routes, poll::routes, iframe::routes];
