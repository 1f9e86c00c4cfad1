//! A client that polls: its exchange, which lasts from one request to the next, and the
//! requests that are under way. Its poll, its POST and the WebSocket that it may
//! upgrade to use it at the same time.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use daemon::lock::{Lock, LockGuard};
use tokio::time::{Instant, Sleep};

use super::heartbeat::Heartbeat;
use super::packet::Payload;
use super::portions::Portions;
use super::refusal::Refusal;
use crate::accept::AddressSlot;
use crate::order;
use crate::transport::inside::{Close, Exchange, Message, Unheard};

/// Packets in the answer to a poll: python-engineio refuses an answer with more
/// and loses its connection.
const PACKETS: usize = 16;
/// Of these, packets with messages: the last place is kept for a `close`.
const SAID: usize = PACKETS - 1;
/// Once a WebSocket has probed, a poll without packets is answered after so long: the
/// client waits for that answer before it upgrades.
const NOOP: Duration = Duration::from_millis(100);

/// One client.
pub(super) struct Client {
    pub(super) id: String,
    /// Protects all that changes. Held while the exchange is used.
    state: Lock<{ order::FRAMING }, State>,
    /// What its address holds, where that is limited.
    _slot: Option<AddressSlot>,
}

struct State {
    /// `None` once the client has ended or has upgraded to a WebSocket.
    exchange: Option<Box<dyn Exchange>>,
    heartbeat: Heartbeat,
    /// The poll that is under way, with the waker of its task.
    polling: bool,
    poll: Option<Waker>,
    /// The POST that is under way, with the waker of its task.
    posting: bool,
    post: Option<Waker>,
    /// Bytes of that POST that are held.
    posted: usize,
    /// What a POST has left here: the client pauses its polls before it upgrades, and
    /// waits until its POST is answered. So a POST cannot wait then until a poll has
    /// taken the answers that make room for its packets. At most the rest of one POST;
    /// it is handed over before anything that comes later.
    left: VecDeque<Message>,
    /// Whether the POST that is under way may leave its rest.
    may_leave: bool,
    upgrade: Upgrade,
    /// The waker of the WebSocket that probes.
    probing: Option<Waker>,
    over: Option<Over>,
}

/// How far the client has come with its upgrade to a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upgrade {
    No,
    /// A WebSocket is open.
    Begun,
    /// The probe of the WebSocket was answered at this time.
    Probed(Instant),
    Done,
}

/// How a client has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// The client has closed. A poll that it has sent before may still come, and is
    /// answered.
    Left,
    Ended,
}

impl Client {
    pub(super) fn new(
        id: String,
        exchange: Box<dyn Exchange>,
        heartbeat: Heartbeat,
        slot: Option<AddressSlot>,
    ) -> Self {
        let state = State {
            exchange: Some(Box::new(Portions::of(exchange))),
            heartbeat,
            polling: false,
            poll: None,
            posting: false,
            post: None,
            posted: 0,
            left: VecDeque::new(),
            may_leave: false,
            upgrade: Upgrade::No,
            probing: None,
            over: None,
        };
        Self { id, state: Lock::new(state), _slot: slot }
    }

    /// Ends the client, if it has not ended before.
    pub(super) fn end(&self, over: Over) {
        let exchange = self.lock().end(over);
        // The exchange takes locks of its own when it is dropped: this one is not held
        // then.
        drop(exchange);
    }

    /// Whether the client has ended, or goes on over a WebSocket.
    pub(super) fn is_over(&self) -> bool {
        self.lock().over.is_some()
    }

    /// Ends the client if its `pong` is overdue; returns whether it is. A client that has
    /// upgraded is not looked after here.
    pub(super) fn lose_if_silent(&self, now: Instant) -> bool {
        let mut state = self.lock();
        let silent = state.is_silent(now);
        let exchange = if silent { state.lose() } else { None };
        drop(state);
        drop(exchange);
        silent
    }

    /// Begins a poll. A second poll at the same time ends the client: which packets
    /// each of the two gets would be chance.
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

    /// Waits for the packets that answer the poll that has begun: about `most` bytes.
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

    /// Begins a POST. A second POST at the same time ends the client: their order
    /// would be chance.
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
        state.may_leave = state.left.is_empty();
        Ok(())
    }

    pub(super) fn end_post(&self) {
        self.lock().posting = false;
    }

    /// Waits until the exchange takes this message, or until the POST may leave it
    /// here. Fails if the client has ended meanwhile.
    pub(super) fn poll_hear(
        &self,
        cx: &mut Context<'_>,
        message: &mut Option<Message>,
    ) -> Poll<Result<(), Refusal>> {
        let mut state = self.lock();
        let room = state.hand_over(cx);
        let may_leave = state.may_leave && matches!(state.upgrade, Upgrade::Probed(_));
        let State { exchange: Some(exchange), left, .. } = &mut *state else {
            return Poll::Ready(Err(Refusal::Request));
        };
        if let Poll::Ready(handed) = room {
            let heard = handed.and_then(|()| message.take().map_or(Ok(()), |message| exchange.hear(message)));
            return Poll::Ready(heard.map_err(|_| Refusal::Request));
        }
        if may_leave {
            left.extend(message.take());
            return Poll::Ready(Ok(()));
        }
        state.post = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Counts so many bytes of a POST that wait here.
    pub(super) fn hold(&self, bytes: usize) -> Result<(), Refusal> {
        let mut state = self.lock();
        state.posted = bytes;
        state.weigh()
    }

    /// Notes the client's `pong`.
    pub(super) fn pong(&self) {
        let mut state = self.lock();
        state.heartbeat.answered(Instant::now());
        // The poll's task sleeps until the old time.
        wake(&mut state.poll);
    }

    /// Begins an upgrade. False if there is or was another one.
    pub(super) fn begin_upgrade(&self) -> bool {
        let mut state = self.lock();
        let free = state.upgrade == Upgrade::No && state.over.is_none();
        if free {
            state.upgrade = Upgrade::Begun;
        }
        free
    }

    /// The WebSocket has probed: polls and POSTs are answered soon from now on.
    pub(super) fn probed(&self) {
        let mut state = self.lock();
        if state.upgrade != Upgrade::Done {
            state.upgrade = Upgrade::Probed(Instant::now());
        }
        wake(&mut state.poll);
        wake(&mut state.post);
    }

    /// Gives the upgrade up: polls go on as before.
    pub(super) fn give_up_upgrade(&self) {
        let mut state = self.lock();
        if state.upgrade != Upgrade::Done {
            state.upgrade = Upgrade::No;
        }
        state.probing = None;
    }

    /// Ready once the client has ended. For the WebSocket that probes.
    pub(super) fn poll_over(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.over.is_some() {
            return Poll::Ready(());
        }
        state.probing = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Completes the upgrade: the exchange, and what is left of a POST, are the
    /// WebSocket's from now on.
    pub(super) fn upgrade(&self) -> Option<(Box<dyn Exchange>, Heartbeat, Unheard)> {
        let mut state = self.lock();
        let held = state.posted + weight(&state.left);
        let exchange = state.exchange.take()?;
        let unheard = Unheard { messages: std::mem::take(&mut state.left), held };
        state.upgrade = Upgrade::Done;
        state.probing = None;
        wake(&mut state.poll);
        wake(&mut state.post);
        Some((exchange, state.heartbeat, unheard))
    }

    fn lock(&self) -> LockGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    /// Fails if the client has upgraded, or if its time is over.
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
        self.left = VecDeque::new();
        self.exchange.take()
    }

    /// Whether the client's `pong` is overdue.
    fn is_silent(&self, now: Instant) -> bool {
        self.upgrade != Upgrade::Done && self.heartbeat.is_lost(now)
    }

    /// Ends a client that is silent.
    fn lose(&mut self) -> Option<Box<dyn Exchange>> {
        if let Some(exchange) = &mut self.exchange {
            // Nobody is there to be told.
            exchange.lose();
        }
        self.end(Over::Ended)
    }

    /// Gives the exchange what a POST has left. Ready once it takes one more message.
    fn hand_over(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Close>> {
        let Some(exchange) = &mut self.exchange else { return Poll::Pending };
        let mut handed = false;
        let ready = loop {
            if exchange.poll_ready(cx).is_pending() {
                break Poll::Pending;
            }
            let Some(message) = self.left.pop_front() else { break Poll::Ready(Ok(())) };
            handed = true;
            if let Err(close) = exchange.hear(message) {
                break Poll::Ready(Err(close));
            }
        };
        if handed {
            // Less is held than before: that is never refused.
            let _ = self.weigh();
        }
        ready
    }

    /// Counts what is held now.
    fn weigh(&mut self) -> Result<(), Refusal> {
        let bytes = self.posted + weight(&self.left);
        match &mut self.exchange {
            Some(exchange) => exchange.hold(bytes).map_err(Refusal::Inside),
            None => Err(Refusal::Request),
        }
    }

    /// The packets that answer a poll, if there are any now. An exchange that ends is
    /// left in `ended`, so that it is dropped without the lock.
    fn answer(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
        ended: &mut Option<Box<dyn Exchange>>,
    ) -> Option<Result<Payload, Refusal>> {
        let now = Instant::now();
        let mut payload = Payload::default();
        if self.over.is_none() && self.is_silent(now) {
            *ended = self.lose();
        }
        match self.over {
            Some(Over::Left) => payload.noop(),
            Some(Over::Ended) => payload.close(),
            None => {}
        }
        if !self.left.is_empty() {
            if let Poll::Ready(Err(_)) = self.hand_over(cx) {
                payload.close();
                *ended = self.end(Over::Ended);
            }
            // From now on the exchange wakes this task alone when it has room.
            wake(&mut self.post);
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

    /// When the poll's task has to look at the clock.
    fn next(&self) -> Instant {
        let next = self.heartbeat.next();
        self.noop_at().map_or(next, |at| at.min(next))
    }
}

/// The packets that the exchange has now.
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

/// What messages take here.
fn weight(messages: &VecDeque<Message>) -> usize {
    messages.iter().map(|message| size_of::<Message>() + message.size()).sum()
}

fn wake(waiting: &mut Option<Waker>) {
    if let Some(waker) = waiting.take() {
        waker.wake();
    }
}
