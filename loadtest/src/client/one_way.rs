//! What all one-way streams share: frames down over one answer, commands up as
//! requests. A transport adds its path and its framing.

use std::collections::VecDeque;
use std::fmt;

use serde_json::Value;

use super::error::{Error, Result};
use super::lines::Lines;
use super::uplink::Uplink;
use super::{Account, Frame};

/// How a transport's frames stand in lines.
pub(super) trait Framing: fmt::Debug + Send + Sync {
    /// The next line; gives the frame that it completes. Anything that the
    /// transport's form does not have is an error.
    fn line(&mut self, line: &str) -> Result<Option<Frame>>;
}

/// A session over a one-way stream.
#[derive(Debug)]
pub struct OneWay {
    lines: Lines,
    framing: Box<dyn Framing>,
    uplink: Uplink,
    welcome: Frame,
    cursor: String,
    /// Answers that have not been handed out.
    waiting: VecDeque<Frame>,
}

impl OneWay {
    /// Opens the stream and reads `welcome`.
    pub(super) async fn open(
        account: &Account,
        path: &str,
        headers: &[(&str, &str)],
        framing: impl Framing + 'static,
    ) -> Result<Self> {
        let mut client = Self {
            lines: Lines::open(account, path, headers).await?,
            framing: Box::new(framing),
            uplink: Uplink::new(account)?,
            welcome: Frame(Value::Null),
            cursor: String::new(),
            waiting: VecDeque::new(),
        };
        let welcome = client.read().await?;
        if welcome.kind() != "welcome" {
            return Err(Error::broken(format!("`{}` instead of `welcome`", welcome.kind())));
        }
        client.cursor = welcome.cursor().unwrap_or_default().to_owned();
        client.welcome = welcome;
        Ok(client)
    }

    /// The frame that the stream began with.
    pub fn welcome(&self) -> &Frame {
        &self.welcome
    }

    /// The position of the last event handed out.
    pub fn cursor(&self) -> &str {
        &self.cursor
    }

    /// The next frame of any type. Safe to drop half way.
    pub async fn next_frame(&mut self) -> Result<Frame> {
        let frame = match self.waiting.pop_front() {
            Some(frame) => frame,
            None => self.read().await?,
        };
        if let Some(cursor) = frame.cursor() {
            cursor.clone_into(&mut self.cursor);
        }
        Ok(frame)
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

    async fn read(&mut self) -> Result<Frame> {
        loop {
            let line = self.lines.next().await?;
            if let Some(frame) = self.framing.line(&line)? {
                return Ok(frame);
            }
        }
    }
}
