//! The channels that sessions of this node are subscribed to.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use daemon::lock::{Lock, LockGuard};
use proto::wire::{self, reply, request};
use proto::{ChannelId, Seq, UserId};
use rustc_hash::FxHashMap;

use super::feed::{self, Feed};
use crate::link::NodeContext;
use crate::metrics;
use crate::order;
use crate::protocol::failure::Failure;
use crate::session::channel_page::Page;
use crate::session::subscribed::SubscribedChannels;
use crate::session::{Session, Start};

/// The publications of one page of a channel's log.
pub(crate) const PAGE: u32 = 50;

/// The channels of this node.
pub struct Channels {
    pub(super) context: NodeContext,
    /// The most channels of one session.
    pub(super) max_subscriptions: usize,
    /// Feeds by channel. Limited by the sessions' subscriptions and the feeds
    /// without subscribers ([`feed::MAX_IDLE`]).
    pub(super) feeds: Lock<{ order::FEEDS }, FxHashMap<ChannelId, Arc<Feed>>>,
    /// The number of feeds without subscribers.
    pub(super) idle: AtomicUsize,
}

impl Channels {
    /// No channel yet. A session may have `max_subscriptions`.
    pub fn new(context: NodeContext, max_subscriptions: usize) -> Arc<Self> {
        Arc::new(Self { context, max_subscriptions, feeds: Lock::default(), idle: AtomicUsize::new(0) })
    }

    /// Adds a session to a channel's subscribers.
    pub(super) fn add(self: &Arc<Self>, channel: &ChannelId, session: &Arc<Session>) -> Arc<Feed> {
        let mut feeds = self.lock();
        let feed = feeds.entry(channel.clone()).or_insert_with(|| {
            let feed = Arc::new(Feed::new(channel.clone()));
            self.context.tracker.spawn(feed::run(self.clone(), feed.clone()));
            feed
        });
        if feed.add(session.clone()) {
            metrics::subscribers(1);
        }
        feed.clone()
    }

    pub(super) fn remove(&self, channel: &ChannelId, session: &Session) {
        let feed = self.lock().get(channel.as_str()).cloned();
        if feed.is_some_and(|feed| feed.remove(session)) {
            metrics::subscribers(-1);
        }
    }

    pub(super) fn lock(&self) -> LockGuard<'_, FxHashMap<ChannelId, Arc<Feed>>> {
        self.feeds.lock()
    }

    /// Subscribes a session that has just begun (PROTOCOL.md §6, `channels`),
    /// and returns its seqs in the channels: those given, or the heads. Fails
    /// when there are too many, or a channel cannot be joined.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        session: &Arc<Session>,
        starts: &[(ChannelId, Option<Seq>)],
    ) -> Result<Vec<(ChannelId, Seq)>, Failure> {
        for (channel, _) in starts {
            session.subscription_begins(channel, starts.len())?;
        }
        let feeds: Vec<_> = starts.iter().map(|(channel, _)| self.add(channel, session)).collect();
        let mut positions = Vec::with_capacity(starts.len());
        for ((channel, after), feed) in starts.iter().zip(feeds) {
            let head = feed.joined().await?;
            let position = after.unwrap_or(head);
            session.subscribed(channel, Start { position, head, again: true }, None);
            positions.push((channel.clone(), position));
        }
        Ok(positions)
    }

    /// The positions where reading without a session begins: those given, or the
    /// heads. Fails when a router does not say a head.
    pub(crate) async fn positions(
        &self,
        user: &UserId,
        starts: &[(ChannelId, Option<Seq>)],
    ) -> Result<Vec<(ChannelId, Seq)>, Failure> {
        let positions = starts.iter().map(|(channel, after)| async move {
            let position = match after {
                Some(after) => *after,
                None => self.head(user, channel).await?,
            };
            Ok((channel.clone(), position))
        });
        futures_util::future::try_join_all(positions).await
    }

    async fn head(&self, user: &UserId, channel: &ChannelId) -> Result<Seq, Failure> {
        let feed = self.lock().get(channel.as_str()).cloned();
        if let Some(head) = feed.and_then(|feed| feed.head()) {
            return Ok(head);
        }
        // Any page has the head.
        Ok(self.read(user, channel, Seq(0), 1).await?.head)
    }

    /// What a channel's log has after a position: from what this node has passed on
    /// last, else through a router. Fails when none answers.
    pub(crate) async fn page(
        &self,
        user: &UserId,
        channel: &ChannelId,
        after: Seq,
        limit: u32,
    ) -> Result<Page, Failure> {
        let feed = self.lock().get(channel.as_str()).cloned();
        if let Some(page) = feed.and_then(|feed| feed.recent(after, limit)) {
            return Ok(page);
        }
        self.read(user, channel, after, limit).await
    }

    pub(super) async fn read(
        &self,
        user: &UserId,
        channel: &ChannelId,
        after: Seq,
        limit: u32,
    ) -> Result<Page, Failure> {
        let query = wire::ReadChannel { channel: channel.to_string(), after: after.0, limit };
        self.ask(user, request::Command::ReadChannel(query)).await
    }

    pub(super) async fn ask(&self, user: &UserId, command: request::Command) -> Result<Page, Failure> {
        let _turn = self.context.turn().await?;
        match self.context.routers.call(user, command).await? {
            reply::Result::Channel(page) => Ok(page.into()),
            _ => Err(Failure::internal("the router gave an answer of the wrong kind")),
        }
    }
}

impl SubscribedChannels for Channels {
    /// Costs the bus reader only a lookup.
    fn announce(&self, publication: wire::Publication) {
        let feed = self.lock().get(publication.channel.as_str()).cloned();
        // Without a feed the publication was on its way when the last
        // subscriber left.
        if let Some(feed) = feed {
            feed.announce(Arc::new(publication.into()));
        }
    }

    fn doubt(&self) {
        for feed in self.lock().values() {
            feed.doubt();
        }
    }

    fn leave(&self, session: &Session) {
        for channel in session.end_subscriptions() {
            self.remove(&channel, session);
        }
    }

    fn page<'a>(
        &'a self,
        user: &'a UserId,
        channel: &'a ChannelId,
        after: Seq,
    ) -> Pin<Box<dyn Future<Output = Result<Page, Failure>> + Send + 'a>> {
        Box::pin(Self::page(self, user, channel, after, PAGE))
    }
}
