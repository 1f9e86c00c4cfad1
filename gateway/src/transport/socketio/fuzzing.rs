//! What fuzzing holds Socket.IO's packets to.

use bytes::Bytes;

use super::packet::{Kind, Packet, Payload, name, write};
use crate::transport::inside::Message;

/// A packet, and behind a zero byte its attachments, each with its length (a byte)
/// before it. What is good of it, written as we write, is read again as it was.
pub fn socketio(bytes: &[u8]) {
    let at = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let Ok(text) = std::str::from_utf8(&bytes[..at]) else { return };
    let Ok(mut packet) = Packet::decode(text) else { return };
    assert!(
        packet.missing <= 10 && packet.namespace.starts_with('/') && !packet.namespace.contains([',', '?'])
    );
    let mut rest = bytes.get(at + 1..).unwrap_or_default();
    while packet.missing > 0 {
        let Some((length, behind)) = rest.split_first() else { return };
        let Some((attachment, behind)) = behind.split_at_checked(usize::from(*length)) else { return };
        packet.attach(Bytes::copy_from_slice(attachment));
        rest = behind;
    }
    let (namespace, mut out) = (packet.namespace.clone(), Vec::new());
    match &packet.kind {
        Kind::Connect(auth) => {
            // Ours has no id.
            packet.id = None;
            out.push(write::connect(&namespace, auth.as_deref().unwrap_or_default()));
        }
        Kind::Disconnect => {
            packet.id = None;
            out.push(write::disconnect(&namespace));
        }
        Kind::Event(payload) => {
            let Some(payload) = good(payload) else { return };
            write::event(&namespace, packet.id, payload, &mut out);
        }
        Kind::Ack(payload) => {
            let (Some(payload), Some(id)) = (good(payload), packet.id) else { return };
            write::ack(&namespace, id, payload, &mut out);
        }
    }
    let mut messages = out.into_iter();
    let Some(Message::Text(written)) = messages.next() else { panic!("a packet begins with text") };
    let mut read = Packet::decode(&written).unwrap_or_else(|wrong| panic!("{wrong:?}: {written}"));
    for message in messages {
        let Message::Binary(bytes) = message else { panic!("attachments are bytes") };
        assert!(read.missing > 0);
        read.attach(bytes);
    }
    assert_eq!(read, packet, "{written}");
}

/// The payload, if its elements can be read.
fn good(payload: &Payload) -> Option<Payload> {
    let elements = payload.elements().ok()?;
    let _named = name(elements.first());
    let value: serde_json::Value = serde_json::from_str(&payload.json).ok()?;
    assert_eq!(value.as_array().map(Vec::len), Some(elements.len()));
    Some(payload.clone())
}
