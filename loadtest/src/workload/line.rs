//! One user's connection, whatever server is at its other end. All speak the
//! vocabulary of PROTOCOL.md; [`Foreign`] translates.

use serde_json::Value;

use crate::client::{Client, Frame, Result};
use crate::foreign::Foreign;

/// A connected user.
#[derive(Debug)]
pub(super) enum Line {
    Switchboard(Client),
    Foreign(Box<Foreign>),
}

impl Line {
    /// The place of the last event; empty where there is none.
    pub(super) fn cursor(&self) -> &str {
        match self {
            Self::Switchboard(client) => client.cursor(),
            Self::Foreign(_) => "",
        }
    }

    /// The next frame. Safe to drop half way.
    pub(super) async fn next_frame(&mut self) -> Result<Frame> {
        match self {
            Self::Switchboard(client) => client.next_frame().await,
            Self::Foreign(foreign) => foreign.next_frame().await,
        }
    }

    /// Sends a command whose answer comes out of
    /// [`next_frame`](Self::next_frame).
    pub(super) async fn start(&mut self, command: Value) -> Result<u64> {
        match self {
            Self::Switchboard(client) => client.start(command).await,
            Self::Foreign(foreign) => foreign.start(&command).await,
        }
    }

    /// Sends a command and waits for its answer.
    pub(super) async fn command(&mut self, command: Value) -> Result<Frame> {
        match self {
            Self::Switchboard(client) => client.command(command).await,
            Self::Foreign(foreign) => foreign.command(&command).await,
        }
    }
}
