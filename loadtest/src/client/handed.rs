//! What a client of a stream has been given: the frame that its session began
//! with, its cursor, and the frames that came before an answer.

use std::collections::VecDeque;

use serde_json::Value;

use super::Frame;
use super::error::{Error, Result};

/// More frames than this before an answer are from no server of ours.
const WAITING: usize = 1_000_000;

/// The frames of one session.
#[derive(Debug)]
pub(super) struct Handed {
    welcome: Frame,
    cursor: String,
    waiting: VecDeque<Frame>,
}

impl Handed {
    /// Before the first frame.
    pub(super) fn nothing() -> Self {
        Self { welcome: Frame(Value::Null), cursor: String::new(), waiting: VecDeque::new() }
    }

    /// Takes the first frame. Fails when it is not `welcome`.
    pub(super) fn begin(&mut self, welcome: Frame) -> Result<()> {
        if welcome.kind() != "welcome" {
            return Err(Error::broken(format!("`{}` instead of `welcome`", welcome.kind())));
        }
        welcome.cursor().unwrap_or_default().clone_into(&mut self.cursor);
        self.welcome = welcome;
        Ok(())
    }

    /// The frame that the session began with.
    pub(super) fn welcome(&self) -> &Frame {
        &self.welcome
    }

    /// The position of the last event handed out.
    pub(super) fn cursor(&self) -> &str {
        &self.cursor
    }

    /// Keeps a frame until it is asked for. Fails when there are too many.
    pub(super) fn keep(&mut self, frame: Frame) -> Result<()> {
        if self.waiting.len() >= WAITING {
            return Err(Error::broken("too many frames before an answer"));
        }
        self.waiting.push_back(frame);
        Ok(())
    }

    /// The oldest frame that is kept.
    pub(super) fn oldest(&mut self) -> Option<Frame> {
        self.waiting.pop_front()
    }

    /// The frame, which is handed out now: its cursor is the client's.
    pub(super) fn hand_out(&mut self, frame: Frame) -> Frame {
        if let Some(cursor) = frame.cursor() {
            cursor.clone_into(&mut self.cursor);
        }
        frame
    }
}
