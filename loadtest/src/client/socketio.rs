//! The protocol as Socket.IO's clients speak it (PROTOCOL.md §6): `emit(type,
//! fields, ack)` is a command and its acknowledgement the answer; frames come as
//! events that are named after their type, their cursor as the last argument.
//!
//! A packet is a digit, the number of its acknowledgement where it has one, and
//! JSON: `0` connect, `1` disconnect, `2` event, `3` acknowledgement, `4` refused.

use serde_json::{Value, json};

use super::engine::{Carrier, Engine};
use super::error::{Close, Error, Refusal, Result};
use super::two_way::{TwoWay, Wire};
use super::{Account, Frame};

/// Where Engine.IO is.
const PATH: &str = "/socket.io/";

/// A session over Socket.IO.
pub type SocketIo = TwoWay<Packets>;

/// Socket.IO's packets over Engine.IO.
#[derive(Debug)]
pub struct Packets(Engine);

impl SocketIo {
    /// Connects with the token, device and cursor of the account, and reads
    /// `welcome`.
    pub async fn connect(account: &Account, carrier: Carrier) -> Result<Self> {
        let mut engine = Engine::open(account, PATH, carrier).await?;
        engine.send(&connect_packet(account)).await?;
        Self::begin(Packets(engine)).await
    }
}

impl Wire for Packets {
    async fn read(&mut self) -> Result<Frame> {
        loop {
            let packet = self.0.next().await?;
            if let Some(frame) = read_packet(&packet)? {
                return Ok(frame);
            }
        }
    }

    async fn send(&mut self, reference: u64, command: Value) -> Result<()> {
        self.0.send(&event_packet(reference, command)?).await
    }

    /// Leaves the namespace and closes the connection.
    async fn close(mut self) {
        if self.0.send("1").await.is_ok() {
            self.0.close().await;
        }
    }
}

fn connect_packet(account: &Account) -> String {
    let mut auth = json!({});
    let fields = [("device", &account.device), ("cursor", &account.cursor)];
    for (name, value) in fields {
        if let Some(value) = value {
            auth[name] = json!(value);
        }
    }
    if !account.token.is_empty() {
        auth["token"] = json!(account.token);
    }
    format!("0{auth}")
}

fn event_packet(number: u64, mut command: Value) -> Result<String> {
    let kind = command.as_object_mut().and_then(|fields| fields.remove("type"));
    let kind = kind.ok_or_else(|| Error::broken("a command without `type`"))?;
    Ok(format!("2{number}{}", json!([kind, command])))
}

/// The frame in a packet. A connect has none, nor has the event `cursor`, which
/// follows an acknowledgement with a cursor: stock clients take positions from
/// events only, and here it was in the answer.
fn read_packet(packet: &str) -> Result<Option<Frame>> {
    let broken = || Error::broken(format!("a packet that was not expected: {packet}"));
    let (kind, rest) = packet.split_at_checked(1).ok_or_else(broken)?;
    let digits = rest.len() - rest.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
    let (number, text) = rest.split_at(digits);
    let parse = || serde_json::from_str::<Value>(text).map_err(|_| broken());
    match kind {
        "0" => Ok(None),
        "1" => Err(Error::Closed(Close { code: None, reason: "disconnected".to_owned() })),
        "2" => match parse()? {
            packet if packet[0] == "cursor" && packet[1].is_string() => Ok(None),
            packet => event(packet).map(Some),
        },
        "3" => {
            let mut answer = parse()?.get_mut(0).map(Value::take).ok_or_else(broken)?;
            answer["ref"] = json!(number.parse::<u64>().map_err(|_| broken())?);
            Frame::checked(answer).map(Some)
        }
        "4" => {
            let mut refused = parse()?;
            let mut refusal = Refusal::read(0, &refused["data"]);
            if let Value::String(message) = refused["message"].take() {
                refusal.message = message;
            }
            Err(Error::Refused(refusal))
        }
        _ => Err(broken()),
    }
}

/// `["message", {…}, "cursor"]`; what the arguments say must agree.
fn event(packet: Value) -> Result<Frame> {
    let broken = |what: &str| Error::broken(format!("{what}: {packet}"));
    let name = packet[0].as_str().ok_or_else(|| broken("an event without a name"))?;
    let frame = Frame::checked(packet[1].clone())?;
    if frame.kind() != name {
        return Err(broken("an event with a frame of another type"));
    }
    let last = packet.get(2).and_then(Value::as_str);
    if frame.is_event() && last != frame.cursor() {
        return Err(broken("an event with another cursor"));
    }
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_from_events_and_acknowledgements() {
        assert_eq!(read_packet(r#"0{"sid":"x","pid":"y"}"#).unwrap(), None);
        assert_eq!(read_packet(r#"2["cursor","1.a"]"#).unwrap(), None);
        let frame = read_packet(r#"2["message",{"type":"message","cursor":"1.a"},"1.a"]"#).unwrap().unwrap();
        assert_eq!((frame.kind(), frame.cursor()), ("message", Some("1.a")));
        let frame = read_packet(r#"2["typing",{"type":"typing"}]"#).unwrap().unwrap();
        assert_eq!(frame.kind(), "typing");
        let answer = read_packet(r#"317[{"type":"sent","seq":4}]"#).unwrap().unwrap();
        assert_eq!((answer.answers(), answer.number("seq")), (Some(17), Some(4)));
    }

    #[test]
    fn a_refusal_has_its_code_and_a_disconnect_is_an_end() {
        let refused = read_packet(r#"4{"message":"token","data":{"code":"unauthorized"}}"#).unwrap_err();
        assert_eq!(refused.code(), Some("unauthorized"));
        assert!(matches!(read_packet("1").unwrap_err(), Error::Closed(_)));
    }

    #[test]
    fn what_no_server_of_ours_sends_is_an_error() {
        for packet in [
            "",
            "9",
            "2",
            "2{}",
            r#"2["message"]"#,
            r#"2["typing",{"type":"message"}]"#,
            r#"2["message",{"type":"message","cursor":"1.b"},"1.a"]"#,
            r#"2["message",{"type":"message","cursor":"1.b"}]"#,
            "3[]",
            r#"3[{"type":"ok"}]"#,
            "é",
        ] {
            assert!(read_packet(packet).is_err(), "{packet}");
        }
    }

    #[test]
    fn a_command_is_an_event_with_an_acknowledgement() {
        let packet = event_packet(3, json!({"type": "send", "to": "bob"})).unwrap();
        assert_eq!(packet, r#"23["send",{"to":"bob"}]"#);
        assert!(event_packet(3, json!({})).is_err());
        let account = Account::new("http://x", "t", "d").from("1.a");
        assert_eq!(connect_packet(&account), r#"0{"cursor":"1.a","device":"d","token":"t"}"#);
    }
}
