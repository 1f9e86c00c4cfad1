//! Edits: one that was answered with `ok` is told to everybody who has the
//! message. Kept only where lines are: a bounded history has none.

use std::collections::HashMap;

use super::check::excused;
use super::{Allowed, Log, Violation};

/// All edits of a run.
#[derive(Debug, Default)]
pub(super) struct Amendments {
    edits: Vec<Edit>,
    /// The index in `edits`.
    by_id: HashMap<u32, usize>,
}

/// A message's new body, which is its id.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edit {
    pub(super) id: u32,
    pub(super) conversation: u32,
    /// Of the message.
    pub(super) seq: u64,
    pub(super) begun: u64,
    pub(super) acknowledged: bool,
}

impl Amendments {
    pub(super) fn begin(&mut self, edit: Edit) {
        self.by_id.insert(edit.id, self.edits.len());
        self.edits.push(edit);
    }

    pub(super) fn acknowledge(&mut self, id: u32) {
        if let Some(index) = self.by_id.get(&id) {
            self.edits[*index].acknowledged = true;
        }
    }

    /// The store lost what began after that moment: nobody needs to have it.
    pub(super) fn forget_since(&mut self, moment: u64) {
        for edit in self.edits.iter_mut().filter(|edit| edit.begun > moment) {
            edit.acknowledged = false;
        }
    }
}

/// Acknowledged edits that a device should have been told of and was not.
pub(super) fn missing(log: &Log, allowed: Allowed) -> Vec<Violation> {
    let mut violations = Vec::new();
    for edit in log.amendments.edits.iter().filter(|edit| edit.acknowledged) {
        for device in &log.devices {
            let Edit { id, conversation, seq, begun, .. } = *edit;
            if !device.edits.contains(&id)
                && begun > device.since
                && log.reads(conversation, seq, device)
                && !excused(device, conversation, begun, allowed)
            {
                violations.push(Violation::EditMissing {
                    device: log.device_name(device),
                    conversation: log.name(conversation).to_owned(),
                    seq,
                    id: log.name(id).to_owned(),
                });
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Allowed, History, Violation};
    use crate::client::Frame;

    const STRICT: Allowed = Allowed { reset: false };

    fn edited(id: &str) -> Frame {
        Frame(json!({
            "type": "edited", "cursor": "1.a", "conversation": "alice~bob", "seq": 1, "body": id, "by": "alice",
        }))
    }

    #[test]
    fn an_edit_that_was_answered_and_is_told_to_one_of_two_is_missing() {
        let history = History::new();
        let mut bob = history.device("bob", "d");
        let mut alice = history.device("alice", "d");
        history.editing("alice~bob", 1, "e1");
        history.check(STRICT).assert_clean();
        history.edited("e1");
        alice.frame(&edited("e1"));
        assert!(!history.settled(STRICT));
        assert!(
            matches!(&history.check(STRICT).violations[..], [Violation::EditMissing { device, .. }] if device == "bob/d")
        );
        bob.frame(&edited("e1"));
        history.check(STRICT).assert_clean();
        assert!(history.settled(STRICT));
    }

    #[test]
    fn an_edit_that_the_store_forgot_is_not_missing() {
        let history = History::new();
        let _bob = history.device("bob", "d");
        let before = history.moment();
        history.editing("alice~bob", 1, "e1");
        history.edited("e1");
        history.forgotten_since(before);
        history.check(STRICT).assert_clean();
    }
}
