//! WebSocket (RFC 6455): a JSON frame in each text message, or with the
//! subprotocol `switchboard.v1.proto` a protobuf one in each binary message.

pub(in crate::transport) mod carry;
pub(in crate::transport) mod codec;
pub(in crate::transport) mod handshake;
pub mod plain;
pub(in crate::transport) mod socket;

use std::cell::Cell;
use std::future::{Future as _, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use axum::routing::any;
use proto::{End, TokenEnd};
use tokio::time::{Instant, Sleep, sleep_until};

use self::codec::Message;
use self::socket::Socket;
use super::opening::{self, OpenSession};
use super::uplink::Uplink;
use crate::caller::half_sent::Part;
use crate::caller::identity::Caller;
use crate::gateway::Gateway;
use crate::protocol::binary;
use crate::protocol::command::MAX_FRAME_BYTES;
use crate::protocol::failure::Failure;
use crate::protocol::frame::Frame;
use crate::protocol::permissions::Permissions;
use crate::protocol::query::Query;
use crate::session;
use crate::session::expiry;
use crate::session::tail::{StartAt, Tail};

/// The subprotocol with JSON frames; also used without a subprotocol.
const JSON: &str = "switchboard.v1.json";
/// The subprotocol with protobuf frames.
const PROTOBUF: &str = "switchboard.v1.proto";

/// How many frames are taken from the session at a time.
const BATCH: usize = 128;
/// Messages of one peer that are taken before others of its thread have their turn:
/// who sends much must not hold up who sends little.
pub(in crate::transport) const TURN: usize = 32;
/// How long a peer may take to read our close frame and close its side.
const CLOSING: Duration = Duration::from_secs(2);
/// The most bytes read of a peer meanwhile.
const CLOSING_BYTES: usize = 16 << 20;
/// The close code for a peer whose half-sent frames there is no room for ("try
/// again later" in IANA's registry of close codes), and its reason.
const NO_ROOM: (u16, &str) = (1013, "too much is half sent here");

/// `GET /v1/ws`.
pub fn routes() -> Router<Arc<Gateway>> {
    Router::new().route("/v1/ws", any(upgrade))
}

async fn upgrade(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    mut request: Request,
) -> Result<Response, Failure> {
    let (upgrade, accept) = handshake::accept(&mut request)?;
    let query = Query::parse(request.uri().query().unwrap_or_default())?;
    let subprotocol = subprotocol(request.headers())?;
    let tail = opening::open(&gateway, &caller, StartAt::parse(query.get("cursor"))?).await?;
    let form = if subprotocol == Some(PROTOBUF) { Form::Protobuf } else { Form::Json };
    let to = gateway.clone();
    gateway.context.tracker.spawn(async move {
        // Otherwise the client had gone before it got the response.
        if let Ok(upgraded) = upgrade.begun().await {
            let connection = Connection::new(
                to,
                tail,
                caller.identity.permissions,
                form,
                Socket::new(upgraded, MAX_FRAME_BYTES),
            );
            connection.serve().await;
        }
    });
    Ok(handshake::answer(accept, subprotocol))
}

/// The first of the client's subprotocols that the server knows. Fails when the
/// client offers some, but none of these.
fn subprotocol(headers: &HeaderMap) -> Result<Option<&'static str>, Failure> {
    let mut offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().peekable();
    if offered.peek().is_none() {
        return Ok(None);
    }
    let mut names = offered.filter_map(|value| value.to_str().ok()).flat_map(|list| list.split(','));
    let known = names.find_map(|name| [JSON, PROTOBUF].into_iter().find(|known| *known == name.trim()));
    known.map(Some).ok_or_else(|| {
        Failure::bad_request(format!("the subprotocols spoken here are {JSON} and {PROTOBUF}"))
    })
}

/// The form in which frames are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Protobuf,
}

/// One WebSocket and its session.
struct Connection {
    gateway: Arc<Gateway>,
    tail: Tail,
    socket: Socket,
    uplink: Uplink,
    form: Form,
    /// When the peer last sent something.
    heard: Instant,
    /// Messages taken in this turn.
    taken: usize,
    /// When the peer is pinged next.
    ping: Instant,
    /// While the peer takes no data: the time by which it must.
    blocked: Option<Instant>,
    /// The end of the token that `tick` counts with, in Unix seconds.
    token_end: TokenEnd,
    /// The bytes of an incomplete frame of the peer; usually `None`.
    half_sent: Option<Box<Part>>,
    /// Set when no more commands are taken. The session ends when all commands
    /// have their answers, or at this time.
    last: Option<Instant>,
    /// The close frame for a peer that has closed or broken the rules.
    farewell: Option<Farewell<'static>>,
}

/// The last frame to a peer.
#[derive(Debug, Clone, Copy)]
enum Farewell<'a> {
    /// The reply to the peer's close frame, with the peer's code (RFC 6455
    /// §5.5.1).
    Answer(Option<u16>),
    /// Our close frame, to which the peer must reply.
    Close(u16, &'a str),
}

/// A thread's buffers for frames from sessions to sockets. They are used within
/// one turn of one connection, so an idle connection needs none.
#[derive(Default)]
struct Room {
    frames: Vec<Frame>,
    text: String,
    bytes: Vec<u8>,
}

/// The bytes of buffers that a thread keeps.
const KEPT: usize = 256 << 10;

thread_local! {
    static ROOM: Cell<Option<Box<Room>>> = const { Cell::new(None) };
}

impl Connection {
    fn new(gateway: Arc<Gateway>, tail: Tail, permissions: Permissions, form: Form, socket: Socket) -> Self {
        let now = Instant::now();
        let ping = now + gateway.config.heartbeat;
        let token_end = tail.session.token_end();
        let uplink = Uplink::new(gateway.clone(), tail.session.clone(), permissions, "websocket");
        Self {
            gateway,
            tail,
            socket,
            uplink,
            form,
            heard: now,
            taken: 0,
            ping,
            blocked: None,
            token_end,
            half_sent: None,
            last: None,
            farewell: None,
        }
    }

    /// Carries frames both ways until the session or the socket ends.
    async fn serve(mut self) {
        let mut open = OpenSession::new("websocket");
        let mut tick = pin!(sleep_until(self.next_tick()));
        let end = poll_fn(|cx| self.turn(cx, tick.as_mut())).await;
        open.end = end;
        drop(open);
        if self.blocked.is_some() && end.goaway().is_some() {
            // Lost, unless the peer takes it within the time for closing.
            self.say(&Frame::Goaway(end, session::reconnect_in_ms(end)));
        }
        tracing::debug!(session = %self.tail.session.id, reason = end.as_str(), "a session has ended");
        // The session ends before its socket: a peer that closes slowly is not
        // online any more.
        drop(self.tail);
        let ours = (end != End::Bye).then(|| Farewell::Close(end.close_code(), end.as_str()));
        if let Some(farewell) = self.farewell.or(ours) {
            close(&mut self.socket, farewell).await;
        }
    }

    /// Does everything that is possible now, in both directions in turn: a
    /// flood in one must not stop the other.
    fn turn(&mut self, cx: &mut Context<'_>, mut tick: Pin<&mut Sleep>) -> Poll<End> {
        self.taken = 0;
        loop {
            // Data that the peer has not taken goes first; until then nothing
            // else is written.
            let flushed = match self.socket.poll_flush(cx) {
                Poll::Ready(Ok(())) => true,
                Poll::Ready(Err(_)) => return Poll::Ready(End::Bye),
                Poll::Pending => false,
            };
            let mut idle = true;
            if flushed {
                if self.blocked.take().is_some() {
                    // Nothing was read meanwhile, but taking data is a sign of
                    // life, too.
                    self.heard = Instant::now();
                }
                match self.hand_out(cx) {
                    Poll::Ready(Ok(())) => idle = false,
                    Poll::Ready(Err(end)) => return Poll::Ready(end),
                    Poll::Pending => {}
                }
                match self.hear(cx) {
                    Poll::Ready(Ok(())) => idle = false,
                    Poll::Ready(Err(end)) => return Poll::Ready(end),
                    Poll::Pending => {}
                }
            } else {
                let now = Instant::now();
                let until = self.blocked.unwrap_or_else(|| now + self.gateway.config.heartbeat * 2);
                // The last frames wait only for this long for a peer that takes
                // no data.
                let over = self.tail.session.poll_over(cx).is_some();
                self.blocked = Some(if over { until.min(now + CLOSING) } else { until });
            }
            if idle && let Some(end) = ready!(self.tick(cx, tick.as_mut())) {
                return Poll::Ready(end);
            }
        }
    }

    /// Writes events and answers to the socket; when the session ends, its last
    /// frames.
    fn hand_out(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let mut room = ROOM.take().unwrap_or_default();
        let next = self.tail.poll_next(cx, &mut room.frames, BATCH);
        if let Poll::Ready(Ok(())) = next {
            self.encode(&mut room);
            if self.socket.write(cx, &room.bytes).is_err() {
                return Poll::Ready(Err(End::Bye));
            }
            room.bytes.clear();
        }
        if room.bytes.capacity() + room.text.capacity() <= KEPT {
            ROOM.set(Some(room));
        }
        next
    }

    fn encode(&self, room: &mut Room) {
        for frame in room.frames.drain(..) {
            match self.form {
                Form::Json => {
                    room.text.clear();
                    frame.write_json(&mut room.text);
                    codec::encode(&mut room.bytes, codec::TEXT, room.text.as_bytes());
                }
                Form::Protobuf => codec::encode(&mut room.bytes, codec::BINARY, &binary::encode(&frame)),
            }
        }
    }

    /// Adds a frame to the outgoing ones.
    fn say(&mut self, frame: &Frame) {
        match self.form {
            Form::Json => self.socket.push(codec::TEXT, frame.to_json().as_bytes()),
            Form::Protobuf => self.socket.push(codec::BINARY, &binary::encode(frame)),
        }
    }

    /// Reads commands from the socket; while too many are unanswered they stay
    /// there. No command is taken after the session's end: what has begun is
    /// answered before the close frame.
    fn hear(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        if self.uplink.is_holding() {
            // A held command is decided first, even when the session has ended
            // meanwhile: nothing ends before that.
            if let Some(end) = ready!(self.uplink.poll_held(cx)) {
                self.end(end);
            }
            return Poll::Ready(Ok(()));
        }
        let limit = self.gateway.config.limits.commands_in_flight;
        let free = self.tail.session.room_for_commands(limit);
        if free == 0 {
            return Poll::Pending;
        }
        if self.taken >= TURN {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut free = free.min(TURN - self.taken);
        let Ok(Some(mut heard)) = ready!(self.socket.poll_read(cx)) else {
            return Poll::Ready(Err(End::Bye));
        };
        self.heard = Instant::now();
        let mut whole = true;
        while whole && free > 0 && self.last.is_none() && !self.uplink.is_holding() {
            free -= 1;
            self.taken += 1;
            match self.socket.decode(&mut heard) {
                Ok(Some(message)) => {
                    if let Some(end) = self.take(message) {
                        self.end(end);
                    }
                }
                Ok(None) => whole = false,
                Err(wrong) => self.dismiss(wrong.close()),
            }
        }
        self.socket.keep(heard, whole);
        self.weigh();
        Poll::Ready(Ok(()))
    }

    /// Ends the session when everything begun is answered.
    fn end(&mut self, end: End) {
        self.tail.session.end(end);
        self.last = Some(Instant::now() + self.gateway.config.limits.command_timeout * 2);
    }

    /// The same, with a close frame of this code and reason.
    fn dismiss(&mut self, (code, reason): (u16, &'static str)) {
        self.farewell = Some(Farewell::Close(code, reason));
        self.end(End::Bye);
    }

    /// Counts the bytes of incomplete frames; if there is no room for them, the
    /// connection ends.
    fn weigh(&mut self) {
        let bytes = self.socket.held();
        if bytes == 0 || self.last.is_some() {
            self.half_sent = None;
            return;
        }
        let (all, user) = (&self.gateway.half_sent, &self.tail.session.user);
        let part = self.half_sent.get_or_insert_with(|| Box::new(Part::new(all, user)));
        if let Err(failure) = part.hold(bytes) {
            self.half_sent = None;
            self.tail.session.command_begins();
            self.tail.session.answer(Frame::Error(None, Box::new(failure)));
            self.dismiss(NO_ROOM);
        }
    }

    /// Handles a message from the peer. Returns an end if it ends the session.
    fn take(&mut self, message: Message<'_>) -> Option<End> {
        let wrong = match (message, self.form) {
            (Message::Text(text), Form::Json) => return self.uplink.json(&text),
            (Message::Binary(bytes), Form::Protobuf) => return self.uplink.protobuf(&bytes),
            (Message::Text(_), Form::Protobuf) => "frames are binary messages here; this one is text",
            (Message::Binary(_), Form::Json) => "frames are text messages here; this one is binary",
            (Message::Ping(payload), _) => {
                self.socket.push(codec::PONG, payload);
                return None;
            }
            (Message::Close(code), _) => {
                self.farewell = Some(Farewell::Answer(code));
                return Some(End::Bye);
            }
            (Message::Pong | Message::Part, _) => return None,
        };
        self.uplink.no_frame(Failure::bad_request(wrong))
    }

    /// The time of the next check.
    fn next_tick(&self) -> Instant {
        let others = [self.blocked, self.last].into_iter().flatten();
        others.fold(self.ping.min(expiry::of(&self.tail.session)), Instant::min)
    }

    /// Checks for signs of life, the token's end, and peers that take no data.
    /// Resolves when there may be something to do.
    fn tick(&mut self, cx: &mut Context<'_>, mut tick: Pin<&mut Sleep>) -> Poll<Option<End>> {
        let token_end = self.tail.session.token_end();
        let sooner = [self.blocked, self.last].into_iter().flatten().any(|until| until < tick.deadline());
        if self.token_end != token_end || sooner {
            self.token_end = token_end;
            tick.as_mut().reset(self.next_tick());
        }
        ready!(tick.as_mut().poll(cx));
        let now = Instant::now();
        let heartbeat = self.gateway.config.heartbeat;
        if self.blocked.is_some_and(|until| now >= until) {
            return Poll::Ready(Some(self.tail.session.has_ended().unwrap_or(End::HeartbeatMissed)));
        }
        if self.last.is_some_and(|until| now >= until) {
            return Poll::Ready(Some(self.tail.session.has_ended().unwrap_or(End::Bye)));
        }
        expiry::check(&self.tail.session);
        if now >= self.ping {
            self.ping = now + heartbeat;
            if self.blocked.is_none() {
                if now.duration_since(self.heard) >= heartbeat * 2 {
                    return Poll::Ready(Some(End::HeartbeatMissed));
                }
                self.socket.push(codec::PING, &[]);
            }
        }
        tick.reset(self.next_tick());
        Poll::Ready(None)
    }
}

/// Sends the close frame and closes the sending half (RFC 6455 §7.1.1: the
/// server closes first). What the peer still sends is read for a moment: with
/// unread bytes the kernel would reset the connection, and the close frame
/// would be lost.
async fn close(socket: &mut Socket, farewell: Farewell<'_>) {
    match farewell {
        Farewell::Answer(code) => socket.push_close(code, ""),
        Farewell::Close(code, reason) => socket.push_close(Some(code), reason),
    }
    let mut left = CLOSING_BYTES;
    let closed = async {
        poll_fn(|cx| socket.poll_flush(cx)).await?;
        poll_fn(|cx| socket.poll_shutdown(cx)).await?;
        poll_fn(|cx| socket.poll_drain(cx, &mut left)).await
    };
    // Whether the peer has gone or never closes makes no difference any more.
    let _ = tokio::time::timeout(CLOSING, closed).await;
}
