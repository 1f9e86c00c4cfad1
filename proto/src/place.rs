//! Places: a message's number in its conversation, an event's position in an
//! inbox, and the cursor that clients hold.

use std::fmt;

use crate::bookmark::Bookmark;
use crate::id::Invalid;
use crate::wire;

/// A message's number in its conversation: 1, 2, 3 … without holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Seq(pub u64);

/// An event's number in an inbox: 1, 2, 3 … without holes. 0 is before all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Position(pub u64);

/// Random, made with each log entry: tells two histories apart that gave the
/// same number to different events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Fingerprint(pub u32);

/// A place in an inbox as clients hold it: everything up to and including
/// `position` has been received, and the event there was this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Cursor {
    /// Of the last event received; 0 before the first.
    pub position: Position,
    /// Of the event at that position; 0 at position 0.
    pub fingerprint: Fingerprint,
}

impl Seq {
    /// The one after.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Position {
    /// The one after.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Fingerprint {
    /// For a new entry. Never 0, which stands for "before the first event".
    pub fn random() -> Self {
        Self(rand::random::<u32>() | 1)
    }
}

/// One history of a store, by the random part of its name; 0 while it is not
/// known. What two incarnations say of one position cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct StoreIncarnation(pub u64);

impl StoreIncarnation {
    /// From the `<id>.<count>` that envelopes carry, or the id alone.
    pub fn of(name: &str) -> Self {
        let id = name.split('.').next().unwrap_or_default();
        Self(u64::from_str_radix(id, 16).unwrap_or_default())
    }
}

/// Characters of a cursor at most.
pub(crate) const MAX_CURSOR: usize = 512;

pub(crate) const CURSOR_RULE: Invalid =
    Invalid("must be a cursor as the server gave it, or `start`, at most 512 characters");

impl Cursor {
    /// Before the first event of an inbox.
    pub const ORIGIN: Self = Self { position: Position(0), fingerprint: Fingerprint(0) };

    /// Reads the text form; the places of channels that may stand in it are
    /// left out ([`crate::Bookmark`] has them). Only the form is checked:
    /// whether the cursor names a place is for the store to say.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        Bookmark::parse(text).map(|bookmark| bookmark.inbox)
    }
}

/// The place in the inbox, and what stands behind it.
pub(crate) fn split_cursor(text: &str) -> Result<(Cursor, Option<&str>), Invalid> {
    let mut parts = text.splitn(3, '.');
    let (position, fingerprint) = (parts.next().ok_or(CURSOR_RULE)?, parts.next().ok_or(CURSOR_RULE)?);
    let cursor = Cursor {
        position: Position(from_base36(position)?),
        fingerprint: Fingerprint(u32::try_from(from_base36(fingerprint)?).map_err(|_| CURSOR_RULE)?),
    };
    Ok((cursor, parts.next()))
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = [0; 13];
        f.write_str(to_base36(self.position.0, &mut buffer))?;
        f.write_str(".")?;
        f.write_str(to_base36(self.fingerprint.0.into(), &mut buffer))
    }
}

/// Canonical form only, so that a cursor has one text: lower case, no leading
/// zeros.
pub(crate) fn from_base36(text: &str) -> Result<u64, Invalid> {
    let canonical = text == "0"
        || (!text.is_empty()
            && !text.starts_with('0')
            && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()));
    if !canonical {
        return Err(CURSOR_RULE);
    }
    let number = u64::from_str_radix(text, 36).map_err(|_| CURSOR_RULE)?;
    // Redis' scripts count in doubles: beyond 2^53 no position can exist.
    if number > 1 << 53 { Err(CURSOR_RULE) } else { Ok(number) }
}

pub(crate) fn to_base36(mut number: u64, buffer: &mut [u8; 13]) -> &str {
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b"0123456789abcdefghijklmnopqrstuvwxyz"[(number % 36) as usize];
        number /= 36;
        if number == 0 {
            break;
        }
    }
    std::str::from_utf8(&buffer[at..]).expect("digits and letters are UTF-8")
}

impl From<Cursor> for wire::Place {
    fn from(cursor: Cursor) -> Self {
        Self { position: cursor.position.0, fingerprint: cursor.fingerprint.0 }
    }
}

impl From<wire::Place> for Cursor {
    fn from(place: wire::Place) -> Self {
        Self { position: Position(place.position), fingerprint: Fingerprint(place.fingerprint) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_survives_its_text(position in 0..=1_u64 << 53, fingerprint: u32) {
            let cursor = Cursor {
                position: Position(position),
                fingerprint: Fingerprint(fingerprint),
            };
            prop_assert_eq!(Cursor::parse(&cursor.to_string()), Ok(cursor));
        }

        #[test]
        fn any_text_is_a_cursor_in_its_one_form_or_refused(text in ".{0,24}") {
            if let Ok(cursor) = Cursor::parse(&text) {
                let places = Bookmark::parse(&text).unwrap().channels.is_some();
                prop_assert!(cursor.to_string() == text || places);
            }
        }
    }

    #[test]
    fn texts_that_are_not_cursors_are_refused() {
        for text in [
            "",
            ".",
            "1",
            "1.",
            ".1",
            "01.1",
            "1.01",
            "A.1",
            "1.1.1",
            "1.zzzzzzz",
            "-1.1",
            "+1.1",
            "zzzzzzzzzzzzz.1",
        ] {
            assert_eq!(Cursor::parse(text), Err(CURSOR_RULE), "{text}");
        }
        assert!(Cursor::parse(&"1".repeat(600)).is_err());
    }
}
