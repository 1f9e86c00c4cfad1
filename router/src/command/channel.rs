//! Channels: `publish`, and what nodes need for their subscribers. The gateway
//! checks who may publish or subscribe.

use proto::UserId;
use proto::wire::{self, Publication, reply};
use store::model::{Audience, Broadcast, BroadcastResult, ChannelPage, ChannelQuery};

use super::send::message;
use super::{done, field, seq};
use crate::core::Core;
use crate::error::{Error, Result};

/// Publications of a page at most, and when the gateway gives no limit. The store
/// gives fewer when they are large.
const MAX_PUBLICATIONS: u32 = 1_000;
const USUAL_PUBLICATIONS: u32 = 100;

/// The store's call for a publication.
pub(crate) fn broadcast(user: UserId, publish: wire::Publish) -> Result<Broadcast> {
    let channel = field("channel", &publish.channel)?;
    let (entry, id) = message(&user, &publish.body, &publish.client_msg_id, publish.hidden_id)?;
    Ok(Broadcast { channel, by: user, entry, repeat_key: id.as_str().into() })
}

/// The answer to a publication. It has no position, as it is in nobody's inbox.
pub(crate) fn published(done: BroadcastResult) -> reply::Result {
    reply::Result::Sent(wire::Sent {
        seq: done.seq.0,
        time: done.time.0,
        duplicate: done.duplicate,
        ..wire::Sent::default()
    })
}

/// The node is told of publications from now on. Those before have a seq up to the
/// head that is answered.
pub(crate) async fn join(core: &Core, _user: UserId, asked: wire::JoinChannel) -> Result<reply::Result> {
    let audience = Audience { channel: field("channel", &asked.channel)?, node: field("node", &asked.node)? };
    let heads = core.store.join_channels(vec![audience]).await?;
    let head = heads.first().ok_or(Error::Internal)?.0;
    Ok(reply::Result::Channel(wire::ChannelPage { publications: Vec::new(), head }))
}

/// The node is told of this channel's publications no more.
pub(crate) async fn leave(core: &Core, _user: UserId, asked: wire::LeaveChannel) -> Result<reply::Result> {
    let audience = Audience { channel: field("channel", &asked.channel)?, node: field("node", &asked.node)? };
    core.store.leave_channels(vec![audience]).await?;
    Ok(done())
}

/// The store's call for a part of a channel's log.
pub(crate) fn query(asked: &wire::ReadChannel) -> Result<ChannelQuery> {
    let limit = match asked.limit {
        0 => USUAL_PUBLICATIONS,
        limit => limit.min(MAX_PUBLICATIONS),
    };
    Ok(ChannelQuery {
        channel: field("channel", &asked.channel)?,
        after: seq("after", asked.after)?,
        limit: limit as usize,
    })
}

/// The answer with a part of a channel's log.
pub(crate) fn page(channel: &str, page: ChannelPage) -> reply::Result {
    let publications = page.publications.into_iter().map(|(seq, entry)| Publication {
        channel: channel.to_owned(),
        seq: seq.0,
        entry: Some(entry),
    });
    reply::Result::Channel(wire::ChannelPage { publications: publications.collect(), head: page.head.0 })
}
