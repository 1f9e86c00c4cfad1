//! The table of one path's clients that poll. A task ends those that have gone.

use std::sync::{Arc, Weak};
use std::time::Duration;

use daemon::lock::{LEAF, Lock};
use http::StatusCode;
use rustc_hash::FxHashMap;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::{Client, Over};
use super::heartbeat::Heartbeat;
use super::refusal::Refusal;
use crate::peer::Relay;
use crate::transport::inside::{self, Inside};

/// How often clients that have gone are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// What a server tells its clients, and how many of them it takes.
#[derive(Debug, Clone)]
pub struct Settings {
    /// This node's name. It is part of each id.
    pub node: String,
    /// The time between two `ping`s.
    pub ping_interval: Duration,
    /// The time for the `pong`. A client that polls and does not come back is ended
    /// after both times.
    pub ping_timeout: Duration,
    /// Bytes of a POST or of a WebSocket's message at most, and about as many in
    /// the answer to a poll.
    pub max_payload: usize,
    /// The time for an upgrade, from the beginning of its WebSocket.
    pub upgrade_timeout: Duration,
    /// Clients that poll at most; beyond it a new one is refused.
    pub max_polling: usize,
}

/// The server of one path.
pub struct Server {
    pub(super) inside: Arc<dyn Inside>,
    pub(super) settings: Settings,
    /// The way to the other nodes, if there are any.
    pub(super) relay: Option<Arc<Relay>>,
    /// Protects the clients that poll, by id; held for moments.
    pub(super) clients: Lock<LEAF, FxHashMap<String, Arc<Client>>>,
    pub(super) tracker: TaskTracker,
}

impl Server {
    /// Starts a server, which looks after its clients until `stop`.
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

    /// The number of clients that poll.
    pub fn polling(&self) -> usize {
        self.clients.lock().len()
    }

    pub(super) fn room(&self) -> Result<(), Refusal> {
        if self.polling() < self.settings.max_polling {
            return Ok(());
        }
        Err(Refusal::Inside(inside::Refusal {
            status: StatusCode::SERVICE_UNAVAILABLE,
            message: "as many clients poll here as can".to_owned(),
            retry_after: Some(1),
        }))
    }

    pub(super) fn heartbeat(&self) -> Heartbeat {
        Heartbeat::new(self.settings.ping_interval, self.settings.ping_timeout)
    }

    /// The first packet to a client: its id, and the times of its heartbeat.
    pub(super) fn opened(&self, id: &str, polls: bool) -> String {
        let Settings { ping_interval, ping_timeout, max_payload, .. } = &self.settings;
        let upgrades = if polls { r#"["websocket"]"# } else { "[]" };
        let (interval, timeout) = (ping_interval.as_millis(), ping_timeout.as_millis());
        format!(
            r#"0{{"sid":"{id}","upgrades":{upgrades},"pingInterval":{interval},"pingTimeout":{timeout},"maxPayload":{max_payload}}}"#
        )
    }

    /// Ends a client. One that has left is remembered until its time is over: see
    /// [`Over::Left`].
    pub(super) fn end(&self, client: &Client, over: Over) {
        client.end(over);
        if over == Over::Ended {
            self.forget(client);
        }
    }

    pub(super) fn forget_if_over(&self, client: &Client) {
        if client.is_over() {
            self.forget(client);
        }
    }

    pub(super) fn forget(&self, client: &Client) {
        let forgotten = self.clients.lock().remove(&client.id);
        drop(forgotten);
    }
}

/// Ends clients that do not come back, and all clients at the end.
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
        for client in clients.iter().filter(|client| client.lose_if_silent(now)) {
            self.forget(client);
        }
    }
}
