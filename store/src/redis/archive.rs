//! The reader of what has left Redis: the logs here and the archive are one. A
//! script says what it has not, and that is read from the archive afterwards: what
//! has left by then was in the archive before.

use bytes::Bytes;
use proto::{Bound, ConversationId, Seq, UserId};
use rustc_hash::FxHashMap;

use super::Redis;
use super::connection::CALL_BYTES;
use super::copier::Copier;
use super::fetch::{EntryRequest, ListId, UNKNOWN};
use super::reference::Kind;
use super::settling::Settled;
use crate::archive::{Archive, List, Page, Range};
use crate::model::{Amenders, Post, PostKind};
use crate::{ArchiveConfig, Error, Result};

/// The bytes of a message in a page besides its entry; as in `history.lua`.
const BESIDE: usize = 256;

/// The archive, and who copies to it.
pub(super) struct Archiver {
    pub(super) archive: Archive,
    pub(super) copier: Copier,
    pub(super) settled: Settled,
}

impl Archiver {
    pub(super) fn open(config: &ArchiveConfig) -> Result<Self> {
        Ok(Self { archive: Archive::open(config)?, copier: Copier::new(config), settled: Settled::default() })
    }
}

/// What a router without an archive says of what has left.
pub(super) fn none_here() -> Error {
    Error::Archive("older messages are in an archive, and this router has none: give it --archive".into())
}

/// Who sent the messages that are to be amended: known before a post, because a
/// script cannot ask the archive.
#[derive(Default)]
pub(super) struct Senders(FxHashMap<(ConversationId, Seq), String>);

impl Senders {
    /// Empty where the archive need not be asked, and where it has no such message.
    pub(super) fn of(&self, conversation: &ConversationId, seq: Seq) -> &str {
        if self.0.is_empty() {
            return "";
        }
        self.0.get(&(conversation.clone(), seq)).map_or("", String::as_str)
    }
}

impl Redis {
    /// Whether this router has an archive.
    pub(super) fn archives(&self) -> bool {
        self.archiver.is_some()
    }

    /// The senders of the messages that these posts amend, where only they may.
    pub(super) async fn senders(&self, posts: &[Post]) -> Result<Senders> {
        let mut wanted: FxHashMap<ListId, Vec<u64>> = FxHashMap::default();
        for post in posts.iter().filter(|_| self.archives()) {
            if let PostKind::Amend { seq, who: Amenders::Sender | Amenders::SenderOrAdmin, .. } = &post.kind {
                wanted.entry((post.conversation.clone(), Kind::Message)).or_default().push(seq.0);
            }
        }
        if wanted.is_empty() {
            return Ok(Senders::default());
        }
        let requests =
            wanted.iter().map(|(list, seqs)| (list.clone(), EntryRequest::all(seqs.iter().copied())));
        let fetched = self.fetch(requests.collect()).await?;
        let mut senders = Senders::default();
        for (list, seqs) in wanted {
            let Some(entries) = fetched.get(&list) else { continue };
            for seq in seqs {
                let message = entries.message(&list.0, seq)?;
                senders.0.extend(message.map(|entry| ((list.0.clone(), Seq(seq)), entry.by)));
            }
        }
        Ok(senders)
    }

    /// Gives entries that have left Redis to `into`, each with its number. The
    /// ranges are the first and the last number.
    pub(super) async fn fetch_archived(
        &self,
        ranges: Vec<(ListId, (u64, u64))>,
        mut into: impl FnMut(ListId, u64, Bytes),
    ) -> Result<()> {
        if ranges.is_empty() {
            return Ok(());
        }
        let archive = self.archive()?;
        let wanted: Vec<Range> = ranges
            .iter()
            .map(|((conversation, kind), (first, last))| Range {
                conversation: conversation.clone(),
                list: list_of(*kind),
                first: *first,
                last: *last,
            })
            .collect();
        // As many as one call of Redis would read, if all were large.
        let call = Bound::new(CALL_BYTES * 4, 128);
        let weight = |range: &Range| {
            let count = usize::try_from(range.last - range.first + 1).unwrap_or(usize::MAX);
            count.saturating_mul(UNKNOWN / 16)
        };
        let mut done = 0;
        for run in call.runs(&wanted, weight) {
            for (at, number, entry) in archive.ranges(run).await? {
                into(ranges[done + at].0.clone(), number, entry);
            }
            done += run.len();
        }
        Ok(())
    }

    /// A page of messages that have left Redis; see [`Archive::page`].
    pub(super) async fn archived_page(
        &self,
        conversation: &ConversationId,
        range: (u64, u64),
        newest: bool,
        most: usize,
    ) -> Result<Page> {
        self.archive()?.page(conversation, range, newest, most, BESIDE).await
    }

    fn archive(&self) -> Result<&Archive> {
        self.archiver.as_ref().map(|archiver| &archiver.archive).ok_or_else(none_here)
    }

    /// Whether both members are among those who wrote these messages.
    pub(super) async fn wrote(
        &self,
        conversation: &ConversationId,
        seqs: Vec<u64>,
        members: &(UserId, UserId),
    ) -> Result<bool> {
        let list = (conversation.clone(), Kind::Message);
        let fetched = self.fetch(vec![(list.clone(), EntryRequest::all(seqs.iter().copied()))]).await?;
        let Some(entries) = fetched.get(&list) else { return Ok(false) };
        let (mut one, mut other) = (false, false);
        for seq in seqs {
            if let Some(entry) = entries.message(conversation, seq)? {
                one |= entry.by == members.0.as_str();
                other |= entry.by == members.1.as_str();
            }
        }
        Ok(one && other)
    }
}

fn list_of(kind: Kind) -> List {
    match kind {
        Kind::Message => List::Messages,
        Kind::Change => List::Changes,
    }
}
