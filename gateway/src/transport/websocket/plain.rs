//! A WebSocket of no framing: each message is one of the exchange. For
//! `conformance`, where the suites of RFC 6455 talk to an echo.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use tokio_util::task::TaskTracker;

use super::carry::{Plain, carry};
use super::connection::Terms;
use super::handshake;
use crate::transport::inside::Inside;

#[derive(Clone)]
struct Server {
    inside: Arc<dyn Inside>,
    terms: Terms,
    tracker: TaskTracker,
}

/// The route of such a WebSocket. A peer is asked for a sign of life in this
/// interval, and dropped after two without one; `most` are the bytes of a message.
pub fn routes<S: Clone + Send + Sync + 'static>(
    path: &str,
    inside: Arc<dyn Inside>,
    interval: Duration,
    most: usize,
    tracker: &TaskTracker,
) -> Router<S> {
    let terms = Terms { interval, silence: interval * 2, most };
    Router::new().route(path, any(serve)).with_state(Server { inside, terms, tracker: tracker.clone() })
}

async fn serve(State(server): State<Server>, mut request: Request) -> Response {
    let (upgrade, accept) = match handshake::accept(&mut request) {
        Ok(accepted) => accepted,
        Err(failure) => return failure.into_response(),
    };
    match server.inside.open(&request.into_parts().0).await {
        Ok(exchange) => {
            server.tracker.spawn(carry(upgrade, exchange, Plain, server.terms));
            handshake::answer(accept, None)
        }
        Err(refusal) => (refusal.status, refusal.message).into_response(),
    }
}
