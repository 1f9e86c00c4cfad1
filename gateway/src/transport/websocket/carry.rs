//! Carries an exchange over a WebSocket: messages both ways, signs of life, and
//! the end. How messages are framed in those of the WebSocket is [`Framing`]'s.

use std::collections::VecDeque;
use std::future::{Future as _, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::codec::{self, Message as Heard};
use super::socket::Socket;
use super::{Farewell, NO_ROOM, TURN, close};
use crate::accept::Upgrade;
use crate::transport::inside::{Close, Exchange, Message, Unheard};

/// Messages taken from the exchange at a time.
const BATCH: usize = 64;

/// How an exchange's messages travel in those of a WebSocket.
pub(in crate::transport) trait Framing: Send + 'static {
    /// Whether pings are signs of life, and not only what the framing has.
    const PINGS: bool = true;

    /// What goes before everything else.
    fn begin(&mut self) -> Option<String> {
        None
    }

    /// Messages of the exchange, as those of the WebSocket.
    fn say(&mut self, messages: &mut Vec<Message>, out: &mut Vec<Message>);

    /// Messages of a message of the client's. An error closes at once.
    fn hear(&mut self, message: Message, out: &mut VecDeque<Message>) -> Result<(), Close>;

    /// A sign of life, beside the ping.
    fn heartbeat(&mut self) -> Option<String> {
        None
    }

    /// What goes before the close frame, and that one's code and reason.
    fn end(&mut self, close: Close) -> (Option<String>, Close) {
        (None, close)
    }
}

/// Of no framing: a message is a message.
pub(in crate::transport) struct Plain;

impl Framing for Plain {
    fn say(&mut self, messages: &mut Vec<Message>, out: &mut Vec<Message>) {
        out.append(messages);
    }

    fn hear(&mut self, message: Message, out: &mut VecDeque<Message>) -> Result<(), Close> {
        out.push_back(message);
        Ok(())
    }
}

/// What a WebSocket is carried with.
#[derive(Debug, Clone, Copy)]
pub(in crate::transport) struct Terms {
    /// Between two signs of life that it is asked for.
    pub(in crate::transport) interval: Duration,
    /// A peer that is silent for so long, or takes nothing, is dropped.
    pub(in crate::transport) silence: Duration,
    /// Bytes of one message at most.
    pub(in crate::transport) most: usize,
}

/// With what a WebSocket goes on that was a client of another kind before.
pub(in crate::transport) struct Start {
    /// When the peer is first asked for a sign of life.
    pub(in crate::transport) ask: Instant,
    /// What it has said there, and the exchange has not taken.
    pub(in crate::transport) unheard: Unheard,
}

/// Carries the exchange over what comes of a handshake.
pub(in crate::transport) async fn carry<F: Framing>(
    upgrade: Upgrade,
    exchange: Box<dyn Exchange>,
    framing: F,
    terms: Terms,
) {
    // Otherwise the client has gone before it was answered.
    if let Ok(upgraded) = upgrade.begun().await {
        let start = Start { ask: Instant::now() + terms.interval, unheard: Unheard::default() };
        carry_on(Socket::new(upgraded, terms.most), exchange, framing, terms, start).await;
    }
}

/// Carries the exchange until one side ends it.
pub(in crate::transport) async fn carry_on<F: Framing>(
    socket: Socket,
    exchange: Box<dyn Exchange>,
    framing: F,
    terms: Terms,
    start: Start,
) {
    let Start { ask, unheard: Unheard { messages, held } } = start;
    let carrier = Carrier {
        socket,
        exchange,
        framing,
        terms,
        begun: false,
        taken: messages,
        heard: Instant::now(),
        count: 0,
        ask,
        blocked: None,
        held,
    };
    carrier.serve().await;
}

/// Ends a WebSocket that carries nothing.
pub(in crate::transport) async fn say_goodbye(socket: &mut Socket, with: &Close) {
    close(socket, Farewell::Close(with.code, &with.reason)).await;
}

struct Carrier<F> {
    socket: Socket,
    exchange: Box<dyn Exchange>,
    framing: F,
    terms: Terms,
    begun: bool,
    /// Heard, and waiting for the exchange to be ready: at most what is in one
    /// message of the WebSocket, or the rest of one POST.
    taken: VecDeque<Message>,
    /// When something was last heard from the peer.
    heard: Instant,
    /// Messages heard in this turn.
    count: usize,
    /// When it is next asked for a sign of life.
    ask: Instant,
    /// While it does not take what is written: until when it may.
    blocked: Option<Instant>,
    /// Bytes that the exchange counts as held.
    held: usize,
}

/// How it ends.
enum End {
    /// The peer is gone.
    Gone,
    /// The peer has said goodbye, with this code.
    Goodbye(Option<u16>),
    /// The exchange has ended, or the framing.
    Closed(Close),
    /// The peer has broken the rules, or is silent: a close frame and nothing else.
    Dismissed(u16, &'static str),
}

impl<F: Framing> Carrier<F> {
    async fn serve(mut self) {
        let mut tick = pin!(sleep_until(self.ask));
        let end = poll_fn(|cx| self.turn(cx, tick.as_mut())).await;
        // It ends before its socket: a peer that is slow to say goodbye is not there
        // any more.
        drop(self.exchange);
        let last;
        let farewell = match end {
            End::Gone => return,
            End::Goodbye(code) => Farewell::Answer(code),
            End::Dismissed(code, reason) => Farewell::Close(code, reason),
            End::Closed(ended) => {
                let before;
                (before, last) = self.framing.end(ended);
                if let Some(text) = before {
                    self.socket.push(codec::TEXT, text.as_bytes());
                }
                Farewell::Close(last.code, &last.reason)
            }
        };
        close(&mut self.socket, farewell).await;
    }

    /// Everything that can be done now, in both directions by turns.
    fn turn(&mut self, cx: &mut Context<'_>, mut tick: Pin<&mut Sleep>) -> Poll<End> {
        if !std::mem::replace(&mut self.begun, true)
            && let Some(text) = self.framing.begin()
        {
            self.socket.push(codec::TEXT, text.as_bytes());
        }
        self.count = 0;
        loop {
            let flushed = match self.socket.poll_flush(cx) {
                Poll::Ready(Ok(())) => true,
                Poll::Ready(Err(_)) => return Poll::Ready(End::Gone),
                Poll::Pending => false,
            };
            let mut idle = true;
            if flushed {
                if self.blocked.take().is_some() {
                    // Nothing was read meanwhile; that it takes bytes is a sign of life.
                    self.heard = Instant::now();
                }
                for polled in [self.say(cx), self.hear(cx)] {
                    match polled {
                        Poll::Ready(Ok(())) => idle = false,
                        Poll::Ready(Err(end)) => return Poll::Ready(end),
                        Poll::Pending => {}
                    }
                }
            } else {
                self.blocked.get_or_insert_with(|| Instant::now() + self.terms.silence);
            }
            if idle && let Some(end) = ready!(self.tick(cx, tick.as_mut())) {
                return Poll::Ready(end);
            }
        }
    }

    fn say(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let mut messages = Vec::new();
        let polled = self.exchange.poll_say(cx, &mut messages, BATCH);
        let mut out = Vec::new();
        if !messages.is_empty() {
            self.framing.say(&mut messages, &mut out);
        }
        for message in out {
            match message {
                Message::Text(text) => self.socket.push(codec::TEXT, text.as_bytes()),
                Message::Binary(bytes) => self.socket.push(codec::BINARY, &bytes),
            }
        }
        polled.map_err(End::Closed)
    }

    /// Messages from the socket; while the exchange is not ready for them they wait
    /// in it.
    fn hear(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        ready!(self.hand_over(cx))?;
        ready!(self.exchange.poll_ready(cx));
        if self.count >= TURN {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Ok(Some(mut heard)) = ready!(self.socket.poll_read(cx)) else {
            return Poll::Ready(Err(End::Gone));
        };
        self.heard = Instant::now();
        let mut result = Ok(());
        let mut whole = true;
        while whole && result.is_ok() && self.taken.is_empty() && self.count < TURN {
            self.count += 1;
            result = match self.socket.decode(&mut heard) {
                Ok(Some(Heard::Text(text))) => self.take(Message::Text(text.into_owned())),
                Ok(Some(Heard::Binary(bytes))) => self.take(Message::Binary(bytes.into_owned().into())),
                Ok(Some(Heard::Ping(payload))) => {
                    self.socket.push(codec::PONG, payload);
                    Ok(())
                }
                Ok(Some(Heard::Close(code))) => Err(End::Goodbye(code)),
                Ok(Some(Heard::Pong | Heard::Part)) => Ok(()),
                Ok(None) => {
                    whole = false;
                    Ok(())
                }
                Err(wrong) => {
                    let (code, reason) = wrong.close();
                    Err(End::Dismissed(code, reason))
                }
            };
            if let (Ok(()), Poll::Ready(handed)) = (&result, self.hand_over(cx)) {
                result = handed;
            }
        }
        self.socket.keep(heard, whole);
        if result.is_ok() {
            result = self.weigh();
        }
        Poll::Ready(result)
    }

    fn take(&mut self, message: Message) -> Result<(), End> {
        self.framing.hear(message, &mut self.taken).map_err(End::Closed)
    }

    /// Gives the exchange what has been heard.
    fn hand_over(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        while !self.taken.is_empty() {
            ready!(self.exchange.poll_ready(cx));
            let Some(message) = self.taken.pop_front() else { break };
            if let Err(close) = self.exchange.hear(message) {
                return Poll::Ready(Err(End::Closed(close)));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Counts what has come of messages that are not whole; without room for it the
    /// connection ends.
    fn weigh(&mut self) -> Result<(), End> {
        let bytes = self.socket.held();
        if bytes == self.held {
            return Ok(());
        }
        self.held = bytes;
        let (code, reason) = NO_ROOM;
        self.exchange.hold(bytes).map_err(|_| End::Dismissed(code, reason))
    }

    /// Signs of life, and peers that take nothing. Ready when there may be something
    /// to do.
    fn tick(&mut self, cx: &mut Context<'_>, mut tick: Pin<&mut Sleep>) -> Poll<Option<End>> {
        if self.next_tick() < tick.deadline() {
            tick.as_mut().reset(self.next_tick());
        }
        ready!(tick.as_mut().poll(cx));
        let now = Instant::now();
        let silent = match self.blocked {
            Some(until) => now >= until,
            None => now >= self.heard + self.terms.silence,
        };
        if silent {
            return Poll::Ready(Some(End::Dismissed(4408, "heartbeat missed")));
        }
        if now >= self.ask {
            self.ask = now + self.terms.interval;
            if self.blocked.is_none() {
                if F::PINGS {
                    self.socket.push(codec::PING, &[]);
                }
                if let Some(text) = self.framing.heartbeat() {
                    self.socket.push(codec::TEXT, text.as_bytes());
                }
            }
        }
        tick.reset(self.next_tick());
        Poll::Ready(None)
    }

    /// When there is next something to see to by the clock.
    fn next_tick(&self) -> Instant {
        self.ask.min(self.blocked.unwrap_or(self.heard + self.terms.silence))
    }
}
