//! What sessions need of the channels, which stand above them.

use std::pin::Pin;

use proto::wire;
use proto::{ChannelId, Seq, UserId};

use super::Session;
use super::channel_page::Page;
use crate::protocol::failure::Failure;

/// The channels that sessions of this node are subscribed to.
pub(crate) trait SubscribedChannels: Send + Sync {
    /// The bus has brought a publication.
    fn announce(&self, publication: wire::Publication);
    /// Announcements may have been lost, or the node may not be told of them any
    /// more: every channel compares itself with its log.
    fn doubt(&self);
    /// The session has ended: it leaves all its channels.
    fn leave(&self, session: &Session);
    /// What a channel's log has after `after`. Fails when no router answers.
    fn page<'a>(
        &'a self,
        user: &'a UserId,
        channel: &'a ChannelId,
        after: Seq,
    ) -> Pin<Box<dyn Future<Output = Result<Page, Failure>> + Send + 'a>>;
}
