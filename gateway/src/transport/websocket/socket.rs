//! The bytes of one WebSocket, both ways: what has come and is not taken yet,
//! and what is on its way. An idle one keeps no buffer.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::frame::coding::OpCode;

use super::codec::{self, Decoder, Message};
use crate::accept;

/// Bytes read at a time. More than most of what comes at once: a read that
/// fills less says that there is no more, and saves asking.
const CHUNK: usize = 16 << 10;

thread_local! {
    /// A thread's room to read into: what comes is taken at once.
    static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// One WebSocket.
pub(in crate::transport) struct Socket {
    bytes: Bytes,
    decoder: Decoder,
    /// What has come and is not taken yet: less than a frame, or frames that
    /// must wait. Bounded by the largest frame and one read.
    unread: Vec<u8>,
    /// `unread` may begin with a whole frame.
    waiting: bool,
    /// Whole frames, the first perhaps half gone. Bounded by what was written
    /// when it was empty: until then nothing more is taken from the session.
    out: Vec<u8>,
    /// So much of `out` has gone.
    gone: usize,
    /// The transport below has something that it has not given the kernel.
    unflushed: bool,
}

/// What carries them.
enum Bytes {
    /// Our own socket, taken back from HTTP/1.1.
    Own(accept::Socket),
    /// A stream of HTTP/2.
    Stream(TokioIo<Upgraded>),
}

/// What a read has brought, to be taken frame by frame.
pub(in crate::transport) struct Heard {
    bytes: Vec<u8>,
    from: usize,
    to: usize,
    /// `bytes` is the thread's room.
    lent: bool,
}

impl Socket {
    /// For messages of at most so many bytes.
    pub(in crate::transport) fn new(upgraded: Upgraded, most: usize) -> Self {
        let (bytes, unread) = match upgraded.downcast::<accept::Socket>() {
            Ok(parts) => (Bytes::Own(parts.io), parts.read_buf.to_vec()),
            Err(upgraded) => (Bytes::Stream(TokioIo::new(upgraded)), Vec::new()),
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
        }
    }

    /// Waits for bytes; none at the end. What is not taken of them is to be
    /// given back with [`Socket::keep`].
    pub(in crate::transport) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<Heard>>> {
        if self.waiting {
            return Poll::Ready(Ok(Some(Heard::all(std::mem::take(&mut self.unread)))));
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
            return Poll::Ready(Ok(Some(Heard { bytes: room, from: 0, to: count, lent: true })));
        }
        let mut bytes = std::mem::take(&mut self.unread);
        bytes.extend_from_slice(&room[..count]);
        ROOM.set(room);
        Poll::Ready(Ok(Some(Heard::all(bytes))))
    }

    /// The next message, if all of it is there.
    pub(in crate::transport) fn decode<'a>(
        &mut self,
        heard: &'a mut Heard,
    ) -> Result<Option<Message<'a>>, codec::Wrong> {
        let decoded = self.decoder.decode(&mut heard.bytes[heard.from..heard.to])?;
        Ok(decoded.map(|(message, length)| {
            heard.from += length;
            message
        }))
    }

    /// Keeps what has not been taken. `waiting`: there may be whole frames, to
    /// be taken before more is read.
    pub(in crate::transport) fn keep(&mut self, mut heard: Heard, waiting: bool) {
        self.waiting = waiting && heard.from < heard.to;
        if heard.lent {
            self.unread.extend_from_slice(&heard.bytes[heard.from..heard.to]);
            ROOM.set(heard.bytes);
        } else if heard.from < heard.to {
            heard.bytes.drain(..heard.from);
            self.unread = heard.bytes;
        }
    }

    /// Gives frames on their way. What the peer does not take at once is kept.
    pub(in crate::transport) fn write(&mut self, cx: &mut Context<'_>, frames: &[u8]) -> io::Result<()> {
        let taken = if self.out.is_empty() { self.bytes.write_some(cx, frames)? } else { 0 };
        self.out.extend_from_slice(&frames[taken..]);
        self.unflushed = true;
        Ok(())
    }

    /// Adds a frame to what is on its way.
    pub(in crate::transport) fn push(&mut self, opcode: OpCode, payload: &[u8]) {
        codec::encode(&mut self.out, opcode, payload);
    }

    /// Adds a close frame.
    pub(in crate::transport) fn push_close(&mut self, code: Option<u16>, reason: &str) {
        codec::encode_close(&mut self.out, code, reason);
    }

    /// Waits until all has gone that is on its way.
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

    /// Waits until the peer knows that nothing more comes.
    pub(in crate::transport) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.bytes {
            Bytes::Own(socket) => socket.poll_shutdown(cx),
            Bytes::Stream(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    /// Drops what comes, up to the end or to so many bytes.
    pub(in crate::transport) fn poll_drain(
        &mut self,
        cx: &mut Context<'_>,
        left: &mut usize,
    ) -> Poll<io::Result<()>> {
        (self.unread, self.waiting) = (Vec::new(), false);
        loop {
            let Some(heard) = ready!(self.poll_read(cx))? else { return Poll::Ready(Ok(())) };
            *left = left.saturating_sub(heard.to);
            self.keep(Heard { from: heard.to, ..heard }, false);
            if *left == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Bytes of what has come and could not be taken: of a frame or a message that
    /// is not whole, or of frames that must wait.
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

    /// Writes as much as is taken at once, and says how much that was.
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

impl Heard {
    fn all(bytes: Vec<u8>) -> Self {
        Self { from: 0, to: bytes.len(), bytes, lent: false }
    }
}
