//! Joins the two halves of a WebSocket that is passed on: what comes at one goes
//! out at the other, as it is. While nothing comes it keeps no buffer.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::Passing;

/// Bytes read at a time.
const CHUNK: usize = 16 << 10;
/// Reads after which others have their turn.
const TURN: usize = 16;

thread_local! {
    /// A thread's read buffer: what it holds is written at once, or kept.
    static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

type Half = TokioIo<Upgraded>;

/// Passes bytes both ways until both sides have ended, one breaks, or this node
/// stops.
pub(crate) async fn join(client: Upgraded, node: Upgraded, mut passing: Passing) {
    let (mut client, mut node) = (TokioIo::new(client), TokioIo::new(node));
    let (mut up, mut down) = (Direction::default(), Direction::default());
    let both = poll_fn(|cx| {
        let up = up.poll(cx, &mut client, &mut node)?;
        let down = down.poll(cx, &mut node, &mut client)?;
        if up.is_ready() && down.is_ready() {
            return Poll::Ready(Ok::<_, io::Error>(()));
        }
        passing.poll_leaving(cx).map(Ok)
    });
    if let Err(error) = both.await {
        tracing::debug!(%error, "a WebSocket that was passed on broke");
    }
}

/// One of the two.
#[derive(Default)]
struct Direction {
    /// What was read and not taken yet, from `gone` on.
    left: Vec<u8>,
    gone: usize,
    unflushed: bool,
    /// The end has been read.
    ended: bool,
    /// And has been passed on.
    over: bool,
}

impl Direction {
    fn poll(&mut self, cx: &mut Context<'_>, from: &mut Half, to: &mut Half) -> io::Result<Poll<()>> {
        for _ in 0..TURN {
            match self.poll_once(cx, from, to) {
                Poll::Ready(Ok(())) if self.over => return Ok(Poll::Ready(())),
                Poll::Ready(moved) => moved?,
                Poll::Pending => return Ok(Poll::Pending),
            }
        }
        cx.waker().wake_by_ref();
        Ok(Poll::Pending)
    }

    fn poll_once(&mut self, cx: &mut Context<'_>, from: &mut Half, to: &mut Half) -> Poll<io::Result<()>> {
        if self.over {
            return Poll::Ready(Ok(()));
        }
        if !self.left.is_empty() {
            while self.gone < self.left.len() {
                self.gone += ready!(write(cx, to, &self.left[self.gone..]))?;
            }
            (self.left, self.gone) = (Vec::new(), 0);
        }
        if self.ended {
            ready!(Pin::new(to).poll_shutdown(cx))?;
            self.over = true;
            return Poll::Ready(Ok(()));
        }
        let mut room = ROOM.take();
        room.resize(CHUNK, 0);
        let mut buffer = ReadBuf::new(&mut room);
        let read = Pin::new(from).poll_read(cx, &mut buffer);
        let count = buffer.filled().len();
        let moved = match read {
            Poll::Ready(Ok(())) => self.take(cx, &room[..count], to),
            other => other,
        };
        ROOM.set(room);
        if moved.is_pending() && self.unflushed {
            ready!(Pin::new(to).poll_flush(cx))?;
            self.unflushed = false;
        }
        moved
    }

    /// Passes on what was read: nothing is its end.
    fn take(&mut self, cx: &mut Context<'_>, bytes: &[u8], to: &mut Half) -> Poll<io::Result<()>> {
        if bytes.is_empty() {
            self.ended = true;
            return Poll::Ready(Ok(()));
        }
        self.unflushed = true;
        let mut gone = 0;
        while gone < bytes.len() {
            match write(cx, to, &bytes[gone..])? {
                Poll::Ready(count) => gone += count,
                Poll::Pending => break,
            }
        }
        self.left.extend_from_slice(&bytes[gone..]);
        Poll::Ready(Ok(()))
    }
}

fn write(cx: &mut Context<'_>, to: &mut Half, bytes: &[u8]) -> Poll<io::Result<usize>> {
    match ready!(Pin::new(to).poll_write(cx, bytes))? {
        0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        count => Poll::Ready(Ok(count)),
    }
}
