//! Where a reader of a channel is not given the next publication after its last
//! one, and is told so (PROTOCOL.md §4, `channel_reset`).

use proto::{ChannelId, ResetReason, Seq};

use super::publication::Publication;

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
    pub(crate) fn between(channel: &ChannelId, place: Seq, seq: Seq) -> Option<Self> {
        let reason = if seq < place { ResetReason::Rewritten } else { ResetReason::Trimmed };
        (seq != place).then(|| Self { channel: channel.clone(), seq, reason })
    }

    /// To one that comes next for a reader at this place.
    pub(crate) fn before(channel: &ChannelId, place: Seq, next: &Publication) -> Option<Self> {
        Self::between(channel, place, Seq(next.seq().0.saturating_sub(1)))
    }
}
