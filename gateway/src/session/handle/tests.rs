//! What a session hands out, in whatever order things arrive.

use proto::wire::{Entry, InboxEvent, InboxPage, Sent};

use super::super::Since;
use super::*;

pub(in crate::session) fn session() -> Session {
    let (user, device) = (UserId::parse("alice").unwrap(), DeviceId::parse("d").unwrap());
    Session::new(user.clone(), device, Arc::new(Proof::of(user, proto::TokenEnd(u64::MAX))), 4)
}

pub(in crate::session) fn live_at(position: u64) -> Session {
    let session = session();
    session.begin(cursor(position), Position(position), []);
    session
}

pub(in crate::session) fn cursor(position: u64) -> Cursor {
    event(position).cursor(Position(position))
}

/// The event at a position has the position as its fingerprint.
pub(in crate::session) fn event(position: u64) -> Arc<Event> {
    Arc::new(Event::from(wire_event(position)))
}

fn wire_event(position: u64) -> wire::Event {
    let what = Some(wire::entry::What::Message(wire::Message::default()));
    let entry = Entry { fingerprint: u32::try_from(position).unwrap(), what, ..Default::default() };
    wire::Event { conversation: "alice~bob".into(), seq: position, entry: Some(entry), state: None }
}

/// A message by the user that [`receipt`] is about.
fn message_at(position: u64) -> wire::Event {
    let mut event = wire_event(position);
    if let Some(entry) = &mut event.entry {
        entry.by = "bob".into();
        entry.what = Some(wire::entry::What::Message(wire::Message::default()));
    }
    event
}

fn message(position: u64) -> Arc<Event> {
    Arc::new(Event::from(message_at(position)))
}

fn page(positions: std::ops::RangeInclusive<u64>, head: u64) -> InboxPage {
    let events = positions.map(|position| InboxEvent { position, event: Some(wire_event(position)) });
    InboxPage { events: events.collect(), head, ..Default::default() }
}

/// The positions of the frames taken, and what is to be done then.
fn taken(session: &Session) -> (Vec<u64>, NextStep) {
    let mut frames = Vec::new();
    loop {
        match session.take(&mut frames, 100) {
            NextStep::Frames => {}
            other => {
                let places = frames.iter().filter_map(Frame::cursor).map(|cursor| cursor.position.0);
                return (places.collect(), other);
            }
        }
    }
}

#[test]
fn what_the_store_could_not_read_is_passed_over_and_what_follows_is_handed_out() {
    let session = live_at(5);
    session.offer(Position(9), &event(9));
    assert!(session.give_up_waiting());
    assert!(matches!(taken(&session).1, NextStep::Read(_)));
    let mut page = page(6..=9, 9);
    for place in [0, 1, 3] {
        page.events[place].event.as_mut().unwrap().entry.as_mut().unwrap().what = None;
    }
    session.apply(page, session.begin_page());
    let (places, then) = taken(&session);
    assert_eq!(places, [8]);
    assert!(matches!(then, NextStep::Nothing), "it is live again");
    session.offer(Position(10), &event(10));
    assert_eq!(taken(&session).0, [10]);
}

#[test]
fn a_live_session_takes_each_position_once_and_drops_what_it_had() {
    let session = live_at(5);
    for position in [6, 6, 5, 7] {
        session.offer(Position(position), &event(position));
    }
    let (places, then) = taken(&session);
    assert_eq!(places, [6, 7]);
    assert!(matches!(then, NextStep::Nothing));
}

#[test]
fn an_early_event_waits_for_the_one_before_it() {
    let session = live_at(0);
    assert_eq!(session.offer(Position(3), &event(3)), OfferOutcome::Gap);
    assert_eq!(session.offer(Position(2), &event(2)), OfferOutcome::Gap);
    assert_eq!(taken(&session).0, [0_u64; 0]);
    session.offer(Position(1), &event(1));
    assert_eq!(taken(&session).0, [1, 2, 3]);
    assert!(!session.give_up_waiting());
}

#[test]
fn a_hole_that_stays_is_read_from_the_log() {
    let session = live_at(0);
    session.offer(Position(1), &event(1));
    session.offer(Position(3), &event(3));
    assert!(session.give_up_waiting());
    let (places, then) = taken(&session);
    assert_eq!(places, [1]);
    assert!(matches!(then, NextStep::Read(after) if after == cursor(1)));
    session.apply(page(2..=3, 3), session.begin_page());
    assert_eq!(taken(&session).0, [2, 3]);
    session.offer(Position(4), &event(4));
    assert_eq!(taken(&session).0, [4]);
}

#[test]
fn what_is_announced_while_attaching_or_reading_is_read_before_the_session_is_live() {
    let session = session();
    session.offer(Position(6), &event(6));
    session.begin(cursor(5), Position(5), []);
    assert!(matches!(taken(&session).1, NextStep::Read(_)));
    let before = session.begin_page();
    session.offer(Position(7), &event(7));
    session.apply(page(6..=6, 6), before);
    let (places, then) = taken(&session);
    assert_eq!(places, [6]);
    assert!(matches!(then, NextStep::Read(after) if after == cursor(6)));
    session.apply(page(7..=7, 7), session.begin_page());
    let (places, then) = taken(&session);
    assert_eq!(places, [7]);
    assert!(matches!(then, NextStep::Nothing));
}

#[test]
fn a_slow_reader_loses_its_queue_and_reads_on_from_what_it_has() {
    let session = live_at(0);
    for position in 1..=4 {
        session.offer(Position(position), &event(position));
    }
    assert_eq!(session.offer(Position(5), &event(5)), OfferOutcome::CatchingUp(CatchUp::Behind));
    assert!(
        matches!(taken(&session), (places, NextStep::Read(after)) if places.is_empty() && after == Cursor::ORIGIN)
    );
    session.apply(page(1..=5, 5), session.begin_page());
    assert_eq!(taken(&session).0, [1, 2, 3, 4, 5]);
}

#[test]
fn a_reader_is_too_slow_by_what_waits_for_it_too() {
    let large = |position: u64| {
        let message = wire::Message { body: vec![b'1'; 1 << 20].into(), ..Default::default() };
        let mut event = wire_event(position);
        event.entry.as_mut().unwrap().what = Some(wire::entry::What::Message(message));
        Arc::new(Event::from(event))
    };
    let session = live_at(0);
    assert_eq!(session.offer(Position(1), &large(1)), OfferOutcome::Settled);
    assert_eq!(session.offer(Position(2), &large(2)), OfferOutcome::CatchingUp(CatchUp::Behind));
    session.apply(page(1..=2, 2), session.begin_page());
    assert_eq!(taken(&session).0, [1, 2]);
    // What was taken no longer counts.
    assert_eq!(session.offer(Position(3), &large(3)), OfferOutcome::Settled);
    assert_eq!(taken(&session).0, [3]);
    // Events that wait for an earlier one are limited, too.
    assert_eq!(session.offer(Position(5), &large(5)), OfferOutcome::Gap);
    assert_eq!(session.offer(Position(6), &large(6)), OfferOutcome::CatchingUp(CatchUp::Hole));
}

#[test]
fn sent_takes_the_place_of_the_message_when_it_is_the_very_next_event() {
    let session = live_at(0);
    session.command_begins();
    session.command_begins();
    let fingerprint = |position| u32::try_from(position).unwrap();
    let sent = |position| Sent { position, fingerprint: fingerprint(position), seq: 1, ..Default::default() };
    let own =
        |position| Event::own(&"alice~bob".parse().unwrap(), &sent(position), "alice", Default::default());
    session.offer_own(None, "alice~bob", sent(1), own(1), StoreIncarnation(0));
    session.offer(Position(1), &event(1));
    let mut frames = Vec::new();
    session.take(&mut frames, 10);
    assert!(matches!(frames[..], [Frame::Sent { cursor: Some(_), .. }]));

    // Position 2 is missing: the answer goes first, and its event comes at its
    // position.
    session.offer_own(None, "alice~bob", sent(3), own(3), StoreIncarnation(0));
    session.offer(Position(2), &event(2));
    frames.clear();
    session.take(&mut frames, 10);
    assert!(matches!(
        frames[..],
        [Frame::Sent { cursor: None, .. }, Frame::Event(Position(2), _), Frame::Event(Position(3), _)]
    ));
}

#[test]
fn a_dropped_sent_keeps_its_answer_and_gives_its_place_back_to_the_log() {
    let session = live_at(0);
    session.command_begins();
    let sent = Sent { position: 1, fingerprint: 1, seq: 1, ..Default::default() };
    let own = Event::own(&"alice~bob".parse().unwrap(), &sent, "alice", Default::default());
    session.offer_own(None, "alice~bob", sent, own, StoreIncarnation(0));
    session.catch_up(CatchUp::Behind);
    let mut frames = Vec::new();
    session.take(&mut frames, 10);
    assert!(matches!(frames[..], [Frame::Sent { cursor: None, .. }]));
    assert!(matches!(session.take(&mut frames, 10), NextStep::Read(after) if after == Cursor::ORIGIN));
}

#[test]
fn a_store_that_lost_what_it_announced_does_not_keep_the_session_reading_for_ever() {
    let session = live_at(5);
    session.offer_head(Position(9));
    assert!(matches!(taken(&session).1, NextStep::Read(_)));
    session.apply(page(6..=7, 7), session.begin_page());
    assert!(matches!(taken(&session), (places, NextStep::Nothing) if places == [6, 7]));
}

#[test]
fn a_reset_goes_on_from_its_cursor() {
    let session = live_at(5);
    session.catch_up(CatchUp::Bus);
    let reset = InboxPage {
        head: 2,
        reset: wire::ResetReason::Rewritten.into(),
        restart: Some(cursor(2).into()),
        ..Default::default()
    };
    session.apply(reset, session.begin_page());
    assert_eq!(taken(&session).0, [2]);
    session.offer(Position(3), &event(3));
    assert_eq!(taken(&session).0, [3]);
}

#[test]
fn the_answer_of_another_history_is_not_taken_for_the_next_event() {
    let session = live_at(5);
    let sent = Sent { position: 6, fingerprint: 6, seq: 1, store: 2, ..Default::default() };
    let own = Event::own(&"alice~bob".parse().unwrap(), &sent, "alice", Default::default());
    session.command_begins();
    session.offer_own(None, "alice~bob", sent, own, StoreIncarnation(1));
    let (places, then) = taken(&session);
    assert_eq!(places, [0_u64; 0]);
    assert!(matches!(then, NextStep::Read(after) if after == cursor(5)));
}

#[test]
fn another_event_at_the_last_position_makes_a_session_compare_its_place() {
    let session = live_at(5);
    assert_eq!(session.offer(Position(5), &event(4)), OfferOutcome::CatchingUp(CatchUp::Bus));
    session.offer(Position(6), &event(6));
    assert!(
        matches!(taken(&session), (places, NextStep::Read(after)) if places.is_empty() && after == cursor(5))
    );
}

#[test]
fn a_page_that_was_asked_for_before_a_doubt_does_not_settle_it() {
    let session = live_at(5);
    session.catch_up(CatchUp::Hole);
    let before = session.begin_page();
    session.doubt(Instant::now());
    session.apply(page(6..=6, 6), before);
    assert!(
        matches!(taken(&session), (places, NextStep::Read(after)) if places == [6] && after == cursor(6))
    );
    session.apply(marks(6, &[], 0), session.begin_page());
    assert!(matches!(taken(&session).1, NextStep::Nothing));
}

#[test]
fn a_doubt_while_attaching_is_settled_by_a_page() {
    let session = session();
    session.doubt(Instant::now());
    session.begin(cursor(5), Position(5), []);
    assert!(matches!(taken(&session).1, NextStep::Read(after) if after == cursor(5)));
}

#[test]
fn the_end_comes_after_everything_else_and_the_first_reason_counts() {
    let session = live_at(0);
    session.offer(Position(1), &event(1));
    session.command_begins();
    session.send_away(10);
    session.end(End::Shutdown);
    session.end(End::Replaced);
    let mut frames = Vec::new();
    session.take(&mut frames, 10);
    assert!(matches!(frames[..], [Frame::Event(..), Frame::Goaway(End::Shutdown, Some(10))]));
    assert!(matches!(session.take(&mut frames, 10), NextStep::Nothing), "a command is unanswered");
    session.answer(Frame::Pong(None));
    assert!(matches!(session.take(&mut frames, 10), NextStep::Frames));
    assert!(matches!(session.take(&mut frames, 10), NextStep::Ended(End::Shutdown)));
}

pub(in crate::session) fn receipt(seq: u64) -> Arc<Receipt> {
    receipt_of("bob", seq)
}

fn receipt_of(user: &str, seq: u64) -> Arc<Receipt> {
    let kind = wire::receipt::Kind::Read.into();
    Arc::new(wire::Receipt { conversation: "alice~bob".into(), user: user.into(), kind, seq }.into())
}

/// An empty page at the head, with marks.
fn marks(head: u64, seqs: &[u64], next: u64) -> InboxPage {
    let marks = seqs.iter().map(|seq| wire::Receipt::clone(&receipt(*seq))).collect();
    InboxPage { head, marks, marks_next: next, ..Default::default() }
}

/// The seqs of the receipts taken, and what is to be done then.
fn receipts(session: &Session) -> (Vec<u64>, NextStep) {
    session.hurry();
    let mut frames = Vec::new();
    loop {
        match session.take(&mut frames, 100) {
            NextStep::Frames => {}
            other => {
                let seq = |frame: &Frame| match frame {
                    Frame::Receipt(receipt) => Some(receipt.seq),
                    _ => None,
                };
                return (frames.iter().filter_map(seq).collect(), other);
            }
        }
    }
}

/// Since when the next page asks for marks, and where it goes on.
fn asked(session: &Session) -> Option<(Since, u64)> {
    session.begin_page().marks.map(|asked| (asked.since, asked.after))
}

fn resumed_at(position: u64) -> Session {
    let session = session();
    session.begin_first_page(Some(cursor(position)));
    session.begin(cursor(position), Position(position), []);
    session
}

#[test]
fn a_session_that_begins_at_the_head_is_owed_no_marks() {
    let session = live_at(5);
    assert!(session.is_live());
    session.catch_up(CatchUp::Behind);
    assert_eq!(asked(&session), None);
}

#[test]
fn a_resumed_session_reads_all_pages_of_marks_before_it_is_live() {
    let session = resumed_at(5);
    assert!(matches!(taken(&session).1, NextStep::Read(after) if after == cursor(5)));
    assert_eq!(asked(&session), Some((Since::Place(cursor(5)), 0)));
    // A page that does not reach the head has none.
    session.apply(page(6..=6, 7), session.begin_page());
    assert_eq!(asked(&session), Some((Since::Place(cursor(5)), 0)));
    let mut last = page(7..=7, 7);
    last.marks = vec![wire::Receipt::clone(&receipt(2))];
    last.marks_next = 9;
    session.apply(last, session.begin_page());
    let (seqs, then) = receipts(&session);
    assert_eq!(seqs, [2]);
    assert!(matches!(then, NextStep::Read(_)));
    assert_eq!(asked(&session), Some((Since::Place(cursor(5)), 9)));
    session.apply(marks(7, &[3], 0), session.begin_page());
    assert!(matches!(receipts(&session), (seqs, NextStep::Nothing) if seqs == [3]));
    assert!(session.is_live());
}

#[test]
fn after_a_loss_marks_are_asked_for_since_the_earliest_moment() {
    let session = live_at(5);
    let (early, late) = (Instant::now(), Instant::now() + std::time::Duration::from_secs(9));
    session.doubt(late);
    session.doubt(early);
    assert_eq!(asked(&session), Some((Since::Moment(early), 0)));
    session.apply(marks(5, &[], 0), session.begin_page());
    assert!(session.is_live());
    session.catch_up(CatchUp::Hole);
    assert!(matches!(asked(&session), Some((Since::Moment(_), 0))));
}

#[test]
fn a_loss_while_marks_are_read_is_asked_for_again() {
    let session = resumed_at(5);
    let before = session.begin_page();
    let lost = Instant::now();
    session.doubt(lost);
    session.apply(marks(5, &[2], 0), before);
    assert!(!session.is_live());
    assert!(matches!(asked(&session), Some((Since::Moment(since), 0)) if since <= lost));
    session.apply(marks(5, &[2], 0), session.begin_page());
    assert!(session.is_live());
}

#[test]
fn a_loss_after_a_resume_changes_nothing_before_marks_are_asked_for() {
    let session = resumed_at(5);
    session.doubt(Instant::now());
    assert_eq!(asked(&session), Some((Since::Place(cursor(5)), 0)));
}

#[test]
fn a_mark_heard_while_reading_comes_after_what_is_read_and_never_goes_back() {
    let session = resumed_at(5);
    let before = session.begin_page();
    for seq in [4, 6, 5] {
        session.offer_receipts(&[receipt(seq)]);
    }
    session.offer_receipts(&[receipt_of("carol", 1)]);
    session.apply(marks(5, &[3], 0), before);
    assert_eq!(receipts(&session).0, [3, 6, 1]);

    // The page was newer.
    session.doubt(Instant::now());
    let before = session.begin_page();
    session.offer_receipts(&[receipt(7)]);
    session.apply(marks(5, &[8], 0), before);
    assert_eq!(receipts(&session).0, [8]);
    assert!(session.is_live());
}

#[test]
fn a_mark_that_waits_for_a_missing_message_is_dropped_when_a_message_implies_more() {
    for (late, early) in [(message(6), event(7)), (event(6), message(7))] {
        let session = live_at(5);
        session.offer(Position(7), &early);
        session.offer_receipts(&[receipt(5)]);
        session.offer_receipts(&[receipt_of("carol", 5)]);
        session.offer(Position(6), &late);
        assert_eq!(receipts(&session).0, [5], "carol's alone");
        assert!(session.is_live());
    }
}

#[test]
fn more_marks_than_can_wait_are_asked_for_and_each_round_comes_nearer() {
    let session = live_at(5);
    session.catch_up(CatchUp::Behind);
    let before = session.begin_page();
    assert_eq!(before.marks, None);
    for user in 0..100 {
        session.offer_receipts(&[receipt_of(&format!("u{user}"), 1)]);
    }
    session.apply(marks(5, &[], 0), before);
    assert!(!session.is_live(), "some were dropped");
    assert!(matches!(asked(&session), Some((Since::Moment(_), 0))));
    session.apply(marks(5, &[9], 0), session.begin_page());
    assert!(session.is_live());
    assert_eq!(receipts(&session).0.len(), 1 + 64);
}

#[test]
fn a_mark_without_room_is_not_lost() {
    let session = live_at(5);
    for seq in 1..=6 {
        session.offer_receipts(&[receipt(seq)]);
    }
    let (seqs, then) = receipts(&session);
    assert_eq!(seqs, [1, 2, 3, 4]);
    assert!(matches!(then, NextStep::Read(_)));
    session.apply(marks(5, &[], 0), session.begin_page());
    assert_eq!(receipts(&session).0, [6]);
}

#[test]
fn a_slow_reader_keeps_the_marks_that_had_room() {
    let session = live_at(0);
    session.offer_receipts(&[receipt(1)]);
    for position in 1..=4 {
        session.offer(Position(position), &event(position));
    }
    let (seqs, then) = receipts(&session);
    assert_eq!(seqs, [0_u64; 0], "a message before it is read again first");
    assert!(matches!(then, NextStep::Read(after) if after == Cursor::ORIGIN));
    session.apply(page(1..=4, 4), session.begin_page());
    assert_eq!(receipts(&session).0, [1]);
}

#[test]
fn a_mark_does_not_overtake_the_messages_that_are_under_way() {
    let session = live_at(0);
    session.offer(Position(2), &message(2));
    session.offer_receipts(&[receipt(7)]);
    assert_eq!(receipts(&session).0, [0_u64; 0]);
    session.offer(Position(1), &message(1));
    let mut frames = Vec::new();
    session.take(&mut frames, 10);
    let kinds: Vec<_> = frames.iter().map(Frame::kind).collect();
    assert_eq!(kinds, ["message", "message", "receipt"]);
}

#[test]
fn a_mark_that_waited_is_dropped_where_a_message_says_more() {
    for (seq, marks) in [(6, vec![7]), (7, vec![])] {
        let session = resumed_at(5);
        session.offer_receipts(&[receipt(7)]);
        let mut page = page(6..=6, 6);
        let event = page.events[0].event.as_mut().unwrap();
        *event = wire::Event { seq, ..message_at(6) };
        session.apply(page, session.begin_page());
        assert_eq!(receipts(&session).0, marks);
    }
}

#[test]
fn after_a_reset_the_client_reads_the_marks_itself() {
    let session = resumed_at(5);
    let reset = InboxPage {
        head: 2,
        reset: wire::ResetReason::Rewritten.into(),
        restart: Some(cursor(2).into()),
        ..Default::default()
    };
    let before = session.begin_page();
    session.offer_receipts(&[receipt(1)]);
    session.apply(reset, before);
    assert_eq!(receipts(&session).0, [1]);
    assert!(session.is_live());
}

#[test]
fn an_idle_session_keeps_a_pointer_for_marks() {
    assert_eq!(size_of::<super::super::marks::Marks>(), size_of::<usize>());
    let session = live_at(5);
    session.doubt(Instant::now());
    session.apply(marks(5, &[], 0), session.begin_page());
    assert!(session.is_live());
}

#[test]
fn receipts_and_answers_that_nobody_waits_for_go_with_what_comes_next() {
    let session = live_at(5);
    let mut frames = Vec::new();
    session.command_begins();
    assert!(session.answer_late(Frame::Pong(None)), "somebody is to see to it that it goes");
    assert!(!session.offer_receipts(&[receipt(1)]), "somebody does");
    assert!(matches!(session.take(&mut frames, 10), NextStep::Nothing));
    session.offer(Position(6), &event(6));
    assert!(matches!(session.take(&mut frames, 10), NextStep::Frames));
    assert_eq!(frames.iter().map(Frame::kind).collect::<Vec<_>>(), ["pong", "receipt", "message"]);
}

#[test]
fn what_is_late_goes_when_it_is_hurried_and_when_the_session_ends() {
    let session = live_at(5);
    let mut frames = Vec::new();
    session.offer_receipts(&[receipt(1)]);
    session.hurry();
    assert!(matches!(session.take(&mut frames, 10), NextStep::Frames));
    assert!(session.offer_receipts(&[receipt(2)]));
    session.end(End::Kicked);
    assert!(matches!(session.take(&mut frames, 10), NextStep::Frames));
    assert_eq!(frames.iter().map(Frame::kind).collect::<Vec<_>>(), ["receipt", "receipt", "goaway"]);
}

#[test]
fn with_many_commands_unanswered_no_answer_waits() {
    let session = live_at(5);
    for _ in 0..LATE_ANSWERS {
        session.command_begins();
    }
    assert!(!session.answer_late(Frame::Pong(None)));
    assert!(matches!(session.take(&mut Vec::new(), 10), NextStep::Frames));
}
