//! Sessions on their users' records: attach, detach, locate, and the sweep of
//! sessions whose node is gone.

use fred::types::Value;
use proto::{Cursor, DeviceId, NodeIncarnation, Position, SessionId, UserId, weight};
use rustc_hash::FxHashSet;
use smallvec::smallvec;

use super::Redis;
use super::connection::Item;
use super::inbox::{INBOXES, References, fingerprint, fingerprint_arg, references, reset_reason};
use super::key::Bucket;
use super::presence;
use super::{script, write};
use crate::model::{Absence, Attach, AttachResult, Detach, FIRST_PAGE, Location, StartPoint};
use crate::{Error, Result};

/// The most records of one call.
const RECORDS: usize = 256;

/// First pages of a batch of attaches, before their entries are read.
#[derive(Default)]
struct FirstPages<'a> {
    /// The index in the batch of each page.
    indexes: Vec<usize>,
    readers: Vec<(&'a UserId, Position)>,
    pages: Vec<References>,
}

impl Redis {
    pub(super) async fn attach_all(&self, batch: &[Attach]) -> Result<Vec<AttachResult>> {
        let items = batch.iter().map(attach_item).collect();
        let pages = batch.iter().filter(|attach| begins_with_page(attach)).count();
        let common = [
            self.inbox_age(),
            self.age(),
            write::number(FIRST_PAGE as u64),
            write::number(weight::page_of(pages) as u64),
            write::number(self.bounds.sessions as u64),
        ];
        let rows = self.read.run(&script::ATTACH, &common, items, INBOXES).await?;
        let (mut attached, mut before) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        let mut first = FirstPages::default();
        for (index, (attach, mut row)) in batch.iter().zip(rows).enumerate() {
            let start = Cursor { position: Position(row.number()?), fingerprint: fingerprint(&mut row)? };
            let (reset, head) = (reset_reason(row.number()?)?, Position(row.number()?));
            let replaced = locations(&row.text()?)?;
            let others = locations(&row.text()?)?;
            let ended_ago = presence::ended(&mut row)?.map(|(_, ago)| ago);
            let watchers = presence::watchers(&mut row)?;
            let absent = attach.location.is_some() && others.is_empty();
            let absence = absent.then_some(Absence { ended_ago, watchers });
            let acknowledged = row.number()? == 1;
            if begins_with_page(attach) && reset.is_none() {
                first.indexes.push(index);
                first.readers.push((&attach.user, start.position));
                first.pages.push(References::first(head, &mut row)?);
            }
            attached.push(AttachResult { start, reset, head, replaced, absence, acknowledged, page: None });
            before.push(if attach.location.is_some() { others } else { Vec::new() });
        }
        self.find_absent(batch, &before, &mut attached).await?;
        self.read_first(first, &mut attached).await;
        Ok(attached)
    }

    /// Adds the first pages. Sessions are valid without them: the gateway then
    /// asks for the page.
    async fn read_first(&self, first: FirstPages<'_>, attached: &mut [AttachResult]) {
        match self.resolve(first.readers, first.pages).await {
            Ok(pages) => {
                for (index, page) in first.indexes.into_iter().zip(pages) {
                    attached[index].page = Some(page);
                }
            }
            Err(error) => tracing::debug!(%error, "could not read the first pages of sessions"),
        }
    }

    /// Finds users who had sessions only on dead nodes, and so were absent;
    /// also removes dead watchers.
    async fn find_absent(
        &self,
        batch: &[Attach],
        before: &[Vec<Location>],
        attached: &mut [AttachResult],
    ) -> Result<()> {
        let dead = self.dead_among(before.iter().flatten().map(|location| &location.node)).await?;
        let gone = |locations: &[Location]| {
            !locations.is_empty() && locations.iter().all(|location| dead.contains(&location.node))
        };
        let late: Vec<usize> =
            before.iter().enumerate().filter(|(_, before)| gone(before)).map(|(index, _)| index).collect();
        if !late.is_empty() {
            let users: Vec<UserId> = late.iter().map(|index| batch[*index].user.clone()).collect();
            let seen = self.presence_of(&users, None).await?;
            for (index, seen) in late.into_iter().zip(seen) {
                attached[index].absence = Some(Absence { ended_ago: None, watchers: seen.watchers });
            }
        }
        let mut watched: Vec<(&UserId, &mut Vec<NodeIncarnation>)> = batch
            .iter()
            .zip(attached)
            .filter_map(|(attach, attached)| Some((&attach.user, &mut attached.absence.as_mut()?.watchers)))
            .collect();
        self.forget_dead_watchers(&mut watched).await
    }

    pub(super) async fn detach_all(&self, batch: &[Detach]) -> Result<Vec<bool>> {
        let items = batch
            .iter()
            .map(|detach| {
                let mut item = user_item(&detach.user);
                item.args.push(write::text(detach.session.as_str()));
                item
            })
            .collect();
        let rows = self.read.run(&script::DETACH, &[], items, RECORDS).await?;
        let mut left = Vec::with_capacity(rows.len());
        for mut row in rows {
            let there = row.number()? == 1;
            left.push((there, locations(&row.text()?)?, row.number()? == 1));
        }
        let named = left.iter().filter(|(there, ..)| *there).flat_map(|(_, left, _)| left);
        let dead = self.dead_among(named.map(|location| &location.node)).await?;
        let (mut last, mut touched) = (Vec::with_capacity(left.len()), Vec::new());
        for (detach, (there, left, watched)) in batch.iter().zip(left) {
            let gone = left.iter().all(|location| dead.contains(&location.node));
            if there && gone && !left.is_empty() {
                touched.push(detach.user.clone());
            }
            last.push(there && gone && watched);
        }
        self.sweep(&touched, &dead).await?;
        Ok(last)
    }

    pub(super) async fn locate_all(&self, users: &[UserId]) -> Result<Vec<Vec<Location>>> {
        let items = users.iter().map(user_item).collect();
        let rows = self.read.run(&script::LOCATE, &[], items, RECORDS).await?;
        let mut found = Vec::with_capacity(rows.len());
        for mut row in rows {
            found.push(locations(&row.text()?)?);
        }
        let named = found.iter().flatten().map(|location| &location.node);
        let dead = self.dead_among(named).await?;
        if dead.is_empty() {
            return Ok(found);
        }
        let touched: Vec<UserId> = users
            .iter()
            .zip(&found)
            .filter(|(_, locations)| locations.iter().any(|location| dead.contains(&location.node)))
            .map(|(user, _)| user.clone())
            .collect();
        self.sweep(&touched, &dead).await?;
        for locations in &mut found {
            locations.retain(|location| !dead.contains(&location.node));
        }
        Ok(found)
    }

    /// Removes locations on dead nodes from records, and no others.
    pub(super) async fn sweep(&self, users: &[UserId], dead: &FxHashSet<NodeIncarnation>) -> Result<()> {
        let nodes = dead.iter().map(NodeIncarnation::as_str).collect::<Vec<_>>().join(";");
        let items = users
            .iter()
            .map(|user| {
                let mut item = user_item(user);
                item.args.push(write::text(&nodes));
                item
            })
            .collect();
        self.read.run(&script::SWEEP, &[], items, RECORDS).await?;
        Ok(())
    }
}

/// The first arguments of most items: bucket and user.
pub(super) fn user_item(user: &UserId) -> Item {
    let bucket = Bucket::of(user.as_str());
    Item::new(bucket, smallvec![Value::Integer(bucket.0.into()), write::text(user.as_str())])
}

/// Whether the session gets its first page, if its cursor is valid.
fn begins_with_page(attach: &Attach) -> bool {
    attach.location.is_some() && attach.from != StartPoint::Head
}

fn attach_item(attach: &Attach) -> Item {
    let (from, cursor) = match attach.from {
        StartPoint::Head => ("h", Cursor::ORIGIN),
        StartPoint::Start => ("s", Cursor::ORIGIN),
        StartPoint::Cursor(cursor) => ("c", cursor),
    };
    let location = attach.location.as_ref();
    let mut item = user_item(&attach.user);
    item.args.extend([
        write::text(from),
        write::number(cursor.position.0),
        fingerprint_arg(cursor.fingerprint),
        write::text(location.map_or("", |location| location.session.as_str())),
        write::text(location.map_or("", |location| location.device.as_str())),
        write::text(location.map_or("", |location| location.node.as_str())),
    ]);
    if begins_with_page(attach) { item.answering(references(FIRST_PAGE)) } else { item }
}

/// Reads locations in the form `session device node;`. Fails for any other
/// form.
pub(super) fn locations(text: &str) -> Result<Vec<Location>> {
    text.split_terminator(';')
        .map(|location| {
            let mut words = location.split(' ');
            let mut word = || words.next().unwrap_or_default();
            Ok(Location {
                session: SessionId::parse(word())?,
                device: DeviceId::parse(word())?,
                node: NodeIncarnation::parse(word())?,
            })
        })
        .collect::<std::result::Result<_, proto::FormError>>()
        .map_err(|error| Error::Corrupt(format!("a location: {error}")))
}

/// The nodes of locations, each once, without those that have only the session
/// `except`.
pub(super) fn nodes_of(text: &str, except: Option<&SessionId>) -> Result<Vec<NodeIncarnation>> {
    let mut nodes: Vec<NodeIncarnation> = Vec::new();
    for location in text.split_terminator(';') {
        let (session, rest) = location.split_once(' ').unwrap_or((location, ""));
        let node = rest.split_once(' ').map_or("", |(_, node)| node);
        if except.is_some_and(|except| except.as_str() == session)
            || nodes.iter().any(|known| known.as_str() == node)
        {
            continue;
        }
        nodes.push(
            NodeIncarnation::parse(node).map_err(|error| Error::Corrupt(format!("a location: {error}")))?,
        );
    }
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_read_as_the_scripts_write_them() {
        let found = locations("s1 d1 gw-1.x;s2 d2 gw-2.y;").unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].node.as_str(), "gw-2.y");
        assert_eq!(locations("").unwrap(), []);
        assert!(locations("s1 d1;").is_err());
    }

    #[test]
    fn the_nodes_of_locations_are_each_told_once_and_not_for_the_posting_session() {
        let text = "s1 d1 gw-1.x;s2 d2 gw-1.x;s3 d3 gw-2.y;";
        let nodes = |except: &str| {
            let except = SessionId::parse(except).unwrap();
            let nodes = nodes_of(text, Some(&except)).unwrap();
            nodes.iter().map(|node| node.as_str().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(nodes("s1"), ["gw-1.x", "gw-2.y"]);
        assert_eq!(nodes("s3"), ["gw-1.x"]);
        assert_eq!(nodes_of("", None).unwrap(), []);
        assert!(nodes_of("s1 d1;", None).is_err());
    }
}
