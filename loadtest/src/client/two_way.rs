//! A session whose commands go the way that its frames come, and are answered by
//! `ref`. How both travel is a [`Wire`]'s matter.

use std::future::Future;

use serde_json::Value;

use super::Frame;
use super::error::Result;
use super::handed::Handed;

/// What carries frames down and commands up.
pub trait Wire: Send {
    /// The next frame. Safe to drop half way.
    fn read(&mut self) -> impl Future<Output = Result<Frame>> + Send;

    /// Sends a command, whose answer will have this `ref`.
    fn send(&mut self, reference: u64, command: Value) -> impl Future<Output = Result<()>> + Send;

    /// Ends it in an orderly way. What is broken has ended, too.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// A session over one wire.
#[derive(Debug)]
pub struct TwoWay<W> {
    pub(super) wire: W,
    handed: Handed,
    last_ref: u64,
}

impl<W: Wire> TwoWay<W> {
    /// Reads `welcome`, with which the session begins.
    pub(super) async fn begin(mut wire: W) -> Result<Self> {
        let mut handed = Handed::nothing();
        handed.begin(wire.read().await?)?;
        Ok(Self { wire, handed, last_ref: 0 })
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
            None => self.wire.read().await?,
        };
        Ok(self.handed.hand_out(frame))
    }

    /// Sends a command; its answer comes out of [`next_frame`](Self::next_frame).
    pub async fn start(&mut self, command: Value) -> Result<u64> {
        self.last_ref += 1;
        self.wire.send(self.last_ref, command).await?;
        Ok(self.last_ref)
    }

    /// Sends a command and waits for its answer.
    pub async fn command(&mut self, command: Value) -> Result<Frame> {
        let reference = self.start(command).await?;
        loop {
            let frame = self.wire.read().await?;
            let answers = frame.answers() == Some(reference);
            if !answers || frame.is_event() {
                self.handed.keep(frame.clone())?;
            }
            if answers {
                return frame.accepted();
            }
        }
    }

    /// Ends the session in an orderly way.
    pub async fn close(self) {
        self.wire.close().await;
    }
}
