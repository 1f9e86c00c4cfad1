//! The bare relay's lines: a letter, a name, and on the next line the body.
//! `S` sends to a user, `P` publishes to a channel, `C` subscribes; from the
//! relay `M` and `P` with the body, `R` for ready.

use serde_json::Value;

use super::{Dialect, PeerMessage, parse};
use crate::client::{Error, Result};

#[derive(Debug)]
pub(super) struct Relay {
    user: String,
}

impl Relay {
    pub(super) fn new(user: &str) -> Self {
        Self { user: user.to_owned() }
    }
}

impl Dialect for Relay {
    fn path(&self) -> String {
        format!("/{}", self.user)
    }

    fn hear(&mut self, text: &str) -> Result<PeerMessage> {
        if text == "R" {
            return Ok(PeerMessage::Ready(Vec::new()));
        }
        let (head, body) = text.split_once('\n').ok_or_else(|| Error::broken("no line of the relay"))?;
        let target = head.get(1..).unwrap_or_default().to_owned();
        Ok(PeerMessage::Bodies(vec![(target, parse(body)?)]))
    }

    fn send(&mut self, to: &str, body: &Value) -> String {
        format!("S{to}\n{body}")
    }

    fn publish(&mut self, channel: &str, body: &Value) -> String {
        format!("P{channel}\n{body}")
    }

    fn subscribe(&mut self, channel: &str) -> String {
        format!("C{channel}\n")
    }
}
