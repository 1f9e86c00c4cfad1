//! One user's connection, whatever server is at its other end. All speak the
//! vocabulary of PROTOCOL.md; [`Foreign`] translates.

use std::borrow::Cow;

use serde_json::Value;

use crate::client::{Client, Error, Frame, Result};
use crate::foreign::Foreign;

/// A connected user.
#[derive(Debug)]
pub(super) enum Line {
    Switchboard(Client),
    Foreign(Box<Foreign>),
    Cut,
}

impl Line {
    /// Closes the connection without a goodbye.
    pub(super) fn cut(&mut self) {
        *self = Self::Cut;
    }

    /// The position of the last event; empty where there is none.
    pub(super) fn cursor(&self) -> Cow<'_, str> {
        match self {
            Self::Switchboard(client) => client.cursor().into(),
            Self::Foreign(foreign) => foreign.cursor().into(),
            Self::Cut => "".into(),
        }
    }

    /// The next frame. Safe to drop half way.
    pub(super) async fn next_frame(&mut self) -> Result<Frame> {
        match self {
            Self::Switchboard(client) => client.next_frame().await,
            Self::Foreign(foreign) => foreign.next_frame().await,
            Self::Cut => Err(Error::broken("cut")),
        }
    }

    /// Sends a command whose answer comes out of
    /// [`next_frame`](Self::next_frame).
    pub(super) async fn start(&mut self, command: Value) -> Result<u64> {
        match self {
            Self::Switchboard(client) => client.start(command).await,
            Self::Foreign(foreign) => foreign.start(&command).await,
            Self::Cut => Err(Error::broken("cut")),
        }
    }
}
