//! The same judgement while the run goes on: nothing is kept of a message but
//! its number, so that a run of days needs no more memory than one of seconds.
//!
//! What it cannot do that the kept history can: compare two devices of one
//! user, judge a device that was made known after the first message, and say
//! what a `reset` excuses (a device that was reset is not asked what it lacks).
//! That an id has two numbers, or a number two ids, is seen among the last
//! [`RECENT`] of a conversation.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::check::follows;
use super::seen::SeqRanges;
use super::{Allowed, Log, Report, Violation};

/// Ids remembered of each conversation.
const RECENT: usize = 1_024;

/// Violations kept; any more are like these.
const KEPT: usize = 10_000;

/// What is known so far. Grows with devices times their conversations, with
/// what is unanswered, and with holes.
#[derive(Debug, Default)]
pub(super) struct Fold {
    sent: usize,
    acknowledged: usize,
    received: usize,
    /// Ids, hashed, that were not answered, and where they were to go.
    open: HashMap<u64, u32>,
    conversations: HashMap<u32, Numbers>,
    devices: Vec<Reading>,
    violations: Vec<Violation>,
}

#[derive(Debug, Default)]
struct Numbers {
    acknowledged: SeqRanges,
    recent: VecDeque<(u64, u64)>,
}

#[derive(Debug, Default)]
struct Reading {
    position: Option<Box<str>>,
    seen: HashMap<u32, SeqRanges>,
    resets: usize,
}

/// A copy that a device got.
#[derive(Debug, Clone, Copy)]
pub(super) struct Got<'a> {
    pub(super) conversation: u32,
    pub(super) seq: u64,
    pub(super) id: Option<&'a str>,
}

impl Fold {
    pub(super) fn device(&mut self) {
        self.devices.push(Reading::default());
    }

    pub(super) fn sending(&mut self, conversation: u32, id: &str) {
        if self.open.insert(hash(id), conversation).is_none() {
            self.sent += 1;
        }
    }

    pub(super) fn acknowledged_count(&self) -> usize {
        self.acknowledged
    }

    pub(super) fn unanswered(&self) -> usize {
        self.open.len()
    }

    /// What some device has and nobody was told of, by conversation.
    fn unacknowledged(&self) -> HashMap<u32, SeqRanges> {
        let nothing = SeqRanges::default();
        let mut found: HashMap<u32, SeqRanges> = HashMap::new();
        for (conversation, seen) in self.devices.iter().flat_map(|device| &device.seen) {
            let acknowledged = self.conversations.get(conversation).map_or(&nothing, |c| &c.acknowledged);
            for seq in seen.without(acknowledged) {
                found.entry(*conversation).or_default().insert(seq);
            }
        }
        found
    }
}

impl Log {
    /// A `sent` came.
    pub(super) fn fold_acknowledged(&mut self, id: &str, seq: u64) {
        let Some(fold) = &mut self.fold else { return };
        let key = hash(id);
        let Some(conversation) = fold.open.remove(&key) else {
            // Answered before: the same number, or one too many.
            let known = fold.conversations.values().any(|numbers| numbers.recent.contains(&(seq, key)));
            if !known {
                self.fold_violation(Violation::Confused {
                    conversation: String::new(),
                    what: format!("{id} was answered again, with #{seq}"),
                });
            }
            return;
        };
        fold.acknowledged += 1;
        let fresh = fold.conversations.entry(conversation).or_default().acknowledged.insert(seq);
        if !fresh {
            let conversation = self.name(conversation).to_owned();
            let what = format!("#{seq} was given to {id} and to another");
            self.fold_violation(Violation::Confused { conversation, what });
        }
        self.fold_number(conversation, seq, id);
    }

    /// A session began, or goes on elsewhere.
    pub(super) fn fold_began(&mut self, device: usize, cursor: &str) {
        let Some(fold) = &mut self.fold else { return };
        fold.devices[device].position.get_or_insert_with(|| cursor.into());
    }

    pub(super) fn fold_reset(&mut self, device: usize, cursor: &str, reason: &str) {
        let name = self.device_name(&self.devices[device]);
        let Some(fold) = &mut self.fold else { return };
        let reading = &mut fold.devices[device];
        reading.position = Some(cursor.into());
        reading.seen.clear();
        reading.resets += 1;
        self.fold_violation(Violation::Reset { device: name, reason: reason.to_owned() });
    }

    pub(super) fn fold_channel_reset(&mut self, device: usize, (channel, seq): (u32, u64), reason: &str) {
        let name = self.device_name(&self.devices[device]);
        let Some(fold) = &mut self.fold else { return };
        fold.devices[device].seen.insert(channel, SeqRanges::up_to(seq));
        self.fold_violation(Violation::Reset { device: name, reason: reason.to_owned() });
    }

    /// An event of the inbox: its position.
    pub(super) fn fold_event(&mut self, device: usize, cursor: &str) {
        let Some(fold) = &mut self.fold else { return };
        let before = fold.devices[device].position.replace(cursor.into());
        if let Some(before) = before.filter(|before| !follows(before, cursor)) {
            self.fold_violation(Violation::InboxOrder {
                device: self.device_name(&self.devices[device]),
                after: before.into(),
                cursor: cursor.to_owned(),
            });
        }
    }

    /// A message: its number.
    pub(super) fn fold_message(&mut self, device: usize, got: Got<'_>) {
        let Some(fold) = &mut self.fold else { return };
        fold.received += 1;
        let Got { conversation, seq, id } = got;
        let seen = fold.devices[device].seen.entry(conversation).or_default();
        let head = seen.head();
        let fresh = seen.insert(seq);
        let acknowledged = fold.conversations.get(&conversation).is_some_and(|c| c.acknowledged.has(seq));
        let invented = id.is_some_and(|id| !acknowledged && !fold.open.contains_key(&hash(id)));
        if let Some(violation) = self.fold_order(device, conversation, seq, head, fresh) {
            self.fold_violation(violation);
        }
        if invented && fresh {
            let (device, conversation) = self.both_names(device, conversation);
            self.fold_violation(Violation::Invented { device, conversation, seq });
        }
        if let Some(id) = id {
            self.fold_number(conversation, seq, id);
        }
    }

    fn fold_order(
        &self,
        device: usize,
        conversation: u32,
        seq: u64,
        head: Option<u64>,
        fresh: bool,
    ) -> Option<Violation> {
        let names = || self.both_names(device, conversation);
        match head {
            _ if !fresh => {
                let (device, conversation) = names();
                Some(Violation::Repeated { device, conversation, seq })
            }
            Some(after) if after > seq => {
                let (device, conversation) = names();
                Some(Violation::Reordered { device, conversation, seq, after })
            }
            Some(after) if after + 1 != seq => {
                let (device, conversation) = names();
                Some(Violation::Hole { device, conversation, after, seq })
            }
            _ => None,
        }
    }

    /// One number is one message.
    fn fold_number(&mut self, conversation: u32, seq: u64, id: &str) {
        let Some(fold) = &mut self.fold else { return };
        let recent = &mut fold.conversations.entry(conversation).or_default().recent;
        let key = hash(id);
        // The newest stand last.
        match recent.iter().rev().find(|known| known.0 == seq || known.1 == key) {
            Some(known) if *known == (seq, key) => return,
            None => {
                if recent.len() == RECENT {
                    recent.pop_front();
                }
                recent.push_back((seq, key));
                return;
            }
            Some(_) => {}
        }
        let what = format!("#{seq} is {id} and another, or {id} has another number");
        let conversation = self.name(conversation).to_owned();
        self.fold_violation(Violation::Confused { conversation, what });
    }

    fn both_names(&self, device: usize, conversation: u32) -> (String, String) {
        (self.device_name(&self.devices[device]), self.name(conversation).to_owned())
    }

    fn fold_violation(&mut self, violation: Violation) {
        let Some(fold) = &mut self.fold else { return };
        if fold.violations.len() < KEPT {
            fold.violations.push(violation);
        }
    }
}

/// Judges what was folded.
pub(super) fn check(log: &Log, fold: &Fold, allowed: Allowed) -> Report {
    let excused = |violation: &Violation| allowed.reset && matches!(violation, Violation::Reset { .. });
    let mut violations: Vec<_> = fold.violations.iter().filter(|v| !excused(v)).cloned().collect();
    violations.extend(absent(log, fold));
    Report {
        sent: fold.sent,
        acknowledged: fold.acknowledged,
        received: fold.received,
        resets: fold.devices.iter().map(|device| device.resets).sum(),
        violations,
    }
}

/// What was acknowledged, or has reached some, and is not with a device that
/// should have it; the first ones.
pub(super) fn absent(log: &Log, fold: &Fold) -> Vec<Violation> {
    let by_user = devices_by_user(log, fold);
    let partial = fold.unacknowledged();
    let nothing = SeqRanges::default();
    let mut found = Vec::new();
    let unanswered = partial.keys().filter(|conversation| !fold.conversations.contains_key(conversation));
    for &conversation in fold.conversations.keys().chain(unanswered) {
        let acknowledged = fold.conversations.get(&conversation).map_or(&nothing, |c| &c.acknowledged);
        let partial = partial.get(&conversation).unwrap_or(&nothing);
        for (user, after, up_to) in log.readers(conversation) {
            for &index in by_user.get(&user).into_iter().flatten() {
                let seen = fold.devices[index].seen.get(&conversation).unwrap_or(&nothing);
                let lacks = |of: &SeqRanges| -> Vec<u64> {
                    of.without(seen).filter(|seq| after < *seq && *seq <= up_to).take(KEPT).collect()
                };
                found.extend(lacks(acknowledged).into_iter().map(|seq| {
                    let (device, conversation) = log.both_names(index, conversation);
                    Violation::Missing {
                        device,
                        conversation,
                        seq,
                        client_msg_id: "an id not kept".to_owned(),
                    }
                }));
                found.extend(lacks(partial).into_iter().map(|seq| {
                    let (device, conversation) = log.both_names(index, conversation);
                    Violation::Partial { device, conversation, seq }
                }));
                found.truncate(KEPT);
            }
        }
    }
    found
}

/// Those that can be asked what they lack.
fn devices_by_user(log: &Log, fold: &Fold) -> HashMap<u32, Vec<usize>> {
    let mut by_user: HashMap<u32, Vec<usize>> = HashMap::new();
    for (index, device) in
        log.devices.iter().enumerate().filter(|(index, _)| fold.devices[*index].resets == 0)
    {
        by_user.entry(device.user).or_default().push(index);
    }
    by_user
}

fn hash(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
