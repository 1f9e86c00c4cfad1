//! A server for the test suites of protocol authors: the gateway's transports with
//! an echo inside, where the gateway has Switchboard. Never part of the image.

mod echo;
mod namespaces;
mod peers;
mod queue;
mod sockjs;

use std::sync::Arc;
use std::time::Duration;

pub use self::peers::Among;
use axum::Router;
use gateway::accept::Acceptor;
use gateway::config::{Limits, Proxies};
use gateway::peer::port::Port;
use gateway::peer::{OtherGateways, RelayConfig};
use gateway::transport::engineio;
use gateway::transport::inside::Inside;
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

/// Serves clients on `listener` until `stop`, alone or as one of several, which reach
/// it on the listener beside its [`Among`].
pub async fn serve(
    listener: TcpListener,
    among: Option<(TcpListener, Among)>,
    times: Times,
    stop: CancellationToken,
) {
    let tracker = TaskTracker::new();
    let ending = CancellationToken::new();
    let limits = limits();
    let (port, among) = among.unzip();
    let node = among.as_ref().map_or("conformance", |among| &among.node).to_owned();
    let (requests, tls) = among.as_ref().map(|among| (among.requests, among.tls.clone())).unwrap_or_default();
    let others = among.map(|among| {
        let (draining, stop) = (stop.clone(), ending.clone());
        let config = RelayConfig { requests, draining, stop, tls: tls.clone() };
        OtherGateways::new(&node, Arc::new(among), config, tracker.clone())
    });
    let relay = others.as_ref().map(|others| others.relay.clone());
    let engine = |inside: Arc<dyn Inside>| {
        let settings = settings(&node, times);
        engineio::Server::start(inside, settings, relay.clone(), &tracker, ending.clone())
    };
    let engineio = engine(Arc::new(echo::Echo));
    let socketio = engine(Arc::new(SocketIo::new(Arc::new(namespaces::Echoes), times.connect_timeout)));
    let polled: Router = engineio::routes("/engine.io/", &engineio);
    let polled = polled.merge(engineio::routes("/socket.io/", &socketio));
    // SockJS answers other origins by itself.
    let sockjs = sockjs::routes(others.as_ref(), &tracker, &ending);
    if let Some(listener) = port {
        let routes = polled.clone().merge(sockjs.clone());
        let port = Port { node, routes, requests, max_header_bytes: limits.max_header_bytes, tls };
        tracker.spawn(gateway::peer::port::serve(listener, port, tracker.clone(), ending.clone()));
    }
    let raw = plain::routes("/ws", Arc::new(echo::Echo), limits.command_timeout, MAX_RAW, &tracker);
    let routes = polled.merge(raw).layer(engineio::cors(|_| true)).merge(sockjs);
    let acceptor = Acceptor::new(routes, &limits, Proxies::none(), limits.command_timeout, None);
    acceptor.run(listener, &stop).await;
    ending.cancel();
    acceptor.finish(LAST).await;
    tracker.close();
    tracker.wait().await;
}

fn settings(node: &str, times: Times) -> engineio::Settings {
    engineio::Settings {
        node: node.to_owned(),
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
        overload_wait: Duration::from_secs(60),
        overload_lateness: Duration::from_secs(60),
    }
}
