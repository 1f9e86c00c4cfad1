//! Socket.IO 5 in Engine.IO's messages: `0` connect, `2` event, `4` error.

use serde_json::{Value, json};

use super::{Dialect, PeerMessage, parse};
use crate::client::{Error, Result};

#[derive(Debug)]
pub(super) struct SocketIo {
    user: String,
}

impl SocketIo {
    pub(super) fn new(user: &str) -> Self {
        Self { user: user.to_owned() }
    }

    /// An event is `["name", arguments …]`.
    fn event(&self, text: &str) -> Result<PeerMessage> {
        let Value::Array(mut parts) = parse(text)? else {
            return Err(Error::broken(format!("not an event: {text}")));
        };
        match parts.first().and_then(Value::as_str) {
            // The body alone: it is for this user.
            Some("message") if parts.len() == 2 => {
                Ok(PeerMessage::Bodies(vec![(self.user.clone(), parts.swap_remove(1))]))
            }
            // The body and the channel.
            Some("publication") if parts.len() == 3 => {
                let channel = parts[2].as_str().unwrap_or_default().to_owned();
                Ok(PeerMessage::Bodies(vec![(channel, parts.swap_remove(1))]))
            }
            Some("subscribed") => Ok(PeerMessage::Ready(Vec::new())),
            _ => Err(Error::broken(format!("an event that the server script has not: {text}"))),
        }
    }
}

impl Dialect for SocketIo {
    fn path(&self) -> String {
        "/socket.io/".to_owned()
    }

    fn greet(&mut self) -> Option<String> {
        Some(format!("0{}", json!({"user": self.user})))
    }

    fn hear(&mut self, text: &str) -> Result<PeerMessage> {
        match text.as_bytes() {
            [b'0', ..] => Ok(PeerMessage::Ready(Vec::new())),
            [b'2', ..] => self.event(&text[1..]),
            _ => Err(Error::broken(format!("a packet that was not expected: {text}"))),
        }
    }

    fn send(&mut self, to: &str, body: &Value) -> String {
        format!("2{}", json!(["send", to, body]))
    }

    fn publish(&mut self, channel: &str, body: &Value) -> String {
        format!("2{}", json!(["publish", channel, body]))
    }

    fn subscribe(&mut self, channel: &str) -> String {
        format!("2{}", json!(["subscribe", channel]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_and_events_are_understood() {
        let mut client = SocketIo::new("user1");
        assert_eq!(client.greet().unwrap(), r#"0{"user":"user1"}"#);
        assert!(matches!(client.hear(r#"0{"sid":"y"}"#).unwrap(), PeerMessage::Ready(_)));
        let PeerMessage::Bodies(bodies) = client.hear(r#"2["message",{"n":1}]"#).unwrap() else { panic!() };
        assert_eq!(bodies, [("user1".to_owned(), json!({"n": 1}))]);
        let PeerMessage::Bodies(bodies) = client.hear(r#"2["publication",{"n":2},"c_x"]"#).unwrap() else {
            panic!()
        };
        assert_eq!(bodies, [("c_x".to_owned(), json!({"n": 2}))]);
        for wrong in ["2[]x", "2{}", r#"2["what"]"#, "9", "", r#"4{"message":"no"}"#] {
            assert!(client.hear(wrong).is_err(), "{wrong}");
        }
    }
}
