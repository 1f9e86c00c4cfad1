//! Sets `delivered` marks and acknowledged positions on a single server: one call
//! of `deliver.lua` for many.

use fred::types::Value;
use proto::{Position, StoreIncarnation, UserId};

use super::acknowledge::NamedMark;
use super::key::Bucket;
use super::reply::unexpected;
use super::{Redis, script, write};
use crate::Result;

/// How much one call does, about 10 ms: a mark in a direct conversation counts as
/// one.
const CALL: usize = 512;
/// What a group counts for besides its marks: its members may have to be noted.
const GROUP: usize = 16;

impl Redis {
    /// Sets marks, those in direct conversations first and those of one conversation
    /// side by side, and with the last call the positions. Returns which marks have
    /// moved; `None` if the store has another incarnation: what was set by then was
    /// right, and is set again.
    pub(super) async fn deliver_at_once(
        &self,
        store: StoreIncarnation,
        marks: &[NamedMark<'_>],
        positions: &[(&UserId, Position)],
    ) -> Result<Option<Vec<bool>>> {
        let mut moved = Vec::with_capacity(marks.len());
        let mut calls = calls(marks);
        let last = calls.pop().unwrap_or(&[]);
        for (call, positions) in
            calls.into_iter().map(|call| (call, [].as_slice())).chain([(last, positions)])
        {
            let mut row = self.append.run_common(&script::DELIVER, self.args(store, call, positions)).await?;
            let text = row.text()?;
            if text == "x" {
                return Ok(None);
            }
            if text.len() != call.len() {
                return Err(unexpected("a character for each mark"));
            }
            moved.extend(text.bytes().map(|outcome| outcome == b'1'));
        }
        Ok(Some(moved))
    }

    fn args(
        &self,
        store: StoreIncarnation,
        marks: &[NamedMark<'_>],
        positions: &[(&UserId, Position)],
    ) -> Vec<Value> {
        let mut args = vec![
            self.age(),
            write::number(self.bounds.receipt_members),
            write::text(&format!("{:016x}", store.0)),
            write::number(positions.len() as u64),
            write::number(marks.iter().filter(|mark| !mark.conversation.is_group()).count() as u64),
        ];
        for (user, position) in positions {
            let tag = Bucket::of(user.as_str()).braced();
            let key = |kind| Value::String(format!("{tag}{kind}:{user}").into());
            args.extend([key('u'), key('i'), key('s'), write::number(position.0)]);
        }
        for of_one in marks.chunk_by(|a, b| a.conversation == b.conversation) {
            let conversation = &of_one[0].conversation;
            let tag = Bucket::of(conversation.as_str()).braced();
            if conversation.is_group() {
                let mut text = format!("{tag} {conversation}");
                for mark in of_one {
                    text.push_str(&format!(" {} {}", mark.user, mark.seq.0));
                }
                args.push(Value::String(text.into()));
                continue;
            }
            for NamedMark { user, seq, .. } in of_one {
                let peer = write::other_of(conversation, user.as_str()).filter(|peer| *peer != user.as_str());
                let notes =
                    peer.map(|peer| format!("{}m:{peer}", Bucket::of(peer).braced())).unwrap_or_default();
                args.push(Value::String(format!("{tag} {conversation} {user} {} {notes}", seq.0).into()));
            }
        }
        args
    }
}

/// Divides marks into calls; those of one conversation stay together.
fn calls<'m, 'a>(marks: &'m [NamedMark<'a>]) -> Vec<&'m [NamedMark<'a>]> {
    let (mut calls, mut from, mut to, mut work) = (Vec::new(), 0, 0, 0);
    for of_one in marks.chunk_by(|a, b| a.conversation == b.conversation) {
        let more = of_one.len() + if of_one[0].conversation.is_group() { GROUP } else { 0 };
        if work > 0 && work + more > CALL {
            calls.push(&marks[from..to]);
            (from, work) = (to, 0);
        }
        to += of_one.len();
        work += more;
    }
    calls.push(&marks[from..to]);
    calls
}
