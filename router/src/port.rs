//! The port that gateways connect to: accepts connections, lets in whom TLS lets in,
//! and ends those on which no link is opened.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use daemon::internal_tls::InternalTls;
use daemon::log_limit::LogLimit;
use daemon::stream::{Accepted, Listener, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Sleep, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::server::Connected;

use crate::metrics;

/// After an error of `accept`, which most often is that there are no file
/// descriptors left.
const BACK_OFF: Duration = Duration::from_millis(100);
/// Connections whose TLS has not begun or is under way. They are counted apart from
/// the others, so that strangers cannot take the place of gateways.
const HANDSHAKES: usize = 256;
/// Connections that are let in and that the server has not taken yet.
const LET_IN: usize = 16;
/// Seconds between two log lines about connections that are refused.
const LINE_EVERY: u64 = 10;

/// How gateways reach a router.
#[derive(Debug, Clone)]
pub struct Port {
    /// Which gateways are let in; nothing: whoever comes, without TLS.
    pub tls: Option<InternalTls>,
    /// Connections at once; one more is closed.
    pub connections: usize,
    /// For TLS, and for the first link of a connection. A connection that has no
    /// link for so long is ended, too.
    pub patience: Duration,
}

impl Default for Port {
    fn default() -> Self {
        Self { tls: None, connections: 1_000, patience: Duration::from_secs(10) }
    }
}

/// Accepts until `shutdown`. Its tasks are on `tracker`.
pub(crate) fn listen(
    listener: Listener,
    port: Port,
    tracker: &TaskTracker,
    shutdown: CancellationToken,
) -> mpsc::Receiver<io::Result<Connection>> {
    let (let_in, connections) = mpsc::channel(LET_IN);
    let doorkeeper = Arc::new(Doorkeeper {
        open: Arc::new(Semaphore::new(port.connections)),
        handshakes: Arc::new(Semaphore::new(HANDSHAKES)),
        lines: LogLimit::new(LINE_EVERY),
        port,
        let_in,
    });
    let tasks = tracker.clone();
    tracker.spawn(async move { shutdown.run_until_cancelled(doorkeeper.accept(listener, tasks)).await });
    connections
}

struct Doorkeeper {
    port: Port,
    open: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    lines: LogLimit,
    let_in: mpsc::Sender<io::Result<Connection>>,
}

impl Doorkeeper {
    async fn accept(self: Arc<Self>, mut listener: Listener, tasks: TaskTracker) {
        loop {
            match listener.accept().await {
                Ok((Accepted::Given(stream), peer)) => self.take(Stream::Given(stream), peer).await,
                Ok((Accepted::Tcp(stream), peer)) => {
                    // Otherwise it has gone already.
                    if stream.set_nodelay(true).is_err() {
                        continue;
                    }
                    match self.handshakes.clone().try_acquire_owned() {
                        Ok(turn) => {
                            let keeper = self.clone();
                            tasks.spawn(async move { keeper.let_in(stream, peer, turn).await });
                        }
                        Err(_) => self.refused("full", peer, &"too many are at the door"),
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "cannot accept connections of gateways");
                    sleep(BACK_OFF).await;
                }
            }
        }
    }

    async fn let_in(&self, stream: TcpStream, peer: SocketAddr, turn: OwnedSemaphorePermit) {
        let stream = match &self.port.tls {
            None => Stream::Plain(stream),
            Some(tls) => match timeout(self.port.patience, tls.accept(stream)).await {
                Ok(Ok(stream)) => Stream::Tls(Box::new(stream)),
                Ok(Err(error)) => return self.refused("certificate", peer, &error),
                Err(_) => return self.refused("late", peer, &"no TLS in time"),
            },
        };
        drop(turn);
        self.take(stream, peer).await;
    }

    async fn take(&self, stream: Stream, peer: SocketAddr) {
        let Ok(slot) = self.open.clone().try_acquire_owned() else {
            return self.refused("full", peer, &"--max-links are open");
        };
        let links = Links::default();
        let wait = Box::pin(sleep(self.port.patience));
        let patience = self.port.patience;
        let connection = Connection { stream, links, opened: 0, wait, patience, _slot: slot };
        // Gone: the server has ended.
        let _ = self.let_in.send(Ok(connection)).await;
    }

    fn refused(&self, reason: &'static str, peer: SocketAddr, why: &dyn std::fmt::Display) {
        metrics::REFUSED.add(&[reason], 1);
        if let Some(left_out) = self.lines.allow() {
            tracing::warn!(%peer, %why, left_out, "a connection was refused");
        }
    }
}

/// A gateway's connection.
pub(crate) struct Connection {
    stream: Stream,
    links: Links,
    /// How many links had been opened when `wait` began.
    opened: usize,
    wait: Pin<Box<Sleep>>,
    patience: Duration,
    _slot: OwnedSemaphorePermit,
}

/// The links of one connection; a request finds them among its extensions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Links(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    open: AtomicUsize,
    /// Since the connection began.
    opened: AtomicUsize,
}

/// An open link of a connection, for as long as it is held.
#[derive(Debug)]
pub(crate) struct LinkSlot(Links);

impl Links {
    pub(crate) fn open(&self) -> LinkSlot {
        self.0.open.fetch_add(1, Ordering::Relaxed);
        self.0.opened.fetch_add(1, Ordering::Relaxed);
        LinkSlot(self.clone())
    }
}

impl Drop for LinkSlot {
    fn drop(&mut self) {
        self.0.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connected for Connection {
    type ConnectInfo = Links;

    fn connect_info(&self) -> Links {
        self.links.clone()
    }
}

impl Connection {
    /// Ready when it has had no link for as long as may be.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.wait.as_mut().poll(cx).is_ready() {
            let opened = self.links.0.opened.load(Ordering::Relaxed);
            if opened == self.opened && self.links.0.open.load(Ordering::Relaxed) == 0 {
                return Poll::Ready(());
            }
            self.opened = opened;
            self.wait = Box::pin(sleep(self.patience));
        }
        Poll::Pending
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = pin!(&mut this.stream).poll_read(cx, buffer);
        if this.poll_idle(cx).is_ready() {
            metrics::REFUSED.add(&["late"], 1);
            let why = "no link on this connection in time";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)));
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        pin!(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        pin!(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
