//! The cursor of one-way transports, which may carry channels, too: a cursor of
//! the inbox, and a seq for each channel (PROTOCOL.md §6).
//!
//! Text form, all numbers in base 36: `<position>.<fingerprint>`, and with
//! channels `.<list>.<seq>.<seq>…`. `list` is a hash of the channels' names, so
//! that seqs are only used with the channels that they were made for.

use std::fmt;

use crate::id::{ChannelId, FormError};
use crate::position::{CURSOR_RULE, Cursor, MAX_CURSOR, Seq, from_base36, split_cursor, to_base36};

/// The most channels of one connection: in its query, and so in its cursor.
/// With the longest numbers such a cursor has 417 of the 512 characters
/// allowed.
pub const MAX_CHANNELS: usize = 32;

/// The seqs of a list of channels, in the order of the channels' names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelSeqs {
    list: u64,
    seqs: Box<[Seq]>,
}

/// Where a reader is in its inbox and in its channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bookmark {
    /// Everything of the inbox up to here was received.
    pub inbox: Cursor,
    /// The last seq received of each channel; `None` without channels.
    pub channels: Option<ChannelSeqs>,
}

impl ChannelSeqs {
    /// The channels must be sorted by name, and at most [`MAX_CHANNELS`].
    /// `None` when there is no channel.
    pub fn new(positions: &[(ChannelId, Seq)]) -> Option<Self> {
        debug_assert!(positions.len() <= MAX_CHANNELS && positions.is_sorted_by(|a, b| a.0 < b.0));
        let list = hash_of(positions.iter().map(|(channel, _)| channel));
        let seqs = positions.iter().map(|(_, seq)| *seq).collect();
        (!positions.is_empty()).then_some(Self { list, seqs })
    }

    /// The seqs in the order of names, or `None` when they were made for other
    /// channels than these.
    pub fn of<'a>(&self, channels: impl ExactSizeIterator<Item = &'a ChannelId>) -> Option<&[Seq]> {
        (channels.len() == self.seqs.len() && hash_of(channels) == self.list).then_some(&self.seqs)
    }

    /// Sets the seq of the channel at `index` of the list.
    pub fn set(&mut self, index: usize, seq: Seq) {
        if let Some(old) = self.seqs.get_mut(index) {
            *old = seq;
        }
    }
}

impl Bookmark {
    /// Reads the text form of any cursor, with or without channels. Only the
    /// form is checked; fails with the rule to tell the client.
    pub fn parse(text: &str) -> Result<Self, FormError> {
        if text.len() > MAX_CURSOR {
            return Err(CURSOR_RULE);
        }
        let (inbox, rest) = split_cursor(text)?;
        let Some(rest) = rest else { return Ok(Self { inbox, channels: None }) };
        let mut numbers = rest.split('.').map(from_base36);
        let list = numbers.next().ok_or(CURSOR_RULE)??;
        let seqs = numbers.map(|number| number.map(Seq)).collect::<Result<Box<[_]>, _>>()?;
        if !(1..=MAX_CHANNELS).contains(&seqs.len()) {
            return Err(CURSOR_RULE);
        }
        Ok(Self { inbox, channels: Some(ChannelSeqs { list, seqs }) })
    }
}

impl fmt::Display for Bookmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inbox)?;
        let Some(channels) = &self.channels else { return Ok(()) };
        let mut buffer = [0; 13];
        for number in std::iter::once(channels.list).chain(channels.seqs.iter().map(|seq| seq.0)) {
            f.write_str(".")?;
            f.write_str(to_base36(number, &mut buffer))?;
        }
        Ok(())
    }
}

/// FNV-1a over the names, with a comma after each (no name contains one), cut
/// to 52 bits. The same on every node and in every version.
fn hash_of<'a>(channels: impl Iterator<Item = &'a ChannelId>) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for channel in channels {
        for byte in channel.as_str().bytes().chain([b',']) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    (hash ^ (hash >> 52)) & ((1 << 52) - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::position::{Fingerprint, Position};

    fn channels(count: usize) -> Vec<ChannelId> {
        (0..count).map(|index| ChannelId::parse(&format!("c_{index:02}")).unwrap()).collect()
    }

    fn bookmark(position: u64, fingerprint: u32, seqs: &[u64]) -> Bookmark {
        let positions: Vec<_> =
            channels(seqs.len()).into_iter().zip(seqs.iter().map(|seq| Seq(*seq))).collect();
        Bookmark {
            inbox: Cursor { position: Position(position), fingerprint: Fingerprint(fingerprint) },
            channels: ChannelSeqs::new(&positions),
        }
    }

    proptest! {
        #[test]
        fn a_bookmark_survives_its_text(
            position in 0..=1_u64 << 53,
            fingerprint: u32,
            seqs in prop::collection::vec(0..=1_u64 << 53, 0..=MAX_CHANNELS),
        ) {
            let bookmark = bookmark(position, fingerprint, &seqs);
            let text = bookmark.to_string();
            prop_assert!(text.len() <= MAX_CURSOR);
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.'));
            prop_assert_eq!(Cursor::parse(&text), Ok(bookmark.inbox));
            prop_assert_eq!(Bookmark::parse(&text), Ok(bookmark));
        }

        #[test]
        fn any_text_is_a_bookmark_in_its_one_form_or_refused(text in "[0-9a-zA-Z.]{0,40}") {
            match Bookmark::parse(&text) {
                Ok(bookmark) => {
                    prop_assert_eq!(Cursor::parse(&text), Ok(bookmark.inbox));
                    prop_assert_eq!(bookmark.to_string(), text);
                }
                Err(rule) => prop_assert_eq!(Cursor::parse(&text), Err(rule)),
            }
        }
    }

    #[test]
    fn the_longest_has_at_most_512_characters_and_one_channel_more_is_refused() {
        let longest = bookmark(1 << 53, u32::MAX, &[1 << 53; MAX_CHANNELS]).to_string();
        assert!(longest.len() <= 417, "{}", longest.len());
        assert!(Bookmark::parse(&longest).is_ok());
        assert!(Bookmark::parse(&(longest + ".1")).is_err());
    }

    #[test]
    fn seqs_are_only_used_with_the_channels_that_they_were_made_for() {
        let seqs = bookmark(1, 1, &[7, 8]).channels.unwrap();
        assert_eq!(seqs.of(channels(2).iter()), Some(&[Seq(7), Seq(8)][..]));
        assert_eq!(seqs.of(channels(3)[1..].iter()), None);
        assert_eq!(seqs.of(channels(3).iter()), None);
        assert_eq!(seqs.of([].iter()), None);
    }

    #[test]
    fn the_hash_of_a_list_is_the_same_for_ever() {
        assert_eq!(bookmark(0, 0, &[1, 35]).to_string(), "0.0.12sgz74vp43.1.z");
    }

    #[test]
    fn texts_that_are_no_bookmarks_are_refused() {
        for text in ["1.1.1", "1.1.", "1.1.1.", "1.1.1.01", "1.1.01.1", "1.1.1..1", "1.1.1.A", "1..1.1"] {
            assert_eq!(Bookmark::parse(text), Err(CURSOR_RULE), "{text}");
        }
    }
}
