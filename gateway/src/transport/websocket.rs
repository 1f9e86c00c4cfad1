//! WebSocket (RFC 6455): a JSON frame in each text message, or with the
//! subprotocol `switchboard.v1.proto` a protobuf one in each binary message.

pub(in crate::transport) mod carry;
pub(in crate::transport) mod codec;
pub(in crate::transport) mod connection;
pub(in crate::transport) mod handshake;
pub mod plain;
pub(in crate::transport) mod socket;

use std::cell::Cell;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use axum::routing::any;
use proto::End;
use tokio::time::Instant;

use self::connection::{Connection, Ending, NoRoom, PeerMessage, Subprotocol, Terms};
use self::socket::Socket;
use crate::caller::identity::Caller;
use crate::gateway::Gateway;
use crate::protocol::binary;
use crate::protocol::command::MAX_FRAME_BYTES;
use crate::protocol::failure::Failure;
use crate::protocol::frame::Frame;
use crate::protocol::query::Query;
use crate::session;
use crate::session::tail::StartAt;
use crate::transport::inside::Close;
use crate::transport::two_way::TwoWay;

/// The subprotocol with JSON frames; also used without a subprotocol.
const JSON: &str = "switchboard.v1.json";
/// The subprotocol with protobuf frames.
const PROTOBUF: &str = "switchboard.v1.proto";

/// How many frames are taken from the session at a time.
const BATCH: usize = 128;
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
    let from = StartAt::parse(query.get("cursor"))?;
    let session = TwoWay::open(&gateway, "websocket", &caller, from).await?;
    let form = if subprotocol == Some(PROTOBUF) { Form::Protobuf } else { Form::Json };
    let interval = gateway.config.heartbeat;
    let terms = Terms { interval, silence: interval * 2, most: MAX_FRAME_BYTES };
    gateway.context.tracker.spawn(async move {
        // Otherwise the client had gone before it got the response.
        if let Ok(upgraded) = upgrade.begun().await {
            let socket = Socket::new(upgraded, terms.most);
            let first = Instant::now() + interval;
            Connection::new(socket, Frames { session, form }, terms, first, 0).serve().await;
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

/// A frame in each message.
struct Frames {
    session: TwoWay,
    form: Form,
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

impl Frames {
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
}

impl Subprotocol for Frames {
    fn poll_say(&mut self, cx: &mut Context<'_>, socket: &mut Socket) -> Poll<Result<(), Ending>> {
        let mut room = ROOM.take().unwrap_or_default();
        let mut next = self.session.poll_frames(cx, &mut room.frames, BATCH).map_err(closed);
        if let Poll::Ready(Ok(())) = next {
            self.encode(&mut room);
            next = Poll::Ready(socket.write(cx, &room.bytes).map_err(|error| Ending::of(&error)));
            room.bytes.clear();
        }
        if room.bytes.capacity() + room.text.capacity() <= KEPT {
            ROOM.set(Some(room));
        }
        next
    }

    /// Nothing is heard after the session's end.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Ending>> {
        ready!(self.session.poll_ready(cx));
        match self.session.room() {
            0 => Poll::Pending,
            room => Poll::Ready(Ok(room)),
        }
    }

    fn hear(&mut self, _: &mut Context<'_>, heard: PeerMessage<'_>) -> Result<bool, Ending> {
        let no_frame = |wrong| Failure::bad_request(wrong);
        self.session.hear(|uplink| match (heard, self.form) {
            (PeerMessage::Text(text), Form::Json) => uplink.json(&text),
            (PeerMessage::Binary(bytes), Form::Protobuf) => uplink.protobuf(&bytes),
            (PeerMessage::Text(_), Form::Protobuf) => {
                uplink.no_frame(no_frame("frames are binary messages here; this one is text"))
            }
            (PeerMessage::Binary(_), Form::Json) => {
                uplink.no_frame(no_frame("frames are text messages here; this one is binary"))
            }
        });
        Ok(self.session.room() > 0)
    }

    fn hold(&mut self, bytes: usize) -> Result<(), NoRoom> {
        self.session.hold(bytes).map_err(|failure| {
            self.session.answer(failure);
            NoRoom
        })
    }

    /// What has begun is answered before the close frame.
    fn finish(&mut self) -> bool {
        self.session.end(End::Bye);
        true
    }

    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.session.poll_over(cx)
    }

    fn lose(&mut self, blocked: bool, socket: &mut Socket) -> Close {
        let end = self.session.lose();
        if blocked && end.goaway().is_some() {
            // Lost, unless the peer takes it within the time for closing.
            let goaway = Frame::Goaway(end, session::reconnect_in_ms(end));
            match self.form {
                Form::Json => socket.push(codec::TEXT, goaway.to_json().as_bytes()),
                Form::Protobuf => socket.push(codec::BINARY, &binary::encode(&goaway)),
            }
        }
        Close::of(end)
    }
}

fn closed(end: End) -> Ending {
    Ending::Closed(Close::of(end))
}
