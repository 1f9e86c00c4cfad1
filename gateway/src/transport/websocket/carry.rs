//! Carries an exchange over a WebSocket. How messages are framed in those of the
//! WebSocket is [`Framing`]'s.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use tokio::time::Instant;

use super::codec;
use super::connection::{Connection, Ending, NoRoom, PeerMessage, Subprotocol, Terms};
use super::socket::Socket;
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
    mut socket: Socket,
    exchange: Box<dyn Exchange>,
    mut framing: F,
    terms: Terms,
    start: Start,
) {
    if let Some(text) = framing.begin() {
        socket.push(codec::TEXT, text.as_bytes());
    }
    let Start { ask, unheard: Unheard { messages, held } } = start;
    let carrier = Carrier { exchange, framing, heard: messages };
    Connection::new(socket, carrier, terms, ask, held).serve().await;
}

struct Carrier<F> {
    exchange: Box<dyn Exchange>,
    framing: F,
    /// Messages that wait for the exchange to be ready: at most what is in one message
    /// of the WebSocket, or the rest of one POST.
    heard: VecDeque<Message>,
}

impl<F: Framing> Carrier<F> {
    /// Gives the exchange what has been heard.
    fn hand_over(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ending>> {
        while !self.heard.is_empty() {
            ready!(self.exchange.poll_ready(cx));
            let Some(message) = self.heard.pop_front() else { break };
            self.exchange.hear(message).map_err(Ending::Closed)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<F: Framing> Subprotocol for Carrier<F> {
    fn poll_say(&mut self, cx: &mut Context<'_>, socket: &mut Socket) -> Poll<Result<(), Ending>> {
        let (mut messages, mut out) = (Vec::new(), Vec::new());
        let polled = self.exchange.poll_say(cx, &mut messages, BATCH);
        if !messages.is_empty() {
            self.framing.say(&mut messages, &mut out);
        }
        for message in out {
            match message {
                Message::Text(text) => socket.push(codec::TEXT, text.as_bytes()),
                Message::Binary(bytes) => socket.push(codec::BINARY, &bytes),
            }
        }
        polled.map_err(Ending::Closed)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Ending>> {
        ready!(self.hand_over(cx))?;
        ready!(self.exchange.poll_ready(cx));
        Poll::Ready(Ok(usize::MAX))
    }

    fn hear(&mut self, cx: &mut Context<'_>, heard: PeerMessage<'_>) -> Result<bool, Ending> {
        let message = match heard {
            PeerMessage::Text(text) => Message::Text(text.into_owned()),
            PeerMessage::Binary(bytes) => Message::Binary(bytes.into_owned().into()),
        };
        self.framing.hear(message, &mut self.heard).map_err(Ending::Closed)?;
        match self.hand_over(cx) {
            Poll::Ready(handed) => handed.map(|()| true),
            Poll::Pending => Ok(false),
        }
    }

    fn hold(&mut self, bytes: usize) -> Result<(), NoRoom> {
        self.exchange.hold(bytes).map_err(|_| NoRoom)
    }

    fn end(&mut self, close: Close, socket: &mut Socket) -> Close {
        let (before, close) = self.framing.end(close);
        if let Some(text) = before {
            socket.push(codec::TEXT, text.as_bytes());
        }
        close
    }

    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.exchange.poll_over(cx)
    }

    fn lose(&mut self, _blocked: bool, socket: &mut Socket) -> Close {
        let close = self.exchange.lose();
        self.end(close, socket)
    }

    fn ask(&mut self, socket: &mut Socket) {
        if F::PINGS {
            socket.push(codec::PING, &[]);
        }
        if let Some(text) = self.framing.heartbeat() {
            socket.push(codec::TEXT, text.as_bytes());
        }
    }
}
