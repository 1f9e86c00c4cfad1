//! The one-call way of posting: one call of `post.lua` numbers, files and
//! announces a batch. For a single server, where a script may touch every key
//! (ADR 0001).

use proto::{Bound, Cursor, Position, Seq, StoreIncarnation};

use super::Redis;
use super::connection::CALL_BYTES;
use super::reply::{Row, unexpected};
use super::{script, write};
use crate::Result;
use crate::Step;
use crate::model::{OwnPosition, Post, PostResult};

/// The most posts of one call, so that no call blocks Redis for long.
const POSTS: usize = 256;

impl Redis {
    pub(super) async fn post_at_once(&self, batch: &[Post]) -> Result<Vec<PostResult>> {
        let mut posted = Vec::with_capacity(batch.len());
        let bounds = write::bounds(&self.bounds);
        let mut rest = batch;
        self.fail.reached(Step::Begun);
        while !rest.is_empty() {
            let now = &rest[..call_of(rest)];
            let items = write::items(now)?;
            let mut common = vec![bounds.clone()];
            common.extend(write::traces(now));
            // Posts that the script did not start go into the next call.
            let rows = self.append.run_some(&script::POST, &common, &items).await?;
            let (mut store, mut dropped) = (None, 0);
            let mut half = Vec::new();
            rest = &rest[rows.len()..];
            for (post, row) in now.iter().zip(rows) {
                let (answer, whole) = read(post, row, &mut store, &mut dropped)?;
                if !whole {
                    half.push((post, answer.clone()));
                }
                posted.push(answer);
            }
            self.unheard.dropped(dropped);
            for (post, answer) in half {
                self.settle_one(&post.conversation).await?;
                if let PostResult::Done { seq, .. } = answer {
                    self.note_again(&post.conversation, seq).await?;
                }
            }
        }
        self.fail.reached(Step::Announced);
        Ok(posted)
    }
}

/// How many of these posts go into one call: at least one.
pub(super) fn call_of(posts: &[Post]) -> usize {
    Bound::new(CALL_BYTES, POSTS).fitting(posts.iter().map(write::size))
}

/// Reads the result of a post, and whether it is filed for everyone. The first
/// row also has the store's incarnation in which all of them were written, and
/// how many unheard messages were dropped.
fn read(
    post: &Post,
    mut row: Row,
    store: &mut Option<StoreIncarnation>,
    dropped: &mut u64,
) -> Result<(PostResult, bool)> {
    let status = row.text()?;
    let done = WrittenStatus::of(&status);
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
    let own = (position > 0)
        .then_some(OwnPosition { cursor: Cursor { position: Position(position), fingerprint }, store });
    let repeated = PostResult::Done { seq: Seq(seq), time, duplicate: true, position: None };
    match &*status {
        _ if done.is_some() => {
            Ok((PostResult::Done { seq: Seq(seq), time, duplicate: false, position: own }, true))
        }
        "repeat" => Ok((repeated, true)),
        "half" => Ok((repeated, false)),
        "half same" => Ok((PostResult::Unchanged, false)),
        other => Ok((write::refusal(other)?, true)),
    }
}

/// The status of a post that was written: `seq position`, and in the first row
/// what follows.
struct WrittenStatus<'a> {
    seq: u64,
    position: u64,
    rest: &'a str,
}

impl<'a> WrittenStatus<'a> {
    fn of(status: &'a str) -> Option<Self> {
        let (seq, rest) = status.split_once(' ').filter(|(seq, _)| *seq != "half")?;
        let (position, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        Some(Self { seq: seq.parse().ok()?, position: position.parse().ok()?, rest })
    }
}
