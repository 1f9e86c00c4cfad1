//! The marks of others (`receipt`) that a session has not been given yet:
//! what it must ask for, and what it heard while it was not live.
//!
//! Invariant: of one mark nothing lower is handed out after something higher.
//! So what is heard while the session reads waits until it has read.

use std::sync::Arc;

use proto::Cursor;
use proto::wire::Receipt;
use tokio::time::Instant;

use crate::protocol::mark::Mark;

/// Marks that may wait until a session is live; beyond it they are dropped,
/// and asked for like everything that was missed.
const HELD: usize = 64;

/// What a session is still to be given. Idle sessions are owed nothing and
/// hold nothing.
#[derive(Debug, Default)]
pub(super) struct Marks(Option<Box<Due>>);

/// From when on marks may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// The event at this place.
    Place(Cursor),
    /// A moment of this node's clock.
    Moment(Instant),
}

/// What to ask for with a page.
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
    /// A page has been asked for: what is missed from now on may not be in it.
    asked: bool,
    /// The first that was missed since.
    again: Option<Instant>,
}

impl Marks {
    /// The session has resumed at this place.
    pub(super) fn owe_since(&mut self, place: Cursor) {
        self.due().owed = Some(Owed::new(Since::Place(place)));
    }

    /// Something may have been missed since this moment.
    pub(super) fn owe_from(&mut self, moment: Instant) {
        match &mut self.due().owed {
            Some(owed) if owed.asked => {
                owed.again = Some(owed.again.map_or(moment, |again| again.min(moment)));
            }
            Some(Owed { since: Since::Moment(since), .. }) => *since = moment.min(*since),
            // What has changed since its place is more than that.
            Some(_) => {}
            none => *none = Some(Owed::new(Since::Moment(moment))),
        }
    }

    /// The place that it had is gone. Its client reads its conversations anew
    /// when it hears of that, and so all marks up to now.
    pub(super) fn reset(&mut self) {
        if let Some(due) = &mut self.0 {
            due.owed = None;
        }
    }

    /// Heard while the session is not live: keeps it until then.
    pub(super) fn hold(&mut self, receipt: Arc<Receipt>, now: Instant) {
        let held = &mut self.due().held;
        match held.iter().position(|held| is_same(held, &receipt)) {
            Some(at) if held[at].seq >= receipt.seq => {}
            Some(at) => held[at] = receipt,
            None if held.len() < HELD => held.push(receipt),
            None => self.owe_from(now),
        }
    }

    /// As [`Marks::hold`], of one that had room and has lost it.
    pub(super) fn keep(&mut self, receipt: Arc<Receipt>) {
        let held = &mut self.due().held;
        match held.iter_mut().find(|held| is_same(held, &receipt)) {
            Some(held) if held.seq >= receipt.seq => {}
            Some(held) => *held = receipt,
            None => held.push(receipt),
        }
    }

    /// A message is given out that says this: what says less comes too late.
    pub(super) fn pass(&mut self, mark: &Mark<'_>) {
        if let Some(due) = &mut self.0 {
            due.held.retain(|held| !mark.covers(&Mark::from(&**held)));
        }
    }

    /// What the next page is to bring.
    pub(super) fn ask(&mut self) -> Option<MarksAsked> {
        let owed = self.0.as_mut()?.owed.as_mut()?;
        owed.asked = true;
        Some(MarksAsked { since: owed.since, after: owed.after })
    }

    /// A page has brought these, and there are more where `next` says (0:
    /// these were all).
    pub(super) fn answered(&mut self, page: &[Receipt], next: u64) {
        let Some(due) = &mut self.0 else { return };
        due.held.retain(|held| !page.iter().any(|mark| is_same(mark, held) && mark.seq >= held.seq));
        due.owed = match due.owed.take() {
            Some(owed) if !owed.asked => Some(owed),
            Some(owed) if next != 0 && next != owed.after => Some(Owed { after: next, ..owed }),
            Some(Owed { again: Some(moment), .. }) => Some(Owed::new(Since::Moment(moment))),
            _ => None,
        };
    }

    /// Whether nothing need be asked for.
    pub(super) fn are_settled(&self) -> bool {
        self.0.as_ref().is_none_or(|due| due.owed.is_none())
    }

    /// What was heard meanwhile, now that the session is live.
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

fn is_same(one: &Receipt, other: &Receipt) -> bool {
    one.kind == other.kind && one.user == other.user && one.conversation == other.conversation
}
