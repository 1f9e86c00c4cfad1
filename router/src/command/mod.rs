//! The commands, one file a kind: what is asked is checked and decided here,
//! and turned into what the store is asked.

pub(crate) mod amend;
pub(crate) mod channel;
pub(crate) mod conversations;
pub(crate) mod group;
pub(crate) mod history;
pub(crate) mod kick;
pub(crate) mod marks;
pub(crate) mod presence;
pub(crate) mod send;
pub(crate) mod session;
pub(crate) mod ticket;
pub(crate) mod typing;

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use prost::Message as _;
use proto::wire::{Entry, Event, Reactions, State, entry};
use proto::{ConversationId, Fingerprint, Invalid, UserId};
use store::model::{Logged, NewEntry, Shown};

use crate::error::{Error, Result};

/// Bodies of one page at most: it must fit in a frame. What does not is on the
/// next page.
const PAGE_BYTES: usize = 8 << 20;

/// Bodies at most, as sent (PROTOCOL.md §5).
const MAX_BODY: usize = 65_536;

/// Checks a message's body.
fn check_body(body: &[u8]) -> Result<()> {
    if body.is_empty() {
        return Err(Error::BadRequest("`body` is missing".to_owned()));
    }
    if body.len() > MAX_BODY {
        return Err(Error::TooLarge(format!("`body` has more than {MAX_BODY} bytes")));
    }
    Ok(())
}

/// Reads a field that is an identifier.
fn field<T: std::str::FromStr<Err = Invalid>>(name: &str, text: &str) -> Result<T> {
    text.parse().map_err(|invalid| Error::field(name, invalid))
}

/// Whether the user may be in it at all: nobody is a third in a direct
/// conversation.
fn may_be_in(conversation: &ConversationId, user: &UserId) -> bool {
    conversation.pair().is_none_or(|(one, other)| *user == one || *user == other)
}

/// Encodes what is to be written, once for the log, the bus and all readers.
fn new_entry(by: &UserId, time: u64, what: entry::What) -> NewEntry {
    let fingerprint = Fingerprint::random();
    let entry = Entry { fingerprint: fingerprint.0, time, by: by.to_string(), what: Some(what) };
    NewEntry { fingerprint, time, bytes: Bytes::from(entry.encode_to_vec()) }
}

/// As gateways get it.
fn event(logged: Logged) -> Event {
    Event {
        conversation: logged.conversation.into(),
        seq: logged.seq.0,
        entry: Some(logged.entry),
        state: None,
    }
}

/// As gateways get a message in its present state.
fn shown(shown: Shown) -> Event {
    let reactions = shown
        .reactions
        .into_iter()
        .map(|(emoji, users)| Reactions { emoji, users: users.into_iter().map(Into::into).collect() });
    let state = State {
        edited: shown.edited.unwrap_or_default(),
        recalled: shown.recalled.unwrap_or_default(),
        reactions: reactions.collect(),
    };
    Event { state: Some(state), ..event(shown.message) }
}

/// What a message takes in its present state, nearly.
fn size_shown(shown: &Shown) -> usize {
    let reactions = shown.reactions.iter().map(|(emoji, users)| emoji.len() + 8 + users.len() * 66);
    size(&shown.message) + reactions.sum::<usize>()
}

/// What the entry of a logged event takes, nearly.
fn size(logged: &Logged) -> usize {
    const REST: usize = 256;
    match &logged.entry.what {
        Some(entry::What::Message(message)) => message.body.len() + REST,
        Some(entry::What::Change(change)) => change.members.len() * 66 + REST,
        Some(entry::What::Edited(edited)) => edited.body.len() + REST,
        Some(entry::What::Recalled(_) | entry::What::Reaction(_)) | None => REST,
    }
}

/// Unix milliseconds.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
