//! The channels that sessions of this node are subscribed to.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use daemon::lock::{Lock, Locked};
use proto::wire::{self, reply, request};
use proto::{ChannelId, Seq, UserId};
use rustc_hash::FxHashMap;

use super::feed::{self, Feed};
use crate::gateway::Gateway;
use crate::order;
use crate::protocol::failure::Failure;
use crate::session::channel_page::Page;
use crate::session::{Session, Start};

/// Publications in one page of a channel's log.
pub(crate) const PAGE: u32 = 50;

/// The channels of this node.
#[derive(Debug, Default)]
pub struct Channels {
    /// By channel. Bounded by the sessions' subscriptions and the channels
    /// that nobody is subscribed to any more ([`feed::MAX_IDLE`]).
    pub(super) feeds: Lock<{ order::FEEDS }, FxHashMap<ChannelId, Arc<Feed>>>,
    /// Feeds without subscribers that have not ended yet.
    pub(super) idle: AtomicUsize,
}

impl Channels {
    /// Something has been published. Costs the bus no more than a look.
    pub(crate) fn announce(&self, publication: wire::Publication) {
        let feed = self.lock().get(publication.channel.as_str()).cloned();
        // Without a feed it was on its way when the last subscriber left.
        if let Some(feed) = feed {
            feed.announce(Arc::new(publication.into()));
        }
    }

    /// Announcements may have been lost, or the node's place among those that
    /// are told: every feed compares itself with its log.
    pub(crate) fn doubt(&self) {
        for feed in self.lock().values() {
            feed.doubt();
        }
    }

    /// The session is among the subscribers from now on.
    pub(super) fn add(
        &self,
        gateway: &Arc<Gateway>,
        channel: &ChannelId,
        session: &Arc<Session>,
    ) -> Arc<Feed> {
        let mut feeds = self.lock();
        let feed = feeds.entry(channel.clone()).or_insert_with(|| {
            let feed = Arc::new(Feed::new(channel.clone()));
            gateway.tracker.spawn(feed::run(gateway.clone(), feed.clone()));
            feed
        });
        if feed.add(session.clone()) {
            gateway.metrics.subscribers(1);
        }
        feed.clone()
    }

    pub(super) fn remove(&self, gateway: &Gateway, channel: &ChannelId, session: &Session) {
        let feed = self.lock().get(channel.as_str()).cloned();
        if feed.is_some_and(|feed| feed.remove(session)) {
            gateway.metrics.subscribers(-1);
        }
    }

    /// The session has ended: it leaves all its channels.
    pub(crate) fn remove_all(&self, gateway: &Gateway, session: &Session) {
        for channel in session.end_subscriptions() {
            self.remove(gateway, &channel, session);
        }
    }

    pub(super) fn lock(&self) -> Locked<'_, FxHashMap<ChannelId, Arc<Feed>>> {
        self.feeds.lock()
    }
}

/// Subscribes a session that has just begun (PROTOCOL.md §6, `channels`), and
/// says where its places in the channels are: those given, or the heads.
pub(crate) async fn begin(
    gateway: &Arc<Gateway>,
    session: &Arc<Session>,
    starts: &[(ChannelId, Option<Seq>)],
) -> Result<Vec<(ChannelId, Seq)>, Failure> {
    for (channel, _) in starts {
        session.subscription_begins(channel, starts.len())?;
    }
    let feeds: Vec<_> =
        starts.iter().map(|(channel, _)| gateway.channels.add(gateway, channel, session)).collect();
    let mut places = Vec::with_capacity(starts.len());
    for ((channel, after), feed) in starts.iter().zip(feeds) {
        let head = feed.joined().await?;
        let place = after.unwrap_or(head);
        session.subscribed(channel, Start { place, head, again: true }, None);
        places.push((channel.clone(), place));
    }
    Ok(places)
}

/// The places where reading without a session begins: those given, or the
/// heads.
pub(crate) async fn places(
    gateway: &Gateway,
    user: &UserId,
    starts: &[(ChannelId, Option<Seq>)],
) -> Result<Vec<(ChannelId, Seq)>, Failure> {
    let places = starts.iter().map(|(channel, after)| async move {
        let place = match after {
            Some(after) => *after,
            None => head(gateway, user, channel).await?,
        };
        Ok((channel.clone(), place))
    });
    futures_util::future::try_join_all(places).await
}

async fn head(gateway: &Gateway, user: &UserId, channel: &ChannelId) -> Result<Seq, Failure> {
    let feed = gateway.channels.lock().get(channel.as_str()).cloned();
    if let Some(head) = feed.and_then(|feed| feed.head()) {
        return Ok(head);
    }
    // Any page says it.
    Ok(read(gateway, user, channel, Seq(0), 1).await?.head)
}

/// What a channel's log has after a place: from what this node has passed on
/// last, else through a router.
pub(crate) async fn page(
    gateway: &Gateway,
    user: &UserId,
    channel: &ChannelId,
    after: Seq,
    limit: u32,
) -> Result<Page, Failure> {
    let feed = gateway.channels.lock().get(channel.as_str()).cloned();
    if let Some(page) = feed.and_then(|feed| feed.recent(after, limit)) {
        return Ok(page);
    }
    read(gateway, user, channel, after, limit).await
}

pub(super) async fn read(
    gateway: &Gateway,
    user: &UserId,
    channel: &ChannelId,
    after: Seq,
    limit: u32,
) -> Result<Page, Failure> {
    let query = wire::ReadChannel { channel: channel.to_string(), after: after.0, limit };
    ask(gateway, user, request::Command::ReadChannel(query)).await
}

pub(super) async fn ask(
    gateway: &Gateway,
    user: &UserId,
    command: request::Command,
) -> Result<Page, Failure> {
    let _turn = gateway.turn().await?;
    match gateway.routers.call(user, command).await? {
        reply::Result::Channel(page) => Ok(page.into()),
        _ => Err(Failure::internal("the router gave an answer of the wrong kind")),
    }
}
