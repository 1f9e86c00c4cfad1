//! Where a reader of a channel is not given the next publication after its last
//! one, and is told so (PROTOCOL.md §4, `channel_reset`).

use std::sync::Arc;

use proto::{ChannelId, ResetReason, Seq};

use super::{Page, Publication};
use crate::frame::Frame;

/// What comes next comes after `seq`, and that is not where the reader was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jump {
    /// Which channel.
    pub channel: ChannelId,
    /// Where reading goes on.
    pub seq: Seq,
    /// Trimmed, or rewritten: the log ends before the reader's place.
    pub reason: ResetReason,
}

impl Jump {
    /// From a reader's place to where it must go on, unless that is the same.
    pub(crate) fn between(channel: &ChannelId, place: Seq, seq: Seq) -> Option<Frame> {
        let reason = if seq < place { ResetReason::Rewritten } else { ResetReason::Trimmed };
        (seq != place).then(|| Frame::ChannelReset(Box::new(Self { channel: channel.clone(), seq, reason })))
    }

    /// To one that comes next for a reader at this place.
    pub(crate) fn before(channel: &ChannelId, place: Seq, next: &Publication) -> Option<Frame> {
        Self::between(channel, place, Seq(next.seq().0.saturating_sub(1)))
    }
}

impl Page {
    /// What a reader is given of this page, which was read after its place: the
    /// publications, and wherever some are missing before one that they are.
    pub(crate) fn frames(self, channel: &ChannelId, after: Seq) -> Vec<Frame> {
        let mut frames = Vec::with_capacity(self.publications.len());
        // Nothing is kept after the place: the rest was trimmed, or never was
        // in this history of the store.
        if self.publications.is_empty() {
            frames.extend(Jump::between(channel, after, self.head));
        }
        let mut place = after;
        for publication in self.publications {
            frames.extend(Jump::before(channel, place, &publication));
            place = publication.seq();
            frames.push(Frame::Publication(publication));
        }
        frames
    }

    /// Where a reader that has been given all of it is.
    pub(crate) fn end(&self) -> Seq {
        self.publications.last().map_or(self.head, |last: &Arc<Publication>| last.seq())
    }
}

#[cfg(test)]
mod tests {
    use proto::wire;

    use super::*;

    fn told(seqs: &[u64], head: u64, after: u64) -> Vec<String> {
        let publication = |seq: &u64| {
            Arc::new(wire::Publication { channel: "c_news".into(), seq: *seq, ..Default::default() }.into())
        };
        let page = Page { publications: seqs.iter().map(publication).collect(), head: Seq(head) };
        let frames = page.frames(&ChannelId::parse("c_news").unwrap(), Seq(after));
        let word = |frame: &Frame| match frame {
            Frame::Publication(publication) => publication.seq().0.to_string(),
            Frame::ChannelReset(jump) => format!("{} {}", jump.reason.as_str(), jump.seq.0),
            other => panic!("{other:?}"),
        };
        frames.iter().map(word).collect()
    }

    #[test]
    fn whatever_is_missing_is_said_before_what_comes_next() {
        assert_eq!(told(&[4, 5], 9, 3), ["4", "5"]);
        assert_eq!(told(&[6, 7, 9], 9, 3), ["trimmed 5", "6", "7", "trimmed 8", "9"]);
        assert_eq!(told(&[], 3, 3), [""; 0]);
        assert_eq!(told(&[], 9, 3), ["trimmed 9"]);
        assert_eq!(told(&[], 2, 3), ["rewritten 2"]);
    }
}
