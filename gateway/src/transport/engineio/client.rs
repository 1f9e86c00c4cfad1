//! A client that polls: its exchange from one request to the next, and which
//! requests of its are under way. Asked by its poll, its POST and the WebSocket
//! that it may go on with, at the same time.

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use daemon::lock::{Lock, LockGuard};
use tokio::time::{Instant, Sleep};

use super::heartbeat::Heartbeat;
use super::packet::Payload;
use super::portions::Portions;
use super::refusal::Refusal;
use crate::order;
use crate::transport::inside::{Close, Exchange, Message};

/// Packets in the answer to a poll: python-engineio refuses an answer with more
/// and loses its connection.
const PACKETS: usize = 16;
/// Of these for what is said; the last may be a close.
const SAID: usize = PACKETS - 1;
/// Once a WebSocket has probed, a poll is answered after so long, though there is
/// nothing: its client waits for that before it goes on there.
const NOOP: Duration = Duration::from_millis(100);

/// One client.
pub(super) struct Client {
    pub(super) id: String,
    /// Protects all that changes; held while its exchange is asked.
    state: Lock<{ order::FRAMING }, State>,
}

struct State {
    /// Nothing once it is over, or goes on over a WebSocket.
    exchange: Option<Box<dyn Exchange>>,
    heartbeat: Heartbeat,
    /// A poll is under way, and who waits in it.
    polling: bool,
    poll: Option<Waker>,
    /// A POST is under way, and who waits in it.
    posting: bool,
    post: Option<Waker>,
    upgrade: Upgrade,
    /// The WebSocket that waits for what becomes of this client.
    probing: Option<Waker>,
    over: Option<Over>,
}

/// How far it has come on its way to a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upgrade {
    No,
    /// One is open.
    Begun,
    /// It has been answered, at this time.
    Probed(Instant),
    Done,
}

/// How it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// The client said so. A poll of its may be on its way still, and is answered
    /// as one that was there.
    Left,
    Ended,
}

impl Client {
    pub(super) fn new(id: String, exchange: Box<dyn Exchange>, heartbeat: Heartbeat) -> Self {
        let state = State {
            exchange: Some(Box::new(Portions::of(exchange))),
            heartbeat,
            polling: false,
            poll: None,
            posting: false,
            post: None,
            upgrade: Upgrade::No,
            probing: None,
            over: None,
        };
        Self { id, state: Lock::new(state) }
    }

    /// Ends it, unless it has ended.
    pub(super) fn end(&self, over: Over) {
        let exchange = self.lock().end(over);
        // Its own locks are taken without ours.
        drop(exchange);
    }

    /// Whether nothing more is to come of it here.
    pub(super) fn is_over(&self) -> bool {
        self.lock().over.is_some()
    }

    /// It has not come for too long, and no WebSocket has it.
    pub(super) fn is_lost(&self, now: Instant) -> bool {
        let state = self.lock();
        state.upgrade != Upgrade::Done && state.heartbeat.is_lost(now)
    }

    /// A poll begins. Two at once end the client: which one gets what would be
    /// chance.
    pub(super) fn begin_poll(&self) -> Result<(), Refusal> {
        let mut state = self.lock();
        state.may_come()?;
        if state.polling {
            let exchange = state.end(Over::Ended);
            drop(state);
            drop(exchange);
            return Err(Refusal::Request);
        }
        if state.over == Some(Over::Ended) {
            return Err(Refusal::Id);
        }
        state.polling = true;
        Ok(())
    }

    /// Waits for what the poll that has begun is answered with: about `most` bytes.
    pub(super) fn poll(
        &self,
        cx: &mut Context<'_>,
        mut timer: Pin<&mut Sleep>,
        most: usize,
    ) -> Poll<Result<Payload, Refusal>> {
        loop {
            let mut state = self.lock();
            let mut ended = None;
            if let Some(answer) = state.answer(cx, most, &mut ended) {
                state.polling = false;
                state.poll = None;
                drop(state);
                drop(ended);
                return Poll::Ready(answer);
            }
            state.poll = Some(cx.waker().clone());
            timer.as_mut().reset(state.next());
            drop(state);
            ready!(timer.as_mut().poll(cx));
        }
    }

    /// A POST begins. Two at once end the client: their order would be chance.
    pub(super) fn begin_post(&self) -> Result<(), Refusal> {
        let mut state = self.lock();
        state.may_come()?;
        if state.over.is_some() {
            return Err(Refusal::Id);
        }
        if state.posting {
            let exchange = state.end(Over::Ended);
            drop(state);
            drop(exchange);
            return Err(Refusal::Request);
        }
        state.posting = true;
        Ok(())
    }

    pub(super) fn end_post(&self) {
        self.lock().posting = false;
    }

    /// Waits until a message may be heard; refused when it has ended meanwhile.
    pub(super) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        let mut state = self.lock();
        let Some(exchange) = &mut state.exchange else { return Poll::Ready(Err(Refusal::Request)) };
        let ready = exchange.poll_ready(cx);
        if ready.is_pending() {
            state.post = Some(cx.waker().clone());
        }
        ready.map(Ok)
    }

    pub(super) fn hear(&self, message: Message) -> Result<(), Refusal> {
        match &mut self.lock().exchange {
            Some(exchange) => exchange.hear(message).map_err(|_| Refusal::Request),
            None => Err(Refusal::Request),
        }
    }

    /// So many bytes of a POST are here that are not heard yet.
    pub(super) fn hold(&self, bytes: usize) -> Result<(), Refusal> {
        match &mut self.lock().exchange {
            Some(exchange) => exchange.hold(bytes).map_err(Refusal::Inside),
            None => Err(Refusal::Request),
        }
    }

    /// It lives.
    pub(super) fn pong(&self) {
        let mut state = self.lock();
        state.heartbeat.answered(Instant::now());
        // Its poll looked at the clock for the old time.
        wake(&mut state.poll);
    }

    /// A WebSocket comes for it; false when another one has or had it.
    pub(super) fn begin_upgrade(&self) -> bool {
        let mut state = self.lock();
        let free = state.upgrade == Upgrade::No && state.over.is_none();
        if free {
            state.upgrade = Upgrade::Begun;
        }
        free
    }

    /// That WebSocket works: polls come to an end.
    pub(super) fn probed(&self) {
        let mut state = self.lock();
        if state.upgrade != Upgrade::Done {
            state.upgrade = Upgrade::Probed(Instant::now());
        }
        wake(&mut state.poll);
    }

    /// That WebSocket is given up: polls go on.
    pub(super) fn give_up_upgrade(&self) {
        let mut state = self.lock();
        if state.upgrade != Upgrade::Done {
            state.upgrade = Upgrade::No;
        }
        state.probing = None;
    }

    /// Ready once it has ended, for the WebSocket that probes.
    pub(super) fn poll_over(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.over.is_some() {
            return Poll::Ready(());
        }
        state.probing = Some(cx.waker().clone());
        Poll::Pending
    }

    /// It goes on over that WebSocket, which has all of it from now on.
    pub(super) fn upgrade(&self) -> Option<(Box<dyn Exchange>, Heartbeat)> {
        let mut state = self.lock();
        let exchange = state.exchange.take()?;
        state.upgrade = Upgrade::Done;
        state.probing = None;
        wake(&mut state.poll);
        wake(&mut state.post);
        Some((exchange, state.heartbeat))
    }

    fn lock(&self) -> LockGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    /// Refused when it goes on elsewhere, or its time is over.
    fn may_come(&self) -> Result<(), Refusal> {
        if self.upgrade == Upgrade::Done {
            return Err(Refusal::Request);
        }
        if self.heartbeat.is_lost(Instant::now()) {
            return Err(Refusal::Id);
        }
        Ok(())
    }

    fn end(&mut self, over: Over) -> Option<Box<dyn Exchange>> {
        self.over.get_or_insert(over);
        wake(&mut self.poll);
        wake(&mut self.post);
        wake(&mut self.probing);
        self.exchange.take()
    }

    /// What a poll is answered with, if there is something now. What ends is left
    /// in `ended`, to be dropped without the lock.
    fn answer(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
        ended: &mut Option<Box<dyn Exchange>>,
    ) -> Option<Result<Payload, Refusal>> {
        let now = Instant::now();
        let mut payload = Payload::default();
        if self.over.is_none() && self.upgrade != Upgrade::Done && self.heartbeat.is_lost(now) {
            *ended = self.end(Over::Ended);
        }
        match self.over {
            Some(Over::Left) => payload.noop(),
            Some(Over::Ended) => payload.close(),
            None => {}
        }
        let Some(exchange) = &mut self.exchange else {
            return Some(if payload.is_empty() { Err(Refusal::Request) } else { Ok(payload) });
        };
        if self.heartbeat.asks(now) {
            payload.ping();
        }
        if gather(exchange.as_mut(), cx, &mut payload, most).is_err() {
            payload.close();
            *ended = self.end(Over::Ended);
        }
        if payload.is_empty() && self.noop_at().is_some_and(|at| now >= at) {
            payload.noop();
        }
        (!payload.is_empty()).then_some(Ok(payload))
    }

    fn noop_at(&self) -> Option<Instant> {
        match self.upgrade {
            Upgrade::Probed(at) => Some(at + NOOP),
            _ => None,
        }
    }

    /// When its poll has to look at the clock.
    fn next(&self) -> Instant {
        let next = self.heartbeat.next();
        self.noop_at().map_or(next, |at| at.min(next))
    }
}

/// What the exchange has to say now.
fn gather(
    exchange: &mut dyn Exchange,
    cx: &mut Context<'_>,
    payload: &mut Payload,
    most: usize,
) -> Result<(), Close> {
    let mut said = Vec::new();
    while payload.len() < most && payload.packets() < SAID {
        let room = SAID - payload.packets();
        let Poll::Ready(result) = exchange.poll_say(cx, &mut said, room) else { break };
        said.drain(..).for_each(|message| payload.message(&message));
        result?;
    }
    Ok(())
}

fn wake(waiting: &mut Option<Waker>) {
    if let Some(waker) = waiting.take() {
        waker.wake();
    }
}
