//! Each violation is found, and a clean history is found clean.

use std::sync::Arc;

use serde_json::json;

use super::super::{Allowed, DeviceLog, History, Report, Violation};
use crate::client::Frame;

const STRICT: Allowed = Allowed { reset: false };
const WITH_RESET: Allowed = Allowed { reset: true };

/// alice writes to bob; positions of bob's inbox and seqs are given.
struct Run {
    history: Arc<History>,
    bob: DeviceLog,
}

impl Run {
    fn new() -> Self {
        let history = History::new();
        let bob = history.device("bob", "d1");
        bob.began("0.0");
        Self { history, bob }
    }

    fn sent(&self, id: &str, seq: u64) {
        self.history.sending("alice~bob", id);
        self.history.acknowledged(id, seq);
    }

    fn got(&mut self, position: u64, id: &str, seq: u64) {
        self.bob.frame(&message(position, id, seq));
    }

    fn reset(&mut self, position: u64) {
        self.bob.frame(&Frame(
            json!({"type": "reset", "reason": "rewritten", "cursor": format!("{position}.r")}),
        ));
    }

    fn check(&self) -> Report {
        self.history.check(STRICT)
    }
}

fn message(position: u64, id: &str, seq: u64) -> Frame {
    Frame(json!({
        "type": "message", "cursor": format!("{position}.a"), "conversation": "alice~bob",
        "seq": seq, "client_msg_id": id,
    }))
}

#[test]
fn a_history_in_which_all_arrived_in_order_is_clean() {
    let mut run = Run::new();
    run.sent("m1", 1);
    run.sent("m2", 2);
    run.got(1, "m1", 1);
    run.got(2, "m2", 2);
    let report = run.check();
    report.assert_clean();
    assert_eq!((report.sent, report.acknowledged, report.received), (2, 2, 2));
    assert!(run.history.settled(STRICT));
}

#[test]
fn an_acknowledged_message_that_did_not_arrive_is_missing() {
    let run = Run::new();
    run.sent("m1", 1);
    let report = run.check();
    assert_eq!(report.missing(), 1, "{report}");
    assert!(report.to_string().contains("m1"));
    assert_eq!(run.history.outstanding(STRICT), 1);
}

#[test]
fn it_is_missing_on_the_one_device_of_two_that_lacks_it() {
    let mut run = Run::new();
    let _tablet = run.history.device("bob", "tablet");
    run.sent("m1", 1);
    run.got(1, "m1", 1);
    let report = run.check();
    assert!(matches!(&report.violations[..], [Violation::Missing { device, .. }] if device == "bob/tablet"));
}

#[test]
fn the_senders_own_devices_should_have_it_too() {
    let mut run = Run::new();
    let mut alice = run.history.device("alice", "phone");
    let _tablet = run.history.device("alice", "tablet");
    run.history.sending("alice~bob", "m1");
    alice.expect_answer(7, "m1");
    alice.frame(&Frame(
        json!({"type": "sent", "ref": 7, "cursor": "1.q", "conversation": "alice~bob", "seq": 1}),
    ));
    run.got(1, "m1", 1);
    let report = run.check();
    assert!(
        matches!(&report.violations[..], [Violation::Missing { device, .. }] if device == "alice/tablet"),
        "{report}"
    );
}

#[test]
fn a_device_that_came_later_need_not_have_it() {
    let mut run = Run::new();
    run.sent("m1", 1);
    run.got(1, "m1", 1);
    let _late = run.history.device("bob", "late");
    run.check().assert_clean();
}

#[test]
fn an_unacknowledged_message_reaches_all_or_none() {
    let mut run = Run::new();
    let _tablet = run.history.device("bob", "tablet");
    run.history.sending("alice~bob", "m1");
    run.check().assert_clean();
    run.got(1, "m1", 1);
    let report = run.check();
    assert!(matches!(&report.violations[..], [Violation::Partial { .. }]), "{report}");
    assert!(!run.history.settled(STRICT));
}

#[test]
fn a_message_twice_is_repeated() {
    let mut run = Run::new();
    run.sent("m1", 1);
    run.got(1, "m1", 1);
    run.got(2, "m1", 1);
    let report = run.check();
    assert_eq!(report.repeated(), 1, "{report}");
}

#[test]
fn a_message_before_an_earlier_one_is_reordered() {
    let mut run = Run::new();
    run.sent("m1", 1);
    run.sent("m2", 2);
    run.got(1, "m2", 2);
    run.got(2, "m1", 1);
    let report = run.check();
    assert!(matches!(&report.violations[..], [Violation::Reordered { seq: 1, after: 2, .. }]), "{report}");
}

#[test]
fn a_seq_left_out_is_a_hole_even_if_nobody_was_told_of_it() {
    let mut run = Run::new();
    run.sent("m1", 1);
    run.sent("m3", 3);
    run.got(1, "m1", 1);
    run.got(2, "m3", 3);
    let report = run.check();
    assert!(matches!(&report.violations[..], [Violation::Hole { after: 1, seq: 3, .. }]), "{report}");
}

#[test]
fn a_place_left_out_of_the_inbox_is_found() {
    let mut run = Run::new();
    run.sent("m1", 1);
    run.got(2, "m1", 1);
    let report = run.check();
    assert!(matches!(&report.violations[..], [Violation::InboxOrder { .. }]), "{report}");
}

#[test]
fn devices_that_saw_different_events_at_one_place_disagree() {
    let mut run = Run::new();
    let mut tablet = run.history.device("bob", "tablet");
    run.sent("m1", 1);
    run.history.sending("bob~carol", "c1");
    run.history.acknowledged("c1", 1);
    let carols = |position: u64| {
        let mut frame = message(position, "c1", 1);
        frame.0["conversation"] = json!("bob~carol");
        frame
    };
    run.got(1, "m1", 1);
    run.bob.frame(&carols(2));
    tablet.frame(&carols(1));
    tablet.frame(&message(2, "m1", 1));
    let report = run.check();
    assert!(report.violations.iter().all(|v| matches!(v, Violation::Disagree { .. })), "{report}");
    assert_eq!(report.violations.len(), 2, "{report}");
}

#[test]
fn one_number_for_two_messages_is_confused() {
    let mut run = Run::new();
    run.sent("m1", 1);
    run.sent("m2", 1);
    run.got(1, "m1", 1);
    let report = run.check();
    assert_eq!(report.count(|v| matches!(v, Violation::Confused { .. })), 1, "{report}");
}

#[test]
fn two_numbers_for_one_message_are_confused() {
    let mut run = Run::new();
    run.sent("m1", 1);
    run.history.acknowledged("m1", 2);
    run.got(1, "m1", 1);
    run.got(2, "m1", 2);
    let report = run.check();
    assert_eq!(report.count(|v| matches!(v, Violation::Confused { .. })), 1, "{report}");
}

#[test]
fn a_message_that_nobody_sent_is_invented() {
    let mut run = Run::new();
    run.got(1, "ghost", 1);
    let report = run.check();
    assert!(matches!(&report.violations[..], [Violation::Invented { .. }]), "{report}");
}

#[test]
fn a_reset_is_a_violation_unless_the_scenario_allows_it() {
    let mut run = Run::new();
    run.sent("m1", 1);
    run.reset(4);
    run.sent("m2", 2);
    run.got(5, "m2", 2);
    assert_eq!(run.check().count(|v| matches!(v, Violation::Reset { .. })), 1);
    run.history.check(WITH_RESET).assert_clean();
}

#[test]
fn what_is_acknowledged_after_a_reset_must_arrive() {
    let mut run = Run::new();
    run.sent("m1", 1);
    run.reset(4);
    run.sent("m2", 2);
    let report = run.history.check(WITH_RESET);
    assert!(
        matches!(&report.violations[..], [Violation::Missing { client_msg_id, .. }] if client_msg_id == "m2"),
        "{report}"
    );
}

#[test]
fn a_place_left_out_is_found_behind_positions_of_channels_too() {
    let mut run = Run::new();
    run.sent("m1", 1);
    run.sent("m2", 2);
    for (cursor, id, seq) in [("1.a.x.7", "m1", 1), ("3.b.x.7", "m2", 2)] {
        let mut frame = message(0, id, seq);
        frame.0["cursor"] = json!(cursor);
        run.bob.frame(&frame);
    }
    let report = run.check();
    assert!(matches!(&report.violations[..], [Violation::InboxOrder { .. }]), "{report}");
}

#[test]
fn a_channels_reset_excuses_what_was_published_there_before_and_nothing_else() {
    let mut run = Run::new();
    run.history.group("c_news", &["bob"]);
    run.sent("m1", 1);
    for (id, seq) in [("p1", 1), ("p2", 2)] {
        run.history.sending("c_news", id);
        run.history.acknowledged(id, seq);
    }
    run.bob.frame(&Frame(
        json!({"type": "channel_reset", "channel": "c_news", "seq": 1, "reason": "rewritten"}),
    ));
    let report = run.history.check(WITH_RESET);
    assert!(
        matches!(&report.violations[..], [Violation::Missing { client_msg_id, .. }] if client_msg_id == "m1"),
        "{report}"
    );
    assert_eq!(run.check().missing(), 3);
}

#[test]
fn whoever_joined_later_gets_only_what_comes_after() {
    let history = History::new();
    let mut carol = history.device("carol", "d1");
    history.group("g_1", &["alice"]);
    history.joined("g_1", "carol", 1);
    for (id, seq) in [("m1", 1), ("m2", 2), ("m3", 3)] {
        history.sending("g_1", id);
        history.acknowledged(id, seq);
    }
    history.left("g_1", "carol", 2);
    let mut frame = message(1, "m2", 2);
    frame.0["conversation"] = json!("g_1");
    carol.frame(&frame);
    history.check(STRICT).assert_clean();
}

#[test]
fn the_number_of_a_message_that_nobody_saw_before_the_store_forgot_it_may_be_given_again() {
    let allowed = Allowed { reset: true };
    let mut run = Run::new();
    let torn = run.history.moment();
    run.sent("m1", 1);
    run.history.forgotten_since(torn);
    run.sent("m2", 1);
    run.got(1, "m2", 1);
    run.history.check(allowed).assert_clean();
    // Somebody had seen it, and was told nothing.
    run.got(2, "m1", 1);
    let report = run.history.check(allowed);
    assert_eq!(report.count(|v| matches!(v, Violation::Confused { .. })), 1, "{report}");
}

#[test]
fn what_the_store_forgot_need_not_be_anywhere_and_the_rest_must() {
    let run = Run::new();
    run.sent("m1", 1);
    let copied = run.history.moment();
    run.sent("m2", 2);
    run.history.forgotten_since(copied);
    let report = run.check();
    assert!(
        matches!(&report.violations[..], [Violation::Missing { client_msg_id, .. }] if client_msg_id == "m1"),
        "{report}"
    );
}
