//! The bytes of one WebSocket in both directions: received but not decoded, and
//! written but not sent. An idle one keeps no buffer.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::upgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::frame::coding::OpCode;

use super::codec::{self, Decoder, Message};
use crate::accept::{self, OpenRequest, Upgraded};

/// Bytes read at a time: more than usually comes at once. A read that fills
/// less shows that there is no more, which saves a system call.
const CHUNK: usize = 16 << 10;

thread_local! {
    /// A thread's read buffer: its content is decoded at once.
    static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// One WebSocket.
pub(in crate::transport) struct Socket {
    bytes: Bytes,
    decoder: Decoder,
    /// Received bytes that are not decoded yet: an incomplete frame, or frames
    /// that must wait. At most the largest frame and one read.
    unread: Vec<u8>,
    /// Whether `unread` may begin with a complete frame.
    waiting: bool,
    /// Frames to send; the first may be sent in part. No frame is taken from
    /// the session before this is empty, which limits it.
    out: Vec<u8>,
    /// How many bytes of `out` are sent.
    gone: usize,
    /// Whether the stream below has data that it has not given to the kernel.
    unflushed: bool,
    /// What it is counted as, where it is.
    _open: Option<OpenRequest>,
}

/// The stream below.
enum Bytes {
    /// Our own socket, taken over from HTTP/1.1.
    Own(accept::Socket),
    /// A stream of HTTP/2.
    Stream(TokioIo<upgrade::Upgraded>),
}

/// The bytes of a read, decoded frame by frame.
pub(in crate::transport) struct ReadBuffer {
    bytes: Vec<u8>,
    from: usize,
    to: usize,
    /// Whether `bytes` is the thread's buffer.
    lent: bool,
}

impl Socket {
    /// For messages of at most so many bytes.
    pub(in crate::transport) fn new(upgraded: Upgraded, most: usize) -> Self {
        let (bytes, unread) = match upgraded.stream.downcast::<accept::Socket>() {
            Ok(parts) => (Bytes::Own(parts.io), parts.read_buf.to_vec()),
            Err(stream) => (Bytes::Stream(TokioIo::new(stream)), Vec::new()),
        };
        let waiting = !unread.is_empty();
        Self {
            bytes,
            decoder: Decoder::new(most),
            unread,
            waiting,
            out: Vec::new(),
            gone: 0,
            unflushed: false,
            _open: upgraded.open,
        }
    }

    /// Waits for bytes; `None` at the end. Bytes that are not decoded must be
    /// given back with [`Socket::keep`].
    pub(in crate::transport) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<ReadBuffer>>> {
        if self.waiting {
            return Poll::Ready(Ok(Some(ReadBuffer::all(std::mem::take(&mut self.unread)))));
        }
        let mut room = ROOM.take();
        room.resize(CHUNK, 0);
        let mut buffer = ReadBuf::new(&mut room);
        let polled = self.bytes.poll_read(cx, &mut buffer);
        let count = buffer.filled().len();
        if !matches!(polled, Poll::Ready(Ok(()))) || count == 0 {
            ROOM.set(room);
            return polled.map_ok(|()| None);
        }
        if self.unread.is_empty() {
            return Poll::Ready(Ok(Some(ReadBuffer { bytes: room, from: 0, to: count, lent: true })));
        }
        let mut bytes = std::mem::take(&mut self.unread);
        bytes.extend_from_slice(&room[..count]);
        ROOM.set(room);
        Poll::Ready(Ok(Some(ReadBuffer::all(bytes))))
    }

    /// Decodes the next message, if it is complete.
    pub(in crate::transport) fn decode<'a>(
        &mut self,
        heard: &'a mut ReadBuffer,
    ) -> Result<Option<Message<'a>>, codec::Wrong> {
        let decoded = self.decoder.decode(&mut heard.bytes[heard.from..heard.to])?;
        Ok(decoded.map(|(message, length)| {
            heard.from += length;
            message
        }))
    }

    /// Keeps bytes that were not decoded. `waiting`: there may be complete
    /// frames, to be decoded before more is read.
    pub(in crate::transport) fn keep(&mut self, mut heard: ReadBuffer, waiting: bool) {
        self.waiting = waiting && heard.from < heard.to;
        if heard.lent {
            self.unread.extend_from_slice(&heard.bytes[heard.from..heard.to]);
            ROOM.set(heard.bytes);
        } else if heard.from < heard.to {
            heard.bytes.drain(..heard.from);
            self.unread = heard.bytes;
        }
    }

    /// Sends frames. What the peer does not take at once is kept.
    pub(in crate::transport) fn write(&mut self, cx: &mut Context<'_>, frames: &[u8]) -> io::Result<()> {
        let taken = if self.out.is_empty() { self.bytes.write_some(cx, frames)? } else { 0 };
        self.out.extend_from_slice(&frames[taken..]);
        self.unflushed = true;
        Ok(())
    }

    /// Adds a frame to the outgoing ones.
    pub(in crate::transport) fn push(&mut self, opcode: OpCode, payload: &[u8]) {
        codec::encode(&mut self.out, opcode, payload);
    }

    /// Adds a close frame to the outgoing ones.
    pub(in crate::transport) fn push_close(&mut self, code: Option<u16>, reason: &str) {
        codec::encode_close(&mut self.out, code, reason);
    }

    /// Waits until everything is sent.
    pub(in crate::transport) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.out.is_empty() {
            self.gone += self.bytes.write_some(cx, &self.out[self.gone..])?;
            if self.gone < self.out.len() {
                return Poll::Pending;
            }
            (self.out, self.gone, self.unflushed) = (Vec::new(), 0, true);
        }
        if self.unflushed {
            ready!(self.bytes.poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Closes the sending half.
    pub(in crate::transport) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.bytes {
            Bytes::Own(socket) => socket.poll_shutdown(cx),
            Bytes::Stream(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    /// Reads and drops bytes, up to the end or to this many.
    pub(in crate::transport) fn poll_drain(
        &mut self,
        cx: &mut Context<'_>,
        left: &mut usize,
    ) -> Poll<io::Result<()>> {
        (self.unread, self.waiting) = (Vec::new(), false);
        loop {
            let Some(heard) = ready!(self.poll_read(cx))? else { return Poll::Ready(Ok(())) };
            *left = left.saturating_sub(heard.to);
            self.keep(ReadBuffer { from: heard.to, ..heard }, false);
            if *left == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// The received bytes that could not be handled: of an incomplete frame or
    /// message, or of frames that must wait.
    pub(in crate::transport) fn held(&self) -> usize {
        self.unread.len() + self.decoder.held()
    }
}

impl Bytes {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Own(socket) => socket.poll_read(cx, buffer),
            Self::Stream(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }

    /// Writes as much as is taken at once, and returns how much that was.
    fn write_some(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        while taken < bytes.len() {
            match self.poll_write(cx, &bytes[taken..])? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(count) => taken += count,
                Poll::Pending => break,
            }
        }
        Ok(taken)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Own(socket) => socket.poll_write(cx, bytes),
            Self::Stream(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Own(socket) => socket.poll_flush(cx),
            Self::Stream(stream) => Pin::new(stream).poll_flush(cx),
        }
    }
}

impl ReadBuffer {
    fn all(bytes: Vec<u8>) -> Self {
        Self { from: 0, to: bytes.len(), bytes, lent: false }
    }
}
