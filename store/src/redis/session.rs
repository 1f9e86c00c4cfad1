//! Sessions on their users' records: attach, detach, locate, and the sweeping
//! of those whose node is gone.

use fred::types::Value;
use proto::{Cursor, DeviceId, NodeIncarnation, Position, SessionId, UserId};
use rustc_hash::FxHashSet;

use super::Redis;
use super::inbox::{fingerprint, fingerprint_arg, reset_reason};
use super::key::Bucket;
use super::link::Item;
use super::{script, write};
use crate::model::{Attach, Attached, Detach, From, Location};
use crate::{Error, Result};

/// Records touched in one call.
const RECORDS: usize = 256;

impl Redis {
    pub(super) async fn attach_all(&self, batch: &[Attach]) -> Result<Vec<Attached>> {
        let items = batch.iter().map(attach_item).collect();
        let rows = self.read.run(&script::ATTACH, &[self.age()], items, RECORDS).await?;
        let mut attached = Vec::with_capacity(rows.len());
        for mut row in rows {
            let start = Cursor { position: Position(row.number()?), fingerprint: fingerprint(&mut row)? };
            attached.push(Attached {
                start,
                reset: reset_reason(row.number()?)?,
                head: Position(row.number()?),
                replaced: locations(&row.text()?)?,
                absence: None,
            });
        }
        Ok(attached)
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
        self.read.run(&script::DETACH, &[], items, RECORDS).await?;
        Ok(vec![false; batch.len()])
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

    /// Removes locations on dead nodes from records, and only those.
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

/// The beginning of most items: bucket and user.
pub(super) fn user_item(user: &UserId) -> Item {
    let bucket = Bucket::of(user.as_str());
    Item { bucket, args: vec![Value::Integer(bucket.0.into()), write::text(user.as_str())] }
}

fn attach_item(attach: &Attach) -> Item {
    let (from, cursor) = match attach.from {
        From::Head => ("h", Cursor::ORIGIN),
        From::Start => ("s", Cursor::ORIGIN),
        From::Cursor(cursor) => ("c", cursor),
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
    item
}

/// Reads `session device node;` and so on.
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
        .collect::<std::result::Result<_, proto::Invalid>>()
        .map_err(|error| Error::Corrupt(format!("a location: {error}")))
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
}
