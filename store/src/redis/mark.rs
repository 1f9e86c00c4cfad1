//! Sets `delivered` and `read` marks: first noted for everyone who is told of
//! them, then set.

use std::cmp::Reverse;

use proto::{ConversationId, UserId};
use rustc_hash::FxHashSet;

use super::Redis;
use super::connection::Item;
use super::conversation::{conversation_item, filed_item, starts};
use super::reply::{Row, unexpected};
use super::{script, write};
use crate::Result;
use crate::model::{Mark, MarkKind, MarkResult};

/// The most items of one call.
const ITEMS: usize = 256;
/// The most marks of one call that also notes them: each may be of a group of a
/// hundred.
const MARKS: usize = 64;

impl Redis {
    /// On a single server in one call; otherwise in three, or in one when
    /// nothing is new.
    pub(super) async fn mark_all(&self, batch: &[Mark]) -> Result<Vec<MarkResult>> {
        let mut marked = vec![MarkResult::NotMember; batch.len()];
        let mut order: Vec<usize> =
            (0..batch.len()).filter(|index| batch[*index].conversation.admits(&batch[*index].user)).collect();
        // The farthest mark first, so that the others find their work done.
        order.sort_by_key(|index| Reverse(batch[*index].seq));
        let marks: Vec<&Mark> = order.iter().map(|index| &batch[*index]).collect();
        let outcomes = match self.separate {
            true => self.mark_stepwise(&marks).await?,
            false => self.mark_at_once(&marks).await?,
        };
        for (index, outcome) in order.into_iter().zip(outcomes) {
            marked[index] = outcome;
        }
        Ok(marked)
    }

    async fn mark_at_once(&self, marks: &[&Mark]) -> Result<Vec<MarkResult>> {
        let common = [self.age(), write::number(self.bounds.receipt_members)];
        let items = marks
            .iter()
            .map(|mark| {
                let mut item = conversation_item(&mark.conversation);
                item.args.extend([
                    write::text(mark.user.as_str()),
                    write::text(kind(mark)),
                    write::number(mark.seq.0),
                    write::bucket(mark.user.as_str()),
                    write::text(&write::direct_members(&mark.conversation)),
                ]);
                item
            })
            .collect();
        let rows = self.read.run(&script::MARK_AT_ONCE, &common, items, MARKS).await?;
        rows.into_iter().map(outcome).collect()
    }

    /// Notes first and sets then: a note without a change is harmless, but a
    /// change without a note would never reach a reader who is away. `marks`
    /// must be sorted, the farthest first.
    pub(super) async fn mark_stepwise(&self, marks: &[&Mark]) -> Result<Vec<MarkResult>> {
        let judged = self.judge(marks).await?;
        let (mut fresh, mut seen) = (Vec::new(), FxHashSet::default());
        let mut noted: FxHashSet<(UserId, ConversationId)> = FxHashSet::default();
        let mut marked = Vec::with_capacity(marks.len());
        for (index, (mark, (outcome, members))) in marks.iter().zip(judged).enumerate() {
            let advances = outcome == MarkResult::Advanced;
            if advances && seen.insert((&mark.user, &mark.conversation, mark.kind)) {
                let interested = interested(mark, members, self.bounds.receipt_members);
                noted.extend(interested.into_iter().map(|user| (user, mark.conversation.clone())));
                fresh.push(index);
            }
            marked.push(if advances { MarkResult::Unchanged } else { outcome });
        }
        if fresh.is_empty() {
            return Ok(marked);
        }
        let items = noted.iter().map(|(user, conversation)| filed_item(user, conversation)).collect();
        self.read.run(&script::NOTE, &[self.age()], items, ITEMS).await?;
        let items = fresh.iter().map(|index| mark_item(marks[*index])).collect();
        let rows = self.read.run(&script::MARK, &[], items, ITEMS).await?;
        for (index, row) in fresh.into_iter().zip(rows) {
            marked[index] = outcome(row)?;
        }
        Ok(marked)
    }

    /// What setting the marks would do, and who is in a group. A `delivered`
    /// mark in a direct conversation is not looked up: it is nearly always new,
    /// and who is told is known.
    async fn judge(&self, marks: &[&Mark]) -> Result<Vec<(MarkResult, Vec<UserId>)>> {
        let asked = |mark: &Mark| mark.kind == MarkKind::Read || mark.conversation.is_group();
        let items = marks.iter().filter(|mark| asked(mark)).map(|mark| mark_item(mark)).collect();
        // Who writes has read everything up to there; that is on the writer's
        // record, and never goes back.
        let reads = marks.iter().filter(|mark| mark.kind == MarkKind::Read);
        let sent = reads.map(|mark| filed_item(&mark.user, &mark.conversation)).collect();
        let (rows, sent) = tokio::try_join!(
            self.read.run(&script::JUDGE, &[], items, ITEMS),
            self.read.run(&script::SENT, &[], sent, ITEMS),
        )?;
        let (mut rows, mut sent) = (rows.into_iter(), sent.into_iter());
        let next = |rows: &mut std::vec::IntoIter<Row>| rows.next().ok_or_else(|| unexpected("a row"));
        let mut judged = Vec::with_capacity(marks.len());
        for mark in marks {
            if !asked(mark) {
                judged.push((MarkResult::Advanced, Vec::new()));
                continue;
            }
            let mut row = next(&mut rows)?;
            let mut outcome = outcome_of(&row.text()?)?;
            let members = starts(&row.text()?)?.into_iter().map(|start| start.user).collect();
            if mark.kind == MarkKind::Read
                && next(&mut sent)?.number()? >= mark.seq.0
                && outcome == MarkResult::Advanced
            {
                outcome = MarkResult::Unchanged;
            }
            judged.push((outcome, members));
        }
        Ok(judged)
    }
}

/// Who is told of a mark: the other members, if the group is not too large, and
/// of a `read` mark the member itself.
fn interested(mark: &Mark, members: Vec<UserId>, most: u64) -> Vec<UserId> {
    let mut users = match mark.conversation.pair() {
        Some((one, other)) => vec![one, other],
        None if members.len() as u64 <= most => members,
        None => Vec::new(),
    };
    users.retain(|user| *user != mark.user);
    if mark.kind == MarkKind::Read {
        users.push(mark.user.clone());
    }
    users
}

fn outcome(mut row: Row) -> Result<MarkResult> {
    outcome_of(&row.text()?)
}

fn outcome_of(text: &str) -> Result<MarkResult> {
    match text {
        "advanced" => Ok(MarkResult::Advanced),
        "unchanged" => Ok(MarkResult::Unchanged),
        "beyond" => Ok(MarkResult::BeyondHead),
        "no" => Ok(MarkResult::NotMember),
        _ => Err(unexpected("what became of a mark")),
    }
}

fn kind(mark: &Mark) -> &'static str {
    match mark.kind {
        MarkKind::Delivered => "d",
        MarkKind::Read => "r",
    }
}

fn mark_item(mark: &Mark) -> Item {
    let mut item = conversation_item(&mark.conversation);
    item.args.extend([
        write::text(mark.user.as_str()),
        write::text(kind(mark)),
        write::number(mark.seq.0),
        write::number(0),
        write::text(if mark.conversation.is_group() { "1" } else { "0" }),
    ]);
    item
}
