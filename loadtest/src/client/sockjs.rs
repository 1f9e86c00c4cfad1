//! The protocol as SockJS's clients speak it (PROTOCOL.md §6): each message is one
//! frame, over a WebSocket or over XHR polls.
//!
//! SockJS has frames of its own: `o` open, `h` heartbeat, `a` and an array of
//! messages, `c` closed, with a code and a reason. What a client sends is an array of
//! messages.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::Method;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::engine::Carrier;
use super::error::{Close, Error, Result};
use super::http::{Answer, Http};
use super::polls::{Polling, Polls, Request};
use super::two_way::{TwoWay, Wire};
use super::websocket::{self, stream_error};
use super::{Account, Frame, resource};

/// A session over SockJS.
pub type SockJs = TwoWay<Messages>;

/// Our frames in SockJS's messages.
#[derive(Debug)]
pub struct Messages {
    way: Way,
    /// Frames of ours that came in one of SockJS's.
    arrived: VecDeque<Frame>,
}

#[derive(Debug)]
enum Way {
    WebSocket(Box<WebSocketStream<TcpStream>>),
    Polling(Box<Polls<Xhr>>),
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
            Carrier::Polling => Way::Polling(Box::new(Polls::new(account, Xhr { path, query })?)),
        };
        let mut messages = Messages { way, arrived: VecDeque::new() };
        match messages.sockjs_frame().await?.as_str() {
            "o" => Self::begin(messages).await,
            other => Err(unexpected(other)),
        }
    }
}

impl Messages {
    async fn sockjs_frame(&mut self) -> Result<String> {
        match &mut self.way {
            Way::Polling(polls) => polls.read().await,
            Way::WebSocket(stream) => match websocket::read(stream).await? {
                Message::Text(text) => Ok(text.as_str().to_owned()),
                other => Err(Error::broken(format!("not a frame: {other:?}"))),
            },
        }
    }
}

impl Wire for Messages {
    async fn read(&mut self) -> Result<Frame> {
        loop {
            if let Some(frame) = self.arrived.pop_front() {
                return Ok(frame);
            }
            let frame = self.sockjs_frame().await?;
            self.arrived = frames(&frame)?;
        }
    }

    async fn send(&mut self, reference: u64, mut command: Value) -> Result<()> {
        command["ref"] = json!(reference);
        let text = command.to_string();
        match &mut self.way {
            Way::WebSocket(stream) => {
                stream.send(Message::text(json!([text]).to_string())).await.map_err(stream_error)
            }
            Way::Polling(polls) => polls.write(text).await,
        }
    }

    /// Closes the WebSocket. SockJS has no word for the end of polls: they are left.
    async fn close(self) {
        if let Way::WebSocket(mut stream) = self.way
            && (*stream).close(None).await.is_ok()
        {
            while let Some(Ok(_)) = stream.next().await {}
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

/// XHR polls of one session.
struct Xhr {
    path: String,
    query: String,
}

impl Xhr {
    fn post(&self, what: &str, mut http: Http, body: String) -> Request {
        let path = format!("{}/{what}{}", self.path, self.query);
        Box::pin(async move {
            let answer = http.request_bytes(Method::POST, &path, Bytes::from(body), &[]).await;
            (http, answer)
        })
    }
}

impl Polling for Xhr {
    fn receive(&self, http: Http) -> Request {
        self.post("xhr", http, String::new())
    }

    fn send(&self, http: Http, unsent: &mut VecDeque<String>) -> Request {
        let body = json!(unsent.drain(..).collect::<Vec<_>>()).to_string();
        self.post("xhr_send", http, body)
    }

    fn received(&self, answer: Answer) -> Result<Vec<String>> {
        let answer = good(answer, 200)?;
        let text = std::str::from_utf8(&answer.body).map_err(Error::broken)?;
        Ok(vec![text.strip_suffix('\n').unwrap_or(text).to_owned()])
    }

    fn sent(&self, answer: Answer) -> Result<()> {
        good(answer, 204).map(drop)
    }
}

fn good(answer: Answer, status: u16) -> Result<Answer> {
    if answer.status == status { Ok(answer) } else { Err(Error::broken(format!("status {}", answer.status))) }
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
