//! One connection from its first byte to its last: TLS where it is configured,
//! the choice of the HTTP version, hyper's settings, the time limit for the
//! first request, and the ways in which it ends.

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::response::{IntoResponse as _, Response};
use daemon::lock::{LEAF, Lock};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version, header};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1::UpgradeableConnection;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::acceptor::Shared;
use super::activity::{Activity, Judgement};
use super::long_response_writer::{self, Handed};
use super::open::{Client, OpenRequest};
use super::proxy_header::{self, Source};
use super::scan::Verdict;
use super::socket::{Held, Socket};
use super::stream::Stream;
use crate::accept::long_response::{lasts, settle};
use crate::accept::{browser, forwarded, refusal, strict};
use crate::config::{Limits, ProxyProtocol};
use crate::metrics;

/// The first bytes of an HTTP/2 connection (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The most header fields of one request.
const MAX_HEADERS: usize = 100;
/// The most streams at once on an HTTP/2 connection: more than a browser's tabs
/// need. A proxy that carries more sessions opens more connections.
const MAX_STREAMS: u32 = 250;
/// The time between two pings on an HTTP/2 connection, which find dead peers:
/// HTTP/2 has no header timeout.
const HTTP2_PING: Duration = Duration::from_secs(30);
/// The bytes that a peer may send on one stream before they are read: about one
/// command.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The same over all streams: the most unread bytes that are kept of one peer.
/// Hyper's default is a megabyte.
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// The most bytes that are written on one stream and not taken by the peer yet.
const SEND_BUFFER: usize = 64 * 1024;
/// For a peer that was told to open no more streams to close the connection.
const FAREWELL: Duration = Duration::from_secs(5);

/// Hyper's settings.
#[derive(Debug)]
pub(super) struct Builders {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl Builders {
    pub(super) fn new(limits: &Limits) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_headers(MAX_HEADERS)
            // Limits the header, and what is read ahead of a body.
            .max_buf_size(limits.max_header_bytes)
            // A client that closes its half of the connection counts as gone:
            // otherwise a waiting poll would keep its session, and a stream
            // until its next heartbeat.
            .half_close(false);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .keep_alive_interval(HTTP2_PING)
            .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX))
            // h2 itself limits streams that are opened and reset at once
            // (CVE-2023-44487): more than 20 that wait to be accepted, or 1,024
            // reset for errors of the peer, end the connection.
            .max_concurrent_streams(MAX_STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            // WebSockets over HTTP/2 (RFC 8441).
            .enable_connect_protocol();
        Self { http1, http2 }
    }
}

/// A connection that was accepted and has a slot.
pub(super) struct Admitted {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) held: Held,
    /// When TLS must be done and the first request be there.
    pub(super) until: Instant,
}

/// Serves one connection to its end, whatever comes before HTTP there.
pub(super) async fn run(shared: Arc<Shared>, admitted: Admitted) {
    let admitted = match shared.proxies.protocol {
        ProxyProtocol::Off => admitted,
        ProxyProtocol::On => match Box::pin(introduced(&shared, admitted)).await {
            Some(admitted) => admitted,
            None => return,
        },
    };
    let Admitted { stream, peer, held, until } = admitted;
    let stream = match &shared.certificate {
        None => Stream::Plain(stream),
        Some(certificate) => {
            // Boxed: most of the handshake's memory is not needed afterwards.
            let shaken = Box::pin(TlsAcceptor::from(certificate.server()).accept(stream));
            tokio::select! {
                biased;
                // No request has come yet.
                () = shared.finish.cancelled() => return,
                shaken = timeout_at(until, shaken) => match shaken {
                    Ok(Ok(stream)) => Stream::Tls(Box::new(stream)),
                    Ok(Err(error)) => return tracing::debug!(%peer, %error, "no TLS"),
                    Err(_) => return tracing::debug!(%peer, "no TLS in time"),
                },
            }
        }
    };
    serve(shared, stream, peer, held, until).await;
}

/// Serves HTTP to its end.
pub(super) async fn serve(shared: Arc<Shared>, stream: Stream, peer: SocketAddr, held: Held, until: Instant) {
    let mut socket = Socket::new(stream, shared.give_up.for_socket(), held);
    let is_http2 = tokio::select! {
        biased;
        () = shared.finish.cancelled() => return,
        known = timeout_at(until, speaks_http2(&mut socket)) => match known {
            Ok(Ok(is_http2)) => is_http2,
            // The peer has gone, or sent nothing.
            Ok(Err(_)) | Err(_) => return tracing::debug!(%peer, "no request in time"),
        },
    };
    let is_proxy = shared.proxies.trusted.contains(peer.ip());
    let activity = is_http2.then(|| Activity::since(Instant::now()));
    let connection =
        Arc::new(Connection { verdict: socket.verdict(), shared, peer, is_proxy, activity, until });
    // Boxed: hyper's memory is freed when its part is done.
    if is_http2 {
        return Box::pin(connection.http2(socket)).await;
    }
    let mut next = Some(socket);
    while let Some(socket) = next.take() {
        if let Some((socket, handed)) = Box::pin(connection.http1(socket)).await
            && let Some(socket) = connection.write(socket, handed).await
        {
            next = connection.idle(socket).await;
        }
    }
}

/// Reads the header with which a proxy begins a connection. `None` if there is none,
/// or if there is no slot for the client that it names: the connection has ended.
async fn introduced(shared: &Shared, admitted: Admitted) -> Option<Admitted> {
    let Admitted { mut stream, peer, held: (slot, _, token), until } = admitted;
    let trusted = &shared.proxies.trusted;
    let unreadable = |why: &dyn std::fmt::Display| {
        metrics::address_unreadable("proxy_protocol");
        tracing::debug!(%peer, %why, "no PROXY header of a trusted proxy");
    };
    if !(trusted.is_empty() || trusted.contains(peer.ip())) {
        unreadable(&"not one of --trusted-proxies");
        return None;
    }
    let source = tokio::select! {
        biased;
        () = shared.finish.cancelled() => return None,
        source = timeout_at(until, proxy_header::read(&mut stream)) => source,
    };
    let peer = match source {
        Ok(Ok(Source::Client(client))) => client,
        Ok(Ok(Source::Peer)) => peer,
        Ok(Err(error)) => {
            unreadable(&error);
            return None;
        }
        Err(_) => {
            unreadable(&"nothing in time");
            return None;
        }
    };
    match shared.take_of_client(peer.ip()) {
        Ok(of_client) => Some(Admitted { stream, peer, held: (slot, of_client, token), until }),
        Err(full) => {
            if let Some(refused) = shared.refuse(stream, full) {
                refused.await;
            }
            None
        }
    }
}

/// Reads until it knows whether the peer speaks HTTP/2.
async fn speaks_http2(socket: &mut Socket) -> std::io::Result<bool> {
    loop {
        let begun = socket.unread();
        let same = PREFACE.len().min(begun.len());
        if begun[..same] != PREFACE[..same] {
            return Ok(false);
        }
        if same == PREFACE.len() {
            return Ok(true);
        }
        socket.read_ahead().await?;
    }
}

/// What all requests of one connection share.
struct Connection {
    shared: Arc<Shared>,
    verdict: Arc<Verdict>,
    /// Whoever the connection is from, or a proxy says it is from.
    peer: SocketAddr,
    /// Whether that is a proxy which says from whom each request is.
    is_proxy: bool,
    /// Of HTTP/2: whether it is used.
    activity: Option<Arc<Activity>>,
    /// When its first request must be there.
    until: Instant,
}

/// A long response that leaves hyper.
type Handover = Lock<LEAF, Option<Handed>>;

impl Connection {
    /// Serves requests with hyper, until the end or a long response.
    async fn http1(self: &Arc<Self>, socket: Socket) -> Option<(Socket, Handed)> {
        let handover = Arc::new(Handover::default());
        let service = service_fn({
            let (connection, handover) = (self.clone(), handover.clone());
            move |request| {
                let (connection, handover) = (connection.clone(), handover.clone());
                async move { Ok::<_, Infallible>(connection.answer_or_hand(request, &handover).await) }
            }
        });
        let mut hyper = self.shared.builders.http1.serve_connection(socket, service).with_upgrades();
        let finish = UpgradeableConnection::graceful_shutdown;
        let handed = self.drive(Pin::new(&mut hyper), &self.shared.finish, finish, &handover).await?;
        let parts = hyper.into_parts()?;
        let mut socket = parts.io;
        socket.put_back(&parts.read_buf);
        Some((socket, handed))
    }

    async fn http2(self: &Arc<Self>, socket: Socket) {
        let connection = self.clone();
        let service = service_fn(move |request| {
            let connection = connection.clone();
            async move { Ok::<_, Infallible>(settle(connection.answer(request).await).await) }
        });
        let hyper = pin!(self.shared.builders.http2.serve_connection(socket, service));
        // HTTP/2 streams share one socket, so nothing leaves hyper.
        let finish = http2::Connection::graceful_shutdown;
        self.drive(hyper, &self.shared.last_request, finish, &Handover::default()).await;
    }

    /// Writes a long response. Returns the socket if further requests may come.
    async fn write(&self, mut socket: Socket, handed: Handed) -> Option<Socket> {
        let written = tokio::select! {
            biased;
            () = self.shared.give_up.cancelled() => return None,
            written = long_response_writer::write(&mut socket, handed, &self.shared.last_request) => written,
        };
        match written {
            Ok(keeps) => keeps.then_some(socket),
            Err(error) => {
                tracing::debug!(peer = %self.peer, %error, "a connection broke");
                None
            }
        }
    }

    /// Waits for the next request without hyper, as long as hyper would.
    async fn idle(&self, mut socket: Socket) -> Option<Socket> {
        if socket.unread().is_empty() {
            tokio::select! {
                biased;
                () = self.shared.finish.cancelled() => return None,
                begun = timeout(self.shared.header_timeout, socket.read_ahead()) => begun.ok()?.ok()?,
            }
        }
        Some(socket)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response {
        self.verdict.first_request();
        let mut response = match self.verdict.refusal().or_else(|| strict::wrong(&request)) {
            Some(reason) => reason.into_response(),
            None => self.answer_counted(request).await,
        };
        browser::protect(response.headers_mut());
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.verdict.end();
        }
        response
    }

    /// Responds if the client's address may have one more request under way.
    async fn answer_counted(&self, mut request: Request<Incoming>) -> Response {
        let client = self.client_of(request.headers());
        let (slots, activity) = (&self.shared.slots, self.activity.as_ref().map(Activity::begin));
        let Ok(open) = OpenRequest::begin(slots, client.ip(), activity) else {
            tracing::debug!(%client, "refused a request");
            return refusal::of_request(request.uri()).await;
        };
        let extensions = request.extensions_mut();
        extensions.insert(ConnectInfo(client));
        if let Some(client) = Client::new(slots, client.ip()) {
            extensions.insert(client);
        }
        let Some(open) = open else { return self.route(request).await };
        extensions.insert(open.clone());
        open.hold_during(self.route(request).await).await
    }

    async fn route(&self, request: Request<Incoming>) -> Response {
        let Ok(response) = self.shared.routes.clone().oneshot(request).await;
        response
    }

    /// Whom a request is from: the peer, or whoever a proxy says.
    fn client_of(&self, headers: &HeaderMap) -> SocketAddr {
        if !self.is_proxy {
            return self.peer;
        }
        forwarded::client(self.peer, headers, &self.shared.proxies.trusted).unwrap_or_else(|_| {
            metrics::address_unreadable("forwarded_for");
            tracing::debug!(peer = %self.peer, "an X-Forwarded-For that is no list of addresses");
            self.peer
        })
    }

    /// Responds, or puts a long response into the handover. HTTP/1.0, HEAD and
    /// requests with bodies have rules of their own, which are left to hyper. A
    /// POST without a body is how SockJS's clients receive over XHR.
    async fn answer_or_hand(&self, request: Request<Incoming>, handover: &Handover) -> Response {
        let plain = matches!(*request.method(), Method::GET | Method::POST)
            && request.version() == Version::HTTP_11
            && request.body().is_end_stream();
        // RFC 9112 §9.6.
        let keeps = !strict::lists(request.headers(), &header::CONNECTION, "close");
        let response = self.answer(request).await;
        if !plain || !lasts(&response) {
            let mut response = settle(response).await;
            let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
            if !upgraded && self.shared.last_request.is_cancelled() {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            return response;
        }
        *handover.lock() = Some(Handed { response, keeps });
        pending().await
    }

    /// Polls hyper until its end, or until a response is in the handover. Tells it
    /// to `finish` when that token is cancelled.
    async fn drive<C>(
        &self,
        mut hyper: Pin<&mut C>,
        to_finish: &CancellationToken,
        finish: fn(Pin<&mut C>),
        handover: &Handover,
    ) -> Option<Handed>
    where
        C: Future<Output = hyper::Result<()>>,
    {
        // Also while hyper waits for the first request's bytes: for HTTP/2 it
        // has no time limit of its own.
        let mut look = pin!(sleep_until(self.until));
        let (mut in_handshake, mut finishing) = (!self.verdict.had_a_request(), false);
        let mut unused = false;
        loop {
            let step = poll_fn(|cx| {
                if let Poll::Ready(result) = hyper.as_mut().poll(cx) {
                    return Poll::Ready(Err(result));
                }
                // Not before the previous response is written completely.
                if self.verdict.is_stalled() {
                    return Poll::Pending;
                }
                let handed = handover.lock().take();
                handed.map_or(Poll::Pending, |handed| Poll::Ready(Ok(handed)))
            });
            tokio::select! {
                biased;
                // The node gives up: nothing more is sent.
                () = self.shared.give_up.cancelled() => return None,
                step = step => match step {
                    Ok(handed) => return Some(handed),
                    Err(Ok(())) => return None,
                    Err(Err(error)) => {
                        tracing::debug!(peer = %self.peer, %error, "a connection broke");
                        return None;
                    }
                },
                () = to_finish.cancelled(), if !finishing => {
                    finishing = true;
                    finish(hyper.as_mut());
                }
                () = &mut look, if in_handshake || self.activity.is_some() => {
                    in_handshake = false;
                    if !self.verdict.had_a_request() {
                        tracing::debug!(peer = %self.peer, "no request in time");
                        return None;
                    }
                    let Some(activity) = &self.activity else { continue };
                    let now = Instant::now();
                    match activity.judge(now, self.shared.header_timeout) {
                        Judgement::Look(at) => look.as_mut().reset(at),
                        Judgement::Unused if unused => {
                            tracing::debug!(peer = %self.peer, "an unused connection was not closed");
                            return None;
                        }
                        // What is on its way is still answered.
                        Judgement::Unused => {
                            unused = true;
                            if !std::mem::replace(&mut finishing, true) {
                                finish(hyper.as_mut());
                            }
                            look.as_mut().reset(now + FAREWELL);
                        }
                    }
                }
            }
        }
    }
}
