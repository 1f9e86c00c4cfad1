//! The state of a session, and the rules by which events enter its outbox.

use std::sync::Arc;
use std::task::Waker;

use proto::{Bound, Cursor, End, Position, StoreIncarnation};
use tokio::time::Instant;

use super::handed_out::HandedOut;
use super::log_reader::LogReader;
use super::marks::Marks;
use super::outbox::Outbox;
use super::subscriptions::Subscriptions;
use super::{CatchUp, NextStep, OfferOutcome};
use crate::metrics;
use crate::protocol::event::Event;
use crate::protocol::frame::Frame;
use crate::protocol::receipt::Receipt;

/// The most events that wait for an earlier one before the session reads the
/// log. Answers and announcements travel separately, so a slightly wrong order
/// is common and means nothing.
const EARLY: Bound = Bound::new(1 << 20, 64);

/// The state of a session.
#[derive(Debug)]
pub(super) struct State {
    pub(super) feed: Feed,
    /// Frames for the transport.
    pub(super) outbox: Outbox,
    /// How many of them may wait for others to go with; at most those in the
    /// outbox.
    pub(super) late: usize,
    /// Whether somebody will hurry the late frames in time.
    pub(super) hurried: bool,
    /// How far the inbox has been read.
    pub(super) inbox: LogReader<Cursor>,
    /// Whether, since the last page was asked for, it is in doubt that `queued`
    /// is a position of this history.
    pub(super) doubted: bool,
    /// Whether a state of presence had no room.
    pub(super) presence_owed: bool,
    /// Marks of others that it must still be given.
    pub(super) marks: Marks,
    /// The number of commands whose answers the transport does not have yet.
    pub(super) in_flight: usize,
    pub(super) ended: Option<End>,
    /// Whether it has ended and its client must not know yet.
    pub(super) untold: bool,
    /// Whether its node stops and its client was told when to reconnect.
    pub(super) sent_away: bool,
    /// The transport's waker, while it waits.
    pub(super) waker: Option<Waker>,
    /// Whether the transport only waits for the session's end.
    pub(super) only_end: bool,
    /// Where it began, if everything up to there is acknowledged, and in which
    /// incarnation of the store.
    pub(super) acknowledged: Option<(Cursor, StoreIncarnation)>,
    /// `None` where nobody acknowledges over its transport.
    pub(super) handed_out: Option<Box<HandedOut>>,
    /// `None` for the many sessions without subscriptions.
    pub(super) subscriptions: Option<Box<Subscriptions>>,
}

/// Where its events come from.
#[derive(Debug)]
pub(super) enum Feed {
    /// The transport reads pages after `queued`.
    CatchingUp(CatchUp),
    /// Announced events follow; early ones wait here.
    Live(Vec<(Position, Arc<Event>)>),
}

impl State {
    /// A session before it has attached; at most `bound` frames may wait.
    pub(super) fn new(bound: usize) -> Self {
        Self {
            feed: Feed::CatchingUp(CatchUp::Resume),
            outbox: Outbox::new(bound),
            late: 0,
            hurried: false,
            inbox: LogReader::at(Cursor::ORIGIN),
            doubted: false,
            presence_owed: false,
            marks: Marks::default(),
            in_flight: 0,
            ended: None,
            untold: false,
            sent_away: false,
            waker: None,
            only_end: false,
            acknowledged: None,
            handed_out: None,
            subscriptions: None,
        }
    }

    pub(super) fn offer(&mut self, position: Position, event: &Arc<Event>) -> OfferOutcome {
        self.inbox.end.reaches(position);
        let Feed::Live(early) = &mut self.feed else { return OfferOutcome::Settled };
        if position == self.inbox.queued.position && event.cursor(position) != self.inbox.queued {
            return self.catch_up(CatchUp::Bus);
        }
        if position <= self.inbox.queued.position {
            return OfferOutcome::Settled;
        }
        if position > self.inbox.queued.position.next() {
            let mut load = EARLY.load();
            early.iter().for_each(|(_, event)| load.take(event.weight(), 1));
            if !load.add(event.weight()) {
                return self.catch_up(CatchUp::Hole);
            }
            early.push((position, event.clone()));
            return OfferOutcome::Gap;
        }
        self.inbox.queued = event.cursor(position);
        // A lower mark of its sender's may wait for this message.
        if let Some(mark) = event.mark() {
            self.marks.pass(&mark);
        }
        self.outbox.push_back(Frame::Event(position, event.clone()));
        self.follow();
        if self.outbox.is_over() { self.catch_up(CatchUp::Behind) } else { OfferOutcome::Settled }
    }

    pub(super) fn offer_receipt(&mut self, receipt: Arc<Receipt>) {
        if let Feed::Live(early) = &self.feed {
            let in_order = early.is_empty();
            if in_order && !self.outbox.is_full() {
                return self.push_late(Frame::Receipt(receipt));
            }
            // A missing message may imply a lower mark.
            self.marks.hold(receipt, Instant::now());
            if !in_order && self.marks.are_settled() {
                return;
            }
            self.feed = Feed::CatchingUp(CatchUp::Marks);
            return metrics::catchup(CatchUp::Marks.as_str());
        }
        self.marks.hold(receipt, Instant::now());
    }

    /// Adds a frame that may wait for others to go with.
    pub(super) fn push_late(&mut self, frame: Frame) {
        self.outbox.push_back(frame);
        self.late += 1;
    }

    /// Whether all frames may wait.
    pub(super) fn may_wait(&self) -> bool {
        let live = matches!(self.feed, Feed::Live(_)) && !self.presence_owed && self.ended.is_none();
        live && self.late == self.outbox.len()
    }

    /// Goes live when everything up to `head`, and everything known beyond it,
    /// was read, and no marks are missing.
    pub(super) fn settle(&mut self, head: Position) {
        if self.inbox.has_all(head) && !self.doubted && self.marks.are_settled() {
            self.feed = Feed::Live(Vec::new());
            if let Some(handed_out) = &mut self.handed_out {
                handed_out.trust();
            }
            let held = self.marks.release();
            self.outbox.extend(held.into_iter().map(Frame::Receipt));
        }
    }

    /// Moves early events that come next into the outbox.
    pub(super) fn follow(&mut self) {
        let Feed::Live(early) = &mut self.feed else { return };
        while !early.is_empty() {
            early.retain(|(position, _)| *position > self.inbox.queued.position);
            let next = self.inbox.queued.position.next();
            let Some(at) = early.iter().position(|(position, _)| *position == next) else { break };
            let (position, event) = early.swap_remove(at);
            self.inbox.queued = event.cursor(position);
            if let Some(mark) = event.mark() {
                self.marks.pass(&mark);
            }
            self.outbox.push_back(Frame::Event(position, event));
        }
        if early.is_empty() {
            self.outbox.extend(self.marks.release().into_iter().map(Frame::Receipt));
        }
    }

    /// Moves at most `most` frames to `out`, or returns what to do instead.
    pub(super) fn take(&mut self, out: &mut Vec<Frame>, most: usize) -> NextStep {
        if !self.outbox.is_empty() && !self.may_wait() {
            self.late = 0;
            let count = most.min(self.outbox.len());
            for _ in 0..count {
                let Some(frame) = self.outbox.pop_front() else { break };
                self.inbox.handed = frame.cursor().unwrap_or(self.inbox.handed);
                self.handed(&frame);
                if let Some(handed_out) = &mut self.handed_out {
                    handed_out.note(&frame);
                }
                self.in_flight -= usize::from(frame.is_answer());
                out.push(frame);
            }
            return NextStep::Frames;
        }
        match (self.ended, &self.feed) {
            // Commands in flight are answered before the end.
            (Some(_), _) if self.holds_acks() => NextStep::Release,
            (Some(_), _) if self.in_flight > 0 => NextStep::Nothing,
            (Some(_), _) if self.untold => NextStep::Nothing,
            (Some(end), _) => NextStep::Ended(end),
            (None, Feed::CatchingUp(_)) => NextStep::Read(self.inbox.queued),
            (None, Feed::Live(_)) if self.presence_owed => {
                self.presence_owed = false;
                NextStep::Presence
            }
            (None, Feed::Live(_)) => NextStep::Nothing,
        }
    }

    fn holds_acks(&self) -> bool {
        self.handed_out.as_ref().is_some_and(|handed_out| !handed_out.held.is_empty())
    }

    /// Notes that the transport waits, and how to wake it.
    pub(super) fn wait(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    pub(super) fn catch_up(&mut self, cause: CatchUp) -> OfferOutcome {
        if let Feed::Live(_) = self.feed {
            self.feed = Feed::CatchingUp(cause);
            metrics::catchup(cause.as_str());
        }
        self.doubted |= cause == CatchUp::Bus;
        if cause == CatchUp::Bus
            && let Some(handed_out) = &mut self.handed_out
        {
            handed_out.doubt(self.inbox.handed);
        }
        if cause == CatchUp::Behind {
            self.feed = Feed::CatchingUp(cause);
            let marks = &mut self.marks;
            self.late = 0;
            self.outbox.retain_mut(|frame| match frame {
                // The message before it will be read again, too.
                Frame::Receipt(receipt) => {
                    marks.keep(receipt.clone());
                    false
                }
                // Its event will be read from the log again.
                Frame::Sent { cursor, .. } => {
                    *cursor = None;
                    true
                }
                frame => !frame.is_feed(),
            });
            self.inbox.drop_queued();
            self.publications_dropped();
        }
        // Where an event is missing, marks may be missing, too.
        if matches!(cause, CatchUp::Hole | CatchUp::Bus) {
            self.marks.owe_from(Instant::now());
        }
        OfferOutcome::CatchingUp(cause)
    }
}
