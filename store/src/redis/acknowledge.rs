//! Acknowledgements: the `delivered` marks that they make, and the place that
//! they reach.

use std::cmp::Reverse;

use proto::{ConversationId, Seq};
use smallvec::smallvec;

use super::Redis;
use super::inbox::fingerprint_arg;
use super::key::Bucket;
use super::link::Item;
use super::reply::{Row, unexpected};
use super::session::user_item;
use super::write::Packed;
use super::{script, write};
use crate::Result;
use crate::model::{Acknowledge, Acknowledged, Mark, MarkKind, Marked};

/// Items of one call.
const ITEMS: usize = 256;
/// Events that one round of an acknowledgement looks at.
const PAGE: u64 = 256;

/// The place is not there.
const NOWHERE: u64 = 2;
/// The call had done enough before it.
const LATER: u64 = 3;

/// What a round has found for one acknowledgement.
struct Looked {
    /// 0: the place is there; 1: it was trimmed; else as above.
    code: u64,
    /// The position that was reached; 0: nothing was new.
    upto: u64,
    marks: Vec<(ConversationId, Seq)>,
}

impl Redis {
    /// On a single server one call, for each page of events. Several by one
    /// user are written once: the farthest goes first, and the others find it
    /// done.
    pub(super) async fn acknowledge_all(&self, batch: &[Acknowledge]) -> Result<Vec<Acknowledged>> {
        let mut answers: Vec<Acknowledged> = vec![Acknowledged::NoSuchPlace; batch.len()];
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

    /// One page of each; gives those of which there is more.
    async fn acknowledge_at_once(
        &self,
        batch: &[Acknowledge],
        open: &[usize],
        answers: &mut [Acknowledged],
    ) -> Result<Vec<usize>> {
        let receipts = write::number(self.bounds.receipt_members);
        let common = [self.age(), receipts, write::number(PAGE)];
        let mut packed = Packed::with_capacity(open.len() * PACKED);
        let items =
            open.iter().map(|index| packed_item(&batch[*index], &mut packed)).collect::<Result<_>>()?;
        let rows = self.read.run(&script::ACKNOWLEDGE_AT_ONCE, &common, items, ITEMS).await?;
        let mut more = Vec::new();
        for (index, row) in open.iter().copied().zip(rows) {
            let looked = Looked::read(row)?;
            if looked.code == LATER || looked.answer(&batch[index], &mut answers[index]) {
                more.push(index);
            }
            extend(&mut answers[index], looked.marks);
        }
        Ok(more)
    }

    /// The same in steps. Marks first and the place after them, so that what a
    /// crash leaves out is done by the next acknowledgement.
    async fn acknowledge_stepwise(
        &self,
        batch: &[Acknowledge],
        open: &[usize],
        answers: &mut [Acknowledged],
    ) -> Result<Vec<usize>> {
        let common = [self.age(), write::number(PAGE)];
        let items = open.iter().map(|index| place_item(&batch[*index])).collect();
        let rows = self.read.run(&script::UNACKNOWLEDGED, &common, items, ITEMS).await?;
        let (mut marks, mut owners) = (Vec::new(), Vec::new());
        let (mut places, mut more) = (Vec::new(), Vec::new());
        for (index, row) in open.iter().copied().zip(rows) {
            let looked = Looked::read(row)?;
            let Acknowledge { user, .. } = &batch[index];
            if looked.answer(&batch[index], &mut answers[index]) {
                more.push(index);
            }
            if looked.upto > 0 {
                let mut place = user_item(user);
                place.args.push(write::number(looked.upto));
                places.push(place);
            }
            for (conversation, seq) in looked.marks {
                marks.push(Mark { conversation, user: user.clone(), kind: MarkKind::Delivered, seq });
                owners.push(index);
            }
        }
        let set = self.mark_stepwise(&marks.iter().collect::<Vec<_>>()).await?;
        for ((mark, index), outcome) in marks.into_iter().zip(owners).zip(set) {
            if outcome == Marked::Advanced {
                extend(&mut answers[index], vec![(mark.conversation, mark.seq)]);
            }
        }
        self.read.run(&script::ACKNOWLEDGE, &[], places, ITEMS).await?;
        Ok(more)
    }
}

impl Looked {
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

    /// Notes that the place is one; whether there is more to acknowledge.
    fn answer(&self, asked: &Acknowledge, answer: &mut Acknowledged) -> bool {
        if self.code != NOWHERE && *answer == Acknowledged::NoSuchPlace {
            *answer = Acknowledged::Marks(Vec::new());
        }
        self.upto > 0 && self.upto < asked.cursor.position.0
    }
}

/// Adds marks that are new; the later one of a conversation stands.
fn extend(answer: &mut Acknowledged, marks: Vec<(ConversationId, Seq)>) {
    let Acknowledged::Marks(list) = answer else { return };
    if list.is_empty() {
        // A page has each conversation once.
        *list = marks;
        return;
    }
    for (conversation, seq) in marks {
        list.retain(|(known, _)| *known != conversation);
        list.push((conversation, seq));
    }
}

fn place_item(acknowledge: &Acknowledge) -> Item {
    let mut item = user_item(&acknowledge.user);
    item.args.extend([
        write::number(acknowledge.cursor.position.0),
        fingerprint_arg(acknowledge.cursor.fingerprint),
    ]);
    item
}

/// What one takes as `acknowledge_at_once.lua` reads it, nearly.
const PACKED: usize = 128;

/// As `acknowledge_at_once.lua` reads it.
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
