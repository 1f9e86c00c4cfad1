//! The single way of posting: one call of `post.lua` numbers, files and
//! announces a batch. For a server alone, where a script may touch every key.

use proto::{Cursor, Position, Seq, StoreIncarnation};

use super::Redis;
use super::reply::{Row, unexpected};
use super::step::Step;
use super::{script, write};
use crate::Result;
use crate::model::{OwnPlace, Post, Posted};

/// Posts in one call, and bytes; more go into the next one, so that no call
/// holds Redis up for long.
const POSTS: usize = 256;
const BYTES: usize = 1 << 20;

impl Redis {
    pub(super) async fn post_at_once(&self, batch: &[Post]) -> Result<Vec<Posted>> {
        let mut posted = Vec::with_capacity(batch.len());
        let bounds = write::bounds(&self.bounds);
        let mut rest = batch;
        self.fail.reached(Step::Begun);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(call_of(rest));
            let items = write::items(now)?;
            let mut common = vec![bounds.clone()];
            common.extend(write::traces(now));
            let rows = self.append.run(&script::POST, &common, items, POSTS).await?;
            let (mut store, mut dropped) = (None, 0);
            for (post, row) in now.iter().zip(rows) {
                posted.push(read(post, row, &mut store, &mut dropped)?);
            }
            self.unheard.dropped(dropped);
            rest = later;
        }
        self.fail.reached(Step::Announced);
        Ok(posted)
    }
}

/// How many of these posts go into one call: at least one.
pub(super) fn call_of(posts: &[Post]) -> usize {
    let mut bytes = 0;
    posts
        .iter()
        .take(POSTS)
        .take_while(|post| {
            bytes += write::size(post);
            bytes <= BYTES
        })
        .count()
        .max(1)
}

/// The first row says in which incarnation of the store all of them were
/// written, and how many unheard messages had to go.
fn read(
    post: &Post,
    mut row: Row,
    store: &mut Option<StoreIncarnation>,
    dropped: &mut u64,
) -> Result<Posted> {
    let status = row.text()?;
    let done = Done::of(&status);
    let (seq, time) = match &done {
        Some(done) => (done.seq, post.entries.first().map_or(0, |entry| entry.time)),
        None => (row.number()?, row.number()?),
    };
    let store = match *store {
        Some(known) => known,
        None => {
            let rest = match &done {
                Some(done) => done.rest.to_owned(),
                None => row.text()?.to_string(),
            };
            let (incarnation, count) = rest.split_once(' ').ok_or_else(|| unexpected("an incarnation"))?;
            *dropped = count.parse().map_err(|_| unexpected("digits"))?;
            *store.insert(StoreIncarnation::of(incarnation))
        }
    };
    let position = done.as_ref().map_or(0, |done| done.position);
    let entry = post.entries.last();
    let fingerprint = entry.map(|entry| entry.fingerprint).unwrap_or_default();
    let place = (position > 0)
        .then_some(OwnPlace { cursor: Cursor { position: Position(position), fingerprint }, store });
    match &*status {
        _ if done.is_some() => Ok(Posted::Done { seq: Seq(seq), time, duplicate: false, place }),
        "repeat" => Ok(Posted::Done { seq: Seq(seq), time, duplicate: true, place: None }),
        other => write::refusal(other),
    }
}

/// Of what was written: `seq position`, and behind it what the first row says.
struct Done<'a> {
    seq: u64,
    position: u64,
    rest: &'a str,
}

impl<'a> Done<'a> {
    fn of(status: &'a str) -> Option<Self> {
        let (seq, rest) = status.split_once(' ')?;
        let (position, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        Some(Self { seq: seq.parse().ok()?, position: position.parse().ok()?, rest })
    }
}
