//! What sessions need of the channels, which are in a room above them.

use std::pin::Pin;

use proto::wire;
use proto::{ChannelId, Seq, UserId};

use super::Session;
use super::channel_page::Page;
use crate::protocol::failure::Failure;

/// The channels that sessions of this node are subscribed to.
pub(crate) trait SubscribedChannels: Send + Sync {
    /// Passes a publication of the bus on.
    fn announce(&self, publication: wire::Publication);
    /// Announcements may have been lost, or the node may no longer be in the
    /// audience: every channel compares itself with its log.
    fn doubt(&self);
    /// Removes a session that has ended from all its channels.
    fn leave(&self, session: &Session);
    /// Reads a channel's log after `after`. Fails when no router answers.
    fn page<'a>(
        &'a self,
        user: &'a UserId,
        channel: &'a ChannelId,
        after: Seq,
    ) -> Pin<Box<dyn Future<Output = Result<Page, Failure>> + Send + 'a>>;
}
