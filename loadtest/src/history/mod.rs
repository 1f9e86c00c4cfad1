//! The history of a run: what was sent, what was acknowledged, and what each
//! device received, in the order in which it happened. One checker judges it
//! against the promises of PROTOCOL.md §2.
//!
//! In reading order: [`History`] (what is written down), [`DeviceLog`] (one
//! device's pen), [`Allowed`] and [`Report`] (the judgement).

mod amendments;
mod check;
mod device;
mod fold;
mod marks;
mod report;
mod seen;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use fold::Fold;

pub use device::DeviceLog;
pub use report::{Report, Violation};

/// What a scenario does to the cluster beyond what clients may never notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allowed {
    /// Devices may be told `reset`. What was acknowledged before a device's
    /// reset may be missing there; after it everything holds again. The store has
    /// another history then, in which marks may be lower.
    pub reset: bool,
}

/// Written by many tasks at once.
#[derive(Debug, Default)]
pub struct History {
    log: Mutex<Log>,
}

/// Names are kept once and are numbers from then on: a load test writes
/// millions of lines.
#[derive(Debug, Default)]
struct Log {
    /// Counts everything that is written: tells what came first.
    clock: u64,
    names: Names,
    sends: Vec<Send>,
    /// The index in `sends`, by `client_msg_id`.
    sends_by_id: HashMap<u32, usize>,
    devices: Vec<Device>,
    amendments: amendments::Amendments,
    memberships: HashMap<u32, Vec<Member>>,
    /// Judges at once instead of keeping lines.
    fold: Option<Fold>,
}

#[derive(Debug, Default)]
struct Names {
    texts: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
}

/// One message that a client wanted to send, however often it tried.
#[derive(Debug)]
struct Send {
    id: u32,
    conversation: u32,
    begun: u64,
    /// Each different one that a `sent` gave.
    seqs: Vec<u64>,
    acknowledged: Option<u64>,
    /// The store forgot it: nobody needs to have it.
    forgotten: bool,
}

/// A point in a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

/// Who should get the messages of a conversation, and from which moment to
/// which; seqs, because a change stands between messages.
#[derive(Debug)]
struct Member {
    user: u32,
    after: u64,
    up_to: u64,
}

#[derive(Debug)]
struct Device {
    user: u32,
    name: u32,
    /// Everything whose sending begins later is for this device.
    since: u64,
    lines: Vec<Line>,
    /// What it was told of how far others are.
    marks: marks::Marks,
    /// The edits that it was told of, by their ids.
    edits: HashSet<u32>,
}

/// What a device got.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    at: u64,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    /// A session began here; the inbox's position.
    Began { cursor: Box<str> },
    /// An event of the inbox; a message, or something without a seq.
    Event { cursor: Box<str>, message: Option<Message> },
    /// Something of a channel; it stands in no inbox.
    Publication { message: Message },
    /// Read on from this position; the reason.
    Reset { cursor: Box<str>, reason: Box<str> },
    /// The same in a channel, after this seq.
    ChannelReset { channel: u32, seq: u64, reason: Box<str> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Message {
    conversation: u32,
    seq: u64,
    id: Option<u32>,
}

impl History {
    /// An empty one.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// An empty one that judges as it goes and keeps no lines: its memory does
    /// not grow with the length of the run. For runs in which every user has
    /// one device, all made known before the first message.
    pub fn bounded() -> Arc<Self> {
        let log = Log { fold: Some(Fold::default()), ..Log::default() };
        Arc::new(Self { log: Mutex::new(log) })
    }

    /// These users get all messages of the conversation. Direct conversations
    /// need no saying.
    pub fn group(&self, conversation: &str, members: &[&str]) {
        for member in members {
            self.joined(conversation, member, 0);
        }
    }

    /// This user gets the messages after this seq.
    pub fn joined(&self, conversation: &str, user: &str, after: u64) {
        let mut log = self.log();
        let conversation = log.names.number(conversation);
        let user = log.names.number(user);
        log.memberships.entry(conversation).or_default().push(Member { user, after, up_to: u64::MAX });
    }

    /// This user gets the messages up to this seq and no later ones.
    pub fn left(&self, conversation: &str, user: &str, up_to: u64) {
        let mut log = self.log();
        let conversation = log.names.number(conversation);
        let user = log.names.number(user);
        for member in log.memberships.entry(conversation).or_default() {
            if member.user == user && member.up_to == u64::MAX {
                member.up_to = up_to;
            }
        }
    }

    /// A device that gets everything that is sent from now on.
    pub fn device(self: &Arc<Self>, user: &str, device: &str) -> DeviceLog {
        let mut log = self.log();
        let user = log.names.number(user);
        let name = log.names.number(device);
        let since = log.tick();
        log.devices.push(Device {
            user,
            name,
            since,
            lines: Vec::new(),
            marks: marks::Marks::default(),
            edits: HashSet::new(),
        });
        if let Some(fold) = &mut log.fold {
            fold.device();
        }
        DeviceLog::new(Arc::clone(self), log.devices.len() - 1)
    }

    /// Before the first attempt to send a message. Ids are unique in a run.
    pub fn sending(&self, conversation: &str, client_msg_id: &str) {
        let mut log = self.log();
        let begun = log.tick();
        let conversation = log.names.number(conversation);
        if let Some(fold) = &mut log.fold {
            return fold.sending(conversation, client_msg_id);
        }
        let id = log.names.number(client_msg_id);
        let send = Send { id, conversation, begun, seqs: Vec::new(), acknowledged: None, forgotten: false };
        if !log.sends_by_id.contains_key(&id) {
            let index = log.sends.len();
            log.sends.push(send);
            log.sends_by_id.insert(id, index);
        }
    }

    /// A `sent` came. After the same message's first one too.
    pub fn acknowledged(&self, client_msg_id: &str, seq: u64) {
        let mut log = self.log();
        let at = log.tick();
        if log.fold.is_some() {
            return log.fold_acknowledged(client_msg_id, seq);
        }
        let id = log.names.number(client_msg_id);
        let Some(&index) = log.sends_by_id.get(&id) else { return };
        let send = &mut log.sends[index];
        send.acknowledged.get_or_insert(at);
        if !send.seqs.contains(&seq) {
            send.seqs.push(seq);
        }
    }

    /// Before the first attempt to edit the message of this seq. The new body is
    /// the text `id`, unique in a run, and the message is not edited again.
    pub fn editing(&self, conversation: &str, seq: u64, id: &str) {
        let mut log = self.log();
        let begun = log.tick();
        let (conversation, id) = (log.names.number(conversation), log.names.number(id));
        log.amendments.begin(amendments::Edit { id, conversation, seq, begun, acknowledged: false });
    }

    /// The edit was answered with `ok`.
    pub fn edited(&self, id: &str) {
        let mut log = self.log();
        let id = log.names.number(id);
        log.amendments.acknowledge(id);
    }

    /// The present moment, later than all before it.
    pub fn moment(&self) -> Moment {
        Moment(self.log().tick())
    }

    /// The store has lost what was written since: messages whose sending began
    /// after that moment need not be anywhere.
    pub fn forgotten_since(&self, moment: Moment) {
        let mut log = self.log();
        for send in log.sends.iter_mut().filter(|send| send.begun > moment.0) {
            send.forgotten = true;
        }
        log.amendments.forget_since(moment.0);
    }

    /// How many messages were acknowledged.
    pub fn acknowledged_count(&self) -> usize {
        let log = self.log();
        match &log.fold {
            Some(fold) => fold.acknowledged_count(),
            None => log.sends.iter().filter(|send| send.acknowledged.is_some()).count(),
        }
    }

    /// The ids of the messages that were acknowledged, by conversation or channel;
    /// of a bounded history none.
    pub fn acknowledged_by_conversation(&self) -> HashMap<String, Vec<String>> {
        let log = self.log();
        let mut all: HashMap<String, Vec<String>> = HashMap::new();
        for send in log.sends.iter().filter(|send| send.acknowledged.is_some()) {
            let ids = all.entry(log.name(send.conversation).to_owned()).or_default();
            ids.push(log.name(send.id).to_owned());
        }
        all
    }

    /// How many messages were not acknowledged, refused ones among them.
    pub fn unanswered(&self) -> usize {
        let log = self.log();
        match &log.fold {
            Some(fold) => fold.unanswered(),
            None => log.sends.iter().filter(|send| send.acknowledged.is_none()).count(),
        }
    }

    /// How many copies of acknowledged messages have not reached a device that
    /// should have them: what a run waits for at its end.
    pub fn outstanding(&self, allowed: Allowed) -> usize {
        let log = self.log();
        match &log.fold {
            Some(fold) => fold::absent(&log, fold).len(),
            None => check::missing(&log, allowed).len() + amendments::missing(&log, allowed).len(),
        }
    }

    /// Whether all devices of a conversation hold the same messages, those
    /// included that were never acknowledged.
    pub fn settled(&self, allowed: Allowed) -> bool {
        let log = self.log();
        if let Some(fold) = &log.fold {
            return fold::absent(&log, fold).is_empty();
        }
        check::missing(&log, allowed).is_empty()
            && check::partial(&log, allowed).is_empty()
            && amendments::missing(&log, allowed).is_empty()
    }

    /// Judges all that was written down so far. To be asked when nothing is
    /// under way any more.
    pub fn check(&self, allowed: Allowed) -> Report {
        let log = self.log();
        let mut report = match &log.fold {
            Some(fold) => fold::check(&log, fold, allowed),
            None => check::check(&log, allowed),
        };
        if !allowed.reset {
            report.violations.extend(marks::violations(&log));
        }
        report.violations.extend(amendments::missing(&log, allowed));
        report
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().expect("no holder panics")
    }
}

impl Log {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn name(&self, number: u32) -> &str {
        &self.names.texts[number as usize]
    }
}

impl Names {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        let number = u32::try_from(self.texts.len()).expect("fewer than four billion names");
        let text: Arc<str> = Arc::from(text);
        self.texts.push(Arc::clone(&text));
        self.numbers.insert(text, number);
        number
    }
}
