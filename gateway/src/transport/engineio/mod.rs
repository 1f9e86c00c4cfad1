//! Engine.IO, version 4: an exchange of messages over polls, over a WebSocket, or
//! over one and then the other. The server gives each client an id and its times,
//! and asks it for signs of life. What the messages are is for
//! [`super::inside`] to know; a table has the clients that poll.

mod client;
mod cors;
mod heartbeat;
mod id;
mod packet;
mod polling;
mod portions;
mod refusal;
mod websocket;

use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use daemon::lock::{LEAF, Lock};
use http::{Method, StatusCode};
use rustc_hash::FxHashMap;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::client::{Client, Over};
pub use self::cors::cors;
use self::heartbeat::Heartbeat;
use self::refusal::Refusal;
use super::elsewhere::{self, Comes};
use super::inside::{self, Inside};
use crate::peer::{Relay, Unreached};
use crate::protocol::query::Query;

/// How often it is looked for clients that have not come back.
const SWEEP: Duration = Duration::from_secs(1);

/// What a server tells its clients, and how many of them it takes.
#[derive(Debug, Clone)]
pub struct Settings {
    /// This node's name, part of each id.
    pub node: String,
    /// Between two signs of life.
    pub ping_interval: Duration,
    /// For the answer to one. A client that polls and does not come back is let go
    /// after both.
    pub ping_timeout: Duration,
    /// Bytes of a POST or of a WebSocket's message at most, and about as many in
    /// the answer to a poll.
    pub max_payload: usize,
    /// For a WebSocket that is to take over, from its beginning.
    pub upgrade_timeout: Duration,
    /// Clients that poll at most; beyond it a new one is refused.
    pub max_polling: usize,
}

/// One path's clients.
pub struct Server {
    inside: Arc<dyn Inside>,
    settings: Settings,
    /// The way to the nodes that have other clients; nothing: they are unknown.
    relay: Option<Arc<Relay>>,
    /// Protects the clients that poll, by id; held for moments.
    clients: Lock<LEAF, FxHashMap<String, Arc<Client>>>,
    tracker: TaskTracker,
}

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

/// How a request comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carrier {
    Polling,
    WebSocket,
}

impl Server {
    /// Begins to look after clients, until `stop`.
    pub fn start(
        inside: Arc<dyn Inside>,
        settings: Settings,
        relay: Option<Arc<Relay>>,
        tracker: &TaskTracker,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let tracker = tracker.clone();
        let server = Arc::new(Self { inside, settings, relay, clients: Lock::default(), tracker });
        server.tracker.spawn(sweep(Arc::downgrade(&server), stop));
        server
    }

    /// Clients that poll.
    pub fn polling(&self) -> usize {
        self.clients.lock().len()
    }

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

    /// A request of a client that is not here: it is no more, or it is at the node
    /// that its id names.
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

    /// A client comes.
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
        let exchange = self.inside.open(&request.into_parts().0).await.map_err(Refusal::Inside)?;
        let id = id::new(&self.settings.node);
        let client = Arc::new(Client::new(id.clone(), exchange, self.heartbeat()));
        let opened = polling::payload(self.opened(&id, true).into());
        self.clients.lock().insert(id, client);
        Ok(opened)
    }

    fn room(&self) -> Result<(), Refusal> {
        if self.polling() < self.settings.max_polling {
            return Ok(());
        }
        Err(Refusal::Inside(inside::Refusal {
            status: StatusCode::SERVICE_UNAVAILABLE,
            message: "as many clients poll here as can".to_owned(),
            retry_after: Some(1),
        }))
    }

    fn heartbeat(&self) -> Heartbeat {
        Heartbeat::new(self.settings.ping_interval, self.settings.ping_timeout)
    }

    /// The first packet to a client: its id and its times.
    fn opened(&self, id: &str, polls: bool) -> String {
        let Settings { ping_interval, ping_timeout, max_payload, .. } = &self.settings;
        let upgrades = if polls { r#"["websocket"]"# } else { "[]" };
        let (interval, timeout) = (ping_interval.as_millis(), ping_timeout.as_millis());
        format!(
            r#"0{{"sid":"{id}","upgrades":{upgrades},"pingInterval":{interval},"pingTimeout":{timeout},"maxPayload":{max_payload}}}"#
        )
    }

    /// Ends a client. One that has left is remembered until its time is over: see
    /// [`Over::Left`].
    fn end(&self, client: &Client, over: Over) {
        client.end(over);
        if over == Over::Ended {
            self.forget(client);
        }
    }

    fn forget_if_over(&self, client: &Client) {
        if client.is_over() {
            self.forget(client);
        }
    }

    fn forget(&self, client: &Client) {
        let forgotten = self.clients.lock().remove(&client.id);
        drop(forgotten);
    }
}

/// Lets go of the clients that do not come back, and of all at the end.
async fn sweep(server: Weak<Server>, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(SWEEP)).await.is_some() {
        let Some(server) = server.upgrade() else { return };
        server.sweep_once();
    }
    if let Some(server) = server.upgrade() {
        let clients = std::mem::take(&mut *server.clients.lock());
        clients.values().for_each(|client| client.end(Over::Ended));
    }
}

impl Server {
    fn sweep_once(&self) {
        let now = Instant::now();
        let clients: Vec<_> = self.clients.lock().values().cloned().collect();
        for client in clients.iter().filter(|client| client.is_lost(now)) {
            self.end(client, Over::Ended);
        }
    }
}
