//! A client's socket as hyper sees it. Holds the connection's place for as
//! long as the socket lives, also after an upgrade has taken it out of the
//! connection; shows the scan every byte on its way in; and breaks when the
//! node gives up, whoever has it by then.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::places::Place;
use super::scan::{Scan, Verdict};
use super::stream::Stream;

/// The socket and what goes with it.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TokioIo<Stream>,
    /// Taken away when nothing more is to be looked at.
    scan: Option<Box<Scan>>,
    verdict: Arc<Verdict>,
    /// Wakes whoever waits for this socket when all are to close.
    give_up: Pin<Box<WaitForCancellationFutureOwned>>,
    _held: Held,
}

/// What is given back when a socket closes.
pub(super) type Held = (Place, TaskTrackerToken);

impl Socket {
    pub(super) fn new(stream: Stream, give_up: CancellationToken, held: Held) -> Self {
        Self {
            stream: TokioIo::new(stream),
            scan: Some(Box::default()),
            verdict: Arc::default(),
            give_up: Box::pin(give_up.cancelled_owned()),
            _held: held,
        }
    }

    /// What the scan has found so far.
    pub(super) fn verdict(&self) -> Arc<Verdict> {
        self.verdict.clone()
    }

    fn read(&mut self, cx: &mut Context<'_>, mut buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
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

    /// A socket that has to wait waits for the end as well. One that goes on
    /// without waiting is in a session's hands, which ends by itself.
    fn or_end<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_pending() && self.give_up.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        polled
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
        self.or_end(cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.or_end(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
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
        self.or_end(cx, polled)
    }
}
