//! Passes requests on to the gateway that has their session, and what comes of them
//! back.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use bytes::Bytes;
use daemon::internal_tls::InternalTls;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version, header};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::ext::Protocol;
use hyper::upgrade::Upgraded;
use store::Peers;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::CLIENT;
use super::connection::{Connections, Why};
use super::directory::Directory;
use crate::config::PeerAddress;
use crate::metrics;

/// Once this node stops, what it passes on ends at a random moment within this
/// time: its clients come back to other nodes, and not all at once.
const SPREAD: Duration = Duration::from_secs(5);

/// Whether nothing follows: a node that stops tells whoever it passes on for.
type Leaving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How much a relay takes on, and its end.
#[derive(Debug, Clone)]
pub struct RelayConfig {
    /// Requests and WebSockets at once.
    pub requests: usize,
    /// Cancelled when this node begins to stop.
    pub draining: CancellationToken,
    /// Cancelled when it has stopped.
    pub stop: CancellationToken,
    /// How the others are spoken to; nothing: without TLS.
    pub tls: Option<InternalTls>,
}

/// The way to the other gateways.
pub struct Relay {
    directory: Directory,
    connections: Connections,
    room: Arc<Semaphore>,
    draining: CancellationToken,
    tracker: TaskTracker,
}

/// Why a request is not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreached {
    /// There is no such node, it is not reached, or it went away in the middle:
    /// what it had is gone as far as the client is concerned.
    Gone,
    /// As many are passed on as may be.
    Full,
}

/// What is passed on, for metrics.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Request,
    WebSocket,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::WebSocket => "websocket",
        }
    }
}

/// A WebSocket that the other gateway has accepted.
pub(crate) struct Opened {
    /// The way to it.
    pub(crate) upgraded: Upgraded,
    /// What is held for as long as it lasts.
    pub(crate) passing: Passing,
}

impl Relay {
    /// To whoever `peers` knows. Its tasks are on `tracker`.
    pub fn new(peers: Arc<dyn Peers>, config: RelayConfig, tracker: TaskTracker) -> Arc<Self> {
        Arc::new(Self {
            directory: Directory::new(peers),
            connections: Connections::new(config.tls, tracker.clone(), config.stop),
            room: Arc::new(Semaphore::new(config.requests.min(Semaphore::MAX_PERMITS))),
            draining: config.draining,
            tracker,
        })
    }

    /// The tasks that carry requests to other gateways.
    pub(crate) fn tracker(&self) -> &TaskTracker {
        &self.tracker
    }

    /// Passes a request on to this node. The response is what the node said; its
    /// body comes as the node sends it.
    pub(crate) async fn pass(&self, node: &str, request: Request<Body>) -> Result<Response, Unreached> {
        let mut passing = self.begin(Kind::Request)?;
        let (response, _) = self.ask(node, request, &mut passing).await?;
        let over = response.body().is_end_stream();
        Ok(response.map(|body| if over { Body::empty() } else { Body::new(Passed { body, passing }) }))
    }

    /// Asks this node for a WebSocket; or returns its refusal.
    pub(crate) async fn open(
        &self,
        node: &str,
        parts: &Parts,
    ) -> Result<Result<Opened, Response>, Unreached> {
        let mut passing = self.begin(Kind::WebSocket)?;
        let mut request = Request::new(Body::empty());
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = parts.uri.clone();
        *request.headers_mut() = parts.headers.clone();
        request.headers_mut().remove(header::SEC_WEBSOCKET_KEY);
        request.extensions_mut().insert(Protocol::from_static("websocket"));
        if let Some(client) = parts.extensions.get::<ConnectInfo<SocketAddr>>() {
            request.extensions_mut().insert(*client);
        }
        let (response, address) = self.ask(node, request, &mut passing).await?;
        if response.status() != StatusCode::OK {
            return Ok(Err(response.map(|body| Body::new(Passed { body, passing }))));
        }
        match hyper::upgrade::on(response).await {
            Ok(upgraded) => Ok(Ok(Opened { upgraded, passing })),
            Err(error) => Err(gone(node, &address, error.into())),
        }
    }

    fn begin(&self, kind: Kind) -> Result<Passing, Unreached> {
        let Ok(permit) = self.room.clone().try_acquire_owned() else {
            metrics::relay_failed("full");
            return Err(Unreached::Full);
        };
        metrics::relayed(kind.as_str());
        metrics::relaying(kind.as_str(), 1);
        // A token of its own: it is polled at every wait, and WebSockets must not contend
        // for one.
        let draining = self.draining.child_token();
        let leaving = Box::pin(async move {
            draining.cancelled().await;
            tokio::time::sleep(rand::random_range(Duration::ZERO..SPREAD)).await;
        });
        Ok(Passing { kind, leaving, _permit: permit })
    }

    async fn ask(
        &self,
        node: &str,
        request: Request<Body>,
        passing: &mut Passing,
    ) -> Result<(http::Response<Incoming>, PeerAddress), Unreached> {
        let Some(address) = self.directory.address(node).await else {
            metrics::relay_failed("unknown");
            return Err(Unreached::Gone);
        };
        let Ok(mut connection) = self.connections.to(&address, node).await else {
            metrics::relay_failed("unreachable");
            return Err(Unreached::Gone);
        };
        let request = prepared(request, &address).ok_or(Unreached::Gone)?;
        let response = tokio::select! {
            biased;
            response = connection.send_request(request) => response,
            () = &mut passing.leaving => return Err(Unreached::Gone),
        };
        match response {
            Ok(response) => Ok((response, address)),
            Err(error) => Err(gone(node, &address, error.into())),
        }
    }
}

fn gone(node: &str, address: &PeerAddress, error: Why) -> Unreached {
    metrics::relay_failed("broken");
    tracing::debug!(node, %address, %error, "what was passed on has no answer");
    Unreached::Gone
}

/// Headers that are about one connection (RFC 9110 §7.6.1), or that are answered by
/// whoever has the client.
const OWN: [HeaderName; 6] = [
    header::CONNECTION,
    header::UPGRADE,
    header::TRANSFER_ENCODING,
    header::TE,
    header::EXPECT,
    HeaderName::from_static("keep-alive"),
];

/// A request as the other node is asked. Nothing where its URL cannot be written so.
fn prepared(request: Request<Body>, address: &PeerAddress) -> Option<Request<Body>> {
    let (mut parts, body) = request.into_parts();
    let client = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(client)| *client);
    let protocol = parts.extensions.remove::<Protocol>();
    parts.extensions.clear();
    parts.extensions.extend(protocol_only(protocol));
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = address.uri(path).parse().ok()?;
    parts.version = Version::HTTP_2;
    for name in &OWN {
        parts.headers.remove(name);
    }
    let client = client.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)));
    // Whatever a client has put there.
    parts.headers.insert(CLIENT, HeaderValue::try_from(client.to_string()).ok()?);
    Some(Request::from_parts(parts, body))
}

fn protocol_only(protocol: Option<Protocol>) -> http::Extensions {
    let mut extensions = http::Extensions::new();
    if let Some(protocol) = protocol {
        extensions.insert(protocol);
    }
    extensions
}

/// A request's head for a node, which shares nothing with what it was read from.
pub(crate) fn apart(parts: &Parts) -> Option<Request<Body>> {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = parts.uri.to_string().parse().ok()?;
    let mut headers = HeaderMap::with_capacity(parts.headers.len());
    for (name, value) in &parts.headers {
        headers.append(name.clone(), HeaderValue::from_bytes(value.as_bytes()).ok()?);
    }
    *request.headers_mut() = headers;
    if let Some(client) = parts.extensions.get::<ConnectInfo<SocketAddr>>() {
        request.extensions_mut().insert(*client);
    }
    Some(request)
}

/// Something is passed on, until this is dropped.
pub(crate) struct Passing {
    kind: Kind,
    leaving: Leaving,
    _permit: OwnedSemaphorePermit,
}

impl Passing {
    /// Ready once it is to end, for this node stops.
    pub(crate) fn poll_leaving(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.leaving.as_mut().poll(cx)
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        metrics::relaying(self.kind.as_str(), -1);
    }
}

/// The body of a response that is passed on.
struct Passed {
    body: Incoming,
    passing: Passing,
}

impl HttpBody for Passed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_pending() && self.passing.poll_leaving(cx).is_ready() {
            return Poll::Ready(Some(Err(axum::Error::new("this node stops"))));
        }
        polled.map_err(axum::Error::new)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_node_is_told_the_client_s_address_and_nothing_that_the_client_made_up() {
        let mut request = Request::new(Body::empty());
        request.headers_mut().insert(CLIENT, HeaderValue::from_static("203.0.113.9:1"));
        // As a proxy has said it, without a port.
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 0))));
        let asked = apart(&request.into_parts().0).unwrap();
        let asked = prepared(asked, &"http://gw-2:7200".parse().unwrap()).unwrap();
        let said: Vec<_> = asked.headers().get_all(CLIENT).iter().collect();
        assert_eq!(said, ["192.0.2.1:0"]);
    }
}
