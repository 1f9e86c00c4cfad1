//! The cursor of one-way transports that also carry channels: the place in the
//! inbox and, behind it, the places in the channels (PROTOCOL.md §6).
//!
//! `<position>.<fingerprint>` and, with channels, `.<list>.<seq>.<seq>…`: all
//! in base 36. The list's number stands for the channels' names, so that places
//! are only taken over for the channels that they were made for.

use std::fmt;

use crate::id::{ChannelId, Invalid};
use crate::place::{CURSOR_RULE, Cursor, MAX_CURSOR, Seq, from_base36, split_cursor, to_base36};

/// Channels of one connection at most, in the query and so in a cursor: with
/// the longest numbers it has 417 of its 512 characters.
pub const MAX_CHANNELS: usize = 32;

/// A list of channels, in the order of their names, and the places in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelPlaces {
    list: u64,
    seqs: Box<[Seq]>,
}

/// A place in an inbox and in the channels of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bookmark {
    /// In the inbox.
    pub inbox: Cursor,
    /// In the channels, if there are any.
    pub channels: Option<ChannelPlaces>,
}

impl ChannelPlaces {
    /// The places of these channels, which must be in the order of their names
    /// and at most [`MAX_CHANNELS`]; nothing when there is none.
    pub fn new(places: &[(ChannelId, Seq)]) -> Option<Self> {
        debug_assert!(places.len() <= MAX_CHANNELS && places.is_sorted_by(|a, b| a.0 < b.0));
        let list = number_of(places.iter().map(|(channel, _)| channel));
        let seqs = places.iter().map(|(_, seq)| *seq).collect();
        (!places.is_empty()).then_some(Self { list, seqs })
    }

    /// The places, if they are those of this list, in the order of names.
    pub fn of<'a>(&self, channels: impl ExactSizeIterator<Item = &'a ChannelId>) -> Option<&[Seq]> {
        (channels.len() == self.seqs.len() && number_of(channels) == self.list).then_some(&self.seqs)
    }

    /// The place in the channel at `index` of the list is now this one.
    pub fn set(&mut self, index: usize, seq: Seq) {
        if let Some(place) = self.seqs.get_mut(index) {
            *place = seq;
        }
    }
}

impl Bookmark {
    /// Reads the text form of any cursor. Only the form is checked.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
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
        Ok(Self { inbox, channels: Some(ChannelPlaces { list, seqs }) })
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

/// FNV-1a of the names, each with a byte that no name has behind it, cut to 52
/// bits: the same on every node and in every version.
fn number_of<'a>(channels: impl Iterator<Item = &'a ChannelId>) -> u64 {
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
    use crate::place::{Fingerprint, Position};

    fn channels(count: usize) -> Vec<ChannelId> {
        (0..count).map(|index| ChannelId::parse(&format!("c_{index:02}")).unwrap()).collect()
    }

    fn bookmark(position: u64, fingerprint: u32, seqs: &[u64]) -> Bookmark {
        let places: Vec<_> = channels(seqs.len()).into_iter().zip(seqs.iter().map(|seq| Seq(*seq))).collect();
        Bookmark {
            inbox: Cursor { position: Position(position), fingerprint: Fingerprint(fingerprint) },
            channels: ChannelPlaces::new(&places),
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
    fn places_are_those_of_the_same_list_only() {
        let places = bookmark(1, 1, &[7, 8]).channels.unwrap();
        assert_eq!(places.of(channels(2).iter()), Some(&[Seq(7), Seq(8)][..]));
        assert_eq!(places.of(channels(3)[1..].iter()), None);
        assert_eq!(places.of(channels(3).iter()), None);
        assert_eq!(places.of([].iter()), None);
    }

    #[test]
    fn the_number_of_a_list_is_the_same_for_ever() {
        assert_eq!(bookmark(0, 0, &[1, 35]).to_string(), "0.0.12sgz74vp43.1.z");
    }

    #[test]
    fn texts_that_are_no_bookmarks_are_refused() {
        for text in ["1.1.1", "1.1.", "1.1.1.", "1.1.1.01", "1.1.01.1", "1.1.1..1", "1.1.1.A", "1..1.1"] {
            assert_eq!(Bookmark::parse(text), Err(CURSOR_RULE), "{text}");
        }
    }
}
