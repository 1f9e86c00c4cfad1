//! The protobuf form of commands and frames (`client.proto`): the same
//! vocabulary, checked by the same rules. [`command`] (what comes in),
//! [`frame`] (what goes out), [`entry`] (the part of it that
//! all readers share).

mod command;
mod entry;
mod frame;

use axum::http::{HeaderMap, header};

pub use command::{comes_alone, decode, decode_alone};
pub use entry::{entry_frame, publication_message};
pub use frame::{encode, message, message_at, published_message, results_message, sent_message};

/// The content type of protobuf requests and responses over HTTP.
pub const CONTENT_TYPE: &str = "application/x-protobuf";

/// Whether the client accepts a protobuf response.
pub fn accepts_protobuf(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|list| list.split(',')).any(is_protobuf)
}

/// Whether a media type is protobuf, whatever its parameters.
pub fn is_protobuf(media_type: &str) -> bool {
    let name = media_type.split(';').next().unwrap_or_default();
    name.trim().eq_ignore_ascii_case(CONTENT_TYPE)
}
