//! Files entries in members' inboxes, step by step. A member's entries of one
//! conversation are filed strictly in order. If entries before one are missing
//! (another router is about to file them, or died before it did), these are
//! filed first.

use std::sync::Arc;

use bytes::Bytes;
use fred::types::Value;
use proto::wire::Entry;
use proto::{ConversationId, Seq, SessionId, UserId};
use rustc_hash::FxHashMap;

use super::Redis;
use super::announce::PendingAnnouncement;
use super::connection::Item;
use super::conversation::Start;
use super::fetch::{Entries, EntryRequest, ListId, StoredChange, decode_any, split_change};
use super::reference::Kind;
use super::reply::{Row, unexpected};
use super::session::{nodes_of, user_item};
use super::unheard::UnheardCandidate;
use super::{script, write};
use crate::Result;
use crate::Step;
use crate::damage::unless_damaged;

/// The most records of one call.
const RECORDS: usize = 512;

/// The position of an entry in its conversation. Each entry raises exactly one
/// of the two numbers, so that positions can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(super) struct LogPosition {
    pub(super) seq: u64,
    pub(super) version: u64,
}

/// An entry with its position.
#[derive(Debug)]
pub(super) struct LogEntry {
    pub(super) conversation: ConversationId,
    pub(super) kind: Kind,
    pub(super) position: LogPosition,
    /// The seq of the message that it amends; 0 if it amends none.
    pub(super) amends: u64,
    pub(super) fingerprint: u32,
    pub(super) time: u64,
    pub(super) by: UserId,
    /// The encoded entry.
    pub(super) bytes: Bytes,
    /// The trace of its post; empty for an entry read from the log.
    pub(super) trace: Bytes,
}

/// One entry to file for one member.
#[derive(Debug, Clone)]
pub(super) struct Filing {
    pub(super) member: Start,
    pub(super) entry: Arc<LogEntry>,
    /// The session that gets no announcement.
    pub(super) except: Option<SessionId>,
    /// Whether it is the last entry of the conversation that the member gets.
    pub(super) last: bool,
}

/// The result of a [`Filing`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Filed at this position. The text lists the sessions to announce it to.
    Filed(u64, String),
    /// It was filed already. The position is known if nothing was filed after
    /// it. The bytes are the reference to the conversation's newest event in
    /// the inbox, if that is kept.
    There(Option<u64>, Bytes),
    /// Entries before it are missing; this is the last position filed.
    Hole(LogPosition),
    /// The member does not see the message that is amended, so nothing was
    /// filed; later entries can be.
    Hidden,
}

/// The ways of filing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Files only the next entry; anything later is a hole.
    Strict,
    /// Files later entries, too: those in between are filed already, or
    /// trimmed.
    Missing,
    /// Files over a history that was lost: older cursors become invalid.
    Rewrite,
}

impl Outcome {
    /// The position in the member's inbox, if known.
    pub(super) fn position(&self) -> Option<u64> {
        match self {
            Self::Filed(position, _) => Some(*position),
            Self::There(position, _) => *position,
            Self::Hole(_) | Self::Hidden => None,
        }
    }
}

impl Redis {
    /// Files in the order given, and closes holes. Returns a result for each,
    /// and the events to announce.
    pub(super) async fn file(
        &self,
        filings: Vec<Filing>,
    ) -> Result<(Vec<Outcome>, Vec<PendingAnnouncement>)> {
        let mut outcomes = self.file_strictly(&filings).await?;
        let missing = self.missing(&filings, &outcomes).await?;
        let closed = self.file_each(&missing, Mode::Missing).await?;
        let by_position: FxHashMap<(&UserId, &ConversationId, LogPosition), &Outcome> = missing
            .iter()
            .zip(&closed)
            .map(|(filing, outcome)| {
                ((&filing.member.user, &filing.entry.conversation, filing.entry.position), outcome)
            })
            .collect();
        for (filing, outcome) in filings.iter().zip(&mut outcomes) {
            if let Outcome::Hole(_) = outcome {
                let key = (&filing.member.user, &filing.entry.conversation, filing.entry.position);
                *outcome = by_position
                    .get(&key)
                    .map_or(Outcome::There(None, Bytes::new()), |closed| (*closed).clone());
            }
        }
        self.rewrite(&filings, &outcomes).await?;
        let mut events = self.announced(&missing, &closed).await?;
        let (direct, done): (Vec<_>, Vec<_>) = filings
            .into_iter()
            .zip(outcomes.iter().cloned())
            .filter(|(filing, _)| {
                let key = (&filing.member.user, &filing.entry.conversation, filing.entry.position);
                !by_position.contains_key(&key)
            })
            .unzip();
        events.extend(self.announced(&direct, &done).await?);
        Ok((outcomes, events))
    }

    async fn file_strictly(&self, filings: &[Filing]) -> Result<Vec<Outcome>> {
        // A crash test ends the process when some inboxes are written.
        let some = match self.fail.at(Step::FiledSome) {
            true => filings.iter().take_while(|filing| filing.member.user == filings[0].member.user).count(),
            false => 0,
        };
        if some == 0 {
            return self.file_each(filings, Mode::Strict).await;
        }
        let mut outcomes = self.file_each(&filings[..some], Mode::Strict).await?;
        self.fail.reached(Step::FiledSome);
        outcomes.extend(self.file_each(&filings[some..], Mode::Strict).await?);
        Ok(outcomes)
    }

    pub(super) async fn file_each(&self, filings: &[Filing], mode: Mode) -> Result<Vec<Outcome>> {
        let items = filings.iter().map(|filing| item(filing, mode)).collect();
        let common = [write::number(self.bounds.inbox_events), self.inbox_age()];
        let rows = self.append.run(&script::FILE, &common, items, RECORDS).await?;
        rows.into_iter().map(outcome).collect()
    }

    /// The entries from the last one filed to the one wanted, for each hole.
    async fn missing(&self, filings: &[Filing], outcomes: &[Outcome]) -> Result<Vec<Filing>> {
        let mut holes: Vec<(LogPosition, Vec<&Filing>)> = Vec::new();
        let mut index: FxHashMap<(&UserId, &ConversationId), usize> = FxHashMap::default();
        for (filing, outcome) in filings.iter().zip(outcomes) {
            let Outcome::Hole(from) = outcome else { continue };
            let key = (&filing.member.user, &filing.entry.conversation);
            match index.get(&key) {
                Some(at) => holes[*at].1.push(filing),
                None => {
                    index.insert(key, holes.len());
                    holes.push((*from, vec![filing]));
                }
            }
        }
        let mut missing = Vec::new();
        for (from, wanted) in holes {
            let Some(to) = wanted.iter().map(|filing| filing.entry.position).max() else { continue };
            let first = wanted[0];
            for entry in self.between(&first.entry.conversation, from, to).await? {
                let own = wanted.iter().find(|filing| filing.entry.position == entry.position);
                missing.push(Filing {
                    member: first.member.clone(),
                    entry,
                    except: own.and_then(|filing| filing.except.clone()),
                    last: own.is_some_and(|filing| filing.last),
                });
            }
        }
        Ok(missing)
    }

    /// The entries of a conversation after `from` up to `to`, in order, without
    /// those that were trimmed.
    pub(super) async fn between(
        &self,
        conversation: &ConversationId,
        from: LogPosition,
        to: LogPosition,
    ) -> Result<Vec<Arc<LogEntry>>> {
        let lists = [
            ((conversation.clone(), Kind::Message), EntryRequest::all(from.seq + 1..=to.seq)),
            ((conversation.clone(), Kind::Change), EntryRequest::all(from.version + 1..=to.version)),
        ];
        let wanted = lists.into_iter().filter(|(_, wanted)| !wanted.is_empty()).collect();
        let fetched = self.fetch(wanted).await?;
        merge(conversation, &fetched, from, to)
    }

    /// Who is to be told of what was filed. Also removes sessions on dead
    /// nodes, and notes messages for members without a session.
    pub(super) async fn announced(
        &self,
        filings: &[Filing],
        outcomes: &[Outcome],
    ) -> Result<Vec<PendingAnnouncement>> {
        let mut events: Vec<PendingAnnouncement> = Vec::new();
        let mut candidates = Vec::new();
        let mut index: FxHashMap<(&ConversationId, LogPosition), usize> = FxHashMap::default();
        for (filing, outcome) in filings.iter().zip(outcomes) {
            let Outcome::Filed(position, text) = outcome else { continue };
            let entry = &filing.entry;
            let nodes = nodes_of(text, filing.except.as_ref())?;
            if self.bounds.unheard > 0 {
                candidates.extend(UnheardCandidate::of(filing, &nodes));
            }
            let at = *index.entry((&entry.conversation, entry.position)).or_insert_with(|| {
                events.push(PendingAnnouncement {
                    conversation: entry.conversation.clone(),
                    seq: match entry.kind {
                        Kind::Message => Seq(entry.position.seq),
                        Kind::Change => Seq(0),
                    },
                    entry: entry.bytes.clone(),
                    trace: entry.trace.clone(),
                    targets: Vec::new(),
                });
                events.len() - 1
            });
            let user = &filing.member.user;
            events[at].targets.extend(nodes.into_iter().map(|node| (node, user.clone(), *position)));
        }
        self.forget_the_dead(&mut events, candidates).await?;
        Ok(events)
    }

    /// Removes the targets on dead nodes, and the sessions there, and notes the
    /// messages of those for members without any other session.
    pub(super) async fn forget_the_dead(
        &self,
        events: &mut [PendingAnnouncement],
        candidates: Vec<UnheardCandidate>,
    ) -> Result<()> {
        let targets = events.iter().flat_map(|event| &event.targets);
        let dead = self.dead_among(targets.map(|target| &target.0)).await?;
        if !dead.is_empty() {
            let mut users = Vec::new();
            for event in events {
                let gone = event.targets.extract_if(.., |target| dead.contains(&target.0));
                users.extend(gone.map(|(_, user, _)| user));
            }
            users.sort_unstable();
            users.dedup();
            self.sweep(&users, &dead).await?;
        }
        self.note_unheard(candidates, &dead).await
    }
}

fn item(filing: &Filing, mode: Mode) -> Item {
    let entry = &filing.entry;
    let own = entry.kind == Kind::Message && entry.by == filing.member.user;
    let flags: String =
        [(own, 'o'), (filing.last, 'l'), (mode == Mode::Strict, 's'), (mode == Mode::Rewrite, 'w')]
            .into_iter()
            .filter_map(|(set, flag)| set.then_some(flag))
            .collect();
    let mut item = user_item(&filing.member.user);
    item.args.extend([
        write::number(filing.member.seq),
        write::number(filing.member.version),
        write::text(entry.conversation.as_str()),
        write::text(entry.kind.as_str()),
        write::number(entry.position.seq),
        write::number(entry.position.version),
        write::number(entry.amends),
        Value::Bytes(Bytes::copy_from_slice(&write::prefix(
            entry.fingerprint,
            entry.time,
            entry.bytes.len(),
        ))),
        write::text(&flags),
    ]);
    item
}

fn outcome(mut row: Row) -> Result<Outcome> {
    match &*row.text()? {
        "filed" => Ok(Outcome::Filed(row.number()?, row.text()?.to_string())),
        "old" => Ok(Outcome::There(Some(row.number()?).filter(|position| *position > 0), row.bytes()?)),
        "hidden" => Ok(Outcome::Hidden),
        "hole" => Ok(Outcome::Hole(LogPosition { seq: row.number()?, version: row.number()? })),
        _ => Err(unexpected("what became of a filing")),
    }
}

/// Merges both lists: a change comes after the messages up to the head at which
/// it was made.
///
/// `to` may be of a history that Redis has lost since. Nothing beyond the ends of the
/// lists counts: a message of the new history would get the version of a lost change.
fn merge(
    conversation: &ConversationId,
    fetched: &FxHashMap<ListId, Entries>,
    from: LogPosition,
    to: LogPosition,
) -> Result<Vec<Arc<LogEntry>>> {
    let messages = fetched.get(&(conversation.clone(), Kind::Message));
    let changes = fetched.get(&(conversation.clone(), Kind::Change));
    let end = |entries: Option<&Entries>, to: u64| entries.map_or(to, |entries| to.min(entries.head));
    let to = LogPosition { seq: end(messages, to.seq), version: end(changes, to.version) };
    let mut merged = Vec::new();
    let mut position = from;
    let take_messages =
        |upto: u64, position: &mut LogPosition, merged: &mut Vec<Arc<LogEntry>>| -> Result<()> {
            while position.seq < upto {
                position.seq += 1;
                if let Some(bytes) = messages.and_then(|messages| messages.get(position.seq)) {
                    let entry = log_entry(conversation, Kind::Message, *position, 0, bytes.clone());
                    let entry =
                        unless_damaged(entry, format_args!("message {} of {conversation}", position.seq))?;
                    merged.extend(entry.map(Arc::new));
                }
            }
            Ok(())
        };
    while position.version < to.version {
        let change = match changes.and_then(|changes| changes.get(position.version + 1)) {
            Some(bytes) => {
                let at = format_args!("change {} of {conversation}", position.version + 1);
                unless_damaged(split_change(bytes), at)?
            }
            None => None,
        };
        if let Some(StoredChange { head, amends, entry }) = change {
            take_messages(head.min(to.seq), &mut position, &mut merged)?;
            position.version += 1;
            let entry = log_entry(conversation, Kind::Change, position, amends, entry);
            let at = format_args!("change {} of {conversation}", position.version);
            merged.extend(unless_damaged(entry, at)?.map(Arc::new));
        } else {
            position.version += 1;
        }
    }
    take_messages(to.seq, &mut position, &mut merged)?;
    Ok(merged)
}

fn log_entry(
    conversation: &ConversationId,
    kind: Kind,
    position: LogPosition,
    amends: u64,
    bytes: Bytes,
) -> Result<LogEntry> {
    let Entry { fingerprint, time, by, .. } = decode_any(bytes.clone())?;
    let by = UserId::parse(&by).map_err(|_| unexpected("an entry by a user"))?;
    let conversation = conversation.clone();
    Ok(LogEntry { conversation, kind, position, amends, fingerprint, time, by, bytes, trace: Bytes::new() })
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn a_message_does_not_get_the_version_of_a_change_that_was_lost() {
        let group = ConversationId::new_group(proto::Time::now());
        let message = |seq| {
            let by = "alice".to_owned();
            let entry = Entry { by, fingerprint: seq, ..Entry::default() };
            (u64::from(seq), Bytes::from(entry.encode_to_vec()))
        };
        let fetched = FxHashMap::from_iter([
            ((group.clone(), Kind::Message), Entries::of(2, [message(2)])),
            ((group.clone(), Kind::Change), Entries::of(1, [])),
        ]);
        let (from, lost) = (LogPosition { seq: 1, version: 1 }, LogPosition { seq: 5, version: 2 });
        let merged = merge(&group, &fetched, from, lost).unwrap();
        let positions: Vec<_> = merged.iter().map(|entry| entry.position).collect();
        assert_eq!(positions, [LogPosition { seq: 2, version: 1 }]);
    }
}
