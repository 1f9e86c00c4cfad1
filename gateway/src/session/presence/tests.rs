//! What sessions are told, in whatever order answers and notices come.

use proto::{Cursor, DeviceId, Position};

use super::*;
use crate::session::{CatchUp, NextStep, Proof};

fn session() -> Arc<Session> {
    let (user, device) = (UserId::parse("alice").unwrap(), DeviceId::parse("d").unwrap());
    let session = Session::new(user.clone(), device, Arc::new(Proof::of(user, proto::TokenEnd(u64::MAX))), 4);
    session.begin(Cursor::ORIGIN, Position(0), []);
    Arc::new(session)
}

fn users(names: &[&str]) -> Vec<UserId> {
    names.iter().map(|name| UserId::parse(name).unwrap()).collect()
}

fn state(user: &str, online: bool) -> wire::Presence {
    wire::Presence { user: user.into(), online, last_seen: if online { 0 } else { 7 } }
}

fn begin(watching: &Watching, session: &Arc<Session>, names: &[&str]) -> Result<Question, Failure> {
    session.command_begins();
    watching.begin(session, users(names))
}

/// Watches these users, all of whom are offline.
fn watches(watching: &Watching, session: &Arc<Session>, names: &[&str]) {
    let question = begin(watching, session, names).unwrap();
    let states = names.iter().map(|name| state(name, false)).collect();
    watching.answered(session, question, states, None);
}

/// What the session has been sent: `ok` with its states, then changes.
fn sent(watching: &Watching, session: &Arc<Session>) -> Vec<String> {
    let mut frames = Vec::new();
    loop {
        match session.take(&mut frames, 100) {
            NextStep::Frames => {}
            NextStep::Presence => watching.settle(session),
            _ => return frames.iter().flat_map(words).collect(),
        }
    }
}

fn words(frame: &Frame) -> Vec<String> {
    let word = |state: &wire::Presence| format!("{} {}", state.user, if state.online { "on" } else { "off" });
    match frame {
        Frame::Ok(_, answer) => match answer.as_ref() {
            Answer::Presence(states) => [vec!["ok".to_owned()], states.iter().map(word).collect()].concat(),
            _ => Vec::new(),
        },
        Frame::Presence(state) => vec![word(state)],
        _ => Vec::new(),
    }
}

#[test]
fn the_answer_comes_first_and_then_only_changes() {
    let (watching, session) = (Watching::new(10), session());
    let question = begin(&watching, &session, &["bob", "carol", "bob"]).unwrap();
    let states = ["bob", "carol", "bob"].map(|name| state(name, name == "carol"));
    watching.answered(&session, question, states.into(), None);
    for (user, online) in [("bob", false), ("bob", true), ("bob", true), ("dave", true), ("carol", false)] {
        watching.heard(state(user, online));
    }
    let expected = ["ok", "bob off", "carol on", "bob off", "bob on", "carol off"];
    assert_eq!(sent(&watching, &session), expected);
}

#[test]
fn a_notice_that_crosses_the_answer_stands_and_is_asked_about() {
    let (watching, session) = (Watching::new(10), session());
    let question = begin(&watching, &session, &["bob"]).unwrap();
    watching.heard(state("bob", true));
    watching.answered(&session, question, vec![state("bob", false)], None);
    assert_eq!(sent(&watching, &session), ["ok", "bob on"]);

    let question = watching.doubted(Instant::now() + DEBOUNCE);
    assert_eq!(question.len(), 1);
    watching.told_again(question, vec![state("bob", false)]);
    assert_eq!(sent(&watching, &session), ["bob off"]);
    assert_eq!(watching.doubted(Instant::now() + DEBOUNCE), []);
}

#[test]
fn an_older_answer_does_not_replace_a_newer_one() {
    let (watching, session) = (Watching::new(10), session());
    let older = begin(&watching, &session, &["bob"]).unwrap();
    watches(&watching, &session, &["bob"]);
    watching.heard(state("bob", true));
    watching.answered(&session, older, vec![state("bob", false)], None);
    assert_eq!(sent(&watching, &session), ["ok", "bob off", "bob on", "ok", "bob on"]);
    assert_eq!(watching.doubted(Instant::now() + DEBOUNCE).len(), 1);
}

#[test]
fn after_a_loss_all_are_asked_for_in_chunks_and_only_changes_are_told() {
    let (watching, session) = (Watching::new(1_000), session());
    let names: Vec<String> = (0..600).map(|number| format!("u{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    watches(&watching, &session, &names);
    sent(&watching, &session);
    watching.doubt_all(Duration::ZERO);
    assert_eq!(watching.doubted(Instant::now()), [], "not before more may have happened");
    let due = watching.next_due().unwrap();
    let first = watching.doubted(due);
    let second = watching.doubted(due + PAUSE);
    assert_eq!((first.len(), second.len()), (500, 100));
    for question in [first, second] {
        let states = question.iter().map(|(user, _)| state(user.as_str(), user.as_str() == "u7"));
        let states = states.collect();
        watching.told_again(question, states);
    }
    assert_eq!(sent(&watching, &session), ["u7 on"]);
    assert_eq!(watching.next_due(), None);
}

#[test]
fn a_session_without_room_gets_the_present_state_later() {
    let (watching, session) = (Watching::new(10), session());
    let names = ["a", "b", "c", "d", "e", "f"];
    watches(&watching, &session, &names);
    sent(&watching, &session);
    for name in names {
        watching.heard(state(name, true));
    }
    watching.heard(state("e", false));
    let mut told = sent(&watching, &session);
    told.sort();
    assert_eq!(told, ["a on", "b on", "c on", "d on", "f on"]);
}

#[test]
fn a_session_that_reads_gets_the_present_state_when_it_is_live_again() {
    let (watching, session) = (Watching::new(10), session());
    watches(&watching, &session, &["bob", "carol"]);
    sent(&watching, &session);
    session.catch_up(CatchUp::Hole);
    for (user, online) in [("bob", true), ("carol", true), ("carol", false)] {
        watching.heard(state(user, online));
    }
    assert_eq!(sent(&watching, &session), [""; 0]);
    let asked = session.begin_page();
    session.apply(wire::InboxPage::default(), asked);
    assert_eq!(sent(&watching, &session), ["bob on"]);
}

#[test]
fn too_many_users_are_refused_and_those_before_stay() {
    let (watching, session) = (Watching::new(3), session());
    watches(&watching, &session, &["a", "b"]);
    assert!(begin(&watching, &session, &["b", "c", "d"]).is_err());
    assert!(begin(&watching, &session, &["a", "b", "c"]).is_ok());
}

#[test]
fn whoever_was_refused_does_not_watch_but_what_was_watched_before_is() {
    let (watching, session) = (Watching::new(10), session());
    watches(&watching, &session, &["a"]);
    let question = begin(&watching, &session, &["a", "b"]).unwrap();
    watching.refused(&session, &question);
    for name in ["a", "b"] {
        watching.heard(state(name, true));
    }
    assert_eq!(sent(&watching, &session), ["ok", "a off", "a on"]);
    assert_eq!(watching.forget_unwatched(Instant::now() + GRACE), users(&["b"]));
}

#[test]
fn the_last_watcher_gone_is_said_after_a_while_unless_another_comes() {
    let watching = Watching::new(10);
    let (one, other) = (session(), session());
    watches(&watching, &one, &["a", "b"]);
    watches(&watching, &other, &["b"]);
    watching.leave(&one);
    watches(&watching, &session(), &["b"]);
    watching.leave(&other);
    assert_eq!(watching.forget_unwatched(Instant::now()), []);
    assert_eq!(watching.forget_unwatched(Instant::now() + GRACE), users(&["a"]));
    assert_eq!(watching.next_due(), None);
}

#[test]
fn somebody_who_comes_while_the_farewell_is_said_is_asked_for_again() {
    let watching = Watching::new(10);
    let first = session();
    watches(&watching, &first, &["a"]);
    watching.leave(&first);
    let gone = watching.forget_unwatched(Instant::now() + GRACE);
    watches(&watching, &session(), &["a"]);
    watching.farewell_said(gone, true);
    assert_eq!(watching.doubted(Instant::now()).len(), 1);
}

#[test]
fn an_answer_for_a_session_that_is_gone_leaves_nothing() {
    let (watching, session) = (Watching::new(10), session());
    let question = begin(&watching, &session, &["a"]).unwrap();
    watching.leave(&session);
    watching.answered(&session, question, vec![state("a", true)], None);
    assert_eq!(sent(&watching, &session), [""; 0]);
    assert_eq!(watching.forget_unwatched(Instant::now() + GRACE), users(&["a"]));
}
