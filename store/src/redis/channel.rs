//! Channels: numbering and announcing publications, the audience, the log.
//!
//! One script numbers and stores a batch (in a Cluster one for each bucket), and
//! the router announces.
//!
//! After a failover that lost a channel's newest publications, their seqs are
//! given again. The channel itself does not show that: a subscriber that had
//! the lost publications would take the new ones for repeats. Gateways correct
//! it: they join again whenever the store has a new incarnation, see a head
//! below their own seq, and go on from there.

use fred::types::Value;
use proto::{Bound, ChannelId, NodeIncarnation, Seq, Time, weight};
use smallvec::smallvec;

use super::Redis;
use super::announce::PendingPublication;
use super::connection::{CALL_BYTES, Item};
use super::fetch::decode;
use super::key::Bucket;
use super::reply::{Row, unexpected};
use super::{script, write};
use crate::damage::unless_damaged;
use crate::model::{Audience, Broadcast, BroadcastResult, ChannelPage, ChannelQuery};
use crate::{Error, Result};

/// The most publications of one call, so that no call blocks Redis for long.
const PUBLICATIONS: usize = 256;
/// The most channels of one call.
const CHANNELS: usize = 128;

impl Redis {
    /// Handles one batch at a time, so that a router announces in the order in
    /// which it has numbered.
    pub(super) async fn broadcast_all(&self, batch: &[Broadcast]) -> Result<Vec<BroadcastResult>> {
        let mut unsure = self.broadcasting.lock().await;
        self.know_the_store(&mut unsure, &self.channel_reconnects).await?;
        let mut done = Vec::with_capacity(batch.len());
        for some in Bound::new(CALL_BYTES, PUBLICATIONS).runs(batch, weight_of) {
            done.extend(self.broadcast_some(some, &mut unsure).await?);
        }
        Ok(done)
    }

    async fn broadcast_some(&self, batch: &[Broadcast], unsure: &mut bool) -> Result<Vec<BroadcastResult>> {
        let common = [self.age(), write::number(self.bounds.channel_messages)];
        let items = batch.iter().map(broadcast_item).collect();
        let rows = self.append.run(&script::BROADCAST, &common, items, PUBLICATIONS).await?;
        let untold = self.append.doubt().begin();
        let (mut done, mut published, mut refused) = (Vec::with_capacity(batch.len()), Vec::new(), None);
        for (broadcast, mut row) in batch.iter().zip(rows) {
            let duplicate = match &*row.text()? {
                "ok" => false,
                "repeat" => true,
                "error" => {
                    refused = Some(self.append.refused(&script::BROADCAST, &row.text()?));
                    continue;
                }
                _ => return Err(unexpected("what became of a publication")),
            };
            let (seq, time) = (Seq(row.number()?), Time(row.number()?));
            let (nodes, stands) = (nodes(&mut row.list()?)?, row.bytes()?);
            // A repeat is announced again: the router that numbered it first
            // may have died before announcing. Subscribers recognise it by its
            // seq.
            let entry = if duplicate { stands } else { broadcast.entry.bytes.clone() };
            if !nodes.is_empty() && !entry.is_empty() {
                published.push(PendingPublication { channel: broadcast.channel.clone(), seq, entry, nodes });
            }
            done.push(BroadcastResult { seq, time, duplicate });
        }
        self.know_the_store(unsure, &self.channel_reconnects).await?;
        self.announce_publications(&published).await?;
        untold.settled();
        self.forget_dead_audiences(published).await?;
        refused.map_or(Ok(done), Err)
    }

    async fn announce_publications(&self, published: &[PendingPublication]) -> Result<()> {
        self.wait_for_replicas().await?;
        if let Err(error) = self.announcer.announce_publications(&self.upkeep.incarnation(), published).await
        {
            // The envelopes' numbers are used up: nodes that were not reached
            // notice a hole.
            tracing::warn!(%error, "could not announce what has been published");
        }
        Ok(())
    }

    /// Takes the nodes that are gone out of the audiences.
    async fn forget_dead_audiences(&self, published: Vec<PendingPublication>) -> Result<()> {
        let dead = self.dead_among(published.iter().flat_map(|one| &one.nodes)).await?;
        let mut gone = Vec::new();
        for PendingPublication { channel, nodes, .. } in published {
            let of_channel = |node| Audience { channel: channel.clone(), node };
            gone.extend(nodes.into_iter().filter(|node| dead.contains(node)).map(of_channel));
        }
        self.leave_all(&gone).await
    }

    /// Also removes dead nodes from the audience: a channel to which nobody
    /// publishes has no other occasion.
    pub(super) async fn join_all(&self, batch: &[Audience]) -> Result<Vec<Seq>> {
        let items = batch.iter().map(audience_item).collect();
        let rows = self.append.run(&script::JOIN_CHANNEL, &[self.age()], items, CHANNELS).await?;
        let (mut heads, mut others) = (Vec::with_capacity(rows.len()), Vec::new());
        for (audience, mut row) in batch.iter().zip(rows) {
            heads.push(Seq(row.number()?));
            let nodes = nodes(&mut row.list()?)?;
            let of_channel = |node| Audience { channel: audience.channel.clone(), node };
            others.extend(nodes.into_iter().map(of_channel));
        }
        let dead = self.dead_among(others.iter().map(|other| &other.node)).await?;
        others.retain(|other| dead.contains(&other.node));
        self.leave_all(&others).await?;
        Ok(heads)
    }

    pub(super) async fn leave_all(&self, batch: &[Audience]) -> Result<()> {
        let items = batch.iter().map(audience_item).collect();
        self.append.run(&script::LEAVE_CHANNEL, &[], items, CHANNELS).await?;
        Ok(())
    }

    /// A page of damaged publications only is skipped while there is more after
    /// it.
    pub(super) async fn read_logs(&self, batch: &[ChannelQuery]) -> Result<Vec<ChannelPage>> {
        let pages = self.read_parts(batch).await?;
        let mut answers = Vec::with_capacity(batch.len());
        for (query, (mut page, mut upto)) in batch.iter().zip(pages) {
            while page.publications.is_empty() && upto > query.after && upto < page.head {
                let rest = ChannelQuery { after: upto, ..query.clone() };
                let Some((next, reached)) = self.read_parts(&[rest]).await?.pop() else { break };
                if reached <= upto {
                    break;
                }
                (page, upto) = (next, reached);
            }
            answers.push(page);
        }
        Ok(answers)
    }

    /// Pages, each with the last seq that was read; 0 if there was none.
    async fn read_parts(&self, batch: &[ChannelQuery]) -> Result<Vec<(ChannelPage, Seq)>> {
        let most = weight::page_of(batch.len());
        let items = batch
            .iter()
            .map(|query| {
                let mut item = channel_item(&query.channel);
                item.args.extend([
                    write::number(query.after.0),
                    write::number(query.limit as u64),
                    write::number(most as u64),
                ]);
                item.answering(most)
            })
            .collect();
        let rows = self.read.run(&script::READ_CHANNEL, &[self.age()], items, CHANNELS).await?;
        batch.iter().zip(rows).map(|(query, row)| page(&query.channel, row)).collect()
    }
}

/// The bytes of an item in a call, at most.
fn weight_of(broadcast: &Broadcast) -> usize {
    512 + broadcast.entry.bytes.len()
}

fn broadcast_item(broadcast: &Broadcast) -> Item {
    let mut item = channel_item(&broadcast.channel);
    item.args.extend([
        write::text(broadcast.by.as_str()),
        write::text(&broadcast.repeat_key),
        write::number(broadcast.entry.time.0),
        Value::Bytes(broadcast.entry.bytes.clone()),
    ]);
    item
}

fn audience_item(audience: &Audience) -> Item {
    let mut item = channel_item(&audience.channel);
    item.args.push(write::text(audience.node.as_str()));
    item
}

/// The first arguments of items about channels: bucket and channel.
fn channel_item(channel: &ChannelId) -> Item {
    let bucket = Bucket::of(channel.as_str());
    Item::new(bucket, smallvec![Value::Integer(bucket.0.into()), write::text(channel.as_str())])
}

fn nodes(list: &mut Row) -> Result<Vec<NodeIncarnation>> {
    let mut nodes = Vec::new();
    while !list.is_done() {
        let node = NodeIncarnation::parse(&list.text()?);
        nodes.push(node.map_err(|error| Error::Corrupt(format!("the name of a node: {error}")))?);
    }
    Ok(nodes)
}

fn page(channel: &ChannelId, mut row: Row) -> Result<(ChannelPage, Seq)> {
    let (head, mut seq, mut entries) = (Seq(row.number()?), row.number()?, row.list()?);
    let mut publications = Vec::new();
    while !entries.is_done() {
        let entry = unless_damaged(decode(entries.bytes()?), format_args!("publication {seq} of {channel}"))?;
        publications.extend(entry.map(|entry| (Seq(seq), entry)));
        seq += 1;
    }
    Ok((ChannelPage { publications, head }, Seq(seq.saturating_sub(1))))
}
