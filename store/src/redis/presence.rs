//! Presence: who has sessions, when the last one ended, and which nodes are
//! told of it.

use std::time::Duration;

use proto::{NodeIncarnation, Time, UserId};
use rustc_hash::FxHashSet;

use super::Redis;
use super::reply::Row;
use super::session::{locations, user_item};
use super::{script, write};
use crate::model::PresenceRecord;
use crate::{Error, Result};

/// The most records of one call.
const RECORDS: usize = 512;
/// A dead node renewed its lease for the last time this long before the lease
/// ended; the same as in `scripts/lib/location.lua`.
const LEASE_MS: u64 = 10_000;

impl Redis {
    /// One call (in a Cluster one for each bucket), and one for the live nodes;
    /// more only where nodes have died.
    pub(super) async fn presence_of(
        &self,
        users: &[UserId],
        watcher: Option<&NodeIncarnation>,
    ) -> Result<Vec<PresenceRecord>> {
        let common = [write::text(watcher.map_or("", NodeIncarnation::as_str))];
        let items = users.iter().map(user_item).collect();
        // The live nodes are read again: a gateway asks right after it heard
        // that a node is gone, and the last list may still have it.
        let (rows, _) = tokio::try_join!(
            self.read.run(&script::PRESENCE, &common, items, RECORDS),
            self.upkeep.look_who_lives(),
        )?;
        let (mut seen, mut found) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        for mut row in rows {
            let (now, locations) = (row.number()?, locations(&row.text()?)?);
            seen.push(PresenceRecord {
                here: !locations.is_empty(),
                ended: ended(&mut row)?,
                watchers: watchers(&mut row)?,
            });
            found.push((now, locations));
        }
        let named = found.iter().flat_map(|(_, locations)| locations);
        let dead = self.dead_among(named.map(|location| &location.node)).await?;
        let mut touched = Vec::new();
        for ((user, (now, locations)), seen) in users.iter().zip(&found).zip(&mut seen) {
            if locations.iter().any(|location| dead.contains(&location.node)) {
                touched.push(user.clone());
            }
            if seen.here && locations.iter().all(|location| dead.contains(&location.node)) {
                seen.here = false;
                // The same that the sweep will note.
                let lease = Duration::from_millis(LEASE_MS);
                seen.ended = Some((Time(now.saturating_sub(LEASE_MS)), lease));
            }
        }
        self.sweep(&touched, &dead).await?;
        let mut watched: Vec<_> =
            users.iter().zip(&mut seen).map(|(user, seen)| (user, &mut seen.watchers)).collect();
        self.forget_dead_watchers(&mut watched).await?;
        Ok(seen)
    }

    pub(super) async fn unwatch_all(&self, users: &[UserId], watcher: &NodeIncarnation) -> Result<()> {
        let common = [write::text(watcher.as_str())];
        let items = users.iter().map(user_item).collect();
        self.read.run(&script::UNWATCH, &common, items, RECORDS).await?;
        Ok(())
    }

    /// Removes watching nodes whose lease has ended, from what was read and
    /// from the records.
    pub(super) async fn forget_dead_watchers(
        &self,
        watched: &mut [(&UserId, &mut Vec<NodeIncarnation>)],
    ) -> Result<()> {
        let dead = self.dead_among(watched.iter().flat_map(|(_, nodes)| nodes.iter())).await?;
        if dead.is_empty() {
            return Ok(());
        }
        let mut items = Vec::new();
        for (user, nodes) in watched {
            let before = nodes.len();
            nodes.retain(|node| !dead.contains(node));
            if nodes.len() < before {
                items.push(user_item(user));
            }
        }
        self.read.run(&script::UNWATCH, &[write::text(&joined(&dead))], items, RECORDS).await?;
        Ok(())
    }
}

fn joined(nodes: &FxHashSet<NodeIncarnation>) -> String {
    nodes.iter().map(NodeIncarnation::as_str).collect::<Vec<_>>().join(";")
}

/// When the last session ended and how long ago; `None` if there
/// never was one.
pub(super) fn ended(row: &mut Row) -> Result<Option<(Time, Duration)>> {
    let mut ended = row.list()?;
    if ended.is_done() {
        return Ok(None);
    }
    Ok(Some((Time(ended.number()?), Duration::from_millis(ended.number()?))))
}

pub(super) fn watchers(row: &mut Row) -> Result<Vec<NodeIncarnation>> {
    let mut list = row.list()?;
    let mut nodes = Vec::new();
    while !list.is_done() {
        let node = NodeIncarnation::parse(&list.text()?);
        nodes.push(node.map_err(|error| Error::Corrupt(format!("the name of a node: {error}")))?);
    }
    Ok(nodes)
}
