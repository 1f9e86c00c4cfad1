//! What fuzzing holds Engine.IO's packets to.

use super::id;
use super::packet::{Packet, Payload, packets};
use crate::transport::inside::Message;

/// The body of a poll: its messages, written into a payload, are read from there
/// again. The same text is an id, too, and one message of a WebSocket.
pub fn engineio(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(node) = id::node(text) {
        assert!(text.len() == 23 + node.len() && text.ends_with(node));
    }
    let _one = Packet::decode(text);
    let mut payload = Payload::default();
    let mut written = Vec::new();
    for packet in packets(text).flatten() {
        match packet {
            Packet::Message(message) => {
                assert!(message.size() < text.len());
                payload.message(&message);
                written.push(Some(Packet::Message(message)));
            }
            Packet::Ping { .. } => {
                payload.ping();
                written.push(Some(Packet::Ping { probe: false }));
            }
            Packet::Close => {
                payload.close();
                written.push(Some(Packet::Close));
            }
            _ => {
                payload.noop();
                written.push(Some(Packet::Idle));
            }
        }
    }
    assert_eq!((payload.packets(), payload.is_empty()), (written.len(), written.is_empty()));
    let length = payload.len();
    let body = payload.into_bytes();
    assert_eq!(body.len(), length);
    if !written.is_empty() {
        let read: Vec<_> = packets(std::str::from_utf8(&body).expect("a payload is text")).collect();
        assert_eq!(read, written);
    }
    // Bytes that are none of ours come as they were sent.
    let mut payload = Payload::default();
    let message = Message::Binary(bytes.to_vec().into());
    payload.message(&message);
    let body = payload.into_bytes();
    assert_eq!(Packet::decode(std::str::from_utf8(&body).expect("base64")), Some(Packet::Message(message)));
}
