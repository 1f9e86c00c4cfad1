//! Engine.IO's packets as text: a digit for the type and what follows it; and
//! payloads, the bodies of polls, which are packets with a separator between
//! them. A WebSocket carries one packet in each message, and bytes as they are.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::transport::inside::Message;

/// The separator between the packets of a payload.
const SEPARATOR: u8 = 0x1e;

/// The text of an upgrade's probe, in both directions.
pub(super) const PROBE: &str = "probe";

/// One packet from a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet {
    Close,
    Ping {
        probe: bool,
    },
    Pong,
    Message(Message),
    Upgrade,
    /// A packet that means nothing if a client sends it: `open`, `noop`.
    Idle,
}

impl Packet {
    /// `None` if the text is no packet.
    pub(super) fn decode(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_at_checked(1)?;
        Some(match kind {
            "0" | "6" => Self::Idle,
            "1" => Self::Close,
            "2" => Self::Ping { probe: rest == PROBE },
            "3" => Self::Pong,
            "4" => Self::Message(Message::Text(rest.to_owned())),
            "5" => Self::Upgrade,
            "b" => Self::Message(Message::Binary(STANDARD.decode(rest).ok()?.into())),
            _ => return None,
        })
    }
}

/// The packets of a payload, one after the other. Only one at a time is in memory.
pub(super) fn packets(payload: &str) -> impl Iterator<Item = Option<Packet>> {
    payload.split(char::from(SEPARATOR)).map(Packet::decode)
}

/// The body of the answer to a poll, to which packets are added.
#[derive(Debug, Default)]
pub(super) struct Payload {
    text: String,
    packets: usize,
}

impl Payload {
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub(super) fn packets(&self) -> usize {
        self.packets
    }

    /// The size in bytes.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    fn begin_packet(&mut self) {
        if !self.is_empty() {
            self.text.push(char::from(SEPARATOR));
        }
        self.packets += 1;
    }

    pub(super) fn ping(&mut self) {
        self.begin_packet();
        self.text.push('2');
    }

    pub(super) fn close(&mut self) {
        self.begin_packet();
        self.text.push('1');
    }

    pub(super) fn noop(&mut self) {
        self.begin_packet();
        self.text.push('6');
    }

    pub(super) fn message(&mut self, message: &Message) {
        self.begin_packet();
        match message {
            Message::Text(text) => {
                self.text.push('4');
                self.text.push_str(text);
            }
            Message::Binary(bytes) => {
                self.text.push('b');
                STANDARD.encode_string(bytes, &mut self.text);
            }
        }
    }

    pub(super) fn into_bytes(self) -> Bytes {
        self.text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Packet {
        Packet::Message(Message::Text(text.to_owned()))
    }

    #[test]
    fn a_packet_is_a_type_and_what_follows() {
        for (given, packet) in [
            ("4hello", text("hello")),
            ("4", text("")),
            ("4€", text("€")),
            ("bAQIDBA==", Packet::Message(Message::Binary(Bytes::from_static(&[1, 2, 3, 4])))),
            ("2", Packet::Ping { probe: false }),
            ("2probe", Packet::Ping { probe: true }),
            ("3", Packet::Pong),
            ("1", Packet::Close),
            ("5", Packet::Upgrade),
            ("6", Packet::Idle),
        ] {
            assert_eq!(Packet::decode(given), Some(packet), "{given}");
        }
        for none in ["", "7", "abc", "€", "b!", "bAQ"] {
            assert_eq!(Packet::decode(none), None, "{none}");
        }
    }

    #[test]
    fn a_payload_is_packets_with_separators_between_them() {
        let mut payload = Payload::default();
        payload.message(&Message::Text("hello".to_owned()));
        payload.message(&Message::Binary(Bytes::from_static(&[1, 2, 3, 4])));
        payload.ping();
        payload.close();
        let bytes = payload.into_bytes();
        let written = std::str::from_utf8(&bytes).unwrap();
        assert_eq!(written, "4hello\u{1e}bAQIDBA==\u{1e}2\u{1e}1");
        let read: Vec<_> = packets(written).collect();
        assert_eq!(read.len(), 4);
        assert_eq!(read[0], Some(text("hello")));
        assert_eq!(packets("4a\u{1e}").collect::<Vec<_>>(), [Some(text("a")), None]);
    }
}
