//! One session that polls and streams: an exchange, which outlives requests, and
//! at most one request that receives of it. Requests that send come beside it.

use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use daemon::lock::{Lock, LockGuard};
use tokio::time::Instant;

use super::frame::Frame;
use super::sessions::{Name, Sessions};
use crate::accept::long_response;
use crate::order;
use crate::transport::inside::{Close, Exchange, Message, Refusal};

/// For a request that would receive beside another one.
const BUSY: Close = Close::new(2010, "Another connection still open");
/// For those that come after one that broke: what it was sent may be lost.
const INTERRUPTED: Close = Close::new(1002, "Connection interrupted");

/// Messages in one frame.
const BATCH: usize = 64;

/// A session, shared by its requests.
pub(super) struct Session {
    pub(super) name: Name,
    /// Those that it is one of.
    among: Weak<Sessions>,
    state: Lock<{ order::FRAMING }, State>,
    /// One request sends at a time, in the order in which they came.
    sending: tokio::sync::Mutex<()>,
}

struct State {
    /// Gone when the session is over.
    exchange: Option<Box<dyn Exchange>>,
    /// The open frame has not been sent.
    is_new: bool,
    /// A request receives.
    receives: bool,
    /// The task of that request, and of the one that sends.
    waker: Option<Waker>,
    sender: Option<Waker>,
    /// What whoever receives is told, once the session is over.
    close: Option<Close>,
    /// When the last request that received ended.
    left: Instant,
    /// It is among those that are looked after, or soon forgotten.
    watched: bool,
}

/// Whether a session may be forgotten.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Absence {
    /// Nobody has received for long: it is over.
    Over,
    /// Nobody receives, but not for long yet: it is looked at again.
    Soon,
    /// None: another request receives.
    None,
}

impl Session {
    pub(super) fn new(name: Name, among: &Arc<Sessions>, exchange: Box<dyn Exchange>) -> Arc<Self> {
        let state = State {
            exchange: Some(exchange),
            is_new: true,
            receives: false,
            waker: None,
            sender: None,
            close: None,
            left: Instant::now(),
            watched: false,
        };
        let (among, state) = (Arc::downgrade(among), Lock::new(state));
        Arc::new(Self { name, among, state, sending: tokio::sync::Mutex::default() })
    }

    fn lock(&self) -> LockGuard<'_, State> {
        self.state.lock()
    }

    /// Begins to receive. Nothing: the session has been forgotten in this moment.
    pub(super) fn receive(self: &Arc<Self>) -> Option<Receiver> {
        let mut state = self.lock();
        if let Some(close) = state.close.clone() {
            // Told as often as somebody asks; meanwhile the session is kept.
            state.left = Instant::now();
            return Some(Receiver { of: None, close: Some(close) });
        }
        if state.receives {
            return Some(Receiver::busy());
        }
        state.exchange.as_ref()?;
        state.receives = true;
        Some(Receiver { of: Some(self.clone()), close: None })
    }

    /// Waits until no other request sends.
    pub(super) async fn turn(&self) -> Turn<'_> {
        Turn { session: self, _alone: self.sending.lock().await }
    }

    /// The request that received has ended; the session with it, if there is a
    /// reason why.
    fn leave(self: Arc<Self>, why: Option<Close>) {
        let mut state = self.lock();
        state.receives = false;
        state.waker = None;
        state.left = Instant::now();
        let watched = std::mem::replace(&mut state.watched, true);
        match why {
            Some(close) if state.close.is_none() => end(state, close),
            _ => drop(state),
        }
        if !watched && let Some(among) = self.among.upgrade() {
            among.watch(&self);
        }
    }

    /// Whether it is over because nobody has received for so long. If so, it ends
    /// now; while somebody receives it is not watched any more.
    pub(super) fn absence(&self, timeout: Duration) -> Absence {
        let mut state = self.lock();
        if state.receives {
            state.watched = false;
            return Absence::None;
        }
        if state.left + timeout > Instant::now() {
            return Absence::Soon;
        }
        if let Some(exchange) = &mut state.exchange {
            // Nobody is there to be told.
            exchange.lose();
        }
        finish(state);
        Absence::Over
    }
}

/// The right to send.
pub(super) struct Turn<'a> {
    session: &'a Session,
    _alone: tokio::sync::MutexGuard<'a, ()>,
}

impl Turn<'_> {
    /// So many bytes are held that are not heard yet.
    pub(super) fn hold(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.session.lock().exchange.as_mut().map_or(Ok(()), |exchange| exchange.hold(bytes))
    }

    /// Hands messages to the exchange, each when it is ready for it. What comes
    /// after the end of a session has no effect: whoever receives is told.
    pub(super) async fn send(self, messages: Vec<String>) {
        for message in messages {
            let mut message = Some(message);
            let heard = poll_fn(|cx| {
                let mut state = self.session.lock();
                let Some(exchange) = &mut state.exchange else { return Poll::Ready(false) };
                if exchange.poll_ready(cx).is_pending() {
                    state.sender = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                let message = Message::Text(message.take().unwrap_or_default());
                let Err(close) = exchange.hear(message) else { return Poll::Ready(true) };
                end(state, close);
                Poll::Ready(false)
            });
            if !heard.await {
                return;
            }
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Less is never refused.
        let _ = self.hold(0);
    }
}

impl long_response::Source for Session {
    fn is_over(&self) -> bool {
        self.lock().exchange.is_none()
    }

    fn lost(&self) {
        if let Some(exchange) = &mut self.lock().exchange {
            exchange.lose();
        }
    }
}

/// The session is over; whoever receives is told now, others when they ask.
fn end(mut state: LockGuard<'_, State>, close: Close) {
    state.close = Some(close);
    finish(state);
}

fn finish(mut state: LockGuard<'_, State>) {
    let exchange = state.exchange.take();
    let wakers = [state.waker.take(), state.sender.take()];
    drop(state);
    // Takes locks of its own.
    drop(exchange);
    wakers.into_iter().flatten().for_each(Waker::wake);
}

/// The right to receive. Dropped without [`Receiver::done`] its request broke,
/// and nobody knows what of its answer has arrived: the session is over.
pub(super) struct Receiver {
    /// Nothing for a request that is only told how the session ended.
    of: Option<Arc<Session>>,
    close: Option<Close>,
}

impl Receiver {
    /// For a request beside another one.
    pub(super) fn busy() -> Self {
        Self { of: None, close: Some(BUSY) }
    }

    /// What it receives of; nothing when it is only told of an end.
    pub(super) fn session(&self) -> Option<Arc<Session>> {
        self.of.clone()
    }

    /// Waits for the next frame. Nothing comes after a close frame.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Frame> {
        if let Some(close) = &self.close {
            return Poll::Ready(Frame::Close(close.clone()));
        }
        let Some(session) = &self.of else { return Poll::Pending };
        let mut state = session.lock();
        if std::mem::take(&mut state.is_new) {
            return Poll::Ready(Frame::Open);
        }
        let mut messages = Vec::new();
        let said = state.exchange.as_mut().map(|exchange| exchange.poll_say(cx, &mut messages, BATCH));
        match said {
            Some(Poll::Pending) => {
                state.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Some(Poll::Ready(Ok(()))) => return Poll::Ready(Frame::Messages(messages)),
            Some(Poll::Ready(Err(close))) => end(state, close),
            None => drop(state),
        }
        if !messages.is_empty() {
            return Poll::Ready(Frame::Messages(messages));
        }
        let close = session.lock().close.clone().unwrap_or(INTERRUPTED);
        // The next request is told the same, and not that this one is still open.
        self.done();
        self.close = Some(close.clone());
        Poll::Ready(Frame::Close(close))
    }

    /// All that was given has gone to the client.
    pub(super) fn done(&mut self) {
        if let Some(session) = self.of.take() {
            session.leave(None);
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(session) = self.of.take() {
            session.leave(Some(INTERRUPTED));
        }
    }
}
