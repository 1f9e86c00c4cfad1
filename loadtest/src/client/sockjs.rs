//! The protocol as SockJS's clients speak it (PROTOCOL.md §6): each message is one
//! frame, over a WebSocket or over XHR polls.
//!
//! SockJS has frames of its own: `o` open, `h` heartbeat, `a` and an array of
//! messages, `c` closed, with a code and a reason. What a client sends is an array of
//! messages.

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, poll};
use http::Method;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::engine::{Carrier, Requests};
use super::error::{Close, Error, Result};
use super::handed::Handed;
use super::http::{Answer, Http};
use super::websocket::{self, stream_error};
use super::{Account, Frame, resource};

/// Messages that may wait to be posted; a program that sends more without
/// reading is broken instead of growing without end.
const UNSENT: usize = 100_000;

/// A session over SockJS.
#[derive(Debug)]
pub struct SockJs {
    way: Way,
    /// Frames of ours that came in one of SockJS's.
    arrived: VecDeque<Frame>,
    handed: Handed,
    last_ref: u64,
}

#[derive(Debug)]
enum Way {
    WebSocket(Box<WebSocketStream<TcpStream>>),
    Polling(Box<Polling>),
}

impl SockJs {
    /// Connects with the token, device and cursor of the account, and reads
    /// `welcome`.
    pub async fn connect(account: &Account, carrier: Carrier) -> Result<Self> {
        let path = format!("/sockjs/000/{:016x}", rand::random::<u64>());
        let query = query(account);
        let way = match carrier {
            Carrier::WebSocket => {
                let path = format!("{path}/websocket{query}");
                Way::WebSocket(Box::new(websocket::open(account, &path, &[]).await?))
            }
            Carrier::Polling => Way::Polling(Box::new(Polling::new(account, path, query)?)),
        };
        let mut client = Self { way, arrived: VecDeque::new(), handed: Handed::nothing(), last_ref: 0 };
        match client.sockjs_frame().await?.as_str() {
            "o" => {}
            other => return Err(unexpected(other)),
        }
        let welcome = client.read().await?;
        client.handed.begin(welcome)?;
        Ok(client)
    }

    /// The frame that the session began with.
    pub fn welcome(&self) -> &Frame {
        self.handed.welcome()
    }

    /// The position of the last event handed out.
    pub fn cursor(&self) -> &str {
        self.handed.cursor()
    }

    /// The next frame of any type. Safe to drop half way.
    pub async fn next_frame(&mut self) -> Result<Frame> {
        let frame = match self.handed.oldest() {
            Some(frame) => frame,
            None => self.read().await?,
        };
        Ok(self.handed.hand_out(frame))
    }

    /// Sends a command; its answer comes out of [`next_frame`](Self::next_frame).
    pub async fn start(&mut self, mut command: Value) -> Result<u64> {
        self.last_ref += 1;
        command["ref"] = json!(self.last_ref);
        let text = command.to_string();
        match &mut self.way {
            Way::WebSocket(stream) => {
                stream.send(Message::text(json!([text]).to_string())).await.map_err(stream_error)?;
            }
            Way::Polling(polling) => polling.write(text).await?,
        }
        Ok(self.last_ref)
    }

    /// Sends a command and waits for its answer.
    pub async fn command(&mut self, command: Value) -> Result<Frame> {
        let reference = self.start(command).await?;
        loop {
            let frame = self.read().await?;
            let answers = frame.answers() == Some(reference);
            if !answers || frame.is_event() {
                self.handed.keep(frame.clone())?;
            }
            if answers {
                return frame.accepted();
            }
        }
    }

    /// Closes the WebSocket. SockJS has no word for the end of polls: they are left.
    pub async fn close(self) {
        if let Way::WebSocket(mut stream) = self.way
            && (*stream).close(None).await.is_ok()
        {
            while let Some(Ok(_)) = stream.next().await {}
        }
    }

    async fn read(&mut self) -> Result<Frame> {
        loop {
            if let Some(frame) = self.arrived.pop_front() {
                return Ok(frame);
            }
            let frame = self.sockjs_frame().await?;
            self.arrived = frames(&frame)?;
        }
    }

    async fn sockjs_frame(&mut self) -> Result<String> {
        match &mut self.way {
            Way::Polling(polling) => loop {
                if let Some(frame) = polling.arrived.take() {
                    return Ok(frame);
                }
                polling.step().await?;
            },
            Way::WebSocket(stream) => match websocket::read(stream).await? {
                Message::Text(text) => Ok(text.as_str().to_owned()),
                other => Err(Error::broken(format!("not a frame: {other:?}"))),
            },
        }
    }
}

/// SockJS has no headers of its own: the query says who connects, from where on.
fn query(account: &Account) -> String {
    let mut query = format!("?token={}", resource::encode(&account.token));
    for (name, value) in [("device", &account.device), ("cursor", &account.cursor)] {
        if let Some(value) = value {
            query.push_str(&format!("&{name}={}", resource::encode(value)));
        }
    }
    query
}

/// Our frames in one of SockJS's.
fn frames(frame: &str) -> Result<VecDeque<Frame>> {
    let broken = || unexpected(frame);
    let (kind, rest) = frame.split_at_checked(1).ok_or_else(broken)?;
    match kind {
        "h" => Ok(VecDeque::new()),
        "a" => {
            let messages: Vec<String> = serde_json::from_str(rest).map_err(|_| broken())?;
            messages.iter().map(|message| Frame::parse(message.as_bytes())).collect()
        }
        "c" => {
            let (code, reason): (u16, String) = serde_json::from_str(rest).map_err(|_| broken())?;
            Err(Error::Closed(Close { code: Some(code), reason }))
        }
        _ => Err(broken()),
    }
}

fn unexpected(frame: &str) -> Error {
    Error::broken(format!("a frame of SockJS that was not expected: {frame}"))
}

/// A session over polls: one request that receives and one that sends at a time, each
/// on a connection of its own. A request that is under way stays in here, so that a
/// caller may stop waiting for it.
struct Polling {
    path: String,
    query: String,
    down: Requests,
    up: Requests,
    arrived: Option<String>,
    unsent: VecDeque<String>,
}

impl Polling {
    fn new(account: &Account, path: String, query: String) -> Result<Self> {
        let down = Requests::to(account, &account.gateway)?;
        let up = Requests::to(account, account.uplink.as_deref().unwrap_or(&account.gateway))?;
        Ok(Self { path, query, down, up, arrived: None, unsent: VecDeque::new() })
    }

    async fn write(&mut self, message: String) -> Result<()> {
        if self.unsent.len() >= UNSENT {
            return Err(Error::broken("too many messages that could not be sent"));
        }
        self.unsent.push_back(message);
        self.post();
        // On its way at once, if the one before is answered.
        if let Requests::Asking(request) = &mut self.up
            && let std::task::Poll::Ready(done) = poll!(request)
        {
            self.posted(done)?;
        }
        Ok(())
    }

    /// Goes on until the server has answered one request. Safe to drop.
    async fn step(&mut self) -> Result<()> {
        self.post();
        let path = format!("{}/xhr{}", self.path, self.query);
        let down = self.down.ask(|mut http| {
            Box::pin(async move {
                let answer = http.request_bytes(Method::POST, &path, Bytes::new(), &[]).await;
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
                let answer = good(answer?, 200)?;
                let text = std::str::from_utf8(&answer.body).map_err(Error::broken)?;
                self.arrived = Some(text.strip_suffix('\n').unwrap_or(text).to_owned());
                Ok(())
            }
        }
    }

    /// Begins a `POST` of what waits, unless one is under way.
    fn post(&mut self) {
        if self.unsent.is_empty() || !matches!(self.up, Requests::Idle(_)) {
            return;
        }
        let body = json!(self.unsent.drain(..).collect::<Vec<_>>()).to_string();
        let path = format!("{}/xhr_send{}", self.path, self.query);
        self.up.ask(|mut http| {
            Box::pin(async move {
                let answer = http.request_bytes(Method::POST, &path, Bytes::from(body), &[]).await;
                (http, answer)
            })
        });
    }

    fn posted(&mut self, (http, answer): (Http, Result<Answer>)) -> Result<()> {
        self.up = Requests::Idle(http);
        good(answer?, 204)?;
        self.post();
        Ok(())
    }
}

fn good(answer: Answer, status: u16) -> Result<Answer> {
    if answer.status == status { Ok(answer) } else { Err(Error::broken(format!("status {}", answer.status))) }
}

impl fmt::Debug for Polling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Polling").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_is_as_many_frames_a_heartbeat_none_and_a_close_the_end() {
        let two = frames(r#"a["{\"type\":\"pong\"}","{\"type\":\"ok\",\"ref\":1}"]"#).unwrap();
        assert_eq!(two.iter().map(Frame::kind).collect::<Vec<_>>(), ["pong", "ok"]);
        assert!(frames("h").unwrap().is_empty());
        match frames(r#"c[4403,"kicked"]"#).unwrap_err() {
            Error::Closed(close) => assert_eq!((close.code, close.reason.as_str()), (Some(4403), "kicked")),
            other => panic!("{other}"),
        }
        for wrong in ["", "x", "a{}", "a[1]", "c[]", "o"] {
            assert!(frames(wrong).is_err(), "{wrong}");
        }
    }
}
