//! Noticing that a conversation has lost its last entries while inboxes have
//! not: the shards of a Cluster fail over one by one. What is filed then stands
//! beyond the log, and new entries under the old numbers would count as filed.

use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::Redis;
use super::fetch::{Entries, ListId, Wanted, split_change};
use super::filing::{Filing, Mode, Outcome};
use super::reference::{Kind, Reference};
use super::repair::heads;
use crate::Result;
use crate::damage::unless_damaged;

impl Redis {
    /// Looks at what is said to be filed already: races and repeats, seldom.
    /// If the newest event filed is not in the conversation's log, the entry is
    /// filed all the same, and readers are told that the past was rewritten.
    pub(super) async fn rewrite(&self, filings: &[Filing], outcomes: &[Outcome]) -> Result<()> {
        let mut doubtful = Vec::new();
        let mut wanted: FxHashMap<ListId, Vec<Wanted>> = FxHashMap::default();
        for (filing, outcome) in filings.iter().zip(outcomes) {
            let Outcome::There(_, newest) = outcome else { continue };
            if newest.is_empty() {
                continue;
            }
            let newest = unless_damaged(Reference::parse(newest), "a reference in an inbox")?;
            let Some(newest) = newest else { continue };
            // The usual case: another router was faster with the same entry.
            if newest.fingerprint == filing.entry.fingerprint {
                continue;
            }
            let entry = Wanted { number: newest.number, size: newest.size };
            wanted.entry((newest.conversation.clone(), newest.kind)).or_default().push(entry);
            doubtful.push((filing.clone(), newest));
        }
        if doubtful.is_empty() {
            return Ok(());
        }
        let fetched = self.fetch(wanted.into_iter().collect()).await?;
        let mut lost = Vec::new();
        for (filing, newest) in doubtful {
            if is_lost(&newest, &fetched)? {
                lost.push(filing);
            }
        }
        if lost.is_empty() {
            return Ok(());
        }
        tracing::warn!(inboxes = lost.len(), "a conversation has lost its last entries: readers start anew");
        let filed = self.file_each(&lost, Mode::Rewrite).await?;
        // Not the event: to a live session it would look like the next one.
        let heads = heads(&self.announced(&lost, &filed).await?);
        self.announcer.announce(&self.upkeep.incarnation(), &[], &heads).await
    }
}

fn is_lost(newest: &Reference, fetched: &FxHashMap<ListId, Entries>) -> Result<bool> {
    let Some(entries) = fetched.get(&(newest.conversation.clone(), newest.kind)) else {
        return Ok(false);
    };
    let Some(bytes) = entries.get(newest.number) else {
        return Ok(newest.number > entries.head);
    };
    let entry: Bytes = match newest.kind {
        Kind::Message => bytes.clone(),
        Kind::Change => match unless_damaged(split_change(bytes), "a change")? {
            Some(change) => change.entry,
            None => return Ok(false),
        },
    };
    Ok(entry.get(1..5) != Some(newest.fingerprint.to_le_bytes().as_slice()))
}
