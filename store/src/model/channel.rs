//! Channels, and messages that nobody was there to hear.

use proto::wire::Entry;
use proto::{ChannelId, ConversationId, NodeIncarnation, Seq, UserId};

use super::posting::NewEntry;

/// Something for a channel's log and all who are subscribed.
#[derive(Debug, Clone)]
pub struct Broadcast {
    /// Which channel.
    pub channel: ChannelId,
    /// Who publishes.
    pub by: UserId,
    /// An encoded [`Entry`] with a message.
    pub entry: NewEntry,
    /// As in [`PostKind::Message`](super::PostKind::Message), by user and channel.
    pub repeat_key: Box<str>,
}

/// What became of a [`Broadcast`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broadcasted {
    /// In its channel: 1, 2, 3 … without holes.
    pub seq: Seq,
    /// Of the entry that stands.
    pub time: u64,
    /// It was there already.
    pub duplicate: bool,
}

/// A node that has subscribers of a channel, or has none any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audience {
    /// Which channel.
    pub channel: ChannelId,
    /// The node.
    pub node: NodeIncarnation,
}

/// Publications of a channel to read.
#[derive(Debug, Clone)]
pub struct ChannelQuery {
    /// Which channel.
    pub channel: ChannelId,
    /// Exclusive.
    pub after: Seq,
    /// How many at most.
    pub limit: usize,
}

/// A part of a channel's log.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelPage {
    /// In the order of seq, from the oldest kept after the one asked for.
    pub publications: Vec<(Seq, Entry)>,
    /// The newest seq.
    pub head: Seq,
}

/// A message for a member who had no session when it was filed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unheard {
    /// Names it: the same at every delivery.
    pub id: String,
    /// Who was away.
    pub user: UserId,
    /// Where it was written.
    pub conversation: ConversationId,
    /// Its number.
    pub seq: Seq,
}
