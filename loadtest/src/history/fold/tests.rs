//! What is judged as it goes is judged as it would be in the end: the same
//! random runs, with every fault, in both histories.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use super::super::{Allowed, DeviceLog, History, Violation};
use crate::client::Frame;

const STRICT: Allowed = Allowed { reset: false };
const USERS: [&str; 3] = ["alice", "bob", "carol"];

/// One copy of a message for one device.
#[derive(Debug, Clone, Copy)]
struct Copy {
    device: usize,
    conversation: usize,
    seq: u64,
}

struct Run {
    history: Arc<History>,
    devices: Vec<DeviceLog>,
    positions: [u64; 3],
}

impl Run {
    fn new(history: Arc<History>) -> Self {
        history.group("g_all", &USERS);
        let devices = USERS.map(|user| history.device(user, "d"));
        devices.iter().for_each(|device| device.began("0.0"));
        Self { history, devices: devices.into(), positions: [0; 3] }
    }

    fn got(&mut self, copy: Copy, channel: bool) {
        self.positions[copy.device] += 1;
        let id = id(copy.conversation, copy.seq);
        if channel {
            let frame = json!({"type": "publication", "channel": CONVERSATIONS[copy.conversation].0, "seq": copy.seq});
            return self.devices[copy.device].publication(&Frame(frame), Some(&id));
        }
        self.devices[copy.device].frame(&Frame(json!({
            "type": "message", "cursor": format!("{}.a", self.positions[copy.device]),
            "conversation": CONVERSATIONS[copy.conversation].0, "seq": copy.seq, "client_msg_id": id,
        })));
    }

    /// What was found, without what only the kept history can say.
    fn found(&self) -> Vec<String> {
        let mut found: Vec<_> = self.history.check(STRICT).violations.into_iter().map(nameless).collect();
        found.sort();
        found
    }
}

const CONVERSATIONS: [(&str, &[usize]); 2] = [("alice~bob", &[0, 1]), ("g_all", &[0, 1, 2])];

fn id(conversation: usize, seq: u64) -> String {
    format!("m{conversation}-{seq}")
}

fn nameless(violation: Violation) -> String {
    match violation {
        Violation::Missing { device, conversation, seq, .. } => {
            format!("missing {device} {conversation} {seq}")
        }
        other => other.to_string(),
    }
}

/// Copies in an order in which some are lost, some come twice, some too late.
fn copies(random: &mut StdRng, faults: f64) -> Vec<Copy> {
    let mut copies = Vec::new();
    for (conversation, (_, readers)) in CONVERSATIONS.iter().enumerate() {
        for &device in *readers {
            let mut own: Vec<_> = (1..=8).map(|seq| Copy { device, conversation, seq }).collect();
            if random.random_bool(faults) {
                own.remove(random.random_range(0..own.len()));
            }
            if random.random_bool(faults) {
                let again = own[random.random_range(0..own.len())];
                own.insert(random.random_range(0..=own.len()), again);
            }
            if random.random_bool(faults) {
                let (one, other) = (random.random_range(0..own.len()), random.random_range(0..own.len()));
                own.swap(one, other);
            }
            copies.extend(own);
        }
    }
    copies
}

#[test]
fn both_histories_find_the_same_in_the_same_run() {
    let mut faulty = 0;
    for seed in 0..400 {
        let mut random = StdRng::seed_from_u64(seed);
        let channel = random.random_bool(0.3);
        let copies = copies(&mut random, if seed % 4 == 0 { 0.0 } else { 0.4 });
        let lost_answer = random.random_bool(0.5).then(|| random.random_range(1..=8));
        let mut runs = [Run::new(History::new()), Run::new(History::bounded())];
        for run in &mut runs {
            for (conversation, (name, _)) in CONVERSATIONS.iter().enumerate() {
                for seq in 1..=8 {
                    run.history.sending(name, &id(conversation, seq));
                    if lost_answer != Some(seq) {
                        run.history.acknowledged(&id(conversation, seq), seq);
                    }
                }
            }
            for copy in &copies {
                run.got(*copy, channel);
            }
        }
        let [kept, bounded] = &runs;
        assert_eq!(bounded.found(), kept.found(), "seed {seed}");
        assert_eq!(bounded.history.settled(STRICT), kept.history.settled(STRICT), "seed {seed}");
        assert_eq!(bounded.history.outstanding(STRICT) == 0, bounded.history.settled(STRICT));
        assert_eq!(bounded.history.unanswered(), kept.history.unanswered());
        faulty += usize::from(!bounded.found().is_empty());
    }
    assert!(faulty > 100, "{faulty}");
}

#[test]
fn one_number_for_two_messages_and_a_message_of_nobody_are_found() {
    let mut run = Run::new(History::bounded());
    for (message, seq) in [("m0-1", 1), ("other", 1)] {
        run.history.sending("alice~bob", message);
        run.history.acknowledged(message, seq);
    }
    assert!(run.found().iter().any(|text| text.starts_with("confused")), "{:?}", run.found());
    run.got(Copy { device: 0, conversation: 0, seq: 7 }, false);
    assert!(run.found().iter().any(|text| text.starts_with("invented")), "{:?}", run.found());
}

#[test]
fn a_hole_between_places_of_the_inbox_is_found() {
    let mut run = Run::new(History::bounded());
    run.devices[0].frame(&Frame(json!({"type": "conversation", "cursor": "2.a"})));
    assert!(run.found()[0].starts_with("inbox: alice/d"), "{:?}", run.found());
}

#[test]
fn whoever_joined_or_left_needs_only_what_was_between() {
    let mut run = Run::new(History::bounded());
    run.history.device("dave", "d");
    for seq in 1..=8 {
        run.history.sending("g_all", &id(1, seq));
        run.history.acknowledged(&id(1, seq), seq);
        for device in 0..3 {
            run.got(Copy { device, conversation: 1, seq }, false);
        }
    }
    assert!(run.found().is_empty());
    run.history.joined("g_all", "dave", 6);
    assert_eq!(run.history.outstanding(STRICT), 2);
    run.history.left("g_all", "dave", 7);
    assert_eq!(run.history.outstanding(STRICT), 1);
}
