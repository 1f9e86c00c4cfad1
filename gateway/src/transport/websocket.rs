//! WebSocket (RFC 6455): a JSON frame in each text message, or with the
//! subprotocol `switchboard.v1.proto` a protobuf one in each binary message.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, Uri, header};
use axum::response::Response;
use axum::routing::any;
use futures_util::SinkExt;
use proto::{End, UserId};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::binary;
use crate::command::{Command, MAX_FRAME_BYTES};
use crate::credentials::Caller;
use crate::execute::begin;
use crate::expiry;
use crate::failure::Failure;
use crate::fields::Fields;
use crate::frame::{Frame, Reference};
use crate::gateway::Gateway;
use crate::identity::{LiveScopes, Scopes};
use crate::query::Query;
use crate::strikes::Strikes;
use crate::tail::{Opening, StartAt, Tail};

/// The subprotocol with JSON frames; also what none means.
const JSON: &str = "switchboard.v1.json";
/// The subprotocol with protobuf frames.
const PROTOBUF: &str = "switchboard.v1.proto";

/// Bytes read from the socket at a time: an idle connection keeps this much.
const READ_BUFFER: usize = 1_024;
/// Bytes gathered before they are written to the socket without being asked.
const WRITE_BUFFER: usize = 8_192;
/// Bytes that may be gathered at most: more than the largest batch of one
/// flush never is.
const MAX_WRITE_BUFFER: usize = 32 << 20;
/// Frames taken from the session at a time.
const BATCH: usize = 128;
/// How long a peer may take to answer our close frame.
const CLOSING: Duration = Duration::from_secs(2);

/// `GET /v1/ws`.
pub fn routes() -> Router<Arc<Gateway>> {
    Router::new().route("/v1/ws", any(upgrade))
}

async fn upgrade(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Failure> {
    let upgrade = upgrade.map_err(|_| Failure::bad_request("this path is for WebSocket handshakes"))?;
    let query = Query::parse(uri.query().unwrap_or_default())?;
    let subprotocol = subprotocol(&headers)?;
    let opening = Opening {
        user: caller.user.clone(),
        device: caller.device.clone(),
        from: StartAt::parse(query.get("cursor"))?,
        expires: caller.identity.expires,
    };
    let tail = Tail::open(&gateway, opening).await?;
    let task = gateway.tracker.token();
    Ok(upgrade
        .protocols(subprotocol)
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(MAX_WRITE_BUFFER)
        .max_message_size(MAX_FRAME_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .on_upgrade(move |socket| async move {
            let form = if subprotocol == Some(PROTOBUF) { Form::Protobuf } else { Form::Json };
            let connection = Connection::new(gateway, tail, caller.identity.scopes, form);
            connection.serve(socket).await;
            drop(task);
        }))
}

/// The first subprotocol of the client's that is spoken here; one that offers
/// some must offer one of these.
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

/// How frames are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Protobuf,
}

/// One WebSocket and its session.
struct Connection {
    gateway: Arc<Gateway>,
    tail: Tail,
    /// Shared with a renewal that is under way.
    scopes: Arc<LiveScopes>,
    form: Form,
    strikes: Strikes,
    /// When something was last heard from the peer.
    heard: Instant,
    /// When it is next asked for a sign of life.
    ping: Instant,
}

impl Connection {
    fn new(gateway: Arc<Gateway>, tail: Tail, scopes: Scopes, form: Form) -> Self {
        let now = Instant::now();
        let ping = now + gateway.config.heartbeat;
        let scopes = Arc::new(LiveScopes::new(scopes));
        Self { gateway, tail, scopes, form, strikes: Strikes::default(), heard: now, ping }
    }

    /// Carries frames both ways until the session or the socket ends.
    async fn serve(mut self, mut socket: WebSocket) {
        self.gateway.metrics.connection("websocket", 1);
        let end = self.run(&mut socket).await;
        self.gateway.metrics.connection("websocket", -1);
        self.gateway.metrics.session_ended(end);
        tracing::debug!(session = %self.tail.session.id, reason = end.as_str(), "a session has ended");
        // The session ends before its socket: a peer that is slow to say
        // goodbye is not online any more.
        drop(self.tail);
        if end != End::Bye {
            close(&mut socket, end.close_code(), end.as_str()).await;
        }
    }

    async fn run(&mut self, socket: &mut WebSocket) -> End {
        let in_flight = self.gateway.config.limits.commands_in_flight;
        let mut frames = Vec::new();
        let mut heard_enough = false;
        loop {
            let listens = !heard_enough && self.tail.session.unanswered() < in_flight;
            let tick = self.next_tick();
            // Not biased: a flood in one direction must not hold up the other.
            tokio::select! {
                // Events and answers; once the session ends, its last frames.
                next = self.tail.next(&mut frames, BATCH) => {
                    if let Err(end) = next {
                        return end;
                    }
                    let until = Instant::now() + self.gateway.config.heartbeat * 2;
                    let written = timeout_at(until, write(socket, &mut frames, self.form)).await;
                    match written {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) => return End::Bye,
                        Err(_) => return End::HeartbeatMissed,
                    }
                    // An idle connection keeps no room for its last burst.
                    frames = Vec::new();
                }
                // Commands; while too many are unanswered they wait in the
                // socket.
                message = socket.recv(), if listens => {
                    self.heard = Instant::now();
                    match message {
                        Some(Ok(message)) => {
                            if let Some(end) = self.take(message) {
                                // Ends when what has been refused is answered.
                                self.tail.session.end(end, 0);
                                heard_enough = true;
                            }
                        }
                        Some(Err(error)) => {
                            if let Some((code, reason)) = close_code(&error) {
                                close(socket, code, reason).await;
                            }
                            return End::Bye;
                        }
                        None => return End::Bye,
                    }
                }
                // Signs of life, and the token's end.
                () = sleep_until(tick) => {
                    if let Some(end) = self.tick(socket).await {
                        return end;
                    }
                }
            }
        }
    }

    /// A message from the peer; says when that ends the session.
    fn take(&mut self, message: Message) -> Option<End> {
        let wrong = match (message, self.form) {
            (Message::Text(text), Form::Json) => return self.json(text.as_str()),
            (Message::Binary(bytes), Form::Protobuf) => return self.protobuf(&bytes),
            (Message::Text(_), Form::Protobuf) => "frames are binary messages here; this one is text",
            (Message::Binary(_), Form::Json) => "frames are text messages here; this one is binary",
            // Pings are answered by the library; a close is followed by the end.
            (Message::Ping(_) | Message::Pong(_) | Message::Close(_), _) => return None,
        };
        self.tail.session.command_begins();
        self.refuse(None, Failure::bad_request(wrong))
    }

    fn json(&mut self, text: &str) -> Option<End> {
        self.tail.session.command_begins();
        let parsed = Fields::from_text(text).and_then(|fields| Ok((fields.reference()?, fields)));
        let (reference, fields) = match parsed {
            Ok(parsed) => parsed,
            Err(failure) => return self.refuse(None, failure),
        };
        let result =
            fields.required_text("type").and_then(|kind| self.command(&kind, &fields, reference.clone()));
        result.err().and_then(|failure| self.refuse(reference, failure))
    }

    fn protobuf(&mut self, bytes: &[u8]) -> Option<End> {
        self.tail.session.command_begins();
        let parsed = binary::decode(bytes).and_then(|(kind, fields)| Ok((kind, fields.reference()?, fields)));
        let (kind, reference, fields) = match parsed {
            Ok(parsed) => parsed,
            Err(failure) => return self.refuse(None, failure),
        };
        let result = self.command(kind, &fields, reference.clone());
        result.err().and_then(|failure| self.refuse(reference, failure))
    }

    fn command(&self, kind: &str, fields: &Fields<'_>, reference: Reference) -> Result<(), Failure> {
        let session = &self.tail.session;
        let command = Command::parse(kind, fields)?;
        let acting = fields.id("as", UserId::parse)?;
        if acting.is_some() && !self.scopes.get().service {
            return Err(Failure::forbidden("`as` needs a token with the scope `service`"));
        }
        command.permit(self.scopes.get())?;
        match command {
            Command::Ping => {
                session.answer(Frame::Pong(reference));
                Ok(())
            }
            Command::Auth(token) => {
                self.renew(token, reference);
                Ok(())
            }
            command => {
                let user = acting.as_ref().unwrap_or(&session.user);
                begin(&self.gateway, session, user, command, reference)
            }
        }
    }

    /// A new token for the same user and device, whose scopes and end count
    /// from now on. Looking up its key may take a
    /// while, which must not hold up the frames.
    fn renew(&self, token: String, reference: Reference) {
        let (gateway, session) = (self.gateway.clone(), self.tail.session.clone());
        let scopes = self.scopes.clone();
        self.gateway.tracker.spawn(async move {
            let verified = gateway.auth.verify(&token).await.and_then(|identity| {
                let device = identity.device.as_ref().is_none_or(|device| *device == session.device);
                if identity.user == session.user && device {
                    Ok(identity)
                } else {
                    Err(Failure::forbidden("the token is for another user or device"))
                }
            });
            session.answer(match verified {
                Ok(identity) => {
                    scopes.set(identity.scopes);
                    session.renew(identity.expires);
                    Frame::Ok(reference, Box::new(crate::answer::Answer::Done))
                }
                Err(failure) => Frame::Error(reference, Box::new(failure)),
            });
        });
    }

    /// Answers a refused command; says when there were too many.
    fn refuse(&mut self, reference: Reference, failure: Failure) -> Option<End> {
        let end = self.strikes.count(failure.code, Instant::now());
        self.tail.session.answer(Frame::Error(reference, Box::new(failure)));
        end
    }

    fn next_tick(&self) -> Instant {
        self.ping.min(expiry::of(&self.tail.session))
    }

    async fn tick(&mut self, socket: &mut WebSocket) -> Option<End> {
        let now = Instant::now();
        let heartbeat = self.gateway.config.heartbeat;
        expiry::check(&self.tail.session);
        if now >= self.ping {
            if now.duration_since(self.heard) >= heartbeat * 2 {
                return Some(End::HeartbeatMissed);
            }
            self.ping = now + heartbeat;
            let ping = timeout_at(now + heartbeat, socket.send(Message::Ping(bytes::Bytes::new()))).await;
            match ping {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Some(End::Bye),
                Err(_) => return Some(End::HeartbeatMissed),
            }
        }
        None
    }
}

/// Writes all frames and flushes once.
async fn write(socket: &mut WebSocket, frames: &mut Vec<Frame>, form: Form) -> Result<(), axum::Error> {
    for frame in frames.drain(..) {
        let message = match form {
            Form::Json => Message::Text(frame.to_json().into()),
            Form::Protobuf => Message::Binary(binary::encode(&frame)),
        };
        socket.feed(message).await?;
    }
    socket.flush().await
}

/// Says goodbye and waits a moment for the peer to do the same, so that the
/// close frame is not lost with the connection.
async fn close(socket: &mut WebSocket, code: u16, reason: &'static str) {
    let until = Instant::now() + CLOSING;
    let frame = CloseFrame { code, reason: reason.into() };
    let said = timeout_at(until, socket.send(Message::Close(Some(frame)))).await;
    if !matches!(said, Ok(Ok(()))) {
        return;
    }
    while let Ok(Some(Ok(_))) = timeout_at(until, socket.recv()).await {}
}

/// The close code for a message that breaks RFC 6455 or its limits; nothing
/// when the connection itself is gone.
fn close_code(error: &axum::Error) -> Option<(u16, &'static str)> {
    use tokio_tungstenite::tungstenite::Error;
    let source = std::error::Error::source(error)?;
    match source.downcast_ref::<Error>()? {
        Error::Capacity(_) => Some((1009, "frame too large")),
        Error::Utf8(_) => Some((1007, "text that is not UTF-8")),
        Error::Protocol(
            tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
        ) => None,
        Error::Protocol(_) => Some((1002, "not RFC 6455")),
        _ => None,
    }
}
