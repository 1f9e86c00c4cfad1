//! Engine.IO, version 4: an exchange of messages over polls, over a WebSocket, or first
//! over polls and then over a WebSocket. The server gives each client an id and the
//! times of its heartbeat. The meaning of the messages is behind [`super::inside`]. A
//! table ([`Server`]) has the clients that poll.

mod client;
mod cors;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod heartbeat;
mod id;
mod packet;
mod polling;
mod portions;
mod refusal;
mod server;
mod websocket;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use http::Method;

use self::client::Client;
pub use self::cors::cors;
use self::refusal::Refusal;
pub use self::server::{Server, Settings};
use super::elsewhere::{self, Comes};
use super::inside;
use crate::accept;
use crate::peer::Unreached;
use crate::protocol::query::Query;

/// The routes of a server at this path, which ends in a slash.
pub fn routes<S: Clone + Send + Sync + 'static>(path: &str, server: &Arc<Server>) -> Router<S> {
    Router::new()
        .route(path, any(serve))
        .route(path.trim_end_matches('/'), any(serve))
        .with_state(server.clone())
}

async fn serve(State(server): State<Arc<Server>>, request: Request) -> Response {
    server.answer(request).await.unwrap_or_else(|refusal| refusal.into_response())
}

/// The transport of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carrier {
    Polling,
    WebSocket,
}

impl Server {
    async fn answer(self: &Arc<Self>, request: Request) -> Result<Response, Refusal> {
        let text = request.uri().query().unwrap_or_default().to_owned();
        let query = Query::parse(&text).map_err(|_| Refusal::Request)?;
        let carrier = match query.get("transport") {
            Some("polling") => Carrier::Polling,
            Some("websocket") => Carrier::WebSocket,
            _ => return Err(Refusal::Transport),
        };
        let Some(id) = query.get("sid").filter(|id| !id.is_empty()) else {
            return self.begin(carrier, query.get("EIO"), request).await;
        };
        let client = self.clients.lock().get(id).cloned();
        match (client, carrier) {
            (None, _) => self.elsewhere(id, request).await,
            (Some(client), Carrier::Polling) => polling::serve(self.clone(), client, request).await,
            (Some(client), Carrier::WebSocket) => websocket::upgrade(self, client, request),
        }
    }

    /// Answers a request of a client that is not here. It has ended, or it is at the
    /// node that its id names.
    async fn elsewhere(&self, id: &str, request: Request) -> Result<Response, Refusal> {
        let relay = self.relay.as_ref().filter(|_| !elsewhere::is_relayed(request.extensions()));
        let node = id::node(id).filter(|node| *node != self.settings.node);
        let (relay, node) = relay.zip(node).ok_or(Refusal::Id)?;
        let refused = |unreached| match unreached {
            Unreached::Gone => Refusal::Id.into_response(),
            Unreached::Full => Refusal::Inside(inside::Refusal::too_much_passed_on()).into_response(),
        };
        Ok(elsewhere::pass_on(relay, node, request, Comes::Whole, refused).await)
    }

    /// Begins with a new client.
    async fn begin(
        self: &Arc<Self>,
        carrier: Carrier,
        version: Option<&str>,
        request: Request,
    ) -> Result<Response, Refusal> {
        // A WebSocket over HTTP/2 begins with CONNECT.
        if !matches!(*request.method(), Method::GET | Method::CONNECT) {
            return Err(Refusal::Method);
        }
        if version != Some("4") {
            return Err(Refusal::Version);
        }
        if carrier == Carrier::WebSocket {
            return websocket::begin(self, request).await;
        }
        self.room()?;
        let parts = request.into_parts().0;
        let slot = accept::Client::session(parts.extensions.get());
        let slot = slot.map_err(|full| Refusal::Inside(inside::Refusal::too_many_sessions(full)))?;
        let exchange = self.inside.open(&parts).await.map_err(Refusal::Inside)?;
        let id = id::new(&self.settings.node);
        let client = Arc::new(Client::new(id.clone(), exchange, self.heartbeat(), slot));
        let opened = polling::payload(self.opened(&id, true).into());
        self.clients.lock().insert(id, client);
        Ok(opened)
    }
}
