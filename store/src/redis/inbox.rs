//! Reads inboxes: first the references, then the entries that they refer to.

use fred::types::Value;
use proto::weight::{self, PAGE};
use proto::{Cursor, Fingerprint, Position, ResetReason, Seq, UserId};
use rustc_hash::FxHashMap;
use smallvec::smallvec;

use super::Redis;
use super::changed::{self, ChangedConversations};
use super::connection::{Args, Item};
use super::fetch::{Entries, EntryRequest, ListId, decode, split_change};
use super::key::Bucket;
use super::reference::{Kind, Reference};
use super::reply::{Row, unexpected};
use super::{script, write};
use crate::Result;
use crate::damage::{nothing, unless_damaged};
use crate::model::{InboxEvent, InboxPage, InboxQuery, LogEvent, Standing};

/// The most inboxes of one call.
pub(super) const INBOXES: usize = 64;
/// The bytes of a reference, and of a conversation whose marks have changed,
/// about; most of it is the conversation's id.
const REFERENCE: usize = 100;

impl Redis {
    pub(super) async fn read_pages(&self, batch: Vec<InboxQuery>) -> Result<Vec<InboxPage>> {
        let most = weight::page_of(batch.len());
        let items = batch.iter().map(|query| item(query, most)).collect();
        let rows =
            self.read.run(&script::READ_INBOX, &[self.inbox_age(), self.age()], items, INBOXES).await?;
        let pages = rows.into_iter().map(References::read).collect::<Result<_>>()?;
        let readers = batch.iter().map(|query| (&query.user, query.after.position)).collect();
        self.resolve(readers, pages).await
    }

    /// Reads the entries that these readers' references name, and the marks
    /// that have changed.
    pub(super) async fn resolve(
        &self,
        readers: Vec<(&UserId, Position)>,
        mut pages: Vec<References>,
    ) -> Result<Vec<InboxPage>> {
        let mut wanted: FxHashMap<ListId, Vec<EntryRequest>> = FxHashMap::default();
        for reference in pages.iter().flat_map(|page| &page.references).flatten() {
            wanted
                .entry((reference.conversation.clone(), reference.kind))
                .or_default()
                .push(EntryRequest { number: reference.number, size: reference.size });
        }
        let changed =
            readers.iter().zip(&mut pages).map(|((reader, _), page)| (*reader, page.changed.take()));
        let changed = changed.map(|(reader, changed)| (reader, changed.unwrap_or_default())).collect();
        let fetch = async {
            match wanted.is_empty() {
                true => Ok(FxHashMap::default()),
                false => self.fetch(wanted.into_iter().collect()).await,
            }
        };
        let (fetched, marks) = tokio::try_join!(fetch, self.marks_of(changed))?;

        let mut answers = Vec::with_capacity(pages.len());
        for (((user, after), page), (marks, marks_next)) in readers.into_iter().zip(pages).zip(marks) {
            let (head, standing) = (page.head, page.standing);
            let nothing = InboxPage {
                events: Vec::new(),
                head,
                reset: None,
                standing,
                marks: Vec::new(),
                marks_next: None,
            };
            let answer = match page.resolve(user, after, &fetched)? {
                Ok(events) => InboxPage { events, marks, marks_next, ..nothing },
                Err((reason, None)) => {
                    let head = self.head(user).await?;
                    InboxPage { head: head.position, reset: Some((reason, head)), ..nothing }
                }
                Err((reason, Some(restart))) => InboxPage { reset: Some((reason, restart)), ..nothing },
            };
            answers.push(answer);
        }
        Ok(answers)
    }

    /// The cursor of an inbox's head.
    async fn head(&self, user: &UserId) -> Result<Cursor> {
        let bucket = Bucket::of(user.as_str());
        let item = Item::new(bucket, smallvec![Value::Integer(bucket.0.into()), write::text(user.as_str())]);
        let mut rows = self.read.run(&script::HEAD, &[self.inbox_age()], vec![item], 1).await?;
        let mut row = rows.pop().ok_or_else(|| unexpected("a row"))?;
        Ok(Cursor { position: Position(row.number()?), fingerprint: fingerprint(&mut row)? })
    }

    pub(super) fn age(&self) -> Value {
        write::number(self.bounds.age_ms())
    }

    pub(super) fn inbox_age(&self) -> Value {
        write::number(self.bounds.inbox_age_ms())
    }
}

/// The bytes of a row with a page of references, about. Its list of changed
/// marks has one more than a page of marks.
pub(super) fn references(events: usize) -> usize {
    (events + changed::CHANGED / 4) * REFERENCE
}

fn item(query: &InboxQuery, most: usize) -> Item {
    let bucket = Bucket::of(query.user.as_str());
    let (session, device) =
        query.session.as_ref().map_or(("", ""), |(session, device)| (session.as_str(), device.as_str()));
    let mut args: Args = smallvec![
        Value::Integer(bucket.0.into()),
        write::text(query.user.as_str()),
        write::number(query.after.position.0),
        fingerprint_arg(query.after.fingerprint),
        write::number(query.limit.clamp(1, PAGE.entries) as u64),
        write::number(most as u64),
        write::text(session),
        write::text(device),
    ];
    args.extend(changed::args(query));
    Item::new(bucket, args).answering(references(query.limit.min(PAGE.entries)))
}

/// The form in which inboxes hold a fingerprint.
pub(super) fn fingerprint_arg(fingerprint: Fingerprint) -> Value {
    Value::Bytes(bytes::Bytes::copy_from_slice(&fingerprint.0.to_le_bytes()))
}

/// Reads a fingerprint of a script's reply.
pub(super) fn fingerprint(row: &mut Row) -> Result<Fingerprint> {
    let bytes = row.bytes()?;
    let bytes = bytes.as_ref().try_into().map_err(|_| unexpected("a fingerprint"))?;
    Ok(Fingerprint(u32::from_le_bytes(bytes)))
}

/// Reads the reason of a reset in a script's reply.
pub(super) fn reset_reason(number: u64) -> Result<Option<ResetReason>> {
    match number {
        0 => Ok(None),
        1 => Ok(Some(ResetReason::Trimmed)),
        2 => Ok(Some(ResetReason::Rewritten)),
        _ => Err(unexpected("a reason for a reset")),
    }
}

/// A page before its entries are read.
pub(super) struct References {
    head: Position,
    reset: Option<(ResetReason, Cursor)>,
    standing: Standing,
    /// References; of a damaged one only its first bytes.
    references: Vec<std::result::Result<Reference, u32>>,
    changed: Option<ChangedConversations>,
}

/// Why a page is not valid, and where to go on if that is known.
type PageFailure = (ResetReason, Option<Cursor>);

impl References {
    fn read(mut row: Row) -> Result<Self> {
        let head = Position(row.number()?);
        let reset = match reset_reason(row.number()?)? {
            None => {
                row.bytes()?;
                None
            }
            Some(reason) => Some((reason, Cursor { position: head, fingerprint: fingerprint(&mut row)? })),
        };
        let standing = match row.number()? {
            0 => Standing::Registered,
            1 => Standing::Superseded,
            2 => Standing::Missing,
            _ => return Err(unexpected("a standing")),
        };
        Self::rest(head, reset, standing, &mut row)
    }

    /// The first page of a session that has just been registered, read from the
    /// rest of its row.
    pub(super) fn first(head: Position, row: &mut Row) -> Result<Self> {
        Self::rest(head, None, Standing::Registered, row)
    }

    fn rest(
        head: Position,
        reset: Option<(ResetReason, Cursor)>,
        standing: Standing,
        row: &mut Row,
    ) -> Result<Self> {
        let mut list = row.list()?;
        let mut references = Vec::new();
        while !list.is_done() {
            let bytes = list.bytes()?;
            let reference = unless_damaged(Reference::parse(&bytes), "a reference in an inbox")?;
            references.push(reference.ok_or_else(|| first_bytes(&bytes)));
        }
        let changed = Some(ChangedConversations::read(row)?);
        Ok(Self { head, reset, standing, references, changed })
    }

    fn resolve(
        self,
        user: &UserId,
        after: Position,
        fetched: &FxHashMap<ListId, Entries>,
    ) -> Result<std::result::Result<Vec<InboxEvent>, PageFailure>> {
        if let Some((reason, restart)) = self.reset {
            return Ok(Err((reason, Some(restart))));
        }
        let mut events = Vec::with_capacity(self.references.len());
        let mut position = after;
        for reference in self.references {
            position = position.next();
            let reference = match reference {
                Ok(reference) => reference,
                Err(fingerprint) => {
                    events.push(damaged(user, position, fingerprint));
                    continue;
                }
            };
            let list = (reference.conversation, reference.kind);
            let Some(entries) = fetched.get(&list) else {
                return Err(unexpected("the list that was asked for"));
            };
            let Some(bytes) = entries.get(reference.number) else {
                let trimmed = reference.number <= entries.base;
                let reason = if trimmed { ResetReason::Trimmed } else { ResetReason::Rewritten };
                return Ok(Err((reason, None)));
            };
            let (seq, read) = match reference.kind {
                Kind::Message => (Seq(reference.number), decode(bytes.clone())),
                Kind::Change => (Seq(0), split_change(bytes).and_then(|change| decode(change.entry))),
            };
            let location = format_args!("entry {} of {}", reference.number, list.0);
            let entry = unless_damaged(read, location)?.unwrap_or_else(|| nothing(reference.fingerprint));
            if entry.fingerprint != reference.fingerprint {
                return Ok(Err((ResetReason::Rewritten, None)));
            }
            events.push(InboxEvent { position, event: LogEvent { conversation: list.0, seq, entry } });
        }
        Ok(Ok(events))
    }
}

/// The event that stands for a damaged reference. Its conversation is not
/// known: it gets the reader's conversation with itself.
fn damaged(user: &UserId, position: Position, fingerprint: u32) -> InboxEvent {
    let conversation = proto::ConversationId::direct(user, user);
    InboxEvent { position, event: LogEvent { conversation, seq: Seq(0), entry: nothing(fingerprint) } }
}

/// The fingerprint of a reference, as scripts take it: its first four bytes.
fn first_bytes(bytes: &[u8]) -> u32 {
    let mut four = [0; 4];
    four.iter_mut().zip(bytes).for_each(|(byte, from)| *byte = *from);
    u32::from_le_bytes(four)
}
