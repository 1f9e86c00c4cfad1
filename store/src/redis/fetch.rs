//! Reads entries of conversations by their numbers, in ranges.

use bytes::Bytes;
use fred::types::Value;
use prost::Message as _;
use proto::wire::Entry;
use proto::{Bound, ConversationId};
use rustc_hash::FxHashMap;
use smallvec::smallvec;

use super::Redis;
use super::connection::{CALL_BYTES, Item};
use super::key::Bucket;
use super::reference::Kind;
use super::{script, write};
use crate::damage::{known, unless_damaged};
use crate::{Error, Result};

/// The most ranges of one call.
const RANGES: usize = 128;
/// What an entry costs in a call besides its bytes: time, expressed in bytes.
const ENTRY: usize = 256;
/// The size assumed for an entry whose size is not known.
pub(super) const UNKNOWN: usize = 66 << 10;

/// An entry to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EntryRequest {
    /// The entry's number in the list.
    pub(super) number: u64,
    /// The entry's size in bytes, for the limit of a call.
    pub(super) size: usize,
}

/// One of a conversation's two lists.
pub(super) type ListId = (ConversationId, Kind);

/// The entries read of one list.
#[derive(Default)]
pub(super) struct Entries {
    /// Entries up to this number are gone.
    pub(super) base: u64,
    /// The number of the newest entry.
    pub(super) head: u64,
    by_number: FxHashMap<u64, Bytes>,
}

impl Entries {
    /// What a list has that ends at `head`.
    #[cfg(test)]
    pub(super) fn of(head: u64, entries: impl IntoIterator<Item = (u64, Bytes)>) -> Self {
        Self { base: 0, head, by_number: entries.into_iter().collect() }
    }

    /// The encoded entry; a change in the form that [`split_change`] reads.
    pub(super) fn get(&self, number: u64) -> Option<&Bytes> {
        self.by_number.get(&number)
    }

    /// The message with this seq, of a list of messages; nothing where it is not there
    /// or is damaged.
    pub(super) fn message(&self, conversation: &ConversationId, seq: u64) -> Result<Option<Entry>> {
        let Some(entry) = self.get(seq) else { return Ok(None) };
        unless_damaged(decode(entry.clone()), format_args!("message {seq} of {conversation}"))
    }
}

impl Redis {
    /// Reads entries, from the archive those that have left Redis. Those that are
    /// not there are missing in the result. No call reads more than [`CALL_BYTES`], except for a single larger entry.
    pub(super) async fn fetch(
        &self,
        requests: Vec<(ListId, Vec<EntryRequest>)>,
    ) -> Result<FxHashMap<ListId, Entries>> {
        let mut ranges: Vec<(ListId, (u64, u64))> = Vec::new();
        let mut items = Vec::new();
        for (list, mut entries) in requests {
            entries.sort_unstable();
            entries.dedup_by_key(|entry| entry.number);
            let call = Bound::new(CALL_BYTES, usize::MAX);
            let runs = entries.chunk_by(|a, b| a.number + 1 == b.number);
            for run in runs.flat_map(|run| call.runs(run, EntryRequest::weight)) {
                items.push(item(&list, run));
                ranges.push((list.clone(), (run[0].number, run[run.len() - 1].number)));
            }
        }
        let rows = self.read.run(&script::FETCH, &[], items, RANGES).await?;
        let mut fetched: FxHashMap<ListId, Entries> = FxHashMap::default();
        let mut left = Vec::new();
        for ((list, (first, last)), mut row) in ranges.into_iter().zip(rows) {
            let (gone, base) = (row.number()?, row.number()?);
            let (head, mut entries) = (row.number()?, row.list()?);
            let range = (first.max(gone + 1), last.min(base));
            if range.0 <= range.1 {
                left.push((list.clone(), range));
            }
            let into = fetched.entry(list).or_default();
            (into.base, into.head) = (gone, head);
            let mut number = first.max(base + 1);
            while !entries.is_done() {
                into.by_number.insert(number, entries.bytes()?);
                number += 1;
            }
        }
        self.fetch_archived(left, |list, number, entry| {
            fetched.entry(list).or_default().by_number.insert(number, entry);
        })
        .await?;
        Ok(fetched)
    }
}

impl EntryRequest {
    /// Entries with these numbers, of unknown size.
    pub(super) fn all(numbers: impl IntoIterator<Item = u64>) -> Vec<Self> {
        numbers.into_iter().map(|number| Self { number, size: UNKNOWN }).collect()
    }

    fn weight(&self) -> usize {
        self.size + ENTRY
    }
}

/// An item that reads a range of entries.
fn item(list: &ListId, range: &[EntryRequest]) -> Item {
    let (conversation, kind) = list;
    let bucket = Bucket::of(conversation.as_str());
    let args = smallvec![
        Value::Integer(bucket.0.into()),
        write::text(conversation.as_str()),
        write::text(kind.as_str()),
        write::number(range[0].number),
        write::number(range[range.len() - 1].number),
    ];
    Item::new(bucket, args).answering(range.iter().map(EntryRequest::weight).sum())
}

/// An element of a conversation's list of changes.
pub(super) struct StoredChange {
    /// The conversation's head when the change was made.
    pub(super) head: u64,
    /// The seq of the message that it amends; 0 for a change of the group.
    pub(super) amends: u64,
    /// The encoded entry.
    pub(super) entry: Bytes,
}

/// Splits the stored form `head:amends:entry`.
pub(super) fn split_change(bytes: &Bytes) -> Result<StoredChange> {
    let mut rest = bytes.clone();
    let (head, amends) = (leading_number(&mut rest)?, leading_number(&mut rest)?);
    Ok(StoredChange { head, amends, entry: rest })
}

/// Removes a number and the colon after it from the front.
pub(super) fn leading_number(bytes: &mut Bytes) -> Result<u64> {
    let wrong = || Error::Corrupt("a number in front of an entry".into());
    let colon = bytes.iter().position(|byte| *byte == b':').ok_or_else(wrong)?;
    let digits = bytes.split_to(colon);
    let _colon = bytes.split_to(1);
    std::str::from_utf8(&digits).ok().and_then(|text| text.parse().ok()).ok_or_else(wrong)
}

/// Decodes an entry that is to be shown.
pub(super) fn decode(bytes: Bytes) -> Result<Entry> {
    decode_any(bytes).and_then(known)
}

/// Decodes an entry of any kind, also of one that only a later release can show.
pub(super) fn decode_any(bytes: Bytes) -> Result<Entry> {
    Entry::decode(bytes).map_err(|error| Error::Corrupt(format!("an entry of a conversation: {error}")))
}
