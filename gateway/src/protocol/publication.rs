//! What was published, as this node passes it on: decoded once, encoded once
//! per wire form, shared by all its subscribers.

use std::sync::OnceLock;

use prost::Message as _;
use proto::Seq;
use proto::wire::{self, client};

use crate::protocol::binary::publication_message;
use crate::protocol::event::write_publication;

/// An entry at its place in a channel.
#[derive(Debug)]
pub struct Publication {
    wire: wire::Publication,
    /// Bytes of it.
    size: usize,
    /// What follows the cursor in the JSON frame, with the closing brace.
    json: OnceLock<Box<str>>,
    /// The protobuf frame without a cursor.
    protobuf: OnceLock<Box<[u8]>>,
}

impl Publication {
    /// Its channel.
    pub fn channel(&self) -> &str {
        &self.wire.channel
    }

    /// Its number there.
    pub fn seq(&self) -> Seq {
        Seq(self.wire.seq)
    }

    /// Bytes that it takes, about.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The frame's members after `type` and `cursor`, with the closing brace.
    pub fn json(&self) -> &str {
        self.json.get_or_init(|| {
            let mut out = String::with_capacity(self.size() + 64);
            write_publication(&mut out, &self.wire);
            out.push('}');
            out.into_boxed_str()
        })
    }

    /// The protobuf frame, to be followed or preceded by a cursor.
    pub fn protobuf(&self) -> &[u8] {
        self.protobuf.get_or_init(|| {
            let frame = Some(client::frame::Frame::Publication(self.message()));
            client::Frame { frame, ..Default::default() }.encode_to_vec().into_boxed_slice()
        })
    }

    /// As a protobuf message.
    pub fn message(&self) -> client::Publication {
        publication_message(self.wire.clone())
    }
}

impl From<wire::Publication> for Publication {
    fn from(wire: wire::Publication) -> Self {
        let size = wire.encoded_len();
        Self { wire, size, json: OnceLock::new(), protobuf: OnceLock::new() }
    }
}

impl PartialEq for Publication {
    fn eq(&self, other: &Self) -> bool {
        self.wire == other.wire
    }
}
