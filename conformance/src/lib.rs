//! A server for the test suites of protocol authors: the gateway's transports with
//! an echo inside, where the gateway has Switchboard. Never part of the image.

mod echo;
mod namespaces;
mod queue;
mod sockjs;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use gateway::accept::Acceptor;
use gateway::config::Limits;
use gateway::transport::engineio;
use gateway::transport::socketio::SocketIo;
use gateway::transport::websocket::plain;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Bytes of a message at most, as the suites expect it.
const MAX_PAYLOAD: usize = 1_000_000;
/// The same on the WebSocket of no framing: Autobahn sends 16 MiB.
const MAX_RAW: usize = 16 << 20;
const UPGRADE: Duration = Duration::from_secs(10);

/// What clients are told about times.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Between two signs of life of Engine.IO.
    pub ping_interval: Duration,
    /// For the answer to one.
    pub ping_timeout: Duration,
    /// In which a Socket.IO client connects to a namespace.
    pub connect_timeout: Duration,
}

impl Times {
    /// What the suites expect.
    pub const SUITES: Self = Self {
        ping_interval: Duration::from_millis(300),
        ping_timeout: Duration::from_millis(200),
        connect_timeout: Duration::from_secs(1),
    };
}

/// For connections to end at the end.
const LAST: Duration = Duration::from_secs(2);

/// Serves clients on `listener` until `stop`.
pub async fn serve(listener: TcpListener, times: Times, stop: CancellationToken) {
    let tracker = TaskTracker::new();
    let ending = CancellationToken::new();
    let engineio = engineio::Server::start(Arc::new(echo::Echo), settings(times), &tracker, ending.clone());
    let namespaces = SocketIo::new(Arc::new(namespaces::Echoes), times.connect_timeout);
    let socketio = engineio::Server::start(Arc::new(namespaces), settings(times), &tracker, ending.clone());
    let routes: Router = engineio::routes("/engine.io/", &engineio);
    let routes = routes.merge(engineio::routes("/socket.io/", &socketio));
    let limits = limits();
    let raw = plain::routes("/ws", Arc::new(echo::Echo), limits.command_timeout, MAX_RAW, &tracker);
    let routes = routes.merge(raw);
    // SockJS answers other origins by itself.
    let routes = routes.layer(engineio::cors(|_| true)).merge(sockjs::routes(&tracker, &ending));
    let acceptor = Acceptor::new(routes, &limits, limits.command_timeout, None);
    acceptor.run(listener, &stop).await;
    ending.cancel();
    acceptor.finish(LAST).await;
    tracker.close();
    tracker.wait().await;
}

fn settings(times: Times) -> engineio::Settings {
    engineio::Settings {
        node: "conformance".to_owned(),
        ping_interval: times.ping_interval,
        ping_timeout: times.ping_timeout,
        max_payload: MAX_PAYLOAD,
        upgrade_timeout: UPGRADE,
        max_polling: 10_000,
    }
}

fn limits() -> Limits {
    Limits {
        max_connections: 10_000,
        max_connections_per_address: None,
        header_timeout: Duration::from_secs(10),
        handshake_timeout: Duration::from_secs(10),
        max_header_bytes: 16_384,
        max_request_bytes_held: 64 << 20,
        session_queue: 256,
        max_subscriptions: 1,
        max_watched: 1,
        commands_in_flight: 64,
        attaches_at_once: 256,
        command_timeout: Duration::from_secs(60),
    }
}
