//! One connection from its first byte to its last: TLS where it is configured,
//! hyper's settings, the time limit for the first request, and the ways in
//! which it ends.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::response::{IntoResponse as _, Response};
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use super::Shared;
use super::socket::{Held, Socket};
use super::stream::Stream;
use crate::config::Limits;
use crate::strict;

pub(super) type Builder = auto::Builder<TokioExecutor>;

/// Header fields in one request.
const MAX_HEADERS: usize = 100;
/// Streams at once on an HTTP/2 connection: more than a browser's tabs need. A
/// proxy that carries more sessions opens more connections.
const MAX_STREAMS: u32 = 250;
/// An HTTP/2 connection has no header timeout: this finds dead peers.
const HTTP2_PING: Duration = Duration::from_secs(30);
/// What a peer may send on one stream before it is read: about one command.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The same over all streams: the most that is kept of one peer unread, where
/// hyper would allow a megabyte.
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// Written on one stream and not yet taken by its peer.
const SEND_BUFFER: usize = 64 * 1024;

/// Hyper's settings.
pub(super) fn builder(limits: &Limits) -> Builder {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(MAX_HEADERS)
        // Bounds the header, and what is read ahead of a body.
        .max_buf_size(limits.max_header_bytes)
        // A client that closes its half has gone: otherwise a poll that waits
        // would keep its session, and a stream until its next heartbeat.
        .half_close(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HTTP2_PING)
        .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX))
        // Streams that are opened and reset at once (CVE-2023-44487) are h2's to
        // bound: more than 20 that wait to be accepted, or 1,024 reset for
        // errors of the peer, end the connection.
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        // WebSockets over HTTP/2 (RFC 8441).
        .enable_connect_protocol();
    builder
}

/// A connection that has been accepted and given a place.
pub(super) struct Admitted {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) held: Held,
    /// When its first request must be there, and TLS behind it.
    pub(super) until: Instant,
}

/// Serves one connection to its end.
pub(super) async fn run(shared: Arc<Shared>, admitted: Admitted) {
    let Admitted { stream, peer, held, until } = admitted;
    let stream = match &shared.certificate {
        None => Stream::Plain(stream),
        Some(certificate) => {
            // In a box: most of the handshake's room is not needed after it.
            let shaken = Box::pin(TlsAcceptor::from(certificate.now()).accept(stream));
            tokio::select! {
                biased;
                // Nothing has been asked yet.
                () = shared.finish.cancelled() => return,
                shaken = timeout_at(until, shaken) => match shaken {
                    Ok(Ok(stream)) => Stream::Tls(Box::new(stream)),
                    Ok(Err(error)) => return tracing::debug!(%peer, %error, "no TLS"),
                    Err(_) => return tracing::debug!(%peer, "no TLS in time"),
                },
            }
        }
    };
    // One of its own: asked at every wait, and sockets must not queue for it.
    let give_up = shared.give_up.child_token();
    let socket = Socket::new(stream, give_up, held);
    serve(shared, socket, peer, until).await;
}

async fn serve(shared: Arc<Shared>, socket: Socket, peer: SocketAddr, until: Instant) {
    let verdict = socket.verdict();
    let service = service_fn({
        let (routes, verdict) = (shared.routes.clone(), verdict.clone());
        move |mut request: Request<Incoming>| {
            let routes = routes.clone();
            let verdict = verdict.clone();
            async move {
                verdict.first_request();
                if let Some(reason) = verdict.refusal().or_else(|| strict::wrong(&request)) {
                    return Ok::<Response, Infallible>(reason.into_response());
                }
                request.extensions_mut().insert(ConnectInfo(peer));
                let response = routes.oneshot(request).await?;
                if response.status() == http::StatusCode::SWITCHING_PROTOCOLS {
                    verdict.end();
                }
                Ok(response)
            }
        }
    });
    let mut connection = pin!(shared.builder.serve_connection_with_upgrades(socket, service));
    // Also while hyper waits for the bytes that tell HTTP/2 from HTTP/1.1,
    // where it has no time limit of its own.
    let mut handshake = pin!(sleep_until(until));
    let (mut in_handshake, mut finishing) = (true, false);
    let result = loop {
        tokio::select! {
            biased;
            // Nothing is owed to anybody any more.
            () = shared.give_up.cancelled() => return,
            result = connection.as_mut() => break result,
            () = shared.finish.cancelled(), if !finishing => {
                finishing = true;
                connection.as_mut().graceful_shutdown();
            }
            () = &mut handshake, if in_handshake => {
                in_handshake = false;
                if !verdict.had_a_request() {
                    tracing::debug!(%peer, "no request in time");
                    return;
                }
            }
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, error, "a connection broke");
    }
}
