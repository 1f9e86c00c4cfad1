//! Engine.IO 4 from the client's side, over a WebSocket or over polls: opens a
//! session, answers the server's pings, and hands out messages as text. What is
//! in the messages is others' matter.
//!
//! A packet is a digit and a text: `0` open, `1` close, `2` ping, `3` pong, `4`
//! message, `6` nothing. A WebSocket message is one packet; the body of a poll
//! is several, with 0x1E between them.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::Method;
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::error::{Close, Error, Result};
use super::http::{Answer, Http};
use super::polls::{Polling, Polls, Request};
use super::websocket::{self, stream_error};
use super::{Account, resource};

/// Between two packets of a poll.
const SEPARATOR: char = '\u{1e}';

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
    Polling(Box<Polls<Polled>>),
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
            Carrier::Polling => {
                let path = format!("{path}?EIO=4&transport=polling");
                Way::Polling(Box::new(Polls::new(account, Polled { path, most: 0 })?))
            }
        };
        let mut engine = Self { way, owes_pong: false };
        let first = engine.packet().await?;
        let handshake = first.strip_prefix('0').ok_or_else(|| unexpected(&first))?;
        let handshake: Handshake = serde_json::from_str(handshake).map_err(Error::broken)?;
        if let Way::Polling(polls) = &mut engine.way {
            let polled = &mut polls.protocol;
            polled.path = format!("{}&sid={}", polled.path, resource::encode(&handshake.sid));
            polled.most = handshake.max_payload;
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
                // Whether the server has heard it makes no difference any more.
                Way::Polling(mut polls) => drop(polls.flush().await),
            }
        }
    }

    async fn write(&mut self, packet: String) -> Result<()> {
        match &mut self.way {
            Way::WebSocket(stream) => stream.send(Message::text(packet)).await.map_err(stream_error),
            Way::Polling(polls) => polls.write(packet).await,
        }
    }

    async fn packet(&mut self) -> Result<String> {
        match &mut self.way {
            Way::Polling(polls) => polls.read().await,
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

/// Packets in polls: at most one `GET` and one `POST` at a time, as the protocol
/// demands.
struct Polled {
    path: String,
    /// Bytes of a `POST` at most.
    most: usize,
}

impl Polling for Polled {
    fn receive(&self, mut http: Http) -> Request {
        let path = self.path.clone();
        Box::pin(async move {
            let answer = http.request(Method::GET, &path, None).await;
            (http, answer)
        })
    }

    fn send(&self, mut http: Http, unsent: &mut VecDeque<String>) -> Request {
        let mut body = unsent.pop_front().unwrap_or_default();
        while unsent.front().is_some_and(|next| body.len() + 1 + next.len() <= self.most) {
            body.push(SEPARATOR);
            body.push_str(&unsent.pop_front().unwrap_or_default());
        }
        let path = self.path.clone();
        Box::pin(async move {
            let headers = [(CONTENT_TYPE.as_str(), "text/plain;charset=UTF-8")];
            let answer = http.request_bytes(Method::POST, &path, Bytes::from(body), &headers).await;
            (http, answer)
        })
    }

    fn received(&self, answer: Answer) -> Result<Vec<String>> {
        let answer = good(answer)?;
        let text = std::str::from_utf8(&answer.body).map_err(Error::broken)?;
        Ok(text.split(SEPARATOR).map(str::to_owned).collect())
    }

    fn sent(&self, answer: Answer) -> Result<()> {
        good(answer).map(drop)
    }
}

/// Engine.IO's own errors are 400 with a code.
fn good(answer: Answer) -> Result<Answer> {
    if answer.status != 200 {
        answer.json()?;
    }
    Ok(answer)
}
