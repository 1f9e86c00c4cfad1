//! Channels, and messages for members who had no session.

use proto::wire::Entry;
use proto::{ChannelId, ConversationId, NodeIncarnation, Seq, Time, UserId};

use super::posting::NewEntry;

/// One publication: to store in the channel's log and to announce to its
/// audience.
#[derive(Debug, Clone)]
pub struct Broadcast {
    /// The channel.
    pub channel: ChannelId,
    /// The publisher.
    pub by: UserId,
    /// An encoded [`Entry`] with a message.
    pub entry: NewEntry,
    /// As in [`PostKind::Message`](super::PostKind::Message), for each user and
    /// channel.
    pub repeat_key: Box<str>,
}

/// The result of a [`Broadcast`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BroadcastResult {
    /// The publication's number in its channel: 1, 2, 3 … without holes.
    pub seq: Seq,
    /// The time of the entry that is stored: of the first one, for a duplicate.
    pub time: Time,
    /// Whether it is a repeat, which stored nothing.
    pub duplicate: bool,
}

/// A node and a channel: the node joins or leaves the channel's audience.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audience {
    /// The channel.
    pub channel: ChannelId,
    /// The node.
    pub node: NodeIncarnation,
}

/// Asks for a page of a channel's log.
#[derive(Debug, Clone)]
pub struct ChannelQuery {
    /// The channel.
    pub channel: ChannelId,
    /// Publications after this seq, without it.
    pub after: Seq,
    /// The most publications of the page.
    pub limit: usize,
}

/// A page of a channel's log.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelPage {
    /// In the order of seq. The first may be later than asked for, where the
    /// log was trimmed.
    pub publications: Vec<(Seq, Entry)>,
    /// The newest seq of the channel.
    pub head: Seq,
}

/// A message for a member who had no session when it was filed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnheardMessage {
    /// Identifies it: the same every time it is given out.
    pub id: String,
    /// The member who had no session.
    pub user: UserId,
    /// The message's conversation.
    pub conversation: ConversationId,
    /// The message's seq.
    pub seq: Seq,
}
