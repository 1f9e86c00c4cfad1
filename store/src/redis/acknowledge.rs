//! Acknowledgements: they set `delivered` marks, and move the acknowledged
//! position. Usually the gateway names the marks. Otherwise they are looked up:
//! the inbox is read from the acknowledged position on, page by page.

use std::cmp::Reverse;

use proto::{ConversationId, Position, Seq, StoreIncarnation, UserId};
use rustc_hash::FxHashMap;

use super::Redis;
use super::connection::{Connection, Item};
use super::inbox::fingerprint_arg;
use super::reply::{Row, unexpected};
use super::session::user_item;
use super::{script, write};
use crate::model::{Acknowledge, AcknowledgeResult, HandedOut, Mark, MarkKind, MarkResult};
use crate::{Error, Result};

/// The most items of one call.
const ITEMS: usize = 256;
/// The most events that one round of looking up reads.
const PAGE: u64 = 256;
/// How often a batch whose store is exchanged meanwhile begins again.
const TRIES: usize = 3;

/// The cursor is not one of the inbox.
const NOWHERE: u64 = 2;

/// A mark to set for an item of the batch.
pub(super) struct NamedMark<'a> {
    index: usize,
    pub(super) user: &'a UserId,
    pub(super) conversation: ConversationId,
    pub(super) seq: Seq,
}

/// What looking up gave for one acknowledgement.
struct LookupResult {
    /// 0: the cursor is valid; 1: it was trimmed; else one of the constants
    /// above.
    code: u64,
    /// The position that was reached; 0 when nothing was new.
    upto: u64,
    marks: Vec<(ConversationId, Seq)>,
}

impl Redis {
    pub(super) async fn acknowledge_all(&self, batch: &[Acknowledge]) -> Result<Vec<AcknowledgeResult>> {
        // No mark may be set in another history than it was handed out in.
        let mut unsure = self.acknowledging.lock().await;
        let mut answers = vec![AcknowledgeResult::NoSuchPosition; batch.len()];
        for _ in 0..TRIES {
            self.know_the_store(&mut unsure, &self.acknowledge_reconnects).await?;
            let store = StoreIncarnation::of(&self.upkeep.incarnation());
            if self.acknowledge_in(store, batch, &mut answers).await? {
                return Ok(answers);
            }
            *unsure = true;
        }
        Err(Error::Unavailable("the store is being exchanged".into()))
    }

    /// Acknowledges what is not yet in this incarnation of the store; false if the
    /// store has another one.
    async fn acknowledge_in(
        &self,
        store: StoreIncarnation,
        batch: &[Acknowledge],
        answers: &mut [AcknowledgeResult],
    ) -> Result<bool> {
        let (mut marks, mut positions, mut open) = (Vec::new(), Vec::new(), Vec::new());
        for (index, Acknowledge { user, cursor, handed_out }) in batch.iter().enumerate() {
            let Some(HandedOut { marks: named, position, .. }) =
                handed_out.as_ref().filter(|handed_out| handed_out.store == store && store.0 != 0)
            else {
                open.push(index);
                continue;
            };
            let named = named.iter().filter(|(conversation, _)| conversation.admits(user));
            marks.extend(named.map(|(conversation, seq)| NamedMark {
                index,
                user,
                conversation: conversation.clone(),
                seq: *seq,
            }));
            if *position {
                positions.push((user, cursor.position));
            }
            if answers[index] == AcknowledgeResult::NoSuchPosition {
                answers[index] = AcknowledgeResult::Marks(Vec::new());
            }
        }
        if !self.deliver(store, marks, positions, answers).await? {
            return Ok(false);
        }
        // Of several items of one user the farthest goes first, so that the
        // others find their work done.
        open.sort_by_key(|index| Reverse(batch[*index].cursor.position));
        while !open.is_empty() {
            match self.look_up(store, batch, &open, answers).await? {
                Some(more) => open = more,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// One round of looking up. Returns the items that need another one; `None`
    /// if the store has another incarnation.
    async fn look_up(
        &self,
        store: StoreIncarnation,
        batch: &[Acknowledge],
        open: &[usize],
        answers: &mut [AcknowledgeResult],
    ) -> Result<Option<Vec<usize>>> {
        let common = [self.inbox_age(), write::number(PAGE)];
        let items = open.iter().map(|index| cursor_item(&batch[*index])).collect();
        let rows = self.delivering().run(&script::UNACKNOWLEDGED, &common, items, ITEMS).await?;
        let (mut marks, mut positions, mut more) = (Vec::new(), Vec::new(), Vec::new());
        for (index, row) in open.iter().copied().zip(rows) {
            let found = LookupResult::read(row)?;
            let user = &batch[index].user;
            if found.code != NOWHERE && answers[index] == AcknowledgeResult::NoSuchPosition {
                answers[index] = AcknowledgeResult::Marks(Vec::new());
            }
            if found.upto > 0 {
                positions.push((user, Position(found.upto)));
            }
            if found.upto > 0 && found.upto < batch[index].cursor.position.0 {
                more.push(index);
            }
            let named = found.marks.into_iter();
            marks.extend(named.map(|(conversation, seq)| NamedMark { index, user, conversation, seq }));
        }
        Ok(self.deliver(store, marks, positions, answers).await?.then_some(more))
    }

    /// Sets marks and then positions, and adds the marks that have moved to the
    /// answers. False if the store has another incarnation.
    async fn deliver(
        &self,
        store: StoreIncarnation,
        marks: Vec<NamedMark<'_>>,
        positions: Vec<(&UserId, Position)>,
        answers: &mut [AcknowledgeResult],
    ) -> Result<bool> {
        let marks = highest(marks);
        if marks.is_empty() && positions.is_empty() {
            return Ok(true);
        }
        let moved = match self.separate {
            true => Some(self.deliver_stepwise(&marks, &positions).await?),
            false => self.deliver_at_once(store, &marks, &positions).await?,
        };
        let Some(moved) = moved else { return Ok(false) };
        for (mark, moved) in marks.into_iter().zip(moved) {
            if moved && let AcknowledgeResult::Marks(list) = &mut answers[mark.index] {
                // A later round, or a later try, has a higher one.
                list.retain(|(known, _)| *known != mark.conversation);
                list.push((mark.conversation, mark.seq));
            }
        }
        Ok(true)
    }

    /// The connection to the server whose incarnation is known. One that waits for
    /// replicas is not used for what nobody waits for.
    fn delivering(&self) -> &Connection {
        if self.separate { &self.read } else { &self.append }
    }

    /// In steps: first the marks, then the positions. What a crash between them
    /// leaves out, the next look-up does.
    async fn deliver_stepwise(
        &self,
        marks: &[NamedMark<'_>],
        positions: &[(&UserId, Position)],
    ) -> Result<Vec<bool>> {
        let asked: Vec<Mark> = marks.iter().map(NamedMark::delivered).collect();
        let set = self.mark_stepwise(&asked.iter().collect::<Vec<_>>()).await?;
        let items = positions.iter().map(|(user, position)| {
            let mut item = user_item(user);
            item.args.push(write::number(position.0));
            item
        });
        self.delivering().run(&script::ACKNOWLEDGE, &[], items.collect(), ITEMS).await?;
        Ok(set.into_iter().map(|outcome| outcome == MarkResult::Advanced).collect())
    }
}

/// The highest mark of each user in each conversation: those in direct
/// conversations first, those of one conversation side by side.
fn highest(marks: Vec<NamedMark<'_>>) -> Vec<NamedMark<'_>> {
    let mut conversations: FxHashMap<ConversationId, usize> = FxHashMap::default();
    let mut gathered: Vec<Vec<NamedMark<'_>>> = Vec::new();
    for mark in marks {
        let at = *conversations.entry(mark.conversation.clone()).or_insert_with(|| {
            gathered.push(Vec::new());
            gathered.len() - 1
        });
        match gathered[at].iter_mut().find(|known| known.user == mark.user) {
            Some(known) if known.seq < mark.seq => *known = mark,
            Some(_) => {}
            None => gathered[at].push(mark),
        }
    }
    gathered.sort_by_key(|marks| marks[0].conversation.is_group());
    gathered.into_iter().flatten().collect()
}

impl NamedMark<'_> {
    fn delivered(&self) -> Mark {
        Mark {
            conversation: self.conversation.clone(),
            user: self.user.clone(),
            kind: MarkKind::Delivered,
            seq: self.seq,
        }
    }
}

impl LookupResult {
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
}

fn cursor_item(acknowledge: &Acknowledge) -> Item {
    let mut item = user_item(&acknowledge.user);
    item.args.extend([
        write::number(acknowledge.cursor.position.0),
        fingerprint_arg(acknowledge.cursor.fingerprint),
    ]);
    item
}
