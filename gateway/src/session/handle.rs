//! A session: one device's presence on this node. Fed by the bus and by the
//! answers to its own commands, emptied by its transport.
//!
//! It is *live* (each event offered is exactly the next one) or *catching up*
//! (its transport reads pages of the inbox). Whatever goes wrong, a resume, a
//! hole, a reader that is behind, leads to catching up: one mechanism.
//!
//! Invariant: events leave the outbox in the order of their positions, each
//! exactly one more than the last, or after a `reset` from its cursor on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Context;

use daemon::lock::{LEAF, Lock, LockGuard};
use proto::wire;
use proto::{Cursor, DeviceId, End, Position, ResetReason, SessionId, StoreIncarnation, TokenEnd, UserId};
use tokio::time::Instant;

use super::later_release::passed_over;
use super::marks::MarksAsked;
use super::proof::Proof;
use super::state::{Feed, State};
use super::subscriptions::Missing;
use crate::order;
use crate::protocol::event::Event;
use crate::protocol::frame::{Frame, Reference};
use crate::protocol::receipt::Receipt;

/// With this many unanswered commands no answer waits for other frames, since
/// it makes room for another command.
pub(super) const LATE_ANSWERS: usize = 8;

/// One device's presence. Its methods are called from the bus, from answers
/// and from its transport, at the same time.
#[derive(Debug)]
pub struct Session {
    /// The session's id, unique in the cluster.
    pub id: SessionId,
    /// The user of the session.
    pub user: UserId,
    /// The device of the session.
    pub device: DeviceId,
    /// When its newest token ends, in Unix seconds: the `end` of `proof`, which
    /// transports look at in every turn without that one's lock.
    pub(super) token_end: AtomicU64,
    /// Its newest token.
    proof: Lock<LEAF, Arc<Proof>>,
    /// Protects everything that changes; locked only briefly, never across an
    /// await.
    pub(super) state: Lock<{ order::SESSION }, State>,
}

/// Why a session reads the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CatchUp {
    /// It has begun, and there may be events after its cursor.
    Resume,
    /// An event is missing.
    Hole,
    /// The bus may have lost something.
    Bus,
    /// Its reader was too slow for its outbox.
    Behind,
    /// There was no room for a mark, or marks may be missing.
    Marks,
}

impl CatchUp {
    /// The word for it in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resume => "resume",
            Self::Hole => "hole",
            Self::Bus => "bus",
            Self::Behind => "behind",
            Self::Marks => "marks",
        }
    }
}

/// What the transport should do next.
#[derive(Debug)]
pub enum NextStep {
    /// Send the frames.
    Frames,
    /// Read the page after this cursor.
    Read(Cursor),
    /// States of presence are missing: offer them.
    Presence,
    /// It has ended: send the acknowledgements that it holds.
    Release,
    /// Wait until woken.
    Nothing,
    /// Everything is sent: close.
    Ended(End),
}

/// What was known when a page was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageRequest {
    /// How far the inbox was known to reach.
    pub(super) announced: Position,
    /// The marks that the page should bring.
    pub(crate) marks: Option<MarksAsked>,
}

/// The result of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfferOutcome {
    /// Nothing more to do.
    Settled,
    /// The event waits for an earlier one: check soon whether that has come.
    Gap,
    /// The session has started to catch up.
    CatchingUp(CatchUp),
}

impl Session {
    /// A session that has not attached yet. It catches up until
    /// [`Session::begin`] and [`Session::apply`], so nothing announced
    /// meanwhile is lost. `bound` is how many frames may wait before it reads
    /// the log instead.
    pub fn new(user: UserId, device: DeviceId, proof: Arc<Proof>, bound: usize) -> Self {
        Self {
            id: SessionId::random(),
            user,
            device,
            token_end: AtomicU64::new(proof.end.0),
            proof: Lock::new(proof),
            state: Lock::new(State::new(bound)),
        }
    }

    /// When its token ends, in Unix seconds.
    pub fn token_end(&self) -> TokenEnd {
        TokenEnd(self.token_end.load(Ordering::Relaxed))
    }

    /// Its newest token.
    pub(crate) fn proof(&self) -> Arc<Proof> {
        self.proof.lock().clone()
    }

    /// Sets a new token ([`super::Sessions::renew`]).
    pub(super) fn renew(&self, proof: Arc<Proof>) {
        self.token_end.store(proof.end.0, Ordering::Relaxed);
        *self.proof.lock() = proof;
        self.look_again();
    }

    /// Called before it attaches. If it begins at a cursor, it gets its first
    /// page with that, and the marks that have changed since. Returns what is
    /// known now, for [`Session::apply`].
    pub(crate) fn begin_first_page(&self, from: Option<Cursor>) -> PageRequest {
        if let Some(place) = from {
            self.lock().marks.owe_since(place);
        }
        self.begin_page()
    }

    /// The cursor that it attached from is not valid any more. Call it before
    /// [`Session::begin`].
    pub(crate) fn lose_place(&self) {
        self.lock().marks.reset();
    }

    /// It has attached: reading starts at `start`. `first` are the frames
    /// before any event (`welcome`, `reset`).
    pub fn begin<F>(&self, start: Cursor, head: Position, first: F)
    where
        F: IntoIterator<Item = Frame, IntoIter: DoubleEndedIterator>,
    {
        let mut state = self.lock();
        state.inbox.begin_at(start);
        // Before a goodbye that came while it attached.
        first.into_iter().rev().for_each(|frame| state.outbox.push_front(frame));
        state.settle(head);
        wake(state);
    }

    /// Offers an event that was announced for this user at `position`.
    pub fn offer(&self, position: Position, event: &Arc<Event>) -> OfferOutcome {
        let mut state = self.lock();
        if state.ended.is_some() {
            return OfferOutcome::Settled;
        }
        let offered = state.offer(position, event);
        wake(state);
        offered
    }

    /// Offers the answer to a `send` of this session. It stands for the event
    /// itself when that is the very next one (PROTOCOL.md §4, `sent`);
    /// otherwise it goes at once, and the event comes at its position.
    ///
    /// `store` is the incarnation that this node knows from the bus. An answer
    /// from another one may belong to another history, in which the client does
    /// not have the events before it.
    pub fn offer_own(
        &self,
        reference: Reference,
        conversation: &str,
        sent: wire::Sent,
        event: Event,
        store: StoreIncarnation,
    ) -> OfferOutcome {
        let comparable = sent.store == store.0;
        let position = Position(sent.position);
        let cursor = event.cursor(position);
        let mut state = self.lock();
        if position > Position(0) && !comparable {
            state.catch_up(CatchUp::Bus);
        }
        let next = matches!(state.feed, Feed::Live(_)) && position == state.inbox.queued.position.next();
        state.outbox.push_back(Frame::Sent {
            reference,
            conversation: conversation.into(),
            sent: Box::new(sent),
            cursor: next.then_some(cursor),
        });
        let offered = if next {
            state.inbox.queued = cursor;
            state.inbox.end.reaches(position);
            state.follow();
            OfferOutcome::Settled
        } else if position > Position(0) {
            state.offer(position, &Arc::new(event))
        } else {
            OfferOutcome::Settled
        };
        wake(state);
        offered
    }

    /// Says that the inbox reaches at least this far, although nothing was
    /// announced.
    pub fn offer_head(&self, position: Position) {
        let mut state = self.lock();
        state.inbox.end.reaches(position);
        if position > state.inbox.queued.position {
            state.catch_up(CatchUp::Hole);
        }
        wake(state);
    }

    /// Offers a frame that may be lost, and is lost when the reader is slow.
    pub fn offer_ephemeral(&self, frame: Frame) -> bool {
        let mut state = self.lock();
        let live = matches!(state.feed, Feed::Live(_)) && state.ended.is_none();
        let room = live && !state.outbox.is_full();
        if room {
            state.outbox.push_back(frame);
        }
        wake(state);
        room
    }

    /// Offers the marks of others. They are never lost: without room, or while the
    /// session reads the log, they come after what is read. They may wait for
    /// other frames to go with; if this returns true, [`Session::hurry`] must
    /// be called in time.
    pub fn offer_receipts(&self, receipts: &[Arc<Receipt>]) -> bool {
        let mut state = self.lock();
        if state.ended.is_none() {
            let told = receipts.iter().filter(|receipt| receipt.is_for(&self.user));
            told.for_each(|receipt| state.offer_receipt(receipt.clone()));
        }
        wake_or_wait(state)
    }

    /// Offers the presence of a watched user. Returns false when there is no
    /// room, or while the session reads the log: then it asks for it with
    /// [`NextStep::Presence`].
    pub(crate) fn offer_presence(&self, state: Arc<wire::Presence>) -> bool {
        let mut session = self.lock();
        let live = matches!(session.feed, Feed::Live(_)) && !session.outbox.is_full();
        let taken = live || session.ended.is_some();
        if live && session.ended.is_none() {
            session.outbox.push_back(Frame::Presence(state));
        }
        session.presence_owed |= !taken;
        wake(session);
        taken
    }

    /// Whether it reads the log because its reader was too slow.
    pub(crate) fn is_behind(&self) -> bool {
        matches!(self.lock().feed, Feed::CatchingUp(CatchUp::Behind))
    }

    /// Whether it is fed by the bus.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.lock().feed, Feed::Live(_))
    }

    /// Adds the answer to a command that has begun.
    pub fn answer(&self, frame: Frame) {
        let mut state = self.lock();
        state.outbox.push_back(frame);
        wake(state);
    }

    /// Adds an answer that nobody waits for; it may wait, as in
    /// [`Session::offer_receipts`].
    pub fn answer_late(&self, frame: Frame) -> bool {
        let mut state = self.lock();
        if state.in_flight < LATE_ANSWERS {
            state.push_late(frame);
        } else {
            state.outbox.push_back(frame);
        }
        wake_or_wait(state)
    }

    /// Sends the frames that waited for others to go with.
    pub fn hurry(&self) {
        let mut state = self.lock();
        state.hurried = false;
        state.late = 0;
        if !state.outbox.is_empty() {
            wake(state);
        }
    }

    /// Notes that a command is under way; exactly one answer will come.
    pub fn command_begins(&self) {
        self.lock().in_flight += 1;
    }

    /// How many more commands may begin, if at most `most` may be under way;
    /// none after its end. A command whose answer is still on its way to the
    /// client counts as under way.
    pub fn room_for_commands(&self, most: usize) -> usize {
        let state = self.lock();
        if state.ended.is_some() { 0 } else { most.saturating_sub(state.in_flight) }
    }

    /// Makes it read on from the log.
    pub fn catch_up(&self, cause: CatchUp) {
        let mut state = self.lock();
        state.catch_up(cause);
        wake(state);
    }

    /// Its position may belong to a lost history: it takes no more events until
    /// it has compared its cursor with the log. Whatever came since this moment
    /// may be missing. Wakes nobody.
    pub fn doubt(&self, since: Instant) {
        let mut state = self.lock();
        state.catch_up(CatchUp::Bus);
        state.marks.owe_from(since);
    }

    /// Wakes its transport.
    pub fn look_again(&self) {
        wake(self.lock());
    }

    /// Ends the wait for an earlier event: if it has not come, the session
    /// reads the log. Returns whether that was so.
    pub fn give_up_waiting(&self) -> bool {
        let mut state = self.lock();
        let waiting = matches!(&state.feed, Feed::Live(early) if !early.is_empty());
        if waiting {
            state.catch_up(CatchUp::Hole);
        }
        wake(state);
        waiting
    }

    /// Whether this is the last cursor that its client was given.
    pub fn stands_at(&self, cursor: Cursor) -> bool {
        let state = self.lock();
        state.ended.is_none() && state.inbox.handed == cursor
    }

    /// Moves at most `most` frames to `out`, or returns what to do instead.
    pub fn take(&self, out: &mut Vec<Frame>, most: usize) -> NextStep {
        self.lock().take(out, most)
    }

    /// Called before a page is read. Returns what is known now, for
    /// [`Session::apply`].
    pub(crate) fn begin_page(&self) -> PageRequest {
        let mut state = self.lock();
        state.doubted = false;
        PageRequest { announced: state.inbox.end.number(), marks: state.marks.ask() }
    }

    /// Takes over a page that was read after `queued`, and in which the session
    /// is still registered.
    pub(crate) fn apply(&self, page: wire::InboxPage, asked: PageRequest) {
        let mut state = self.lock();
        let Feed::CatchingUp(cause) = state.feed else { return };
        let mut head = Position(page.head);
        let reset: Option<ResetReason> = page.reset().into();
        if let Some(reason) = reset {
            let restart = Cursor::from(page.restart.unwrap_or_default());
            let behind = cause == CatchUp::Behind && reason == ResetReason::Trimmed;
            let reason = if behind { ResetReason::Behind } else { reason };
            state.outbox.push_back(Frame::Reset(reason, restart));
            state.inbox.jump_to(restart);
            head = restart.position;
            state.marks.reset();
        }
        for filed in page.events {
            let position = Position(filed.position);
            if position != state.inbox.queued.position.next() {
                break;
            }
            let live = cause != CatchUp::Resume;
            let event = Arc::new(Event::read(filed.event.unwrap_or_default(), live));
            state.inbox.queued = event.cursor(position);
            if let Some(mark) = event.mark() {
                state.marks.pass(&mark);
            }
            // Damaged events are skipped.
            if event.is_nothing() {
                passed_over(&event);
            } else {
                state.outbox.push_back(Frame::Event(position, event));
            }
        }
        // Marks come with the page that reaches the head; as many at a time as
        // routers return, and only into an empty outbox.
        if reset.is_none() && state.inbox.queued.position >= head {
            state.marks.answered(&page.marks, page.marks_next);
            state.outbox.extend(page.marks.into_iter().map(|mark| Frame::Receipt(Arc::new(mark.into()))));
        }
        // A head below what was announced before means that the store has lost
        // its last writes: what was announced no longer exists.
        state.inbox.end.is_read(head, asked.announced);
        state.settle(head);
    }

    /// Like [`Session::take`]; when there is nothing to send, the task of `cx`
    /// is woken when it should try again. For one waiter. Also returns what is
    /// missing of a channel.
    pub(crate) fn poll_take(
        &self,
        cx: &Context<'_>,
        out: &mut Vec<Frame>,
        most: usize,
    ) -> (NextStep, Option<Missing>) {
        let mut state = self.lock();
        let taken = state.take(out, most);
        state.only_end = false;
        if !matches!(taken, NextStep::Nothing | NextStep::Read(_)) {
            return (taken, None);
        }
        state.wait(cx.waker());
        let missing = state.missing();
        (taken, missing)
    }

    pub(super) fn lock(&self) -> LockGuard<'_, State> {
        self.state.lock()
    }
}

/// Wakes the transport, unless everything there may wait and nobody was asked
/// yet to hurry it in time: then returns true.
pub(super) fn wake_or_wait(mut state: LockGuard<'_, State>) -> bool {
    if !state.may_wait() {
        wake(state);
        return false;
    }
    let first = state.late > 0 && !state.hurried;
    state.hurried |= first;
    first
}

/// Unlocks the state and wakes the transport, if it waits.
pub(super) fn wake(mut state: LockGuard<'_, State>) {
    if state.only_end && !state.is_over() {
        return;
    }
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
pub(super) mod tests;
