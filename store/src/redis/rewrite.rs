//! Notices that a conversation has lost its last entries while inboxes have
//! not: the shards of a Cluster fail over one by one. Inboxes then refer to
//! entries beyond the log, and new entries with the old numbers would count as
//! filed.

use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::Redis;
use super::fetch::{Entries, EntryRequest, ListId, split_change};
use super::filing::{Filing, Mode, Outcome};
use super::reference::{Kind, Reference};
use super::repair::heads;
use crate::Result;
use crate::damage::unless_damaged;

impl Redis {
    /// Checks entries that are reported as filed already, which is rare (races
    /// and repeats). If the newest event filed is not in the conversation's
    /// log, the entry is filed nevertheless, and readers are told that the past
    /// was rewritten.
    pub(super) async fn rewrite(&self, filings: &[Filing], outcomes: &[Outcome]) -> Result<()> {
        let mut suspects = Vec::new();
        let mut wanted: FxHashMap<ListId, Vec<EntryRequest>> = FxHashMap::default();
        for (filing, outcome) in filings.iter().zip(outcomes) {
            let Outcome::There(_, newest) = outcome else { continue };
            if newest.is_empty() {
                continue;
            }
            let newest = unless_damaged(Reference::parse(newest), "a reference in an inbox")?;
            let Some(newest) = newest else { continue };
            // The usual case: another router filed the same entry first.
            if newest.fingerprint == filing.entry.fingerprint {
                continue;
            }
            let entry = EntryRequest { number: newest.number, size: newest.size };
            wanted.entry((newest.conversation.clone(), newest.kind)).or_default().push(entry);
            suspects.push((filing.clone(), newest));
        }
        if suspects.is_empty() {
            return Ok(());
        }
        let fetched = self.fetch(wanted.into_iter().collect()).await?;
        let mut lost = Vec::new();
        for (filing, newest) in suspects {
            if is_lost(&newest, &fetched)? {
                lost.push(filing);
            }
        }
        if lost.is_empty() {
            return Ok(());
        }
        tracing::warn!(inboxes = lost.len(), "a conversation has lost its last entries: readers start anew");
        let filed = self.file_each(&lost, Mode::Rewrite).await?;
        // The head is announced, not the event: a live session would take the
        // event for the next one.
        let heads = heads(&self.announced(&lost, &filed).await?);
        self.announcer.notify(&self.upkeep.incarnation(), &heads).await
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
