//! The accept loop: HTTP/1.1 and HTTP/2 on one port, by prior knowledge or with
//! TLS by ALPN, with every bound that `axum::serve` lacks. Connections come in, requests go to an
//! `axum::Router` with the peer as `ConnectInfo<SocketAddr>`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::Admitted;
use super::give_up::GiveUp;
use super::refusal::Refusals;
use super::slots::{AddressSlot, Counts, Full, Kind, Slot, Slots};
use super::stream::{Accepted, Bytes, Listener, Stream};
use super::{connection, refusal, stream};
use crate::config::{Limits, Proxies, ProxyProtocol, Tls};

/// How long to wait after an error of `accept` that is not about one
/// connection.
const BACK_OFF: Duration = Duration::from_millis(100);

/// How long sockets may take to close after they were told to.
const CUT: Duration = Duration::from_secs(2);

/// Accepts connections and serves requests until told to stop.
#[derive(Debug)]
pub struct Acceptor {
    shared: Arc<Shared>,
    /// Connections, and sockets that live on after an upgrade.
    tasks: TaskTracker,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) routes: axum::Router,
    pub(super) builders: connection::Builders,
    pub(super) slots: Arc<Slots>,
    refusals: Refusals,
    /// Whom a client's address is believed.
    pub(super) proxies: Proxies,
    /// The TLS certificate; `None`: without TLS.
    pub(super) certificate: Option<Tls>,
    handshake_timeout: Duration,
    /// The longest time from the end of a request to the header of the next
    /// one; over HTTP/2, without a request that is allowed.
    pub(super) header_timeout: Duration,
    /// A peer that takes no data for this long counts as dead.
    silence: Duration,
    /// Cancelled: every connection serves one more request.
    pub(super) last_request: CancellationToken,
    /// Cancelled: idle connections close, the others after their request.
    pub(super) finish: CancellationToken,
    /// Cancelled: all connections close.
    pub(super) give_up: GiveUp,
}

impl Acceptor {
    /// An acceptor for `routes` within these limits, with TLS if there is a
    /// certificate. `proxies` are believed a client's address. A peer that takes no
    /// data for two heartbeats counts as dead.
    pub fn new(
        routes: axum::Router,
        limits: &Limits,
        proxies: Proxies,
        heartbeat: Duration,
        tls: Option<Tls>,
    ) -> Self {
        let shared = Shared {
            routes,
            builders: connection::Builders::new(limits),
            slots: Slots::new(limits.max_connections, limits.max_connections_per_address),
            refusals: Refusals::default(),
            proxies,
            certificate: tls,
            silence: heartbeat * 2,
            handshake_timeout: limits.handshake_timeout,
            header_timeout: limits.header_timeout,
            last_request: CancellationToken::new(),
            finish: CancellationToken::new(),
            give_up: GiveUp::default(),
        };
        Self { shared: Arc::new(shared), tasks: TaskTracker::new() }
    }

    /// How many connections are open, and how many were refused.
    pub fn counts(&self) -> Counts {
        self.shared.slots.counts()
    }

    /// Accepts until `stop`, then closes the listener. Accepted connections go
    /// on until [`Self::finish`].
    pub async fn run(&self, listener: impl Into<Listener>, stop: &CancellationToken) {
        let listener = listener.into();
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

    async fn accept(&self, mut listener: Listener, stop: &CancellationToken) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((Accepted::Tcp(stream), peer)) => self.admit(stream, peer),
                Ok((Accepted::Given(stream), peer)) => self.admit_given(stream, peer),
                // The peer had gone before the connection was accepted.
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    // Most often the process is out of file descriptors: until
                    // one is free, `accept` fails at once each time.
                    tracing::error!(%error, "cannot accept connections");
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(BACK_OFF) => {}
                    }
                }
            }
        }
    }

    /// From now on every connection serves one more request, and its response
    /// says that it was the last (HTTP/2 has its own way to say so). Closing an
    /// idle connection at once would lose a request that is on its way. Returns
    /// when no connection is left.
    pub async fn last_requests(&self) {
        self.shared.last_request.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Closes idle connections and lets requests end. What is left after
    /// `deadline` is closed, as are upgraded sockets: until then their sessions
    /// end them.
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
        // With PROXY protocol its header says later whose connection it is.
        let client = (self.shared.proxies.protocol == ProxyProtocol::Off).then_some(peer.ip());
        let (slot, of_client) = match self.slots(client) {
            Ok(slots) => slots,
            Err(full) => return self.refuse(stream, full),
        };
        if let Err(error) = stream::prepare(&stream, self.shared.silence) {
            return tracing::debug!(%error, "a connection was gone at once");
        }
        let held = (slot, of_client, self.tasks.token());
        let until = Instant::now() + self.shared.handshake_timeout;
        let admitted = Admitted { stream, peer, held, until };
        self.tasks.spawn(connection::run(self.shared.clone(), admitted));
    }

    /// A connection that is no socket of the kernel; one too many ends at once.
    fn admit_given(&self, stream: Box<dyn Bytes>, peer: SocketAddr) {
        let Ok((slot, of_client)) = self.slots(Some(peer.ip())) else { return };
        let held = (slot, of_client, self.tasks.token());
        let until = Instant::now() + self.shared.handshake_timeout;
        self.tasks.spawn(connection::serve(self.shared.clone(), Stream::Given(stream), peer, held, until));
    }

    /// The slots for a connection, and for one of its client's where that is known.
    fn slots(&self, client: Option<IpAddr>) -> Result<(Slot, Option<AddressSlot>), Full> {
        let slot = self.shared.slots.take()?;
        let of_client = client.map(|address| self.shared.take_of_client(address)).transpose()?;
        Ok((slot, of_client.flatten()))
    }

    fn refuse(&self, stream: TcpStream, full: Full) {
        self.shared.refuse(stream, full).map(|refused| self.tasks.spawn(refused));
    }
}

impl Shared {
    /// A slot for a connection of this client's; nothing where there is no limit for
    /// addresses, and for a proxy, which is no client.
    pub(super) fn take_of_client(&self, address: IpAddr) -> Result<Option<AddressSlot>, Full> {
        if self.proxies.trusted.contains(address) {
            return Ok(None);
        }
        self.slots.take_of(Kind::Connection, address)
    }

    /// Refuses a connection: responds and closes, by what is returned if that takes
    /// time. With TLS it only closes, since a response would need a handshake.
    pub(super) fn refuse(
        &self,
        stream: TcpStream,
        full: Full,
    ) -> Option<impl Future<Output = ()> + Send + use<>> {
        tracing::debug!(?full, "refused a connection");
        let turn = self.certificate.is_none().then(|| self.refusals.turn(&stream)).flatten()?;
        Some(refusal::answer(stream, turn))
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
