//! Engine.IO 4 from the client's side, over a WebSocket or over polls: opens a
//! session, answers the server's pings, and hands out messages as text. What is
//! in the messages is others' matter.
//!
//! A packet is a digit and a text: `0` open, `1` close, `2` ping, `3` pong, `4`
//! message, `6` nothing. A WebSocket message is one packet; the body of a poll
//! is several, with 0x1E between them.

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{SinkExt, StreamExt, poll};
use http::Method;
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::error::{Close, Error, Result};
use super::http::{Answer, Http};
use super::websocket::{self, stream_error};
use super::{Account, resource};

/// Between two packets of a poll.
const SEPARATOR: char = '\u{1e}';

/// Packets that may wait to be posted; a program that sends more without
/// reading is broken instead of growing without end.
const UNSENT: usize = 100_000;

/// What carries the packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// One WebSocket from the start, without polls before it.
    WebSocket,
    /// `GET` for what the server sends, `POST` for what the client sends.
    Polling,
}

/// An open session.
#[derive(Debug)]
pub(crate) struct Engine {
    way: Way,
    /// A ping was read and its pong is not sent yet.
    owes_pong: bool,
}

#[derive(Debug)]
enum Way {
    WebSocket(Box<WebSocketStream<TcpStream>>),
    Polling(Box<Polling>),
}

/// The server's first packet.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Handshake {
    sid: String,
    max_payload: usize,
}

impl Engine {
    /// Opens a session at the account's gateway. `POST`s go to its uplink, if
    /// it has one. Credentials are not sent: they belong into a message.
    pub(crate) async fn open(account: &Account, path: &str, carrier: Carrier) -> Result<Self> {
        let way = match carrier {
            Carrier::WebSocket => {
                let path = format!("{path}?EIO=4&transport=websocket");
                Way::WebSocket(Box::new(websocket::open(account, &path, &[]).await?))
            }
            Carrier::Polling => Way::Polling(Box::new(Polling::new(account, path)?)),
        };
        let mut engine = Self { way, owes_pong: false };
        let first = engine.packet().await?;
        let handshake = first.strip_prefix('0').ok_or_else(|| unexpected(&first))?;
        let handshake: Handshake = serde_json::from_str(handshake).map_err(Error::broken)?;
        if let Way::Polling(polling) = &mut engine.way {
            polling.path = format!("{}&sid={}", polling.path, resource::encode(&handshake.sid));
            polling.most = handshake.max_payload;
        }
        Ok(engine)
    }

    /// Sends a message. Over polls it is on its way when this returns; whether
    /// it has arrived shows in [`next`](Self::next).
    pub(crate) async fn send(&mut self, message: &str) -> Result<()> {
        self.write(format!("4{message}")).await
    }

    /// The next message. Waits for as long as it takes; safe to drop half way.
    pub(crate) async fn next(&mut self) -> Result<String> {
        loop {
            if self.owes_pong {
                self.write("3".to_owned()).await?;
                self.owes_pong = false;
            }
            let mut packet = self.packet().await?;
            match packet.as_bytes().first() {
                Some(b'4') => {
                    packet.remove(0);
                    return Ok(packet);
                }
                Some(b'2') => self.owes_pong = true,
                Some(b'6') => {}
                Some(b'1') => return Err(closed()),
                _ => return Err(unexpected(&packet)),
            }
        }
    }

    /// Ends the session in an orderly way.
    pub(crate) async fn close(mut self) {
        // One that is broken has ended, too.
        if self.write("1".to_owned()).await.is_ok() {
            match self.way {
                Way::WebSocket(mut stream) => while let Some(Ok(_)) = stream.next().await {},
                Way::Polling(mut polling) => while polling.step().await.is_ok() && polling.has_unsent() {},
            }
        }
    }

    async fn write(&mut self, packet: String) -> Result<()> {
        match &mut self.way {
            Way::WebSocket(stream) => stream.send(Message::text(packet)).await.map_err(stream_error),
            Way::Polling(polling) => polling.write(packet).await,
        }
    }

    async fn packet(&mut self) -> Result<String> {
        match &mut self.way {
            Way::Polling(polling) => loop {
                if let Some(packet) = polling.waiting.pop_front() {
                    return Ok(packet);
                }
                polling.step().await?;
            },
            Way::WebSocket(stream) => match websocket::read(stream).await? {
                Message::Text(text) => Ok(text.as_str().to_owned()),
                other => Err(Error::broken(format!("not a packet: {other:?}"))),
            },
        }
    }
}

fn closed() -> Error {
    Error::Closed(Close { code: None, reason: String::new() })
}

fn unexpected(packet: &str) -> Error {
    Error::broken(format!("a packet that was not expected: {packet}"))
}

/// A session over polls: at most one `GET` and one `POST` at a time, as the
/// protocol demands, each on a connection of its own. A request that is under
/// way stays in here, so that a caller may stop waiting for it.
struct Polling {
    path: String,
    /// Bytes of a `POST` at most.
    most: usize,
    down: Requests,
    up: Requests,
    waiting: VecDeque<String>,
    unsent: VecDeque<String>,
}

/// Requests of one kind, one at a time, over one connection.
pub(super) enum Requests {
    Idle(Http),
    Asking(BoxFuture<'static, (Http, Result<Answer>)>),
}

impl Polling {
    fn new(account: &Account, path: &str) -> Result<Self> {
        Ok(Self {
            path: format!("{path}?EIO=4&transport=polling"),
            most: 0,
            down: Requests::to(account, &account.gateway)?,
            up: Requests::to(account, account.uplink.as_deref().unwrap_or(&account.gateway))?,
            waiting: VecDeque::new(),
            unsent: VecDeque::new(),
        })
    }

    async fn write(&mut self, packet: String) -> Result<()> {
        if self.unsent.len() >= UNSENT {
            return Err(Error::broken("too many packets that could not be sent"));
        }
        self.unsent.push_back(packet);
        self.post();
        // On its way at once, if the one before is answered.
        if let Requests::Asking(request) = &mut self.up
            && let std::task::Poll::Ready(done) = poll!(request)
        {
            self.posted(done)?;
        }
        Ok(())
    }

    fn has_unsent(&self) -> bool {
        !self.unsent.is_empty() || matches!(self.up, Requests::Asking(_))
    }

    /// Goes on until the server has answered one request. Safe to drop.
    async fn step(&mut self) -> Result<()> {
        self.post();
        let path = self.path.clone();
        let down = self.down.ask(|mut http| {
            Box::pin(async move {
                let answer = http.request(Method::GET, &path, None).await;
                (http, answer)
            })
        });
        let up = async {
            match &mut self.up {
                Requests::Asking(request) => request.await,
                Requests::Idle(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            done = up => self.posted(done),
            (http, answer) = down => {
                self.down = Requests::Idle(http);
                let answer = good(answer?)?;
                let text = std::str::from_utf8(&answer.body).map_err(Error::broken)?;
                self.waiting.extend(text.split(SEPARATOR).map(str::to_owned));
                Ok(())
            }
        }
    }

    /// Begins a `POST` of what waits, unless one is under way.
    fn post(&mut self) {
        if self.unsent.is_empty() || !matches!(self.up, Requests::Idle(_)) {
            return;
        }
        let mut body = self.unsent.pop_front().unwrap_or_default();
        while self.unsent.front().is_some_and(|next| body.len() + 1 + next.len() <= self.most) {
            body.push(SEPARATOR);
            body.push_str(&self.unsent.pop_front().unwrap_or_default());
        }
        let path = self.path.clone();
        self.up.ask(|mut http| {
            Box::pin(async move {
                let headers = [(CONTENT_TYPE.as_str(), "text/plain;charset=UTF-8")];
                let answer = http.request_bytes(Method::POST, &path, Bytes::from(body), &headers).await;
                (http, answer)
            })
        });
    }

    fn posted(&mut self, (http, answer): (Http, Result<Answer>)) -> Result<()> {
        self.up = Requests::Idle(http);
        good(answer?)?;
        self.post();
        Ok(())
    }
}

impl Requests {
    /// To this gateway, without the account's token.
    pub(super) fn to(account: &Account, gateway: &str) -> Result<Self> {
        let account = Account { gateway: gateway.to_owned(), token: String::new(), ..account.clone() };
        Ok(Self::Idle(Http::new(&account)?))
    }

    /// The request that is under way, begun if there is none.
    pub(super) fn ask(
        &mut self,
        begin: impl FnOnce(Http) -> BoxFuture<'static, (Http, Result<Answer>)>,
    ) -> &mut BoxFuture<'static, (Http, Result<Answer>)> {
        if matches!(self, Self::Idle(_)) {
            let nobody = Self::Asking(Box::pin(std::future::pending()));
            if let Self::Idle(http) = std::mem::replace(self, nobody) {
                *self = Self::Asking(begin(http));
            }
        }
        match self {
            Self::Asking(request) => request,
            Self::Idle(_) => unreachable!("it was begun above"),
        }
    }
}

/// Engine.IO's own errors are 400 with a code.
fn good(answer: Answer) -> Result<Answer> {
    if answer.status != 200 {
        answer.json()?;
    }
    Ok(answer)
}

impl fmt::Debug for Polling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Polling").field("path", &self.path).finish_non_exhaustive()
    }
}
