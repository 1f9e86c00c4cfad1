//! Centrifugo's JSON protocol: commands with an `id`, answers with the same,
//! pushes without, several on lines of one message; `{}` is a ping and its
//! answer. A user listens on a channel of its own name. Where channels have a
//! history, an offset and an epoch say how far the user has read.

use serde_json::{Value, json};

use super::{Dialect, PeerMessage, parse};
use crate::client::{Error, Result};

#[derive(Debug)]
pub(super) struct Centrifugo {
    user: String,
    last_id: u64,
    /// The answer that makes it ready, and the channel that it is about.
    awaits: (u64, String),
    greeted: bool,
    /// In the history of the user's own channel.
    position: Option<Position>,
}

/// How far a channel's history was read.
#[derive(Debug, PartialEq)]
struct Position {
    offset: u64,
    epoch: String,
}

impl Centrifugo {
    /// `cursor` is where the user was before.
    pub(super) fn new(user: &str, cursor: Option<&str>) -> Self {
        let position = cursor.and_then(Position::parse);
        Self { user: user.to_owned(), last_id: 0, awaits: (0, String::new()), greeted: false, position }
    }

    fn command(&mut self, name: &str, fields: Value) -> String {
        self.last_id += 1;
        json!({"id": self.last_id, name: fields}).to_string()
    }

    /// A body that was published in a channel.
    fn publication(&mut self, channel: &str, mut publication: Value) -> (String, Value) {
        let offset = publication["offset"].as_u64();
        if let (Some(offset), Some(position)) = (offset, self.position.as_mut())
            && channel == self.user
        {
            position.offset = offset;
        }
        (channel.to_owned(), publication["data"].take())
    }

    /// The answer to a subscription; with a history it has what was missed.
    fn subscribed(&mut self, mut answer: Value) -> Result<PeerMessage> {
        let channel = std::mem::take(&mut self.awaits.1);
        let missed = match answer["publications"].take() {
            Value::Array(missed) => missed,
            _ => Vec::new(),
        };
        if channel == self.user {
            if self.position.is_some() && answer["recovered"] != true {
                return Err(Error::broken("the history does not reach back to what was read"));
            }
            self.position = answer["epoch"].as_str().map(|epoch| Position {
                // Left out where it is 0.
                offset: answer["offset"].as_u64().unwrap_or(0),
                epoch: epoch.to_owned(),
            });
        }
        let missed = missed.into_iter().map(|publication| self.publication(&channel, publication));
        Ok(PeerMessage::Ready(missed.collect()))
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

    fn hear(&mut self, text: &str) -> Result<PeerMessage> {
        let mut bodies = Vec::new();
        for line in text.lines() {
            let mut message = parse(line)?;
            if message.as_object().is_some_and(serde_json::Map::is_empty) {
                return Ok(PeerMessage::Reply(vec!["{}".to_owned()]));
            }
            if let Some(error) = message.get("error") {
                return Err(Error::broken(format!("refused: {error}")));
            }
            if message.get("push").is_some_and(|push| push.get("pub").is_some()) {
                let push = &mut message["push"];
                let publication = push["pub"].take();
                bodies.push(self.publication(push["channel"].as_str().unwrap_or_default(), publication));
            } else if message.get("connect").is_some() && !self.greeted {
                self.greeted = true;
                let user = self.user.clone();
                return Ok(PeerMessage::Reply(vec![self.subscribe(&user)]));
            } else if message["id"] == self.awaits.0 {
                return self.subscribed(message["subscribe"].take());
            }
        }
        Ok(PeerMessage::Bodies(bodies))
    }

    fn send(&mut self, to: &str, body: &Value) -> String {
        self.command("publish", json!({"channel": to, "data": body}))
    }

    fn publish(&mut self, channel: &str, body: &Value) -> String {
        self.command("publish", json!({"channel": channel, "data": body}))
    }

    fn subscribe(&mut self, channel: &str) -> String {
        let mut fields = json!({"channel": channel});
        if let Some(Position { offset, epoch }) = self.position.as_ref().filter(|_| channel == self.user) {
            fields["recover"] = json!(true);
            fields["offset"] = json!(offset);
            fields["epoch"] = json!(epoch);
        }
        let text = self.command("subscribe", fields);
        self.awaits = (self.last_id, channel.to_owned());
        text
    }

    fn cursor(&self) -> Option<String> {
        self.position.as_ref().map(Position::write)
    }
}

impl Position {
    fn write(&self) -> String {
        format!("{}@{}", self.offset, self.epoch)
    }

    fn parse(text: &str) -> Option<Self> {
        let (offset, epoch) = text.split_once('@')?;
        Some(Self { offset: offset.parse().ok()?, epoch: epoch.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscribed(cursor: Option<&str>, answer: &Value) -> (Centrifugo, Result<PeerMessage>) {
        let mut client = Centrifugo::new("bob", cursor);
        client.greet().unwrap();
        client.hear(r#"{"id":1,"connect":{}}"#).unwrap();
        let heard = client.hear(&json!({"id": 2, "subscribe": answer}).to_string());
        (client, heard)
    }

    #[test]
    fn a_history_says_where_to_go_on_and_gives_what_was_missed() {
        let (mut client, heard) = subscribed(None, &json!({"recoverable": true, "epoch": "x"}));
        assert!(matches!(heard, Ok(PeerMessage::Ready(missed)) if missed.is_empty()));
        assert_eq!(client.cursor().as_deref(), Some("0@x"));
        client.hear(r#"{"push":{"channel":"bob","pub":{"data":{"n":1},"offset":1}}}"#).unwrap();
        client.hear(r#"{"push":{"channel":"news","pub":{"data":{"n":9},"offset":9}}}"#).unwrap();
        assert_eq!(client.cursor().as_deref(), Some("1@x"));

        let missed = json!([{"data": {"n": 2}, "offset": 2}, {"data": {"n": 3}, "offset": 3}]);
        let answer = json!({"epoch": "x", "offset": 3, "recovered": true, "publications": missed});
        let (client, heard) = subscribed(Some("1@x"), &answer);
        let Ok(PeerMessage::Ready(missed)) = heard else { panic!("{heard:?}") };
        assert_eq!(missed, [("bob".to_owned(), json!({"n": 2})), ("bob".to_owned(), json!({"n": 3}))]);
        assert_eq!(client.cursor().as_deref(), Some("3@x"));
        assert!(subscribed(Some("1@x"), &json!({"epoch": "y", "recovered": false})).1.is_err());
    }

    #[test]
    fn without_a_history_there_is_no_cursor() {
        let (client, heard) = subscribed(None, &json!({}));
        assert!(matches!(heard, Ok(PeerMessage::Ready(missed)) if missed.is_empty()));
        assert_eq!(client.cursor(), None);
    }
}
