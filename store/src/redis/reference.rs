//! References: what an inbox holds of an event is its fingerprint, its time,
//! and where its entry is.

use bytes::Bytes;
use proto::ConversationId;
use proto::json::MAX_NUMBER;

use crate::{Error, Result};

/// Which of a conversation's two lists an entry is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Message,
    Change,
}

impl Kind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Message => "m",
            Self::Change => "c",
        }
    }
}

/// A reference in an inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) fingerprint: u32,
    /// The size of the entry in bytes.
    pub(super) size: usize,
    pub(super) kind: Kind,
    /// The seq of a message, the version of a change or amendment.
    pub(super) number: u64,
    pub(super) conversation: ConversationId,
}

impl Reference {
    /// Reads `fingerprint time size letter number ':' conversation`: see `scripts/lib/inbox.lua`. Fails for a damaged one.
    pub(super) fn parse(bytes: &Bytes) -> Result<Self> {
        let wrong = || Error::Corrupt("a reference in an inbox".into());
        let (head, tail) = bytes.split_at_checked(14).ok_or_else(wrong)?;
        let fingerprint = u32::from_le_bytes(head[..4].try_into().map_err(|_| wrong())?);
        let size = u32::from_be_bytes([0, head[10], head[11], head[12]]);
        let kind = match head[13] {
            b'm' => Kind::Message,
            b'c' => Kind::Change,
            _ => return Err(wrong()),
        };
        let (number, conversation) =
            std::str::from_utf8(tail).ok().and_then(|tail| tail.split_once(':')).ok_or_else(wrong)?;
        Ok(Self {
            fingerprint,
            size: usize::try_from(size).map_err(|_| wrong())?,
            kind,
            number: number
                .parse()
                .ok()
                .filter(|number| (1..=MAX_NUMBER).contains(number))
                .ok_or_else(wrong)?,
            conversation: ConversationId::parse(conversation).map_err(|_| wrong())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_read_as_the_scripts_write_it() {
        let bytes = Bytes::from_static(b"\x01\x02\x03\x04tttttt\x01\x00\x02m12:alice~bob");
        let reference = Reference::parse(&bytes).unwrap();
        assert_eq!((reference.fingerprint, reference.size), (0x0403_0201, 65_538));
        assert_eq!((reference.kind, reference.number), (Kind::Message, 12));
        assert_eq!(reference.conversation.as_str(), "alice~bob");
    }

    #[test]
    fn what_is_no_reference_is_corrupt() {
        for bytes in [
            &b""[..],
            b"12345678901234",
            b"1234567890123x1:a~b",
            b"1234567890123mx:a~b",
            b"1234567890123m1:ab",
            b"1234567890123m0:a~b",
            b"1234567890123m18446744073709551615:a~b",
        ] {
            assert!(Reference::parse(&Bytes::copy_from_slice(bytes)).is_err());
        }
    }
}
