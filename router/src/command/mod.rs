//! The commands, one file for each kind. Each checks what a user asks, decides
//! whether the user may, and makes a call of the store from it.

pub(crate) mod amend;
pub(crate) mod channel;
pub(crate) mod conversations;
pub(crate) mod group;
pub(crate) mod history;
pub(crate) mod kick;
pub(crate) mod marks;
pub(crate) mod presence;
pub(crate) mod revoke;
pub(crate) mod send;
pub(crate) mod session;
pub(crate) mod ticket;
pub(crate) mod typing;

use bytes::Bytes;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, fixed32, uint64};
use proto::limits::MAX_BODY_BYTES;
use proto::wire::{self, Entry, Event, Reactions, State, entry, reply};
use proto::{Cursor, Fingerprint, FormError, Seq, Time, UserId, json};
use store::model::{CurrentMessage, LogEvent, NewEntry};

use crate::error::{Error, Result};

/// The answer to a command that was done and has nothing else to say.
pub(crate) fn done() -> reply::Result {
    reply::Result::Done(wire::Done {})
}

/// Fails when a message's body is missing, too large, or no JSON that all its readers
/// can read.
fn check_body(body: &[u8]) -> Result<()> {
    if body.is_empty() {
        return Err(Error::BadRequest("`body` is missing".to_owned()));
    }
    if body.len() > MAX_BODY_BYTES {
        return Err(Error::TooLarge(format!("`body` has more than {MAX_BODY_BYTES} bytes")));
    }
    json::check_line(body).map_err(|why| Error::BadRequest(format!("`body` {why}")))
}

/// Checks a number of a conversation, an inbox or a channel: scripts of Redis count in
/// doubles, so there is none beyond.
fn number(name: &str, number: u64) -> Result<u64> {
    if number > json::MAX_NUMBER {
        return Err(Error::BadRequest(format!("`{name}` must be from 0 to 2^53")));
    }
    Ok(number)
}

/// The same for a seq.
fn seq(name: &str, seq: u64) -> Result<Seq> {
    number(name, seq).map(Seq)
}

/// The same for a cursor.
fn cursor(name: &str, cursor: wire::Cursor) -> Result<Cursor> {
    number(name, cursor.position)?;
    Ok(cursor.into())
}

/// Parses a field that is an identifier. Fails with the field's name.
fn field<T: std::str::FromStr<Err = FormError>>(name: &str, text: &str) -> Result<T> {
    text.parse().map_err(|invalid| Error::field(name, invalid))
}

/// Encodes an entry, once for the log, the bus and all readers.
fn new_entry(by: &UserId, time: Time, what: entry::What) -> NewEntry {
    let fingerprint = Fingerprint::random();
    let entry =
        Entry { fingerprint: fingerprint.0, time: time.0, by: by.as_str().to_owned(), what: Some(what) };
    NewEntry { fingerprint, time, bytes: Bytes::from(entry.encode_to_vec()) }
}

/// The same for a message. Most entries are messages, so this one is encoded by
/// hand: nothing is copied first, and no length is computed twice.
fn new_message(by: &UserId, time: Time, body: &[u8], client_msg_id: &str) -> NewEntry {
    // Bytes of all fields without their texts, at most.
    const FRAME: usize = 64;
    let texts = body.len() + client_msg_id.len();
    let fingerprint = Fingerprint::random();
    let mut bytes = Vec::with_capacity(FRAME + by.as_str().len() + texts);
    fixed32::encode(1, &fingerprint.0, &mut bytes);
    uint64::encode(2, &time.0, &mut bytes);
    put_text(3, by.as_str().as_bytes(), &mut bytes);
    let id = if client_msg_id.is_empty() { 0 } else { text_len(client_msg_id.len()) };
    encode_key(4, WireType::LengthDelimited, &mut bytes);
    encode_varint((text_len(body.len()) + id) as u64, &mut bytes);
    put_text(1, body, &mut bytes);
    if id > 0 {
        put_text(2, client_msg_id.as_bytes(), &mut bytes);
    }
    NewEntry { fingerprint, time, bytes: bytes.into() }
}

/// Writes a field whose number is below 16.
fn put_text(field: u32, text: &[u8], into: &mut Vec<u8>) {
    encode_key(field, WireType::LengthDelimited, into);
    encode_varint(text.len() as u64, into);
    into.extend_from_slice(text);
}

fn text_len(length: usize) -> usize {
    1 + encoded_len_varint(length as u64) + length
}

/// An entry as gateways get it.
fn event(logged: LogEvent) -> Event {
    Event {
        conversation: logged.conversation.into(),
        seq: logged.seq.0,
        entry: Some(logged.entry),
        state: None,
    }
}

/// A message in its present state, as gateways get it.
fn shown(shown: CurrentMessage) -> Event {
    let reactions = shown
        .reactions
        .into_iter()
        .map(|(emoji, users)| Reactions { emoji, users: users.into_iter().map(Into::into).collect() });
    let state = State {
        edited: shown.edited.unwrap_or_default().0,
        recalled: shown.recalled.unwrap_or_default().0,
        reactions: reactions.collect(),
    };
    Event { state: Some(state), ..event(shown.message) }
}

#[cfg(test)]
mod tests {
    use proto::wire::Message;

    use super::*;

    #[test]
    fn a_message_put_together_by_hand_is_the_entry_of_the_contract() {
        let by = UserId::parse("alice").unwrap();
        for (length, id) in [(1, "m-1"), (200, ""), (MAX_BODY_BYTES, "m-2")] {
            let body = Bytes::from(vec![b'1'; length]);
            let made = new_message(&by, Time(1_732_000_000_000), &body, id);
            let what = entry::What::Message(Message { body, client_msg_id: id.to_owned() });
            let entry = Entry {
                fingerprint: made.fingerprint.0,
                time: made.time.0,
                by: by.to_string(),
                what: Some(what),
            };
            assert_eq!(made.bytes, entry.encode_to_vec());
        }
    }
}
