//! What all one-way streams share: frames down over one answer, commands up as
//! requests. A transport adds its path and its framing.

use std::fmt;

use serde_json::Value;

use super::error::Result;
use super::handed::Handed;
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
    handed: Handed,
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
            handed: Handed::nothing(),
        };
        let welcome = client.read().await?;
        client.handed.begin(welcome)?;
        Ok(client)
    }

    /// The frame that the stream began with.
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

    /// Sends a command; its answer comes out of
    /// [`next_frame`](Self::next_frame).
    pub async fn start(&mut self, command: Value) -> Result<u64> {
        let (reference, answer) = self.uplink.start(&command).await?;
        self.handed.keep(answer)?;
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
