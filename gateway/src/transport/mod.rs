//! Transports: ways in which frames travel. Each is one file with its routes
//! and its framing, and one line in [`TRANSPORTS`]. Transports pull: one opens
//! a session ([`crate::session::tail::Tail`]) and asks it for the next frames.

mod elsewhere;
pub mod engineio;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub mod iframe;
pub mod inside;
mod json_exchange;
mod opening;
pub mod poll;
mod pump;
mod script;
pub mod socketio;
mod socketio_session;
pub mod sockjs;
pub mod sse;
pub mod stream;
mod two_way;
mod uplink;
pub mod websocket;

use std::sync::Arc;

use axum::Router;
use tokio_util::sync::CancellationToken;

use crate::gateway::Gateway;

/// The routes of every transport.
pub const TRANSPORTS: [fn() -> Router<Arc<Gateway>>; 5] =
    [websocket::routes, sse::routes, stream::routes, poll::routes, iframe::routes];

/// The routes of other protocols' framings, which have their own rules for answers
/// to other origins.
pub(crate) struct Foreign {
    /// What clients may ask for.
    pub(crate) clients: Router<Arc<Gateway>>,
    /// For other gateways, which pass on what they were asked for these sessions.
    pub(crate) peers: Router<Arc<Gateway>>,
}

/// Begins to look after the clients of those, until `stop`.
pub(crate) fn foreign(gateway: &Arc<Gateway>, stop: CancellationToken) -> Foreign {
    let socketio = socketio_session::routes(gateway, stop.clone());
    let sockjs = sockjs::gateway_routes(gateway, stop);
    let clients = socketio.clone().layer(socketio_session::cors(gateway)).merge(sockjs.clone());
    Foreign { clients, peers: socketio.merge(sockjs) }
}
