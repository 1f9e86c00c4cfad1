//! Positions: a message's seq in its conversation, an event's position in an
//! inbox, and the cursor that clients hold.

use std::fmt;

use crate::bookmark::Bookmark;
use crate::id::FormError;
use crate::wire;

/// A message's number in its conversation: 1, 2, 3 … without holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Seq(pub u64);

/// An event's number in an inbox: 1, 2, 3 … without holes. 0 is before the
/// first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Position(pub u64);

/// A random number of each log entry. Two entries with the same position but
/// different fingerprints come from two histories of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Fingerprint(pub u32);

/// A position in an inbox as clients hold it: everything up to and including
/// `position` has been received, and the event there had this fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Cursor {
    /// The last event received; 0 before the first.
    pub position: Position,
    /// The fingerprint of the event there; 0 at position 0.
    pub fingerprint: Fingerprint,
}

impl Seq {
    /// The number after this one. Another process may say any number: after the
    /// largest comes the same again.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Position {
    /// The number after this one. Another process may say any number: after the
    /// largest comes the same again.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Fingerprint {
    /// The fingerprint of a new entry. Never 0, which stands for "before the
    /// first event".
    pub fn random() -> Self {
        Self(rand::random::<u32>() | 1)
    }
}

/// One history of a store, named by the random part of its incarnation; 0 while
/// it is not known. Positions of two incarnations cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct StoreIncarnation(pub u64);

impl StoreIncarnation {
    /// Reads the `<id>.<count>` that envelopes carry, or the id alone; what is
    /// not hexadecimal counts as 0.
    pub fn of(name: &str) -> Self {
        let id = name.split('.').next().unwrap_or_default();
        Self(u64::from_str_radix(id, 16).unwrap_or_default())
    }
}

/// The most characters of a cursor.
pub(crate) const MAX_CURSOR: usize = 512;

pub(crate) const CURSOR_RULE: FormError =
    FormError("must be a cursor as the server gave it, or `start`, at most 512 characters");

impl Cursor {
    /// Before the first event of an inbox.
    pub const ORIGIN: Self = Self { position: Position(0), fingerprint: Fingerprint(0) };

    /// Reads the text form, and leaves out the seqs of channels that may follow
    /// ([`crate::Bookmark`] has them). Only the form is checked: whether there
    /// is such an event is for the store to say. Fails with the rule to tell
    /// the client.
    pub fn parse(text: &str) -> Result<Self, FormError> {
        Bookmark::parse(text).map(|bookmark| bookmark.inbox)
    }
}

/// The cursor at the beginning of the text, and the text after it.
pub(crate) fn split_cursor(text: &str) -> Result<(Cursor, Option<&str>), FormError> {
    let mut parts = text.splitn(3, '.');
    let (position, fingerprint) = (parts.next().ok_or(CURSOR_RULE)?, parts.next().ok_or(CURSOR_RULE)?);
    let cursor = Cursor {
        position: Position(from_base36(position)?),
        fingerprint: Fingerprint(u32::try_from(from_base36(fingerprint)?).map_err(|_| CURSOR_RULE)?),
    };
    Ok((cursor, parts.next()))
}

impl Cursor {
    /// Appends the text form. Each event has one on its way to a client, and
    /// this is cheaper than [`fmt::Display`].
    pub fn push_to(self, out: &mut String) {
        let mut buffer = [0; 13];
        out.push_str(to_base36(self.position.0, &mut buffer));
        out.push('.');
        out.push_str(to_base36(self.fingerprint.0.into(), &mut buffer));
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = [0; 13];
        f.write_str(to_base36(self.position.0, &mut buffer))?;
        f.write_str(".")?;
        f.write_str(to_base36(self.fingerprint.0.into(), &mut buffer))
    }
}

/// Reads the canonical form only (lower case, no leading zeros), so that a
/// cursor has one text.
pub(crate) fn from_base36(text: &str) -> Result<u64, FormError> {
    let canonical = text == "0"
        || (!text.is_empty()
            && !text.starts_with('0')
            && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()));
    if !canonical {
        return Err(CURSOR_RULE);
    }
    let number = u64::from_str_radix(text, 36).map_err(|_| CURSOR_RULE)?;
    // Scripts of Redis count in doubles: no position beyond 2^53 can exist.
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

impl From<Cursor> for wire::Cursor {
    fn from(cursor: Cursor) -> Self {
        Self { position: cursor.position.0, fingerprint: cursor.fingerprint.0 }
    }
}

impl From<wire::Cursor> for Cursor {
    fn from(cursor: wire::Cursor) -> Self {
        Self { position: Position(cursor.position), fingerprint: Fingerprint(cursor.fingerprint) }
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
                let has_channels = Bookmark::parse(&text).unwrap().channels.is_some();
                prop_assert!(cursor.to_string() == text || has_channels);
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
