//! One HTTP/2 connection to each other gateway that something is passed on to, made
//! when it is first needed.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use daemon::internal_tls::InternalTls;
use daemon::lock::{LEAF, Lock};
use http::{Request, Version};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustc_hash::FxHashMap;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{ALL_WINDOWS, NODE, WINDOW};
use crate::config::PeerAddress;
use crate::metrics;

/// For a connection with all that it begins with.
const CONNECT: Duration = Duration::from_secs(2);
/// A node that could not be reached is not tried again for so long.
const PAUSE: Duration = Duration::from_millis(500);
/// A node that does not answer a ping for so long counts as dead, and so does all
/// that was passed on to it.
const PING: Duration = Duration::from_secs(5);

/// Why another gateway is not reached.
pub(super) type Why = Box<dyn std::error::Error + Send + Sync>;

/// The open connections to other gateways.
pub(super) struct Connections {
    by_address: Lock<LEAF, FxHashMap<PeerAddress, Arc<Peer>>>,
    tls: Option<InternalTls>,
    tracker: TaskTracker,
    stop: CancellationToken,
}

/// The connection to one address.
#[derive(Default)]
struct Peer {
    /// Held while it is being made: others wait for it.
    state: tokio::sync::Mutex<State>,
}

#[derive(Default)]
struct State {
    open: Option<SendRequest<Body>>,
    failed: Option<Instant>,
}

impl State {
    fn is_used(&self) -> bool {
        self.open.as_ref().is_some_and(|open| !open.is_closed())
            || self.failed.is_some_and(|at| at.elapsed() < PAUSE)
    }
}

impl Connections {
    /// None yet. Their tasks are on `tracker`, until `stop`.
    pub(super) fn new(tls: Option<InternalTls>, tracker: TaskTracker, stop: CancellationToken) -> Self {
        Self { by_address: Lock::default(), tls, tracker, stop }
    }

    /// The connection to this node. Fails within two seconds where there is none
    /// and none can be made.
    pub(super) async fn to(&self, address: &PeerAddress, node: &str) -> Result<SendRequest<Body>, Why> {
        let peer = self.peer(address);
        let mut state = peer.state.lock().await;
        if let Some(open) = state.open.as_ref().filter(|open| !open.is_closed()) {
            return Ok(open.clone());
        }
        if state.failed.is_some_and(|at| at.elapsed() < PAUSE) {
            return Err("it could not be reached a moment ago".into());
        }
        let opened =
            timeout(CONNECT, self.open(address, node)).await.unwrap_or_else(|_| Err("no answer".into()));
        match &opened {
            Ok(open) => *state = State { open: Some(open.clone()), failed: None },
            Err(why) => {
                tracing::warn!(node, %address, %why, "another gateway is not reached");
                *state = State { open: None, failed: Some(Instant::now()) };
            }
        }
        opened
    }

    fn peer(&self, address: &PeerAddress) -> Arc<Peer> {
        let mut by_address = self.by_address.lock();
        if let Some(known) = by_address.get(address) {
            return known.clone();
        }
        // Those of nodes that have gone.
        by_address.retain(|_, peer| peer.state.try_lock().map_or(true, |state| state.is_used()));
        by_address.entry(address.clone()).or_default().clone()
    }

    async fn open(&self, address: &PeerAddress, node: &str) -> Result<SendRequest<Body>, Why> {
        let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
        stream.set_nodelay(true)?;
        let mut open = match &self.tls {
            _ if address.tls != self.tls.is_some() => {
                return Err("of the two only one has --internal-tls-cert".into());
            }
            None => self.speak(stream).await?,
            Some(tls) => {
                let stream =
                    tls.connect(stream).await.inspect_err(|_| metrics::peer_refused("certificate"))?;
                self.speak(stream).await?
            }
        };
        let hello = Request::get(address.uri("/")).version(Version::HTTP_2).body(Body::empty())?;
        let answer = open.send_request(hello).await?;
        // An address may have been another node's before.
        let name = answer.headers().get(NODE).and_then(|name| name.to_str().ok());
        if name != Some(node) {
            metrics::peer_refused("node");
            return Err(format!("{} answers there", name.unwrap_or("something else")).into());
        }
        Ok(open)
    }

    /// Begins HTTP/2.
    async fn speak<S>(&self, stream: S) -> Result<SendRequest<Body>, Why>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(ALL_WINDOWS)
            .max_send_buf_size(WINDOW as usize)
            // Clients that go away in the middle are no attack of the other node's.
            .max_local_error_reset_streams(None);
        let (open, connection) = builder.handshake(TokioIo::new(stream)).await?;
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            // Boxed: it is large, and the task lives as long as the other node.
            if let Some(Err(error)) = Box::pin(stop.run_until_cancelled(connection)).await {
                tracing::info!(%error, "the connection to another gateway broke");
            }
        });
        Ok(open)
    }
}
