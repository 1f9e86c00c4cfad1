//! The checker: one pass over each device's lines, and the sends held against
//! what the devices have.

use std::collections::{HashMap, HashSet};

use proto::Bookmark;

use super::seen::SeqRanges;
use super::{Allowed, Device, Log, Message, Report, Send, Violation, What};

/// Judges the whole log.
pub(super) fn check(log: &Log, allowed: Allowed) -> Report {
    let mut report = Report {
        sent: log.sends.len(),
        acknowledged: log.sends.iter().filter(|send| send.acknowledged.is_some()).count(),
        received: log.devices.iter().map(|device| messages(device).count()).sum(),
        resets: log.devices.iter().map(resets).sum(),
        violations: Vec::new(),
    };
    for device in &log.devices {
        one_device(log, device, allowed, &mut report.violations);
    }
    agreement(log, &mut report.violations);
    numbers(log, allowed, &mut report.violations);
    report.violations.extend(missing(log, allowed));
    report.violations.extend(partial(log, allowed));
    report
}

/// Acknowledged messages that a device should have and has not.
pub(super) fn missing(log: &Log, allowed: Allowed) -> Vec<Violation> {
    let held = DeviceMessages::new(log);
    let mut violations = Vec::new();
    for send in log.sends.iter().filter(|send| !send.forgotten) {
        let (Some(_), Some(&seq)) = (send.acknowledged, send.seqs.first()) else { continue };
        for (index, device) in log.devices.iter().enumerate() {
            if !held.has(index, send.conversation, seq, send.id)
                && log.is_for(send, seq, device)
                && !excused(device, send.conversation, send.begun, allowed)
            {
                violations.push(Violation::Missing {
                    device: log.device_name(device),
                    conversation: log.name(send.conversation).to_owned(),
                    seq,
                    client_msg_id: log.name(send.id).to_owned(),
                });
            }
        }
    }
    violations
}

/// Messages that were never acknowledged and that some have and some have not.
pub(super) fn partial(log: &Log, allowed: Allowed) -> Vec<Violation> {
    let held = DeviceMessages::new(log);
    let mut violations = Vec::new();
    for send in log.sends.iter().filter(|send| send.acknowledged.is_none() && !send.forgotten) {
        let Some(&seq) = held.seq_by_id.get(&send.id) else { continue };
        for (index, device) in log.devices.iter().enumerate() {
            if !held.has(index, send.conversation, seq, send.id)
                && log.is_for(send, seq, device)
                && !excused(device, send.conversation, send.begun, allowed)
            {
                violations.push(Violation::Partial {
                    device: log.device_name(device),
                    conversation: log.name(send.conversation).to_owned(),
                    seq,
                });
            }
        }
    }
    violations
}

/// What every device has.
struct DeviceMessages {
    by_id: HashSet<(usize, u32)>,
    by_seq: HashSet<(usize, u32, u64)>,
    seq_by_id: HashMap<u32, u64>,
}

impl DeviceMessages {
    fn new(log: &Log) -> Self {
        let mut held = Self { by_id: HashSet::new(), by_seq: HashSet::new(), seq_by_id: HashMap::new() };
        for (index, device) in log.devices.iter().enumerate() {
            for message in messages(device) {
                match message.id {
                    Some(id) => {
                        held.by_id.insert((index, id));
                        held.seq_by_id.insert(id, message.seq);
                    }
                    None => {
                        held.by_seq.insert((index, message.conversation, message.seq));
                    }
                }
            }
        }
        held
    }

    fn has(&self, device: usize, conversation: u32, seq: u64, id: u32) -> bool {
        self.by_id.contains(&(device, id)) || self.by_seq.contains(&(device, conversation, seq))
    }
}

impl Log {
    /// Whether a message should reach a device.
    fn is_for(&self, send: &Send, seq: u64, device: &Device) -> bool {
        send.begun >= device.since && self.reads(send.conversation, seq, device)
    }

    /// Whether a device's user is one who sees the message of this seq.
    pub(super) fn reads(&self, conversation: u32, seq: u64, device: &Device) -> bool {
        if let Some(members) = self.memberships.get(&conversation) {
            return members.iter().any(|m| m.user == device.user && m.after < seq && seq <= m.up_to);
        }
        let user = self.name(device.user);
        self.name(conversation).split_once('~').is_some_and(|(one, other)| user == one || user == other)
    }

    /// The users who should get a conversation's messages: after which seq, up
    /// to which.
    pub(super) fn readers(&self, conversation: u32) -> Vec<(u32, u64, u64)> {
        if let Some(members) = self.memberships.get(&conversation) {
            return members.iter().map(|m| (m.user, m.after, m.up_to)).collect();
        }
        let Some((one, other)) = self.name(conversation).split_once('~') else { return Vec::new() };
        let users = [one, other].into_iter().filter_map(|user| self.names.numbers.get(user));
        let mut users: Vec<_> = users.map(|user| (*user, 0, u64::MAX)).collect();
        users.dedup();
        users
    }

    pub(super) fn device_name(&self, device: &Device) -> String {
        format!("{}/{}", self.name(device.user), self.name(device.name))
    }
}

/// What was begun before a device's last reset, or before that of the channel
/// that it is in: it may have been filed before the position where the reset goes
/// on, even if its answer came later.
pub(super) fn excused(device: &Device, conversation: u32, begun: u64, allowed: Allowed) -> bool {
    allowed.reset
        && device.lines.iter().rev().take_while(|line| line.at > begun).any(|line| match &line.what {
            What::Reset { .. } => true,
            What::ChannelReset { channel, .. } => *channel == conversation,
            _ => false,
        })
}

fn messages(device: &Device) -> impl Iterator<Item = &Message> {
    device.lines.iter().filter_map(|line| match &line.what {
        What::Event { message, .. } => message.as_ref(),
        What::Publication { message } => Some(message),
        _ => None,
    })
}

fn resets(device: &Device) -> usize {
    device.lines.iter().filter(|line| matches!(line.what, What::Reset { .. })).count()
}

/// Order and repeats as one device saw them; a reset begins anew.
fn one_device(log: &Log, device: &Device, allowed: Allowed, violations: &mut Vec<Violation>) {
    let mut position: Option<&str> = None;
    let mut seen: HashMap<u32, SeqRanges> = HashMap::new();
    for line in &device.lines {
        match &line.what {
            // A later session begins where its client says: what it repeats or
            // leaves out shows with the next event.
            What::Began { cursor } => {
                position.get_or_insert(cursor);
            }
            What::Reset { cursor, reason } => {
                if !allowed.reset {
                    let (device, reason) = (log.device_name(device), reason.as_ref().to_owned());
                    violations.push(Violation::Reset { device, reason });
                }
                position = Some(cursor);
                seen.clear();
            }
            What::ChannelReset { channel, seq, reason } => {
                if !allowed.reset {
                    let (device, reason) = (log.device_name(device), reason.as_ref().to_owned());
                    violations.push(Violation::Reset { device, reason });
                }
                seen.insert(*channel, SeqRanges::up_to(*seq));
            }
            What::Event { cursor, message } => {
                if let Some(before) = position.filter(|before| !follows(before, cursor)) {
                    violations.push(Violation::InboxOrder {
                        device: log.device_name(device),
                        after: before.to_owned(),
                        cursor: cursor.as_ref().to_owned(),
                    });
                }
                position = Some(cursor);
                if let Some(message) = message {
                    one_message(log, device, message, &mut seen, violations);
                }
            }
            What::Publication { message } => one_message(log, device, message, &mut seen, violations),
        }
    }
}

fn one_message(
    log: &Log,
    device: &Device,
    message: &Message,
    seen: &mut HashMap<u32, SeqRanges>,
    violations: &mut Vec<Violation>,
) {
    let name = || log.device_name(device);
    let conversation = || log.name(message.conversation).to_owned();
    let seq = message.seq;
    let seen = seen.entry(message.conversation).or_default();
    let head = seen.head();
    if !seen.insert(seq) {
        violations.push(Violation::Repeated { device: name(), conversation: conversation(), seq });
    } else if let Some(after) = head.filter(|head| *head > seq) {
        violations.push(Violation::Reordered { device: name(), conversation: conversation(), seq, after });
    } else if let Some(after) = head.filter(|head| head + 1 != seq) {
        violations.push(Violation::Hole { device: name(), conversation: conversation(), after, seq });
    }
    if message.id.is_some_and(|id| !log.sends_by_id.contains_key(&id)) {
        violations.push(Violation::Invented { device: name(), conversation: conversation(), seq });
    }
}

/// Whether an event's position is the one right after another. Cursors are opaque
/// to clients; the checker looks inside, because a hole in the inbox is the
/// fault that no client could see.
pub(super) fn follows(before: &str, after: &str) -> bool {
    match (Bookmark::parse(before), Bookmark::parse(after)) {
        (Ok(before), Ok(after)) => before.inbox.position.next() == after.inbox.position,
        _ => before != after,
    }
}

/// Devices of one user saw the same event at the same position.
fn agreement(log: &Log, violations: &mut Vec<Violation>) {
    let mut seen: HashMap<(u32, String), (&Device, Option<Message>)> = HashMap::new();
    for device in &log.devices {
        for line in &device.lines {
            let What::Event { cursor, message } = &line.what else { continue };
            // One-way transports have positions in channels behind it.
            let inbox = Bookmark::parse(cursor).map_or(cursor.to_string(), |mark| mark.inbox.to_string());
            let (first, event) = *seen.entry((device.user, inbox)).or_insert((device, *message));
            // An id may be known to the sender's device alone.
            let same = match (event, message) {
                (Some(a), Some(b)) => (a.conversation, a.seq) == (b.conversation, b.seq),
                (None, None) => true,
                _ => false,
            };
            if !same {
                violations.push(Violation::Disagree {
                    one: log.device_name(first),
                    other: log.device_name(device),
                    cursor: cursor.as_ref().to_owned(),
                });
            }
        }
    }
}

/// One message has one number and one number is one message, in what senders
/// were told and in what devices got. A store that was written over gives
/// numbers again, which its resets excuse. Where nobody had seen a message that the
/// store forgot, nobody is reset: the number that its sender was told may be given
/// again, too.
fn numbers(log: &Log, allowed: Allowed, violations: &mut Vec<Violation>) {
    if allowed.reset && log.devices.iter().any(|device| resets(device) > 0) {
        return;
    }
    let mut by_number: HashMap<(u32, u64), u32> = HashMap::new();
    let mut by_id: HashMap<u32, (u32, u64)> = HashMap::new();
    let kept = log.sends.iter().filter(|send| !(allowed.reset && send.forgotten));
    let told = kept.flat_map(|send| {
        send.seqs.iter().map(|seq| Message { conversation: send.conversation, seq: *seq, id: Some(send.id) })
    });
    let mut reported = HashSet::new();
    for message in told.chain(log.devices.iter().flat_map(messages).copied()) {
        let Some(id) = message.id else { continue };
        let number = (message.conversation, message.seq);
        let same_number = *by_number.entry(number).or_insert(id);
        let same_id = *by_id.entry(id).or_insert(number);
        let what = if same_number != id {
            format!("#{} is {} and {}", message.seq, log.name(same_number), log.name(id))
        } else if same_id != number {
            format!("{} is #{} and #{}", log.name(id), same_id.1, message.seq)
        } else {
            continue;
        };
        if reported.insert(what.clone()) {
            let conversation = log.name(message.conversation).to_owned();
            violations.push(Violation::Confused { conversation, what });
        }
    }
}

#[cfg(test)]
mod tests;
