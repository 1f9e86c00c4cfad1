//! A page of a channel's log, and the frames that a reader gets of it.

use std::sync::Arc;

use proto::wire;
use proto::{ChannelId, Seq};

use crate::protocol::frame::Frame;
use crate::protocol::jump::Jump;
use crate::protocol::publication::Publication;

/// A page of a channel's log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Page {
    /// The publications in the order of seq.
    pub publications: Vec<Arc<Publication>>,
    /// The newest seq of the channel.
    pub head: Seq,
}

impl From<wire::ChannelPage> for Page {
    fn from(page: wire::ChannelPage) -> Self {
        let publications = page.publications.into_iter().map(|one| Arc::new(one.into())).collect();
        Self { publications, head: Seq(page.head) }
    }
}

impl Page {
    /// The frames for a reader, whose page was read after `after`: the
    /// publications, and a `channel_reset` wherever some are missing before
    /// one.
    pub(crate) fn frames(self, channel: &ChannelId, after: Seq) -> Vec<Frame> {
        let mut frames = Vec::with_capacity(self.publications.len());
        // Nothing is kept after `after`: the rest was trimmed, or never was in
        // this history of the store.
        if self.publications.is_empty() {
            frames.extend(Frame::of_jump(Jump::between(channel, after, self.head)));
        }
        let mut place = after;
        for publication in self.publications {
            frames.extend(Frame::of_jump(Jump::before(channel, place, &publication)));
            place = publication.seq();
            frames.push(Frame::Publication(publication));
        }
        frames
    }

    /// The seq of a reader that was given the whole page.
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
