//! Filing entries in the inboxes of members, step by step: strictly one after
//! the other, and where entries between are missing (another router is on its
//! way, or died on it) those first.

use std::sync::Arc;

use bytes::Bytes;
use fred::types::Value;
use proto::wire::Entry;
use proto::{ConversationId, NodeIncarnation, Seq, SessionId, UserId};
use rustc_hash::FxHashMap;

use super::Redis;
use super::announce::Announced;
use super::conversation::Start;
use super::fetch::{Changed, Entries, ListId, Wanted, decode, split_change};
use super::link::Item;
use super::reference::Kind;
use super::reply::{Row, unexpected};
use super::session::{locations, user_item};
use super::step::Step;
use super::unheard::Doubtful;
use super::{script, write};
use crate::Result;
use crate::damage::unless_damaged;

/// Records touched in one call.
const RECORDS: usize = 512;

/// The place of an entry in its conversation: each entry raises exactly one of
/// the two, so that places compare as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(super) struct Place {
    pub(super) seq: u64,
    pub(super) version: u64,
}

/// An entry at its place.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) conversation: ConversationId,
    pub(super) kind: Kind,
    pub(super) place: Place,
    /// The seq of the message that it amends; 0 if it amends none.
    pub(super) amends: u64,
    pub(super) fingerprint: u32,
    pub(super) time: u64,
    pub(super) by: UserId,
    /// The encoded entry.
    pub(super) bytes: Bytes,
    /// Of its post; empty for what was read from the log.
    pub(super) trace: Bytes,
}

/// An entry to file for a member.
#[derive(Debug, Clone)]
pub(super) struct Filing {
    pub(super) member: Start,
    pub(super) entry: Arc<Placed>,
    /// The session that needs no announcement.
    pub(super) except: Option<SessionId>,
    /// It is the last one that the member gets.
    pub(super) last: bool,
}

/// What became of a [`Filing`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// At this position; these sessions are to hear of it.
    Filed(u64, String),
    /// It was there already; the position is known if nothing came after. And
    /// the reference to the newest event of the conversation, if it is kept.
    There(Option<u64>, Bytes),
    /// The last place filed: what comes after is missing.
    Hole(Place),
    /// The member does not see the message that it amends: nothing is in the
    /// inbox, and what comes next can be filed.
    Hidden,
}

/// How to file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Only what comes next.
    Strict,
    /// What comes later: whatever lies between is filed already or gone.
    Missing,
    /// Over a history that was lost: older cursors hold no more.
    Rewrite,
}

impl Outcome {
    /// In the member's inbox, if known.
    pub(super) fn position(&self) -> Option<u64> {
        match self {
            Self::Filed(position, _) => Some(*position),
            Self::There(position, _) => *position,
            Self::Hole(_) | Self::Hidden => None,
        }
    }
}

impl Redis {
    /// Files in the order given. Answers each, and what is to be announced.
    pub(super) async fn file(&self, filings: Vec<Filing>) -> Result<(Vec<Outcome>, Vec<Announced>)> {
        let mut outcomes = self.file_strictly(&filings).await?;
        let missing = self.missing(&filings, &outcomes).await?;
        let closed = self.file_each(&missing, Mode::Missing).await?;
        let by_place: FxHashMap<(&UserId, &ConversationId, Place), &Outcome> = missing
            .iter()
            .zip(&closed)
            .map(|(filing, outcome)| {
                ((&filing.member.user, &filing.entry.conversation, filing.entry.place), outcome)
            })
            .collect();
        for (filing, outcome) in filings.iter().zip(&mut outcomes) {
            if let Outcome::Hole(_) = outcome {
                let key = (&filing.member.user, &filing.entry.conversation, filing.entry.place);
                *outcome =
                    by_place.get(&key).map_or(Outcome::There(None, Bytes::new()), |closed| (*closed).clone());
            }
        }
        self.rewrite(&filings, &outcomes).await?;
        let mut events = self.announced(&missing, &closed).await?;
        let (direct, done): (Vec<_>, Vec<_>) = filings
            .into_iter()
            .zip(outcomes.iter().cloned())
            .filter(|(filing, _)| {
                let key = (&filing.member.user, &filing.entry.conversation, filing.entry.place);
                !by_place.contains_key(&key)
            })
            .unzip();
        events.extend(self.announced(&direct, &done).await?);
        Ok((outcomes, events))
    }

    async fn file_strictly(&self, filings: &[Filing]) -> Result<Vec<Outcome>> {
        // A test lets the process die with some inboxes written.
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
        let common = [write::number(self.bounds.inbox_events)];
        let rows = self.append.run(&script::FILE, &common, items, RECORDS).await?;
        rows.into_iter().map(outcome).collect()
    }

    /// What lies between what is filed and what is to be filed, inclusive.
    async fn missing(&self, filings: &[Filing], outcomes: &[Outcome]) -> Result<Vec<Filing>> {
        let mut holes: Vec<(Place, Vec<&Filing>)> = Vec::new();
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
            let Some(to) = wanted.iter().map(|filing| filing.entry.place).max() else { continue };
            let first = wanted[0];
            for entry in self.between(&first.entry.conversation, from, to).await? {
                let own = wanted.iter().find(|filing| filing.entry.place == entry.place);
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

    /// The entries of a conversation after one place up to another, in order.
    /// Those that were trimmed are not among them.
    pub(super) async fn between(
        &self,
        conversation: &ConversationId,
        from: Place,
        to: Place,
    ) -> Result<Vec<Arc<Placed>>> {
        let lists = [
            ((conversation.clone(), Kind::Message), Wanted::all(from.seq + 1..=to.seq)),
            ((conversation.clone(), Kind::Change), Wanted::all(from.version + 1..=to.version)),
        ];
        let wanted = lists.into_iter().filter(|(_, wanted)| !wanted.is_empty()).collect();
        let fetched = self.fetch(wanted).await?;
        merge(conversation, &fetched, from, to)
    }

    /// Whom to tell of what was filed; forgets sessions on dead nodes, and notes
    /// what nobody hears of.
    pub(super) async fn announced(&self, filings: &[Filing], outcomes: &[Outcome]) -> Result<Vec<Announced>> {
        let mut events: Vec<Announced> = Vec::new();
        let mut doubtful = Vec::new();
        let mut index: FxHashMap<(&ConversationId, Place), usize> = FxHashMap::default();
        for (filing, outcome) in filings.iter().zip(outcomes) {
            let Outcome::Filed(position, text) = outcome else { continue };
            let entry = &filing.entry;
            let mut nodes: Vec<NodeIncarnation> = Vec::new();
            for location in locations(text)? {
                if Some(&location.session) != filing.except.as_ref() && !nodes.contains(&location.node) {
                    nodes.push(location.node);
                }
            }
            if self.bounds.unheard > 0 {
                doubtful.extend(Doubtful::of(filing, &nodes));
            }
            let at = *index.entry((&entry.conversation, entry.place)).or_insert_with(|| {
                events.push(Announced {
                    conversation: entry.conversation.clone(),
                    seq: match entry.kind {
                        Kind::Message => Seq(entry.place.seq),
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
        let dead =
            self.dead_among(events.iter().flat_map(|event| &event.targets).map(|target| &target.0)).await?;
        if !dead.is_empty() {
            let mut users = Vec::new();
            for event in &mut events {
                users.extend(
                    event
                        .targets
                        .iter()
                        .filter(|target| dead.contains(&target.0))
                        .map(|target| target.1.clone()),
                );
                event.targets.retain(|target| !dead.contains(&target.0));
            }
            users.sort_unstable();
            users.dedup();
            self.sweep(&users, &dead).await?;
        }
        self.note_unheard(doubtful, &dead).await?;
        Ok(events)
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
        write::number(entry.place.seq),
        write::number(entry.place.version),
        write::number(entry.amends),
        Value::Bytes(Bytes::copy_from_slice(&write::prefix(
            entry.fingerprint,
            entry.time,
            entry.bytes.len(),
        ))),
        Value::Bytes(Bytes::copy_from_slice(&write::place_of_marks(
            &entry.conversation,
            &filing.member.user,
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
        "hole" => Ok(Outcome::Hole(Place { seq: row.number()?, version: row.number()? })),
        _ => Err(unexpected("what became of a filing")),
    }
}

/// A change stands after the messages up to the head that it was made at.
fn merge(
    conversation: &ConversationId,
    fetched: &FxHashMap<ListId, Entries>,
    from: Place,
    to: Place,
) -> Result<Vec<Arc<Placed>>> {
    let messages = fetched.get(&(conversation.clone(), Kind::Message));
    let changes = fetched.get(&(conversation.clone(), Kind::Change));
    let mut merged = Vec::new();
    let mut place = from;
    let take_messages = |upto: u64, place: &mut Place, merged: &mut Vec<Arc<Placed>>| -> Result<()> {
        while place.seq < upto {
            place.seq += 1;
            if let Some(bytes) = messages.and_then(|messages| messages.get(place.seq)) {
                let entry = placed(conversation, Kind::Message, *place, 0, bytes.clone());
                let entry = unless_damaged(entry, format_args!("message {} of {conversation}", place.seq))?;
                merged.extend(entry.map(Arc::new));
            }
        }
        Ok(())
    };
    while place.version < to.version {
        let change = match changes.and_then(|changes| changes.get(place.version + 1)) {
            Some(bytes) => {
                let at = format_args!("change {} of {conversation}", place.version + 1);
                unless_damaged(split_change(bytes), at)?
            }
            None => None,
        };
        if let Some(Changed { head, amends, entry }) = change {
            take_messages(head.min(to.seq), &mut place, &mut merged)?;
            place.version += 1;
            let entry = placed(conversation, Kind::Change, place, amends, entry);
            let at = format_args!("change {} of {conversation}", place.version);
            merged.extend(unless_damaged(entry, at)?.map(Arc::new));
        } else {
            place.version += 1;
        }
    }
    take_messages(to.seq, &mut place, &mut merged)?;
    Ok(merged)
}

fn placed(
    conversation: &ConversationId,
    kind: Kind,
    place: Place,
    amends: u64,
    bytes: Bytes,
) -> Result<Placed> {
    let Entry { fingerprint, time, by, .. } = decode(bytes.clone())?;
    let by = UserId::parse(&by).map_err(|_| unexpected("an entry by a user"))?;
    let conversation = conversation.clone();
    Ok(Placed { conversation, kind, place, amends, fingerprint, time, by, bytes, trace: Bytes::new() })
}
