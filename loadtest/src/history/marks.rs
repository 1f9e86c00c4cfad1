//! The marks of others that a device is sent: they never go back (PROTOCOL.md
//! §4, `receipt`). Judged as it comes, whatever kind of history is kept: of each
//! user in a conversation two numbers.

use std::collections::HashMap;

use super::{Log, Violation};

/// Marks that went back, kept of one device; any more are like these.
const KEPT: usize = 100;

/// Of one device.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// By conversation and user.
    heard: HashMap<(u32, u32), HighestMarks>,
    back: Vec<Back>,
}

#[derive(Debug, Default)]
struct HighestMarks {
    read: u64,
    delivered: u64,
}

#[derive(Debug, Clone, Copy)]
struct Back {
    conversation: u32,
    user: u32,
    seq: u64,
    after: u64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Receipt {
    pub(super) conversation: u32,
    pub(super) user: u32,
    pub(super) read: bool,
    pub(super) seq: u64,
}

impl Marks {
    pub(super) fn receipt(&mut self, receipt: Receipt) {
        let Receipt { conversation, user, read, seq } = receipt;
        let heard = self.heard.entry((conversation, user)).or_default();
        let known = if read { &mut heard.read } else { &mut heard.delivered };
        if seq < *known && self.back.len() < KEPT {
            self.back.push(Back { conversation, user, seq, after: *known });
        }
        *known = seq.max(*known);
    }

    /// Its client reads everything anew.
    pub(super) fn reset(&mut self) {
        self.heard.clear();
    }
}

/// Marks that devices got in the wrong order, or not at all.
pub(super) fn violations(log: &Log) -> Vec<Violation> {
    let mut found = Vec::new();
    for device in &log.devices {
        let named = |conversation: u32, user: u32| {
            (log.device_name(device), log.name(conversation).to_owned(), log.name(user).to_owned())
        };
        for Back { conversation, user, seq, after } in &device.marks.back {
            let (device, conversation, user) = named(*conversation, *user);
            found.push(Violation::MarkBack { device, conversation, user, seq: *seq, after: *after });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Allowed, DeviceLog, History, Violation};
    use crate::client::Frame;

    fn receipt(kind: &str, seq: u64) -> Frame {
        Frame(
            json!({"type": "receipt", "conversation": "alice~bob", "user": "alice", "kind": kind, "seq": seq}),
        )
    }

    /// What is found after these frames, in both kinds of history.
    fn found(frames: &[Frame]) -> Vec<Violation> {
        let found = |history: std::sync::Arc<History>| {
            let mut bob: DeviceLog = history.device("bob", "d");
            bob.began("0.0");
            frames.iter().for_each(|frame| bob.frame(frame));
            let found = history.check(Allowed { reset: false }).violations;
            let about_marks = |violation: &Violation| matches!(violation, Violation::MarkBack { .. });
            assert_eq!(history.check(Allowed { reset: true }).violations, []);
            found.into_iter().filter(about_marks).collect::<Vec<_>>()
        };
        let (kept, folded) = (found(History::new()), found(History::bounded()));
        assert_eq!(kept, folded);
        kept
    }

    #[test]
    fn a_mark_that_goes_back_is_found_and_a_repeat_is_none() {
        assert_eq!(found(&[receipt("read", 2), receipt("delivered", 1), receipt("read", 2)]), []);
        let [Violation::MarkBack { seq: 1, after: 2, .. }] =
            found(&[receipt("read", 2), receipt("read", 1), receipt("read", 2)])[..]
        else {
            panic!("it goes back");
        };
        let reset = Frame(json!({"type": "reset", "reason": "rewritten", "cursor": "0.0"}));
        assert_eq!(found(&[receipt("read", 2), reset, receipt("read", 1)]), []);
    }
}
