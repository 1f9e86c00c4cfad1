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

use daemon::lock::{Lock, LockGuard};
use proto::wire;
use proto::{Cursor, DeviceId, End, Position, ResetReason, SessionId, StoreIncarnation, UserId};
use tokio::time::Instant;

use super::marks::MarksAsked;
use super::state::{Feed, State};
use super::subscriptions::Missing;
use crate::order;
use crate::protocol::event::Event;
use crate::protocol::frame::{Frame, Reference};

/// With so many commands unanswered no answer waits: it makes room for another.
const LATE_ANSWERS: usize = 8;

/// One device's presence. Its methods are called from the bus, from answers
/// and from its transport, at the same time.
#[derive(Debug)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose.
    pub user: UserId,
    /// Of which device.
    pub device: DeviceId,
    /// Unix seconds at which its token ends; raised by `auth`.
    pub(super) expires: AtomicU64,
    /// Protects all that changes; held for moments, never across an await.
    pub(super) state: Lock<{ order::SESSION }, State>,
}

/// Why a session reads from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CatchUp {
    /// It has begun, and there may be something since its cursor.
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
    /// For metrics.
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
pub enum Taken {
    /// Send these.
    Frames,
    /// Read the page after this cursor.
    Read(Cursor),
    /// States of presence are owed: hand them in.
    Presence,
    /// Wait until woken.
    Nothing,
    /// Everything has been sent: close.
    Ended(End),
}

/// A page that is asked for: what was known then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    /// How far the inbox was known to reach.
    pub(super) announced: Position,
    /// The marks that it is to bring.
    pub(crate) marks: Option<MarksAsked>,
}

/// What became of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// Nothing to do.
    Settled,
    /// It waits for an earlier one: look again soon whether that has come.
    Gap,
    /// The session has begun to catch up.
    CatchingUp(CatchUp),
}

impl Session {
    /// One that has not attached yet: it catches up until [`Session::begin`]
    /// and [`Session::apply`] say otherwise, so nothing announced meanwhile is
    /// lost. `bound` is how many frames may wait before it reads on from the log.
    pub fn new(user: UserId, device: DeviceId, expires: u64, bound: usize) -> Self {
        Self {
            id: SessionId::random(),
            user,
            device,
            expires: AtomicU64::new(expires),
            state: Lock::new(State::new(bound)),
        }
    }

    /// When its token ends, in Unix seconds.
    pub fn expires(&self) -> u64 {
        self.expires.load(Ordering::Relaxed)
    }

    /// A new token has been given.
    pub fn renew(&self, expires: u64) {
        self.expires.store(expires, Ordering::Relaxed);
        self.look_again();
    }

    /// It is about to attach. From a place it is given its first page with that,
    /// and the marks that have changed since. Returns what is known now, to be
    /// given to [`Session::apply`].
    pub(crate) fn begin_first_page(&self, from: Option<Cursor>) -> Asked {
        if let Some(place) = from {
            self.lock().marks.owe_since(place);
        }
        self.begin_page()
    }

    /// The place that it attached from is gone. To be said before
    /// [`Session::begin`].
    pub(crate) fn lose_place(&self) {
        self.lock().marks.reset();
    }

    /// It has attached: reading starts here. `first` are the frames before
    /// any event (`welcome`, `reset`).
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

    /// An event has been announced for this user at `position`.
    pub fn offer(&self, position: Position, event: &Arc<Event>) -> Offered {
        let mut state = self.lock();
        if state.ended.is_some() {
            return Offered::Settled;
        }
        let offered = state.offer(position, event);
        wake(state);
        offered
    }

    /// The answer to a `send` of this session. It stands for the event itself
    /// when that is the very next one (PROTOCOL.md §4, `sent`); otherwise it
    /// goes at once and the event comes at its place.
    ///
    /// `store` is the incarnation that the bus has told this node: an answer
    /// from another one may be of another history, in which the position
    /// before it is not what the client has.
    pub fn offer_own(
        &self,
        reference: Reference,
        conversation: &str,
        sent: wire::Sent,
        event: Event,
        store: StoreIncarnation,
    ) -> Offered {
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
            Offered::Settled
        } else if position > Position(0) {
            state.offer(position, &Arc::new(event))
        } else {
            Offered::Settled
        };
        wake(state);
        offered
    }

    /// The inbox reaches at least this far, although nothing was announced.
    pub fn offer_head(&self, position: Position) {
        let mut state = self.lock();
        state.inbox.end.reaches(position);
        if position > state.inbox.queued.position {
            state.catch_up(CatchUp::Hole);
        }
        wake(state);
    }

    /// Something that may be lost; is, when the reader is slow.
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

    /// Somebody's mark. It is never lost: without room, or while reading, it
    /// comes after what is read from the log. It may wait for other frames to
    /// go with: if this says so, [`Session::hurry`] is to be called in time.
    pub fn offer_receipt(&self, receipt: Arc<wire::Receipt>) -> bool {
        let mut state = self.lock();
        if state.ended.is_none() {
            state.offer_receipt(receipt);
        }
        wake_or_wait(state)
    }

    /// How a watched user is now. False when there is no room, or while
    /// reading: then it asks for it with [`Taken::Presence`].
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

    /// Whether it reads from the log because its reader was too slow.
    pub(crate) fn is_behind(&self) -> bool {
        matches!(self.lock().feed, Feed::CatchingUp(CatchUp::Behind))
    }

    /// Whether it is fed by the bus.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.lock().feed, Feed::Live(_))
    }

    /// The answer to a command that has begun.
    pub fn answer(&self, frame: Frame) {
        let mut state = self.lock();
        state.outbox.push_back(frame);
        wake(state);
    }

    /// An answer that nobody waits for; it may wait, as [`Session::offer_receipt`].
    pub fn answer_late(&self, frame: Frame) -> bool {
        let mut state = self.lock();
        if state.in_flight < LATE_ANSWERS {
            state.push_late(frame);
        } else {
            state.outbox.push_back(frame);
        }
        wake_or_wait(state)
    }

    /// What has waited for others to go with has waited long enough.
    pub fn hurry(&self) {
        let mut state = self.lock();
        state.hurried = false;
        state.late = 0;
        if !state.outbox.is_empty() {
            wake(state);
        }
    }

    /// A command is under way; exactly one answer will come.
    pub fn command_begins(&self) {
        self.lock().in_flight += 1;
    }

    /// How many commands more may begin, of so many under way at most; none once
    /// it has ended. Under way are those, too, whose answers are still on their way
    /// to the client.
    pub fn room_for_commands(&self, most: usize) -> usize {
        let state = self.lock();
        if state.ended.is_some() { 0 } else { most.saturating_sub(state.in_flight) }
    }

    /// Read on from the log, whatever the bus has brought.
    pub fn catch_up(&self, cause: CatchUp) {
        let mut state = self.lock();
        state.catch_up(cause);
        wake(state);
    }

    /// Its place may not hold any more: it takes nothing further until it has
    /// been compared with the log. Whatever came since this moment may be
    /// missing. Wakes nobody.
    pub fn doubt(&self, since: Instant) {
        let mut state = self.lock();
        state.catch_up(CatchUp::Bus);
        state.marks.owe_from(since);
    }

    /// Marks may have been missed since this moment; nothing else.
    pub(crate) fn miss_marks(&self, since: Instant) {
        let mut state = self.lock();
        state.catch_up(CatchUp::Marks);
        state.marks.owe_from(since);
        wake(state);
    }

    /// Wakes its transport.
    pub fn look_again(&self) {
        wake(self.lock());
    }

    /// An event that waited for an earlier one has waited long enough: if it
    /// still does, read on from the log. Says whether it came to that.
    pub fn give_up_waiting(&self) -> bool {
        let mut state = self.lock();
        let waiting = matches!(&state.feed, Feed::Live(early) if !early.is_empty());
        if waiting {
            state.catch_up(CatchUp::Hole);
        }
        wake(state);
        waiting
    }

    /// Whether this is the last place that its client has been given.
    pub fn stands_at(&self, cursor: Cursor) -> bool {
        let state = self.lock();
        state.ended.is_none() && state.inbox.handed == cursor
    }

    /// Moves at most `most` frames to `out`, or says what to do instead.
    pub fn take(&self, out: &mut Vec<Frame>, most: usize) -> Taken {
        self.lock().take(out, most)
    }

    /// A page is about to be read. Returns what is known now, to be given to
    /// [`Session::apply`].
    pub(crate) fn begin_page(&self) -> Asked {
        let mut state = self.lock();
        state.doubted = false;
        Asked { announced: state.inbox.end.number(), marks: state.marks.ask() }
    }

    /// Takes over a page that was read after `queued`, in which the session
    /// still stands.
    pub(crate) fn apply(&self, page: wire::InboxPage, asked: Asked) {
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
            // What the store could not read is passed over.
            if !event.is_nothing() {
                state.outbox.push_back(Frame::Event(position, event));
            }
        }
        // Marks come with the page that reaches the head; as many at a time as
        // the routers give, and only to an outbox that was empty.
        if reset.is_none() && state.inbox.queued.position >= head {
            state.marks.answered(&page.marks, page.marks_next);
            state.outbox.extend(page.marks.into_iter().map(|mark| Frame::Receipt(Arc::new(mark))));
        }
        // A head lower than what was announced before it was read: the store
        // has lost its last writes, and what was announced is no more.
        state.inbox.end.is_read(head, asked.announced);
        state.settle(head);
    }

    /// As [`Session::take`]; when there is nothing to send, the task of `cx` is
    /// woken as soon as it should look again. For one waiter. Says also what of
    /// a channel is missing.
    pub(crate) fn poll_take(
        &self,
        cx: &Context<'_>,
        out: &mut Vec<Frame>,
        most: usize,
    ) -> (Taken, Option<Missing>) {
        let mut state = self.lock();
        let taken = state.take(out, most);
        state.only_end = false;
        if !matches!(taken, Taken::Nothing | Taken::Read(_)) {
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

/// Wakes the transport, unless all that there is may wait and nobody has been
/// asked yet to see to it that it goes in time: then says so.
pub(super) fn wake_or_wait(mut state: LockGuard<'_, State>) -> bool {
    if !state.may_wait() {
        wake(state);
        return false;
    }
    let first = state.late > 0 && !state.hurried;
    state.hurried |= first;
    first
}

/// Wakes the transport, if it waits, once the state is free.
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
