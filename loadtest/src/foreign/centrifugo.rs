//! Centrifugo's JSON protocol: commands with an `id`, answers with the same,
//! pushes without, several on lines of one message; `{}` is a ping and its
//! answer. A user listens on a channel of its own name.

use serde_json::{Value, json};

use super::{Dialect, Heard, parse};
use crate::client::{Error, Result};

#[derive(Debug)]
pub(super) struct Centrifugo {
    user: String,
    last_id: u64,
    /// The answer that makes it ready.
    awaits: u64,
    greeted: bool,
}

impl Centrifugo {
    pub(super) fn new(user: &str) -> Self {
        Self { user: user.to_owned(), last_id: 0, awaits: 0, greeted: false }
    }

    fn command(&mut self, name: &str, fields: Value) -> String {
        self.last_id += 1;
        json!({"id": self.last_id, name: fields}).to_string()
    }
}

impl Dialect for Centrifugo {
    fn path(&self) -> String {
        "/connection/websocket".to_owned()
    }

    fn greet(&mut self) -> Option<String> {
        let name = self.user.clone();
        Some(self.command("connect", json!({"name": name})))
    }

    fn hear(&mut self, text: &str) -> Result<Heard> {
        let mut bodies = Vec::new();
        for line in text.lines() {
            let mut message = parse(line)?;
            if message.as_object().is_some_and(serde_json::Map::is_empty) {
                return Ok(Heard::Reply(vec!["{}".to_owned()]));
            }
            if let Some(error) = message.get("error") {
                return Err(Error::broken(format!("refused: {error}")));
            }
            if message.get("push").is_some_and(|push| push.get("pub").is_some()) {
                let channel = message["push"]["channel"].as_str().unwrap_or_default().to_owned();
                bodies.push((channel, message["push"]["pub"]["data"].take()));
            } else if message.get("connect").is_some() && !self.greeted {
                self.greeted = true;
                let user = self.user.clone();
                return Ok(Heard::Reply(vec![self.subscribe(&user)]));
            } else if message["id"] == self.awaits {
                return Ok(Heard::Ready);
            }
        }
        Ok(Heard::Bodies(bodies))
    }

    fn send(&mut self, to: &str, body: &Value) -> String {
        self.command("publish", json!({"channel": to, "data": body}))
    }

    fn publish(&mut self, channel: &str, body: &Value) -> String {
        self.command("publish", json!({"channel": channel, "data": body}))
    }

    fn subscribe(&mut self, channel: &str) -> String {
        let text = self.command("subscribe", json!({"channel": channel}));
        self.awaits = self.last_id;
        text
    }
}
