//! The accept loop: HTTP/1.1 and HTTP/2 on one port, by prior knowledge or with
//! TLS by ALPN, with every bound that `axum::serve` lacks. Connections come in, requests go to an
//! `axum::Router` with the peer as `ConnectInfo<SocketAddr>`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::certificate::Certificate;
use super::connection::Admitted;
use super::places::{Counts, Places};
use super::refusal::Refusals;
use super::{connection, refusal, stream};
use crate::config::{Limits, Tls};

/// After an error of `accept` that is not one connection's.
const BACK_OFF: Duration = Duration::from_millis(100);

/// For sockets to be gone after they have been told to.
const CUT: Duration = Duration::from_secs(2);

/// Serves clients until told to stop.
#[derive(Debug)]
pub struct Acceptor {
    shared: Arc<Shared>,
    /// Connections, and sockets that outlive theirs by an upgrade.
    tasks: TaskTracker,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) routes: axum::Router,
    pub(super) builders: connection::Builders,
    places: Arc<Places>,
    refusals: Refusals,
    /// None: clients come without TLS.
    pub(super) certificate: Option<Certificate>,
    handshake_timeout: Duration,
    /// From one request's end to the next one's header.
    pub(super) header_timeout: Duration,
    /// A peer that takes nothing and answers nothing for so long is dead.
    silence: Duration,
    /// Every connection takes one more request.
    pub(super) last_request: CancellationToken,
    /// Idle connections close, the others after their request.
    pub(super) finish: CancellationToken,
    /// All connections close.
    pub(super) give_up: CancellationToken,
}

impl Acceptor {
    /// Serves `routes` within these bounds, with TLS where there is a
    /// certificate. A peer that takes nothing and answers nothing for two
    /// heartbeats is dead.
    pub fn new(routes: axum::Router, limits: &Limits, heartbeat: Duration, tls: Option<Tls>) -> Self {
        let shared = Shared {
            routes,
            builders: connection::Builders::new(limits),
            places: Places::new(limits.max_connections, limits.max_connections_per_address),
            refusals: Refusals::default(),
            certificate: tls.map(Certificate::new),
            silence: heartbeat * 2,
            handshake_timeout: limits.handshake_timeout,
            header_timeout: limits.header_timeout,
            last_request: CancellationToken::new(),
            finish: CancellationToken::new(),
            give_up: CancellationToken::new(),
        };
        Self { shared: Arc::new(shared), tasks: TaskTracker::new() }
    }

    /// How many connections there are, and were refused.
    pub fn counts(&self) -> Counts {
        self.shared.places.counts()
    }

    /// Accepts until `stop`, and then closes the listener; what has been accepted lives on until [`Self::finish`].
    pub async fn run(&self, listener: TcpListener, stop: &CancellationToken) {
        let follow = async {
            match &self.shared.certificate {
                Some(certificate) => certificate.follow().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.accept(listener, stop) => {}
            () = follow => {}
        }
    }

    async fn accept(&self, listener: TcpListener, stop: &CancellationToken) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer),
                // This connection was gone before it was accepted.
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    // Most often out of file descriptors: until one comes back
                    // `accept` would fail at once, again and again.
                    tracing::error!(%error, "cannot accept connections");
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(BACK_OFF) => {}
                    }
                }
            }
        }
    }

    /// From now on every connection takes one request more, whose answer says
    /// that it was the last: closed while idle, it would meet a request that is
    /// on its way. (HTTP/2 has its own way to say so.) Returns when no connection
    /// is left.
    pub async fn last_requests(&self) {
        self.shared.last_request.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Lets requests end and closes idle connections; what is still there
    /// after `deadline` is closed, and so are sockets that were upgraded: until
    /// then it is for their sessions to end them.
    pub async fn finish(&self, deadline: Duration) {
        self.shared.last_request.cancel();
        self.shared.finish.cancel();
        self.tasks.close();
        if tokio::time::timeout(deadline, self.tasks.wait()).await.is_err() {
            tracing::warn!(connections = self.counts().open, "closing connections that did not end in time");
            self.shared.give_up.cancel();
            if tokio::time::timeout(CUT, self.tasks.wait()).await.is_err() {
                tracing::warn!(connections = self.counts().open, "connections did not close");
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let place = match self.shared.places.take(peer.ip()) {
            Ok(place) => place,
            Err(full) => {
                tracing::debug!(?full, "refused a connection");
                return self.refuse(stream);
            }
        };
        if let Err(error) = stream::prepare(&stream, self.shared.silence) {
            return tracing::debug!(%error, "a connection was gone at once");
        }
        let held = (place, self.tasks.token());
        let until = Instant::now() + self.shared.handshake_timeout;
        let admitted = Admitted { stream, peer, held, until };
        self.tasks.spawn(connection::run(self.shared.clone(), admitted));
    }

    /// Answers and closes. A peer that expects TLS, which would cost a handshake,
    /// gets only the end.
    fn refuse(&self, stream: TcpStream) {
        if self.shared.certificate.is_none()
            && let Some(turn) = self.shared.refusals.turn(&stream)
        {
            self.tasks.spawn(refusal::answer(stream, turn));
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
