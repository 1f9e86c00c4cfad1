//! The marks of others (`receipt`) that a session was not given yet: those that
//! it must ask for, and those that it heard while it was not live.
//!
//! Invariant: after a mark no lower one is handed out. So what is heard while
//! the session reads the log waits until it has read.

use std::sync::Arc;

use proto::{Cursor, wire};
use tokio::time::Instant;

use crate::protocol::mark::Mark;
use crate::protocol::receipt::Receipt;

/// The most marks that wait until a session is live; beyond it they are dropped
/// and asked for, like everything that was missed.
const HELD: usize = 64;

/// The marks that a session still has to be given. An idle session keeps none.
#[derive(Debug, Default)]
pub(super) struct Marks(Option<Box<Due>>);

/// The time from which marks may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// Since the event at this cursor.
    Place(Cursor),
    /// Since a moment of this node's clock.
    Moment(Instant),
}

/// The marks to ask for with a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MarksAsked {
    /// Marks that changed since then.
    pub(crate) since: Since,
    /// Where to go on, as the page before said.
    pub(crate) after: u64,
}

#[derive(Debug, Default)]
struct Due {
    owed: Option<Owed>,
    /// The newest of each mark that was heard meanwhile.
    held: Vec<Arc<Receipt>>,
}

#[derive(Debug)]
struct Owed {
    since: Since,
    /// Where the next page goes on.
    after: u64,
    /// A page was asked for: what is missed from now on may not be in it.
    asked: bool,
    /// When the first one was missed since.
    again: Option<Instant>,
}

impl Marks {
    /// Notes that the session has resumed at this cursor.
    pub(super) fn owe_since(&mut self, place: Cursor) {
        self.due().owed = Some(Owed::new(Since::Place(place)));
    }

    /// Notes that something may have been missed since this moment.
    pub(super) fn owe_from(&mut self, moment: Instant) {
        match &mut self.due().owed {
            Some(owed) if owed.asked => {
                owed.again = Some(owed.again.map_or(moment, |again| again.min(moment)));
            }
            Some(Owed { since: Since::Moment(since), .. }) => *since = moment.min(*since),
            // The changes since its cursor include these.
            Some(_) => {}
            none => *none = Some(Owed::new(Since::Moment(moment))),
        }
    }

    /// The cursor that it had is not valid any more. Its client reads its
    /// conversations again, and with them all marks up to now.
    pub(super) fn reset(&mut self) {
        if let Some(due) = &mut self.0 {
            due.owed = None;
        }
    }

    /// Keeps a mark that was heard while the session is not live.
    pub(super) fn hold(&mut self, receipt: Arc<Receipt>, now: Instant) {
        let held = &mut self.due().held;
        match held.iter().position(|held| is_same(held, &receipt)) {
            Some(at) if held[at].seq >= receipt.seq => {}
            Some(at) => held[at] = receipt,
            None if held.len() < HELD => held.push(receipt),
            None => self.owe_from(now),
        }
    }

    /// Like [`Marks::hold`], for a mark that was in the outbox and was dropped
    /// from it.
    pub(super) fn keep(&mut self, receipt: Arc<Receipt>) {
        let held = &mut self.due().held;
        match held.iter_mut().find(|held| is_same(held, &receipt)) {
            Some(held) if held.seq >= receipt.seq => {}
            Some(held) => *held = receipt,
            None => held.push(receipt),
        }
    }

    /// A message implies this mark: lower ones that are held are dropped.
    pub(super) fn pass(&mut self, mark: &Mark<'_>) {
        if let Some(due) = &mut self.0 {
            due.held.retain(|held| !mark.covers(&held.mark()));
        }
    }

    /// The marks that the next page should bring.
    pub(super) fn ask(&mut self) -> Option<MarksAsked> {
        let owed = self.0.as_mut()?.owed.as_mut()?;
        owed.asked = true;
        Some(MarksAsked { since: owed.since, after: owed.after })
    }

    /// A page has brought these, and there are more where `next` says (0:
    /// these were all).
    pub(super) fn answered(&mut self, page: &[wire::Receipt], next: u64) {
        let Some(due) = &mut self.0 else { return };
        due.held.retain(|held| !page.iter().any(|mark| is_same(mark, held) && mark.seq >= held.seq));
        due.owed = match due.owed.take() {
            Some(owed) if !owed.asked => Some(owed),
            Some(owed) if next != 0 && next != owed.after => Some(Owed { after: next, ..owed }),
            Some(Owed { again: Some(moment), .. }) => Some(Owed::new(Since::Moment(moment))),
            _ => None,
        };
    }

    /// Whether no marks need be asked for.
    pub(super) fn are_settled(&self) -> bool {
        self.0.as_ref().is_none_or(|due| due.owed.is_none())
    }

    /// Takes the marks that were held, when the session is live.
    pub(super) fn release(&mut self) -> Vec<Arc<Receipt>> {
        self.0.take().map(|due| due.held).unwrap_or_default()
    }

    fn due(&mut self) -> &mut Due {
        self.0.get_or_insert_default()
    }
}

impl Owed {
    fn new(since: Since) -> Self {
        Self { since, after: 0, asked: false, again: None }
    }
}

fn is_same(one: &wire::Receipt, other: &wire::Receipt) -> bool {
    one.kind == other.kind && one.user == other.user && one.conversation == other.conversation
}
