//! Where other gateways connect (`--peer-listen`): HTTP/2, whose requests are
//! answered by the routes of sessions that continue. Only gateways may reach it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::{IntoResponse as _, Response};
use daemon::internal_tls::InternalTls;
use http::{HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::{ALL_WINDOWS, CLIENT, NODE, Relayed, WINDOW};
use crate::accept::long_response::settle;
use crate::metrics;

/// After an error of `accept`, which most often is that there are no file
/// descriptors left.
const BACK_OFF: Duration = Duration::from_millis(100);
/// How long a TLS handshake with another gateway may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Bytes of headers that gateways add.
const OWN_HEADERS: usize = 1_024;
/// As in `connection`.
const PING: Duration = Duration::from_secs(5);

/// What the port serves.
#[derive(Clone)]
pub struct Port {
    /// This node's name.
    pub node: String,
    /// The routes of sessions, without what the node that has the client does: its
    /// rules for pages of other origins.
    pub routes: Router,
    /// Requests and WebSockets of one other gateway at once.
    pub requests: usize,
    /// Bytes of one request's header, as its client may send.
    pub max_header_bytes: usize,
    /// Which others are let in; nothing: whoever comes, without TLS.
    pub tls: Option<InternalTls>,
}

/// Serves other gateways until `stop`.
pub async fn serve(listener: TcpListener, port: Port, tracker: TaskTracker, stop: CancellationToken) {
    let port = Arc::new(port);
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Otherwise it has gone already.
                if stream.set_nodelay(true).is_ok() {
                    let (port, stop) = (port.clone(), stop.clone());
                    tracker.spawn(async move {
                        let served = Box::pin(stop.run_until_cancelled(let_in(stream, port)));
                        if let Some(Err(error)) = served.await {
                            tracing::info!(%peer, %error, "another gateway's connection ended");
                        }
                    });
                }
            }
            Err(error) => {
                tracing::error!(%error, "cannot accept connections of other gateways");
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

async fn let_in(stream: TcpStream, port: Arc<Port>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let Some(tls) = &port.tls else { return Ok(speak(stream, port).await?) };
    let stream = timeout(HANDSHAKE, tls.accept(stream)).await.map_err(|_| "no TLS in time")?;
    let stream = stream.inspect_err(|_| metrics::peer_refused("certificate"))?;
    Ok(speak(stream, port).await?)
}

async fn speak<S>(stream: S, port: Arc<Port>) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .max_concurrent_streams(u32::try_from(port.requests).unwrap_or(u32::MAX))
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(ALL_WINDOWS)
        .max_send_buf_size(WINDOW as usize)
        .max_header_list_size(u32::try_from(port.max_header_bytes + OWN_HEADERS).unwrap_or(u32::MAX))
        // Clients that go away in the middle are no attack of the other node's.
        .max_pending_accept_reset_streams(port.requests)
        .max_local_error_reset_streams(None)
        // Whoever has the client says it.
        .auto_date_header(false)
        .enable_connect_protocol();
    let service = service_fn(move |request| {
        let port = port.clone();
        async move { Ok::<_, Infallible>(port.answer(request).await) }
    });
    builder.serve_connection(TokioIo::new(stream), service).await
}

impl Port {
    async fn answer(&self, mut request: Request<Incoming>) -> Response {
        if request.uri().path() == "/" {
            let name = HeaderValue::from_str(&self.node).ok();
            let mut response = StatusCode::NO_CONTENT.into_response();
            response.headers_mut().extend(name.map(|name| (NODE, name)));
            return response;
        }
        let client = request.headers_mut().remove(CLIENT);
        let client = client.and_then(|client| client.to_str().ok()?.parse::<SocketAddr>().ok());
        let Some(client) = client else {
            return (StatusCode::BAD_REQUEST, "this port is for other gateways\n").into_response();
        };
        request.extensions_mut().insert(ConnectInfo(client));
        request.extensions_mut().insert(Relayed);
        let Ok(response) = self.routes.clone().oneshot(request.map(Body::new)).await;
        settle(response).await
    }
}
