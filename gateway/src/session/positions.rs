//! Channels on one-way transports and polls (PROTOCOL.md §6): the `channels`
//! parameter, and the cursor that has the seqs of channels after the inbox's
//! cursor.

use std::fmt::Write as _;

use proto::{Bookmark, ChannelId, ChannelSeqs, Cursor, MAX_CHANNELS, Seq};

use crate::protocol::failure::Failure;
use crate::protocol::frame::Frame;
use crate::protocol::query::Query;

/// Where reading begins in a channel: after this seq, or at the head.
pub(crate) type Starts = Vec<(ChannelId, Option<Seq>)>;

/// The largest seq of a store.
const MAX_SEQ: u64 = 1 << 53;

/// Reads `channels=c_news:41,c_sport`, and where reading begins: at the
/// cursor's seqs if it has them for the same channels, else as the parameter
/// says. Sorted by name. `most` is how many channels a session may have. Fails
/// with `bad_request`.
pub(crate) fn starts(query: &Query<'_>, cursor: Option<&str>, most: usize) -> Result<Starts, Failure> {
    let Some(list) = query.get("channels").filter(|list| !list.is_empty()) else { return Ok(Vec::new()) };
    let most = most.min(MAX_CHANNELS);
    let mut starts = list.split(',').take(most + 1).map(start).collect::<Result<Starts, _>>()?;
    if starts.len() > most {
        return Err(Failure::bad_request(format!("`channels` may name {most} channels at most")));
    }
    starts.sort_unstable();
    if let Some(twice) = starts.windows(2).find(|two| two[0].0 == two[1].0) {
        return Err(Failure::bad_request(format!("`channels` names {} twice", twice[0].0)));
    }
    let bookmark = cursor.and_then(|text| Bookmark::parse(text).ok());
    let places = bookmark.and_then(|bookmark| bookmark.channels);
    if let Some(seqs) =
        places.as_ref().and_then(|places| places.of(starts.iter().map(|(channel, _)| channel)))
    {
        for ((_, start), seq) in starts.iter_mut().zip(seqs) {
            *start = Some(*seq);
        }
    }
    Ok(starts)
}

fn start(text: &str) -> Result<(ChannelId, Option<Seq>), Failure> {
    let (name, seq) = text.split_once(':').map_or((text, None), |(name, seq)| (name, Some(seq)));
    let channel = ChannelId::parse(name).map_err(|rule| {
        Failure::bad_request(format!("each of `channels` {rule}, and may have `:` and a seq behind it"))
    })?;
    let seq = seq.map(|seq| {
        let digits = !seq.is_empty() && seq.bytes().all(|byte| byte.is_ascii_digit());
        let number = seq.parse().ok().filter(|number| digits && *number <= MAX_SEQ);
        number.map(Seq).ok_or_else(|| {
            Failure::bad_request(format!("the seq of {channel} in `channels` must be a whole number"))
        })
    });
    Ok((channel, seq.transpose()?))
}

/// The positions of a reader in the inbox and in its channels, updated frame by
/// frame.
#[derive(Debug)]
pub(crate) struct ReaderPositions {
    /// Sorted by name.
    names: Box<[ChannelId]>,
    bookmark: Bookmark,
    /// The text of the bookmark.
    text: String,
}

impl ReaderPositions {
    /// The positions before the first frame; channels sorted by name.
    pub(crate) fn new(inbox: Cursor, channels: &[(ChannelId, Seq)]) -> Self {
        let names = channels.iter().map(|(channel, _)| channel.clone()).collect();
        let mut places = Self {
            names,
            bookmark: Bookmark { inbox, channels: ChannelSeqs::new(channels) },
            text: String::new(),
        };
        places.write();
        places
    }

    /// Moves the positions past a frame. Returns the frame's cursor, if it is
    /// one that carries a cursor.
    pub(crate) fn pass(&mut self, frame: &Frame) -> Option<&str> {
        if let Some((channel, seq)) = frame.position_in_channel() {
            let index = self.names.iter().position(|name| name.as_str() == channel)?;
            self.go_on(index, seq);
        } else {
            self.bookmark.inbox = frame.cursor()?;
            self.write();
        }
        Some(&self.text)
    }

    /// The place in the channel at `index` is now this one.
    fn go_on(&mut self, index: usize, seq: Seq) {
        if let Some(channels) = &mut self.bookmark.channels {
            channels.set(index, seq);
        }
        self.write();
    }

    /// The cursor.
    pub(crate) fn cursor(&self) -> &str {
        &self.text
    }

    /// The channels and the places in them.
    pub(crate) fn channels(&self) -> impl Iterator<Item = (&ChannelId, Seq)> {
        let places = self.bookmark.channels.as_ref();
        let seqs = places.and_then(|places| places.of(self.names.iter())).unwrap_or_default();
        self.names.iter().zip(seqs.iter().copied())
    }

    /// Whether these are the same channels at the same places.
    pub(crate) fn are(&self, starts: &[(ChannelId, Option<Seq>)]) -> bool {
        let starts = starts.iter().map(|(channel, seq)| (channel, *seq));
        self.channels().map(|(channel, seq)| (channel, Some(seq))).eq(starts)
    }

    fn write(&mut self) {
        self.text.clear();
        let _ = write!(self.text, "{}", self.bookmark);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proto::wire;
    use proto::{Fingerprint, Position, ResetReason};

    use super::*;

    fn parse(text: &str, cursor: Option<&str>) -> Result<Vec<(String, Option<u64>)>, String> {
        let query = Query::parse(text).unwrap();
        let starts = starts(&query, cursor, 64).map_err(|failure| failure.message)?;
        Ok(starts.into_iter().map(|(channel, seq)| (channel.to_string(), seq.map(|seq| seq.0))).collect())
    }

    fn names(count: usize) -> String {
        (0..count).map(|index| format!("c_{index}")).collect::<Vec<_>>().join(",")
    }

    fn channel(name: &str) -> ChannelId {
        ChannelId::parse(name).unwrap()
    }

    fn publication(channel: &str, seq: u64) -> Frame {
        let wire = wire::Publication { channel: channel.into(), seq, ..Default::default() };
        Frame::Publication(Arc::new(wire.into()))
    }

    #[test]
    fn channels_begin_where_they_are_told_or_at_their_heads() {
        let starts = parse("channels=c_sport,c_news:41", None).unwrap();
        assert_eq!(starts, [("c_news".into(), Some(41)), ("c_sport".into(), None)]);
        assert_eq!(parse("channels=", None).unwrap(), []);
        assert_eq!(parse("a=1", None).unwrap(), []);
    }

    #[test]
    fn whatever_is_wrong_is_named() {
        for (text, message) in [
            ("channels=news", "each of `channels` must be a channel id"),
            ("channels=c_news,", "each of `channels` must be"),
            ("channels=c_news:", "the seq of c_news in `channels`"),
            ("channels=c_news:%2B1", "the seq of c_news in `channels`"),
            ("channels=c_news:9007199254740993", "the seq of c_news in `channels`"),
            ("channels=c_a,c_b:1,c_a:2", "`channels` names c_a twice"),
            (&format!("channels={}", names(33)), "`channels` may name 32 channels at most"),
        ] {
            let refusal = parse(text, None).unwrap_err();
            assert!(refusal.contains(message), "{text}: {refusal}");
        }
        assert_eq!(parse(&format!("channels={}", names(32)), None).unwrap().len(), 32);
        let query = Query::parse("channels=c_a,c_b").unwrap();
        assert!(starts(&query, None, 1).is_err());
    }

    #[test]
    fn the_places_of_a_cursor_count_for_the_list_that_they_were_made_for() {
        let places = ReaderPositions::new(
            Cursor::ORIGIN,
            &[(channel("c_news"), Seq(50)), (channel("c_sport"), Seq(7))],
        );
        let cursor = Some(places.cursor());
        let same = parse("channels=c_sport,c_news:41", cursor).unwrap();
        assert_eq!(same, [("c_news".into(), Some(50)), ("c_sport".into(), Some(7))]);
        let changed = parse("channels=c_other,c_news:41", cursor).unwrap();
        assert_eq!(changed, [("c_news".into(), Some(41)), ("c_other".into(), None)]);
        let plain = parse("channels=c_sport,c_news:41", Some("0.0")).unwrap();
        assert_eq!(plain, [("c_news".into(), Some(41)), ("c_sport".into(), None)]);
    }

    #[test]
    fn every_frame_with_a_cursor_has_the_places_up_to_it() {
        let (news, sport) = (channel("c_news"), channel("c_sport"));
        let mut places =
            ReaderPositions::new(Cursor::ORIGIN, &[(news.clone(), Seq(1)), (sport.clone(), Seq(2))]);
        let text = places.pass(&publication("c_sport", 3)).unwrap().to_owned();
        assert_eq!(text, places.cursor());
        assert!(places.are(&[(news.clone(), Some(Seq(1))), (sport.clone(), Some(Seq(3)))]));
        let inbox = Cursor { position: Position(5), fingerprint: Fingerprint(9) };
        let text = places.pass(&Frame::Reset(ResetReason::Trimmed, inbox)).unwrap().to_owned();
        assert_eq!(Cursor::parse(&text), Ok(inbox));
        assert_eq!(places.pass(&Frame::Pong(None)), None);
        assert_eq!(places.pass(&publication("c_other", 3)), None);
        assert!(!places.are(&[(news.clone(), Some(Seq(1)))]));
        assert!(!places.are(&[(news, Some(Seq(1))), (sport, None)]));
        assert_eq!(ReaderPositions::new(inbox, &[]).cursor(), "5.9");
    }
}
