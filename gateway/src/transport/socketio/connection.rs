//! One client's connection: packets to and from the namespaces that it is in.

use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use proto::End;
use tokio::time::{Instant, Sleep, sleep_until};

use super::namespace::{Connecting, Event, Leave, NotConnected, Said, Socket, Visitor};
use super::packet::{Kind, Packet, Payload, Wrong, name, write};
use crate::transport::inside::{Close, Exchange, Message, Refusal};

/// A packet that is against the protocol closes the connection, as in Socket.IO's own
/// servers.
const BROKEN: Close = Close::new(1002, "not Socket.IO 5");
const NOT_CONNECTED: Close = Close::new(1000, "connected to no namespace in time");
/// Answers of the connection itself that wait to be sent. With more of them no more
/// packets are taken from the client.
const MOST: usize = 16;

/// The Socket.IO connection of one Engine.IO client.
pub(super) struct Connection {
    visitor: Box<dyn Visitor>,
    connect_timeout: Duration,
    /// When the client is closed because it is in no namespace.
    until: Option<Pin<Box<Sleep>>>,
    namespaces: Vec<Namespace>,
    /// A packet that waits for the rest of its attachments.
    partial: Option<Packet>,
    /// Why the connection is to end, once those answers are sent.
    over: Option<Close>,
    /// Answers to the client's wishes. They are sent before the packets of
    /// namespaces.
    own: VecDeque<Message>,
    ready: Option<Waker>,
    say: Option<Waker>,
}

/// A namespace that the client is in.
struct Namespace {
    name: String,
    state: State,
}

enum State {
    /// No more packets are taken until that is known.
    Connecting(Connecting),
    Connected(Box<dyn Socket>),
}

impl Connection {
    pub(super) fn new(visitor: Box<dyn Visitor>, connect_timeout: Duration) -> Self {
        Self {
            visitor,
            connect_timeout,
            until: Some(timer(connect_timeout)),
            namespaces: Vec::new(),
            partial: None,
            over: None,
            own: VecDeque::new(),
            ready: None,
            say: None,
        }
    }

    /// Goes on with the namespaces that are being connected. True once all are.
    fn settle(&mut self, cx: &mut Context<'_>) -> bool {
        let mut settled = true;
        let mut at = 0;
        while let Some(known) = self.namespaces.get_mut(at) {
            let State::Connecting(connecting) = &mut known.state else {
                at += 1;
                continue;
            };
            let Poll::Ready(result) = connecting.as_mut().poll(cx) else {
                settled = false;
                at += 1;
                continue;
            };
            match result {
                Ok(socket) => {
                    self.own.push_back(write::connect(&known.name, &socket.connected()));
                    known.state = State::Connected(socket);
                    self.until = None;
                }
                Err(NotConnected::Error(error)) => {
                    self.own.push_back(write::connect_error(&known.name, &error));
                    self.namespaces.remove(at);
                }
                Err(NotConnected::Connection(close)) => {
                    self.over = Some(close);
                    self.namespaces.remove(at);
                }
            }
            wake(&mut self.say);
            wake(&mut self.ready);
        }
        settled
    }

    fn packet(&mut self, packet: Packet) -> Result<(), Close> {
        let Packet { kind, namespace, id, .. } = packet;
        let known = self.namespaces.iter_mut().find(|known| known.name == namespace);
        match (kind, known.map(|known| &mut known.state)) {
            (Kind::Connect(auth), None) => self.connect(namespace, auth),
            (Kind::Disconnect, Some(_)) => self.leave(&namespace),
            (Kind::Event(payload), Some(State::Connected(socket))) => {
                if let Err(leave) = event(socket.as_mut(), id, payload)? {
                    self.sent_away(&namespace, leave)?;
                }
            }
            (Kind::Ack(payload), Some(State::Connected(socket))) => {
                let elements = payload.elements().map_err(broken)?;
                socket.acknowledged(id.ok_or(BROKEN)?, &elements);
            }
            // The client was never connected there, or is connected already.
            _ => return Err(BROKEN),
        }
        Ok(())
    }

    fn connect(&mut self, namespace: String, auth: Option<String>) {
        match self.visitor.connect(&namespace, auth) {
            Some(connecting) => {
                self.namespaces.push(Namespace { name: namespace, state: State::Connecting(connecting) });
            }
            None => {
                let error = r#"{"message":"Invalid namespace"}"#;
                self.own.push_back(write::connect_error(&namespace, error));
            }
        }
        wake(&mut self.say);
    }

    fn leave(&mut self, namespace: &str) {
        self.namespaces.retain(|known| known.name != namespace);
        if self.namespaces.is_empty() {
            self.until = Some(timer(self.connect_timeout));
            wake(&mut self.say);
        }
    }

    fn sent_away(&mut self, namespace: &str, leave: Leave) -> Result<(), Close> {
        match leave {
            Leave::Namespace => {
                self.own.push_back(write::disconnect(namespace));
                self.leave(namespace);
                Ok(())
            }
            Leave::Connection(close) => Err(close),
        }
    }

    /// Collects the packets of one namespace after the other. True if there were
    /// any.
    fn namespaces_say(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<Message>,
        most: usize,
    ) -> Result<(), Close> {
        let mut said = Vec::new();
        let mut left: Vec<(String, Leave)> = Vec::new();
        for known in &mut self.namespaces {
            let State::Connected(socket) = &mut known.state else { continue };
            let Poll::Ready(result) = socket.poll_say(cx, &mut said, most) else { continue };
            for said in said.drain(..) {
                match said {
                    Said::Event(id, payload) => write::event(&known.name, id, payload, out),
                    Said::Ack(id, payload) => write::ack(&known.name, id, payload, out),
                }
            }
            if let Err(leave) = result {
                left.push((known.name.clone(), leave));
            }
        }
        left.into_iter().try_for_each(|(namespace, leave)| self.sent_away(&namespace, leave))
    }
}

/// Hands an event to its namespace. The outer error is for an event that is against
/// the protocol.
fn event(socket: &mut dyn Socket, id: Option<u64>, payload: Payload) -> Result<Result<(), Leave>, Close> {
    let elements = payload.elements().map_err(broken)?;
    let name = name(elements.first()).map_err(broken)?;
    let rest = elements.get(1..).unwrap_or_default();
    Ok(socket.hear(Event { name, elements: rest, attachments: payload.attachments.clone(), id }))
}

impl Exchange for Connection {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let settled = self.settle(cx);
        let room = self.own.len() < MOST;
        let mut ready = settled && room;
        for known in &mut self.namespaces {
            if let State::Connected(socket) = &mut known.state {
                ready &= socket.poll_ready(cx).is_ready();
            }
        }
        if ready {
            return Poll::Ready(());
        }
        self.ready = Some(cx.waker().clone());
        Poll::Pending
    }

    fn hear(&mut self, message: Message) -> Result<(), Close> {
        let packet = match (message, self.partial.take()) {
            (Message::Text(text), None) => Packet::decode(&text).map_err(broken)?,
            (Message::Binary(bytes), Some(mut packet)) => {
                packet.attach(bytes);
                packet
            }
            (Message::Text(_), Some(_)) | (Message::Binary(_), None) => return Err(BROKEN),
        };
        if packet.missing == 0 {
            return self.packet(packet);
        }
        self.partial = Some(packet);
        Ok(())
    }

    fn poll_say(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<Message>,
        most: usize,
    ) -> Poll<Result<(), Close>> {
        let before = out.len();
        self.settle(cx);
        loop {
            if !self.own.is_empty() {
                out.extend(self.own.drain(..));
                wake(&mut self.ready);
            }
            if let Err(close) = self.namespaces_say(cx, out, most) {
                return Poll::Ready(Err(close));
            }
            if self.own.is_empty() {
                break;
            }
        }
        if let Some(close) = self.over.take() {
            return Poll::Ready(Err(close));
        }
        if out.len() > before {
            return Poll::Ready(Ok(()));
        }
        if let Some(until) = &mut self.until {
            if until.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(NOT_CONNECTED));
            }
            if let Poll::Ready(close) = self.visitor.poll_over(cx) {
                return Poll::Ready(Err(close));
            }
        }
        self.say = Some(cx.waker().clone());
        Poll::Pending
    }

    fn hold(&mut self, bytes: usize) -> Result<(), Refusal> {
        let bytes = bytes + self.partial.as_ref().map_or(0, weight);
        match sockets(&mut self.namespaces).next() {
            None => self.visitor.hold(bytes),
            Some(socket) => {
                self.visitor.hold(0)?;
                socket.hold(bytes)
            }
        }
    }

    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match sockets(&mut self.namespaces).any(|socket| socket.poll_over(cx).is_ready()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    fn lose(&mut self) -> Close {
        let lost = sockets(&mut self.namespaces).map(|socket| socket.lose());
        lost.last().unwrap_or_else(|| Close::of(End::HeartbeatMissed))
    }
}

/// The namespaces that the client is connected to.
fn sockets(namespaces: &mut [Namespace]) -> impl Iterator<Item = &mut Box<dyn Socket>> {
    namespaces.iter_mut().filter_map(|known| match &mut known.state {
        State::Connected(socket) => Some(socket),
        State::Connecting(_) => None,
    })
}

/// The bytes of a packet that waits for attachments.
fn weight(packet: &Packet) -> usize {
    match &packet.kind {
        Kind::Event(payload) | Kind::Ack(payload) => {
            payload.json.len() + payload.attachments.iter().map(Bytes::len).sum::<usize>()
        }
        Kind::Connect(_) | Kind::Disconnect => 0,
    }
}

fn broken(_: Wrong) -> Close {
    BROKEN
}

fn timer(pause: Duration) -> Pin<Box<Sleep>> {
    Box::pin(sleep_until(Instant::now() + pause))
}

fn wake(waiting: &mut Option<Waker>) {
    if let Some(waker) = waiting.take() {
        waker.wake();
    }
}
