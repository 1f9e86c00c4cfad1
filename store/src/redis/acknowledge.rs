//! Acknowledgements: they set `delivered` marks, and move the acknowledged
//! position.

use std::cmp::Reverse;

use proto::{ConversationId, Seq};
use smallvec::smallvec;

use super::Redis;
use super::connection::Item;
use super::inbox::fingerprint_arg;
use super::key::Bucket;
use super::reply::{Row, unexpected};
use super::session::user_item;
use super::write::Packed;
use super::{script, write};
use crate::Result;
use crate::model::{Acknowledge, AcknowledgeResult, Mark, MarkKind, MarkResult};

/// The most items of one call.
const ITEMS: usize = 256;
/// The most events that one round of an acknowledgement reads.
const PAGE: u64 = 256;

/// The cursor is not one of the inbox.
const NOWHERE: u64 = 2;
/// The call ended before this item; it goes into the next call.
const LATER: u64 = 3;

/// The result of one round for one acknowledgement.
struct RoundResult {
    /// 0: the cursor is valid; 1: it was trimmed; else one of the constants
    /// above.
    code: u64,
    /// The position that was reached; 0 when nothing was new.
    upto: u64,
    marks: Vec<(ConversationId, Seq)>,
}

impl Redis {
    /// Each round takes one page of events of each item: on a single server in
    /// one call. Of several items of one user the farthest goes first, so that
    /// the others find their work done.
    pub(super) async fn acknowledge_all(&self, batch: &[Acknowledge]) -> Result<Vec<AcknowledgeResult>> {
        let mut answers: Vec<AcknowledgeResult> = vec![AcknowledgeResult::NoSuchPosition; batch.len()];
        let mut open: Vec<usize> = (0..batch.len()).collect();
        open.sort_by_key(|index| Reverse(batch[*index].cursor.position));
        while !open.is_empty() {
            open = match self.separate {
                true => self.acknowledge_stepwise(batch, &open, &mut answers).await?,
                false => self.acknowledge_at_once(batch, &open, &mut answers).await?,
            };
        }
        Ok(answers)
    }

    /// One round in one call. Returns the items that need another round.
    async fn acknowledge_at_once(
        &self,
        batch: &[Acknowledge],
        open: &[usize],
        answers: &mut [AcknowledgeResult],
    ) -> Result<Vec<usize>> {
        let receipts = write::number(self.bounds.receipt_members);
        let common = [self.age(), receipts, write::number(PAGE)];
        let mut packed = Packed::with_capacity(open.len() * PACKED);
        let items =
            open.iter().map(|index| packed_item(&batch[*index], &mut packed)).collect::<Result<_>>()?;
        let rows = self.read.run(&script::ACKNOWLEDGE_AT_ONCE, &common, items, ITEMS).await?;
        let mut more = Vec::new();
        for (index, row) in open.iter().copied().zip(rows) {
            let result = RoundResult::read(row)?;
            if result.code == LATER || result.answer(&batch[index], &mut answers[index]) {
                more.push(index);
            }
            extend(&mut answers[index], result.marks);
        }
        Ok(more)
    }

    /// One round in steps: first the marks, then the position. What a crash
    /// between them leaves out, the next acknowledgement does.
    async fn acknowledge_stepwise(
        &self,
        batch: &[Acknowledge],
        open: &[usize],
        answers: &mut [AcknowledgeResult],
    ) -> Result<Vec<usize>> {
        let common = [self.age(), write::number(PAGE)];
        let items = open.iter().map(|index| cursor_item(&batch[*index])).collect();
        let rows = self.read.run(&script::UNACKNOWLEDGED, &common, items, ITEMS).await?;
        let (mut marks, mut owners) = (Vec::new(), Vec::new());
        let (mut positions, mut more) = (Vec::new(), Vec::new());
        for (index, row) in open.iter().copied().zip(rows) {
            let result = RoundResult::read(row)?;
            let Acknowledge { user, .. } = &batch[index];
            if result.answer(&batch[index], &mut answers[index]) {
                more.push(index);
            }
            if result.upto > 0 {
                let mut position = user_item(user);
                position.args.push(write::number(result.upto));
                positions.push(position);
            }
            for (conversation, seq) in result.marks {
                marks.push(Mark { conversation, user: user.clone(), kind: MarkKind::Delivered, seq });
                owners.push(index);
            }
        }
        let set = self.mark_stepwise(&marks.iter().collect::<Vec<_>>()).await?;
        for ((mark, index), outcome) in marks.into_iter().zip(owners).zip(set) {
            if outcome == MarkResult::Advanced {
                extend(&mut answers[index], vec![(mark.conversation, mark.seq)]);
            }
        }
        self.read.run(&script::ACKNOWLEDGE, &[], positions, ITEMS).await?;
        Ok(more)
    }
}

impl RoundResult {
    fn read(mut row: Row) -> Result<Self> {
        let text = row.text()?;
        let mut words = text.split(' ');
        let number = |word: Option<&str>| {
            word.and_then(|word| word.parse().ok()).ok_or_else(|| unexpected("a number"))
        };
        let (code, upto) = (number(words.next())?, number(words.next())?);
        let mut marks = Vec::new();
        while let Some(conversation) = words.next() {
            let conversation =
                ConversationId::parse(conversation).map_err(|_| unexpected("a conversation"))?;
            marks.push((conversation, Seq(number(words.next())?)));
        }
        Ok(Self { code, upto, marks })
    }

    /// Notes that the cursor is one of the inbox. Returns whether there is more
    /// to acknowledge.
    fn answer(&self, asked: &Acknowledge, answer: &mut AcknowledgeResult) -> bool {
        if self.code != NOWHERE && *answer == AcknowledgeResult::NoSuchPosition {
            *answer = AcknowledgeResult::Marks(Vec::new());
        }
        self.upto > 0 && self.upto < asked.cursor.position.0
    }
}

/// Adds new marks; of one conversation the later one replaces the earlier.
fn extend(answer: &mut AcknowledgeResult, marks: Vec<(ConversationId, Seq)>) {
    let AcknowledgeResult::Marks(list) = answer else { return };
    if list.is_empty() {
        // One page has each conversation only once.
        *list = marks;
        return;
    }
    for (conversation, seq) in marks {
        list.retain(|(known, _)| *known != conversation);
        list.push((conversation, seq));
    }
}

fn cursor_item(acknowledge: &Acknowledge) -> Item {
    let mut item = user_item(&acknowledge.user);
    item.args.extend([
        write::number(acknowledge.cursor.position.0),
        fingerprint_arg(acknowledge.cursor.fingerprint),
    ]);
    item
}

/// The bytes of one packed item, about.
const PACKED: usize = 128;

/// Packs an item as `acknowledge_at_once.lua` reads it.
fn packed_item(acknowledge: &Acknowledge, packed: &mut Packed) -> Result<Item> {
    let Acknowledge { user, cursor } = acknowledge;
    let bucket = Bucket::of(user.as_str());
    packed.text(&[user.as_str()])?;
    packed.keys(bucket, user.as_str())?;
    packed.number(cursor.position.0);
    packed.text(&[&cursor.position.0.to_string()])?;
    packed.bytes(&[&cursor.fingerprint.0.to_le_bytes()])?;
    Ok(Item::new(bucket, smallvec![packed.value()]))
}
