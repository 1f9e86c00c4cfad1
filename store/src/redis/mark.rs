//! Delivered and read marks, and the acknowledgements that set them.

use proto::{ConversationId, Seq, UserId};

use super::Redis;
use super::conversation::{conversation_item, sent_item};
use super::inbox::fingerprint_arg;
use super::link::Item;
use super::reply::unexpected;
use super::session::user_item;
use super::{script, write};
use crate::Result;
use crate::model::{Acknowledge, Acknowledged, Mark, MarkKind, Marked};

/// Items of one call.
const ITEMS: usize = 256;
/// Events that one round of an acknowledgement looks at.
const PAGE: u64 = 512;

impl Redis {
    pub(super) async fn mark_all(&self, batch: &[Mark]) -> Result<Vec<Marked>> {
        // Whoever writes has read up to there; that is on the writer's record,
        // and never goes back.
        let reads: Vec<&Mark> = batch.iter().filter(|mark| mark.kind == MarkKind::Read).collect();
        let items = reads.iter().map(|mark| sent_item(&mark.user, &mark.conversation)).collect();
        let mut sent = self.read.run(&script::SENT, &[], items, ITEMS).await?.into_iter();
        let mut items = Vec::with_capacity(batch.len());
        for mark in batch {
            let floor = match mark.kind {
                MarkKind::Delivered => 0,
                MarkKind::Read => sent.next().ok_or_else(|| unexpected("a row"))?.number()?,
            };
            items.push(mark_item(mark, floor));
        }
        let rows = self.read.run(&script::MARK, &[], items, ITEMS).await?;
        let mut marked = Vec::with_capacity(rows.len());
        for (mark, mut row) in batch.iter().zip(rows) {
            let done = match row.text()?.as_str() {
                "advanced" => Marked::Advanced,
                "unchanged" => Marked::Unchanged,
                "beyond" => Marked::BeyondHead,
                "no" => Marked::NotMember,
                _ => return Err(unexpected("what became of a mark")),
            };
            marked.push(if is_outsider(&mark.conversation, &mark.user) { Marked::NotMember } else { done });
        }
        Ok(marked)
    }

    /// Marks first and the place after them, so that what a crash leaves out
    /// is done by the next acknowledgement.
    pub(super) async fn acknowledge_all(&self, batch: &[Acknowledge]) -> Result<Vec<Acknowledged>> {
        let mut answers: Vec<Acknowledged> = vec![Acknowledged::NoSuchPlace; batch.len()];
        let mut open: Vec<usize> = (0..batch.len()).collect();
        while !open.is_empty() {
            open = self.acknowledge_page(batch, &open, &mut answers).await?;
        }
        Ok(answers)
    }

    /// One page of each; gives those of which there is more.
    async fn acknowledge_page(
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
        for (index, mut row) in open.iter().copied().zip(rows) {
            let (code, upto, mut newest) = (row.number()?, row.number()?, row.list()?);
            if code == 2 {
                continue;
            }
            if !matches!(answers[index], Acknowledged::Marks(_)) {
                answers[index] = Acknowledged::Marks(Vec::new());
            }
            // Trimmed, or acknowledged before.
            if code == 1 || upto == 0 {
                continue;
            }
            let Acknowledge { user, cursor } = &batch[index];
            while !newest.is_done() {
                let conversation =
                    ConversationId::parse(&newest.text()?).map_err(|_| unexpected("a conversation"))?;
                let seq = Seq(newest.number()?);
                marks.push(Mark { conversation, user: user.clone(), kind: MarkKind::Delivered, seq });
                owners.push(index);
            }
            let mut place = user_item(user);
            place.args.push(write::number(upto));
            places.push(place);
            if upto < cursor.position.0 {
                more.push(index);
            }
        }
        let items = marks.iter().map(|mark| mark_item(mark, 0)).collect();
        let set = self.read.run(&script::MARK, &[], items, ITEMS).await?;
        for ((mark, index), mut row) in marks.into_iter().zip(owners).zip(set) {
            if row.text()? != "advanced" {
                continue;
            }
            let Acknowledged::Marks(list) = &mut answers[index] else { continue };
            list.retain(|(conversation, _)| *conversation != mark.conversation);
            list.push((mark.conversation, mark.seq));
        }
        self.read.run(&script::ACKNOWLEDGE, &[], places, ITEMS).await?;
        Ok(more)
    }
}

/// Neither of the two of a direct conversation.
fn is_outsider(conversation: &ConversationId, user: &UserId) -> bool {
    conversation.pair().is_some_and(|(one, other)| *user != one && *user != other)
}

fn mark_item(mark: &Mark, floor: u64) -> Item {
    let kind = match mark.kind {
        MarkKind::Delivered => "d",
        MarkKind::Read => "r",
    };
    // Beyond every head: nothing is written for whoever is not in it.
    let seq = if is_outsider(&mark.conversation, &mark.user) { 1 << 52 } else { mark.seq.0 };
    let mut item = conversation_item(&mark.conversation);
    item.args.extend([
        write::text(mark.user.as_str()),
        write::text(kind),
        write::number(seq),
        write::number(floor),
        write::text(if mark.conversation.is_group() { "1" } else { "0" }),
    ]);
    item
}

fn place_item(acknowledge: &Acknowledge) -> Item {
    let mut item = user_item(&acknowledge.user);
    item.args.extend([
        write::number(acknowledge.cursor.position.0),
        fingerprint_arg(acknowledge.cursor.fingerprint),
    ]);
    item
}
