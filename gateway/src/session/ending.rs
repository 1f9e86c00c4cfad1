//! How a session ends. Most end at once. A session whose device has attached
//! elsewhere is told a moment later (`crate::session::farewell` says why). A
//! session whose node stops goes on until its client has left or its time is
//! over.

use std::task::Context;

use proto::End;

use super::handle::{Session, wake};
use super::state::State;
use crate::protocol::frame::Frame;

impl Session {
    /// Ends the session; the first reason counts. A client that was not told
    /// yet is told now.
    pub fn end(&self, end: End) {
        let mut state = self.lock();
        state.end(end);
        wake(state);
    }

    /// The node stops: tells the client when to reconnect elsewhere. Until
    /// [`Session::end`] the session is served as before.
    pub fn send_away(&self, reconnect_in_ms: u64) {
        let mut state = self.lock();
        if state.ended.is_some() {
            state.tell();
        } else if !state.sent_away {
            state.sent_away = true;
            state.outbox.push_back(Frame::Goaway(End::Shutdown, Some(reconnect_in_ms)));
        }
        wake(state);
    }

    /// The device has attached elsewhere: the session gets nothing more.
    /// Returns true if the client does not know yet, and [`Session::tell`] must
    /// be called in time. A client that was sent away did what it was told.
    pub(crate) fn replace(&self) -> bool {
        let mut state = self.lock();
        if state.ended.is_some() {
            return false;
        }
        if state.sent_away {
            state.end(End::Shutdown);
            wake(state);
            return false;
        }
        state.ended = Some(End::Replaced);
        state.untold = true;
        true
    }

    /// Tells the client why the session has ended, if it does not know yet.
    /// Returns whether that was so.
    pub(crate) fn tell(&self) -> bool {
        let mut state = self.lock();
        let told = state.tell();
        wake(state);
        told
    }

    /// Why it has ended, if it has.
    pub fn has_ended(&self) -> Option<End> {
        self.lock().ended
    }

    /// Whether only the goodbye is left.
    pub(crate) fn is_over(&self) -> bool {
        self.lock().is_over()
    }

    /// Why the session is over, if it is: for a transport that cannot write
    /// now. The task of `cx` is woken when that happens, and only then.
    pub(crate) fn poll_over(&self, cx: &Context<'_>) -> Option<End> {
        let mut state = self.lock();
        if state.is_over() {
            return state.ended;
        }
        state.wait(cx.waker());
        state.only_end = true;
        None
    }
}

impl State {
    fn end(&mut self, end: End) {
        if self.ended.is_some() {
            self.tell();
            return;
        }
        self.ended = Some(end);
        // A client that was sent away knows it.
        if end.goaway().is_some() && !(self.sent_away && end == End::Shutdown) {
            self.outbox.push_back(Frame::Goaway(end, reconnect_in_ms(end)));
        }
    }

    fn tell(&mut self) -> bool {
        let untold = std::mem::take(&mut self.untold);
        if let Some(end) = self.ended.filter(|_| untold) {
            self.outbox.push_back(Frame::Goaway(end, reconnect_in_ms(end)));
        }
        untold
    }

    pub(super) fn is_over(&self) -> bool {
        self.ended.is_some() && !self.untold
    }
}

/// The advice to a client after an unplanned end: reconnect at once with a new
/// token, or not by itself. (A node that stops gives a time.)
pub(crate) fn reconnect_in_ms(end: End) -> Option<u64> {
    (end == End::TokenExpired).then_some(0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use proto::{Position, ResetReason};

    use super::super::handle::tests::{cursor, event, live_at, receipt, session};
    use super::super::{NextStep, OfferOutcome};
    use super::*;

    #[test]
    fn who_is_sent_away_is_served_until_it_has_gone_elsewhere() {
        let session = live_at(0);
        session.send_away(10);
        session.send_away(20);
        session.offer(Position(1), &event(1));
        let mut frames = Vec::new();
        session.take(&mut frames, 10);
        assert!(
            matches!(frames[..], [Frame::Goaway(End::Shutdown, Some(10)), Frame::Event(..)]),
            "{frames:?}"
        );
        assert!(matches!(session.take(&mut frames, 10), NextStep::Nothing) && session.has_ended().is_none());
        assert!(!session.replace(), "it is told nothing that it does not know");
        assert_eq!(session.offer(Position(2), &event(2)), OfferOutcome::Settled);
        assert!(matches!(session.take(&mut frames, 10), NextStep::Ended(End::Shutdown)));
        assert_eq!(frames.len(), 2, "{frames:?}");
    }

    #[test]
    fn who_is_replaced_hears_nothing_more_and_of_that_later() {
        let session = live_at(0);
        assert!(session.replace() && !session.replace());
        assert_eq!(session.has_ended(), Some(End::Replaced));
        assert!(!session.stands_at(cursor(0)), "no poll goes on with it");
        session.offer(Position(1), &event(1));
        session.offer_receipts(&[receipt(1)]);
        let mut frames = Vec::new();
        assert!(matches!(session.take(&mut frames, 10), NextStep::Nothing));
        assert!(session.tell() && !session.tell());
        session.take(&mut frames, 10);
        assert!(matches!(frames[..], [Frame::Goaway(End::Replaced, None)]), "{frames:?}");
        assert!(matches!(session.take(&mut frames, 10), NextStep::Ended(End::Replaced)));
    }

    #[test]
    fn whatever_else_ends_a_replaced_session_tells_it_at_once() {
        for end in
            [|session: &Session| session.end(End::TokenExpired), |session: &Session| session.send_away(10)]
        {
            let session = live_at(0);
            session.replace();
            end(&session);
            let mut frames = Vec::new();
            session.take(&mut frames, 10);
            assert!(matches!(frames[..], [Frame::Goaway(End::Replaced, None)]), "{frames:?}");
        }
    }

    #[test]
    fn a_goodbye_while_attaching_comes_after_the_welcome() {
        let session = session();
        session.send_away(10);
        session.begin(
            cursor(0),
            Position(0),
            [Frame::Typing(Arc::default()), Frame::Reset(ResetReason::Trimmed, cursor(0))],
        );
        let mut frames = Vec::new();
        session.take(&mut frames, 10);
        assert_eq!(frames.iter().map(Frame::kind).collect::<Vec<_>>(), ["typing", "reset", "goaway"]);
    }

    #[test]
    fn a_transport_that_can_hand_out_nothing_is_woken_by_the_end_only() {
        let session = live_at(0);
        let (waker, count) = counting_waker();
        let cx = Context::from_waker(&waker);
        assert_eq!(session.poll_over(&cx), None);
        session.offer(Position(1), &event(1));
        session.replace();
        assert_eq!(count.load(Ordering::SeqCst), 0);
        session.tell();
        assert_eq!(count.load(Ordering::SeqCst), 1);
        assert_eq!(session.poll_over(&cx), Some(End::Replaced));
    }

    fn counting_waker() -> (Waker, Arc<AtomicUsize>) {
        struct Count(Arc<AtomicUsize>);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let count = Arc::<AtomicUsize>::default();
        (Waker::from(Arc::new(Count(count.clone()))), count)
    }
}
