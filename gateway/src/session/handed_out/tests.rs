//! Which acknowledgements name their marks.

use proto::wire::{Entry, entry::What};
use proto::{Cursor, Position, ResetReason, StoreIncarnation};

use super::super::handle::tests::session;
use super::super::{CatchUp, Session};
use super::*;

const STORE: StoreIncarnation = StoreIncarnation(7);

fn event(conversation: &str, position: u64, by: &str) -> Arc<Event> {
    let what = Some(What::Message(wire::Message::default()));
    let fingerprint = u32::try_from(position).unwrap();
    let entry = Entry { fingerprint, by: by.into(), what, ..Entry::default() };
    Arc::new(Event::from(wire::Event {
        conversation: conversation.into(),
        seq: position * 10,
        entry: Some(entry),
        state: None,
    }))
}

fn cursor(position: u64) -> Cursor {
    event("", position, "").cursor(Position(position))
}

/// A session that began where everything is acknowledged, in `STORE`.
fn acknowledged_at(position: u64) -> Session {
    let session = session();
    session.begins_acknowledged(cursor(position), STORE);
    session.begin(cursor(position), Position(position), []);
    session.remember();
    session
}

/// Hands out a message at the next position.
fn hand_out(session: &Session, conversation: &str, position: u64, by: &str) {
    session.offer(Position(position), &event(conversation, position, by));
    take(session);
}

fn take(session: &Session) {
    while let super::super::NextStep::Frames = session.take(&mut Vec::new(), 100) {}
}

/// The marks that an `ack` names.
fn named(session: &Session, position: u64) -> Option<Vec<(String, u64)>> {
    let (handed_out, _) = session.acknowledges(cursor(position), STORE);
    Some(handed_out?.marks.into_iter().map(|mark| (mark.conversation, mark.seq)).collect())
}

/// An `ack` that is answered at once.
fn answered(session: &Session, position: u64) {
    let (_, claim) = session.acknowledges(cursor(position), STORE);
    session.acknowledged(claim.unwrap());
}

fn mark(conversation: &str, seq: u64) -> (String, u64) {
    (conversation.to_owned(), seq)
}

#[test]
fn an_ack_names_the_newest_message_of_each_conversation_up_to_its_cursor() {
    let session = acknowledged_at(3);
    hand_out(&session, "alice~bob", 4, "bob");
    hand_out(&session, "alice~carol", 5, "carol");
    hand_out(&session, "alice~bob", 6, "bob");
    hand_out(&session, "alice~bob", 7, "bob");
    assert_eq!(named(&session, 6), Some(vec![mark("alice~bob", 60), mark("alice~carol", 50)]));
    assert_eq!(named(&session, 4), Some(vec![mark("alice~bob", 40)]));
    assert_eq!(named(&session, 3), Some(vec![]), "said already");
}

#[test]
fn ones_own_messages_are_not_named() {
    let session = acknowledged_at(0);
    hand_out(&session, "alice~bob", 1, "bob");
    hand_out(&session, "alice~bob", 2, "alice");
    assert_eq!(named(&session, 2), Some(vec![mark("alice~bob", 10)]));
}

#[test]
fn what_was_not_answered_is_named_again() {
    let session = acknowledged_at(0);
    hand_out(&session, "alice~bob", 1, "bob");
    let (_, first) = session.acknowledges(cursor(1), STORE);
    hand_out(&session, "alice~carol", 2, "carol");
    let both = Some(vec![mark("alice~carol", 20), mark("alice~bob", 10)]);
    assert_eq!(named(&session, 2), both);
    session.acknowledged(first.unwrap());
    assert_eq!(named(&session, 2), Some(vec![mark("alice~carol", 20)]));
    answered(&session, 2);
    assert_eq!(named(&session, 1), None, "an older one is looked up");
}

#[test]
fn a_cursor_that_was_not_handed_out_is_looked_up() {
    let session = acknowledged_at(3);
    hand_out(&session, "alice~bob", 4, "bob");
    let forged = Cursor { position: Position(4), ..cursor(5) };
    for unknown in [forged, cursor(5), cursor(2)] {
        assert!(session.acknowledges(unknown, STORE).0.is_none());
    }
}

#[test]
fn the_first_ack_of_a_session_that_began_anywhere_is_looked_up() {
    let session = session();
    session.begin(cursor(3), Position(3), []);
    session.remember();
    hand_out(&session, "alice~bob", 4, "bob");
    assert_eq!(named(&session, 4), None);
    // An answer about what came before it began says too little.
    answered(&session, 2);
    assert_eq!(named(&session, 4), None);
    answered(&session, 4);
    hand_out(&session, "alice~bob", 5, "bob");
    assert_eq!(named(&session, 5), Some(vec![mark("alice~bob", 50)]));
}

#[test]
fn in_another_incarnation_of_the_store_nothing_is_named() {
    let session = acknowledged_at(0);
    hand_out(&session, "alice~bob", 1, "bob");
    for other in [StoreIncarnation(8), StoreIncarnation::default()] {
        assert!(session.acknowledges(cursor(1), other).0.is_none());
    }
}

#[test]
fn what_is_handed_out_while_the_position_is_in_doubt_is_never_named() {
    let session = acknowledged_at(0);
    hand_out(&session, "alice~bob", 1, "bob");
    let (_, before) = session.acknowledges(cursor(1), STORE);
    session.offer(Position(2), &event("alice~bob", 2, "bob"));
    session.catch_up(CatchUp::Bus);
    take(&session);
    session.acknowledged(before.unwrap());
    answered(&session, 2);
    assert_eq!(named(&session, 2), None);
    // The position is still one of the log.
    let asked = session.begin_page();
    session.apply(wire::InboxPage { head: 2, ..wire::InboxPage::default() }, asked);
    assert!(session.is_live());
    assert_eq!(named(&session, 2), None);
    answered(&session, 2);
    hand_out(&session, "alice~bob", 3, "bob");
    assert_eq!(named(&session, 3), Some(vec![mark("alice~bob", 30)]));
}

#[test]
fn after_a_reset_what_was_before_is_forgotten() {
    let session = acknowledged_at(0);
    hand_out(&session, "alice~bob", 1, "bob");
    session.catch_up(CatchUp::Hole);
    let asked = session.begin_page();
    let reset = wire::ResetReason::from(Some(ResetReason::Rewritten)).into();
    let restart = Some(cursor(9).into());
    session.apply(wire::InboxPage { head: 9, reset, restart, ..wire::InboxPage::default() }, asked);
    take(&session);
    assert_eq!(named(&session, 1), None);
    assert_eq!(named(&session, 9), None);
    answered(&session, 9);
    assert_eq!(named(&session, 9), Some(vec![]));
}

#[test]
fn too_much_is_forgotten_until_something_is_acknowledged() {
    let session = acknowledged_at(0);
    let weight = Delivery { cursor: cursor(1), message: Some(("alice~bob".into(), 1)) }.weight() as u64;
    let many = HELD as u64 / weight;
    for position in 1..=many {
        hand_out(&session, "alice~bob", position, "bob");
    }
    assert_eq!(named(&session, 1), Some(vec![mark("alice~bob", 10)]));
    for position in many + 1..many + 9 {
        hand_out(&session, "alice~bob", position, "bob");
    }
    let held = || session.lock().handed_out.as_ref().map(|all| (all.bytes, all.log.capacity()));
    assert_eq!(held(), Some((0, 0)));
    assert_eq!(named(&session, many + 8), None);
    answered(&session, many + 8);
    hand_out(&session, "alice~bob", many + 9, "bob");
    assert_eq!(named(&session, many + 9), Some(vec![mark("alice~bob", (many + 9) * 10)]));
}

#[test]
fn the_position_is_told_now_and_then_and_at_the_end() {
    let session = acknowledged_at(0);
    let mut told = Vec::new();
    for position in 1..=130 {
        hand_out(&session, "alice~bob", position, "bob");
        let (handed_out, claim) = session.acknowledges(cursor(position), STORE);
        if handed_out.unwrap().position {
            told.push(position);
        }
        session.acknowledged(claim.unwrap());
    }
    assert_eq!(told, [64, 128]);
    let (last, said) = session.last_position(STORE).unwrap();
    assert_eq!((last, said.position, said.marks.len()), (cursor(130), true, 0));
    assert!(session.last_position(StoreIncarnation(8)).is_none());
    assert!(acknowledged_at(5).last_position(STORE).is_none(), "nothing is new");
}
