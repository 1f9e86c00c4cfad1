//! A client's socket as hyper sees it. It holds the connection's slot while the
//! socket lives, even after an upgrade; it shows every incoming byte to the
//! scan; and it fails when the node gives up, whoever owns it then.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::give_up::SocketGiveUp;
use super::scan::{Scan, Verdict};
use super::slots::{AddressSlot, Slot};
use super::stream::Stream;

/// The most bytes read ahead of hyper: of a new request, or of requests that
/// come during a long response.
const READ_AHEAD: usize = 4_096;

/// A socket and what belongs to it.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TokioIo<Stream>,
    /// The scan; `None` when there is nothing more to check.
    scan: Option<Box<Scan>>,
    verdict: Arc<Verdict>,
    /// Bytes that were read and scanned, but not given to hyper yet. Empty
    /// without an allocation.
    unread: Vec<u8>,
    /// Wakes a waiting reader or writer when all sockets must close.
    give_up: SocketGiveUp,
    /// `None` until the connection ends.
    lingering: Option<Box<Lingering>>,
    _held: Held,
}

/// What is released when a socket closes.
pub(super) type Held = (Slot, Option<AddressSlot>, TaskTrackerToken);

impl Socket {
    pub(super) fn new(stream: Stream, give_up: SocketGiveUp, held: Held) -> Self {
        Self {
            stream: TokioIo::new(stream),
            scan: Some(Box::default()),
            verdict: Arc::default(),
            unread: Vec::new(),
            give_up,
            lingering: None,
            _held: held,
        }
    }

    /// What the scan has found so far.
    pub(super) fn verdict(&self) -> Arc<Verdict> {
        self.verdict.clone()
    }

    /// The bytes that were read ahead.
    pub(super) fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// Puts back bytes that hyper has read but not used.
    pub(super) fn put_back(&mut self, bytes: &[u8]) {
        self.unread.splice(..0, bytes.iter().copied());
    }

    /// Reads ahead, up to [`READ_AHEAD`] bytes. Fails at the end of what the
    /// peer sends.
    pub(super) async fn read_ahead(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_ahead(cx)).await
    }

    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let room = READ_AHEAD.saturating_sub(self.unread.len());
        if room == 0 {
            // These must be used first.
            return Poll::Pending;
        }
        let mut bytes = [0_u8; READ_AHEAD];
        let mut read = ReadBuf::new(&mut bytes[..room]);
        let polled = Pin::new(self.stream.inner_mut()).poll_read(cx, &mut read);
        let polled = self.or_end(cx, polled);
        if let Poll::Ready(Ok(())) = polled {
            if read.filled().is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            self.scan(read.filled());
            self.unread.extend_from_slice(read.filled());
        }
        polled
    }

    /// Waits for something else while the peer is there. Fails when the peer
    /// closes its half of the connection.
    pub(super) async fn unless_gone<F: Future>(&mut self, awaited: F) -> io::Result<F::Output> {
        let mut awaited = pin!(awaited);
        poll_fn(|cx| {
            if let Poll::Ready(output) = awaited.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            while let Poll::Ready(read) = self.poll_ahead(cx) {
                read?;
            }
            Poll::Pending
        })
        .await
    }

    fn scan(&mut self, bytes: &[u8]) {
        if self.verdict.is_over() {
            self.scan = None;
        }
        if let Some(scan) = &mut self.scan {
            scan.see(bytes, &self.verdict);
        }
    }

    /// Gives bytes that were read ahead, as many as there is room for. Returns
    /// false if there are none.
    fn give_unread(&mut self, room: usize, put: impl FnOnce(&[u8])) -> bool {
        if self.unread.is_empty() {
            return false;
        }
        let count = self.unread.len().min(room);
        put(&self.unread[..count]);
        self.unread.drain(..count);
        if self.unread.is_empty() {
            self.unread = Vec::new();
        }
        true
    }

    fn read(&mut self, cx: &mut Context<'_>, mut buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if self.give_unread(buffer.remaining(), |bytes| buffer.put_slice(bytes)) {
            return Poll::Ready(Ok(()));
        }
        if self.scan.is_none() || self.verdict.is_over() {
            self.scan = None;
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        // Hyper's cursor does not show what a read has put into it without
        // unsafe code, so the bytes pass through a buffer on the stack.
        let mut bytes = [0_u8; 4_096];
        let room = bytes.len().min(buffer.remaining());
        let mut read = tokio::io::ReadBuf::new(&mut bytes[..room]);
        match tokio::io::AsyncRead::poll_read(Pin::new(self.stream.inner_mut()), cx, &mut read) {
            Poll::Ready(Ok(())) => {
                let filled = read.filled();
                if let Some(scan) = &mut self.scan {
                    scan.see(filled, &self.verdict);
                }
                buffer.put_slice(filled);
                Poll::Ready(Ok(()))
            }
            other => other,
        }
    }

    /// Reads, for the owner of the socket after an upgrade.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.scan = None;
        if self.give_unread(buffer.remaining(), |bytes| buffer.put_slice(bytes)) {
            return Poll::Ready(Ok(()));
        }
        let polled = Pin::new(self.stream.inner_mut()).poll_read(cx, buffer);
        self.or_end(cx, polled)
    }

    /// Writes, for the owner of the socket after an upgrade.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(self.stream.inner_mut()).poll_write(cx, bytes);
        self.or_end(cx, polled)
    }

    /// Waits until what has been written is with the kernel.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(self.stream.inner_mut()).poll_flush(cx);
        self.or_end(cx, polled)
    }

    /// Whoever waits for the socket also waits for the end of the node. Without
    /// waiting it goes on: then its session ends it.
    fn or_end<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_pending() && self.give_up.poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        polled
    }
}

/// How much is read of a peer after the last response, in bytes and time.
const LINGER_BYTES: usize = 16 << 20;
const LINGER: Duration = Duration::from_secs(5);

/// The end of a connection on which a request had not ended: the response is
/// sent, and nothing more is.
#[derive(Debug)]
struct Lingering {
    until: Pin<Box<Sleep>>,
    left: usize,
}

impl Socket {
    /// Closes the sending half, for the owner of the socket after an upgrade.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(self.stream.inner_mut()).poll_shutdown(cx);
        self.or_end(cx, polled)
    }

    /// Whether the peer may be sending something.
    fn is_amid_request(&self) -> bool {
        self.verdict.is_over() || self.scan.as_ref().is_none_or(|scan| scan.is_amid_request())
    }

    /// Reads on for a moment, and drops the bytes. If bytes were left unread,
    /// the kernel would reset the connection, and the peer might never see its
    /// response.
    fn linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let lingering = self.lingering.get_or_insert_with(|| {
            Box::new(Lingering { until: Box::pin(sleep(LINGER)), left: LINGER_BYTES })
        });
        let mut bytes = [0_u8; READ_AHEAD];
        while lingering.left > 0 && lingering.until.as_mut().poll(cx).is_pending() {
            let mut read = ReadBuf::new(&mut bytes);
            match Pin::new(self.stream.inner_mut()).poll_read(cx, &mut read) {
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {
                    lingering.left = lingering.left.saturating_sub(read.filled().len());
                }
                Poll::Ready(_) => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }
}

impl Read for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = self.read(cx, buffer);
        self.or_end(cx, polled)
    }
}

impl Write for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.verdict.stall(polled.is_pending());
        self.or_end(cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.or_end(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            let polled = Socket::poll_shutdown(&mut self, cx);
            ready!(polled)?;
            if !self.is_amid_request() {
                return Poll::Ready(Ok(()));
            }
        }
        let polled = self.linger(cx).map(Ok);
        self.or_end(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.verdict.stall(polled.is_pending());
        self.or_end(cx, polled)
    }
}
