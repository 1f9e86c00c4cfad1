//! The protocol over long or short polls: events by `GET /v1/poll`, commands
//! as HTTP requests on a second connection.

use std::collections::VecDeque;

use futures_util::future::BoxFuture;
use http::Method;
use serde_json::Value;
use tokio::time::{Duration, Instant, sleep_until};

use super::error::{Close, Error, Result};
use super::http::{Answer, Http};
use super::uplink::Uplink;
use super::{Account, Form, Frame, binary, resource};

/// Between two short polls, when the first brought nothing.
const REST: Duration = Duration::from_millis(50);

/// A device that polls.
pub struct Poll {
    device: Option<String>,
    channels: Option<String>,
    form: Form,
    wait: u64,
    cursor: String,
    /// The position of the last response, ahead of `cursor` while events wait.
    ahead: String,
    uplink: Uplink,
    state: State,
    waiting: VecDeque<Frame>,
    /// The next short poll is not before.
    rests_until: Instant,
    /// The reason of a `goaway`; a client that got one does not poll on.
    sent_away: Option<String>,
}

/// The connection for polls; moved into the request while one is under way, so
/// that a caller may drop `next_frame` and take the request up again.
enum State {
    Idle(Http),
    Asking(BoxFuture<'static, (Http, Result<Value>)>),
}

impl Poll {
    /// Makes the first poll, which says where the device starts. `wait` is how
    /// many seconds later ones wait for an event; 0 for short polling.
    pub async fn connect(account: &Account, wait: u64) -> Result<Self> {
        Self::connect_as(account, wait, Form::Json).await
    }

    /// As [`connect`](Self::connect), with answers in this form.
    pub async fn connect_as(account: &Account, wait: u64, form: Form) -> Result<Self> {
        let mut client = Self {
            device: account.device.clone(),
            channels: account.channels.clone(),
            form,
            wait,
            cursor: account.cursor.clone().unwrap_or_default(),
            ahead: account.cursor.clone().unwrap_or_default(),
            uplink: Uplink::new(account)?,
            state: State::Idle(Http::new(account)?),
            waiting: VecDeque::new(),
            rests_until: Instant::now(),
            sent_away: None,
        };
        let answer = client.ask(0).await?;
        client.take(answer)?;
        if client.waiting.is_empty() {
            client.ahead.clone_into(&mut client.cursor);
        }
        Ok(client)
    }

    /// The position of the last event handed out.
    pub fn cursor(&self) -> &str {
        &self.cursor
    }

    /// The next frame; polls until there is one. After a `goaway` the session
    /// has ended. Safe to drop half way.
    pub async fn next_frame(&mut self) -> Result<Frame> {
        loop {
            if let Some(frame) = self.hand_out() {
                return Ok(frame);
            }
            if let Some(reason) = &self.sent_away {
                return Err(Error::Closed(Close { code: None, reason: reason.clone() }));
            }
            sleep_until(self.rests_until).await;
            let answer = self.ask(self.wait).await?;
            self.take(answer)?;
            if self.wait == 0 && self.waiting.is_empty() {
                self.rests_until = Instant::now() + REST;
            }
        }
    }

    /// One poll that does not wait, and all of its frames.
    pub async fn poll_once(&mut self) -> Result<Vec<Frame>> {
        let answer = self.ask(0).await?;
        self.take(answer)?;
        Ok(std::iter::from_fn(|| self.hand_out()).collect())
    }

    /// Sends a command; its answer comes out of
    /// [`next_frame`](Self::next_frame).
    pub async fn start(&mut self, command: Value) -> Result<u64> {
        let (reference, answer) = self.uplink.start(&command).await?;
        self.waiting.push_back(answer);
        Ok(reference)
    }

    /// Sends a command and waits for its answer.
    pub async fn command(&mut self, command: Value) -> Result<Frame> {
        self.uplink.command(&command).await
    }

    fn hand_out(&mut self) -> Option<Frame> {
        let frame = self.waiting.pop_front()?;
        if let Some(cursor) = frame.cursor() {
            cursor.clone_into(&mut self.cursor);
        }
        if frame.kind() == "goaway" {
            self.sent_away = frame.text("reason").map(str::to_owned);
        }
        if self.waiting.is_empty() {
            self.ahead.clone_into(&mut self.cursor);
        }
        Some(frame)
    }

    fn take(&mut self, answer: Value) -> Result<()> {
        let cursor = answer["cursor"].as_str().ok_or_else(|| Error::broken("a poll without a cursor"))?;
        let events = answer["events"].as_array().ok_or_else(|| Error::broken("a poll without events"))?;
        for event in events {
            self.waiting.push_back(Frame::checked(event.clone())?);
        }
        cursor.clone_into(&mut self.ahead);
        Ok(())
    }

    async fn ask(&mut self, wait: u64) -> Result<Value> {
        if matches!(self.state, State::Idle(_)) {
            let (path, form) = (self.path(wait), self.form);
            let nobody = State::Asking(Box::pin(std::future::pending()));
            let State::Idle(mut http) = std::mem::replace(&mut self.state, nobody) else {
                return Err(Error::broken("a poll is under way"));
            };
            self.state = State::Asking(Box::pin(async move {
                let accept = [("accept", binary::CONTENT_TYPE)];
                let headers = if form == Form::Protobuf { &accept[..] } else { &[] };
                let answer = http.request_with(Method::GET, &path, None, headers).await;
                let result = answer.and_then(|answer| read(&answer, form));
                (http, result)
            }));
        }
        let State::Asking(request) = &mut self.state else {
            return Err(Error::broken("a poll is under way"));
        };
        let (http, result) = request.await;
        self.state = State::Idle(http);
        result
    }

    fn path(&self, wait: u64) -> String {
        let mut path = format!("/v1/poll?wait={wait}");
        if !self.ahead.is_empty() {
            path.push_str(&format!("&cursor={}", resource::encode(&self.ahead)));
        }
        if let Some(device) = &self.device {
            path.push_str(&format!("&device={}", resource::encode(device)));
        }
        if let Some(channels) = &self.channels {
            path.push_str(&format!("&channels={}", resource::encode(channels)));
        }
        path
    }
}

fn read(answer: &Answer, form: Form) -> Result<Value> {
    match form {
        Form::Protobuf if answer.status == 200 => binary::decode_poll(&answer.body),
        _ => answer.json(),
    }
}

impl std::fmt::Debug for Poll {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Poll").field("device", &self.device).field("cursor", &self.cursor).finish()
    }
}
