//! The channels that a session is subscribed to, and the rules by which
//! publications enter its outbox.
//!
//! As for the inbox, a subscription is *live* (each publication offered is
//! exactly the next one) or *behind* (its transport reads pages of the
//! channel's log). A slow reader falls behind, and keeps nothing here.

use std::sync::Arc;

use proto::{ChannelId, Seq};
use smallvec::SmallVec;

use super::Session;
use super::log_reader::{LogEnd, LogReader};
use super::outbox::Outbox;
use super::state::State;
use crate::protocol::failure::Failure;
use crate::protocol::frame::Frame;
use crate::protocol::jump::Jump;
use crate::protocol::publication::Publication;
use crate::session::channel_page::Page;

/// The subscriptions of one session.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// Limited by `--max-subscriptions`; most sessions have one.
    list: SmallVec<[Subscription; 1]>,
}

#[derive(Debug)]
struct Subscription {
    channel: ChannelId,
    stage: Stage,
    /// How far the channel's log has been read.
    log: LogReader<Seq>,
}

/// Where a subscription's publications come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Its beginning is not known yet.
    Beginning,
    /// The transport reads pages after `queued`.
    Behind,
    /// Publications that the node passes on follow.
    Live,
}

/// The part of a channel's log to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    /// The channel.
    pub channel: ChannelId,
    /// Read publications after this seq.
    pub after: Seq,
    /// How far the channel was known to reach before reading.
    announced: Seq,
}

/// Where a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Start {
    /// The seq after which publications are missing.
    pub position: Seq,
    /// The channel reaches at least this far.
    pub head: Seq,
    /// Whether a subscription that has begun starts again there.
    pub again: bool,
}

impl Missing {
    /// Whether both are the same part of the same log.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.channel == other.channel && self.after == other.after
    }
}

impl Session {
    /// Prepares a subscription: what is passed on meanwhile is not lost.
    /// Nothing changes if there is one already. `most` is how many there may
    /// be. Fails when there are too many.
    pub(crate) fn subscription_begins(&self, channel: &ChannelId, most: usize) -> Result<(), Failure> {
        let mut state = self.lock();
        if state.ended.is_some() {
            return Err(Failure::unavailable("the session is ending"));
        }
        let subscriptions = state.subscriptions.get_or_insert_default();
        if subscriptions.find(channel.as_str()).is_some() {
            return Ok(());
        }
        if subscriptions.list.len() >= most {
            return Err(Failure::conflict(format!("a session has at most {most} subscriptions")));
        }
        subscriptions.list.push(Subscription {
            channel: channel.clone(),
            stage: Stage::Beginning,
            log: LogReader::at(Seq(0)),
        });
        Ok(())
    }

    /// Begins the subscription at `start`; `first` goes before its
    /// publications. Does nothing and returns false if it was taken back.
    pub(crate) fn subscribed(
        &self,
        channel: &ChannelId,
        start: Start,
        first: impl IntoIterator<Item = Frame>,
    ) -> bool {
        let mut guard = self.lock();
        let state = &mut *guard;
        let Some(subscription) = state.subscriptions.as_mut().and_then(|all| all.find(channel.as_str()))
        else {
            return false;
        };
        subscription.log.end.reaches(start.head);
        if start.again || subscription.stage == Stage::Beginning {
            drop_queued(&mut state.outbox, channel.as_str());
            subscription.log.begin_at(start.position);
            // A position beyond the head is compared with the log.
            let live = subscription.log.queued == subscription.log.end.number();
            subscription.stage = if live { Stage::Live } else { Stage::Behind };
        }
        state.outbox.extend(first);
        super::handle::wake(guard);
        true
    }

    /// Removes a subscription that has not begun. Returns whether it was there.
    pub(crate) fn subscription_failed(&self, channel: &ChannelId) -> bool {
        let mut state = self.lock();
        let Some(subscriptions) = &mut state.subscriptions else { return false };
        let before = subscriptions.list.len();
        subscriptions.list.retain(|one| one.channel != *channel || one.stage != Stage::Beginning);
        subscriptions.list.len() < before
    }

    /// Ends a subscription. Returns whether there was one.
    pub(crate) fn unsubscribe(&self, channel: &ChannelId) -> bool {
        let mut guard = self.lock();
        let state = &mut *guard;
        let Some(subscriptions) = &mut state.subscriptions else { return false };
        let before = subscriptions.list.len();
        subscriptions.list.retain(|one| one.channel != *channel);
        let there = subscriptions.list.len() < before;
        drop_queued(&mut state.outbox, channel.as_str());
        if subscriptions.list.is_empty() {
            state.subscriptions = None;
        }
        there
    }

    /// The transport is gone: ends all subscriptions, and allows no new one.
    /// Returns the channels.
    pub(crate) fn end_subscriptions(&self) -> Vec<ChannelId> {
        let mut state = self.lock();
        state.ended.get_or_insert(proto::End::Bye);
        let subscriptions = state.subscriptions.take();
        subscriptions.into_iter().flat_map(|all| all.list).map(|one| one.channel).collect()
    }

    /// Offers a publication; `previous` is the one before it in the log.
    /// Returns whether it was taken.
    pub(crate) fn offer_publication(&self, previous: Seq, publication: &Arc<Publication>) -> bool {
        let mut state = self.lock();
        let taken = state.offer_publication(previous, publication);
        super::handle::wake(state);
        taken
    }

    /// The log has nothing between the node's last seq and this one: it was
    /// trimmed.
    pub(crate) fn channel_goes_on_at(&self, channel: &ChannelId, head: Seq) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let subscription = state.subscriptions.as_mut().and_then(|all| all.find(channel.as_str()));
        // A subscription that is behind finds out when it reads.
        if let Some(subscription) =
            subscription.filter(|one| one.stage == Stage::Live && one.log.queued < head)
        {
            state.outbox.extend(Frame::of_jump(Jump::between(channel, subscription.log.queued, head)));
            subscription.log.jump_to(head);
        }
        super::handle::wake(guard);
    }

    /// The channel's log ends here: later publications that were announced no
    /// longer exist.
    pub(crate) fn channel_ends_at(&self, channel: &ChannelId, head: Seq) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let Some(subscription) = state.subscriptions.as_mut().and_then(|all| all.find(channel.as_str()))
        else {
            return;
        };
        subscription.log.end = LogEnd::new(head);
        if subscription.stage != Stage::Beginning && subscription.log.queued > head {
            drop_queued(&mut state.outbox, channel.as_str());
            subscription.fall_behind();
            // It is told of publications that it was given and that no longer
            // exist; the rest is read again.
            if subscription.log.handed > head {
                state.outbox.extend(Frame::of_jump(Jump::between(channel, subscription.log.handed, head)));
                subscription.log.queued = head;
                subscription.stage = Stage::Live;
            }
        }
        super::handle::wake(guard);
    }

    /// What its transport should read of a channel now.
    #[cfg(test)]
    pub(crate) fn missing(&self) -> Option<Missing> {
        self.lock().missing()
    }

    /// Takes over a page of a channel. Returns how many publications it had.
    pub(crate) fn apply_publications(&self, missing: &Missing, page: Page) -> usize {
        let mut guard = self.lock();
        let state = &mut *guard;
        let Some(subscription) =
            state.subscriptions.as_mut().and_then(|all| all.find(missing.channel.as_str()))
        else {
            return 0;
        };
        if subscription.stage != Stage::Behind || subscription.log.queued != missing.after {
            return 0;
        }
        let (count, head) = (page.publications.len(), page.head);
        subscription.log.queued = page.end();
        state.outbox.extend(page.frames(&missing.channel, missing.after));
        subscription.log.end.is_read(head, missing.announced);
        if subscription.log.has_all(head) {
            subscription.stage = Stage::Live;
        }
        count
    }
}

impl State {
    /// What the transport should read of a channel now.
    pub(super) fn missing(&self) -> Option<Missing> {
        let subscriptions = self.subscriptions.as_ref().filter(|_| self.ended.is_none())?;
        let behind = subscriptions.list.iter().find(|one| one.stage == Stage::Behind)?;
        let Subscription { channel, log, .. } = behind;
        Some(Missing { channel: channel.clone(), after: log.queued, announced: log.end.number() })
    }

    fn offer_publication(&mut self, previous: Seq, publication: &Arc<Publication>) -> bool {
        let Some(subscriptions) = &mut self.subscriptions else { return false };
        let Some(subscription) = subscriptions.find(publication.channel()) else { return false };
        let seq = publication.seq();
        subscription.log.end.reaches(seq);
        if subscription.stage != Stage::Live || seq <= subscription.log.queued || self.ended.is_some() {
            return false;
        }
        if previous > subscription.log.queued {
            subscription.stage = Stage::Behind;
            return false;
        }
        if self.outbox.is_full() {
            drop_queued(&mut self.outbox, publication.channel());
            subscription.fall_behind();
            return false;
        }
        // The log had nothing between them when the node read it.
        self.outbox.extend(Frame::of_jump(Jump::before(
            &subscription.channel,
            subscription.log.queued,
            publication,
        )));
        subscription.log.queued = seq;
        self.outbox.push_back(Frame::Publication(publication.clone()));
        true
    }

    /// Notes that the transport was given a frame.
    pub(super) fn handed(&mut self, frame: &Frame) {
        let Some((channel, seq)) = frame.position_in_channel() else { return };
        if let Some(subscription) = self.subscriptions.as_mut().and_then(|all| all.find(channel)) {
            subscription.log.handed = seq;
        }
    }

    /// Notes that the publications in the outbox were dropped.
    pub(super) fn publications_dropped(&mut self) {
        for subscription in self.subscriptions.iter_mut().flat_map(|all| &mut all.list) {
            if subscription.log.queued != subscription.log.handed {
                subscription.fall_behind();
            }
        }
    }
}

impl Subscriptions {
    fn find(&mut self, channel: &str) -> Option<&mut Subscription> {
        self.list.iter_mut().find(|one| one.channel.as_str() == channel)
    }
}

impl Subscription {
    fn fall_behind(&mut self) {
        if self.stage != Stage::Beginning {
            self.log.drop_queued();
            self.stage = Stage::Behind;
        }
    }
}

fn drop_queued(outbox: &mut Outbox, channel: &str) {
    outbox.retain_mut(|frame| frame.position_in_channel().is_none_or(|(of, _)| of != channel));
}

#[cfg(test)]
mod tests {
    use proto::wire;
    use proto::{Cursor, DeviceId, Position, TokenEnd, UserId};

    use super::super::{CatchUp, NextStep, Proof};
    use super::*;

    const BOUND: usize = 4;

    fn news() -> ChannelId {
        ChannelId::parse("c_news").unwrap()
    }

    fn publication(seq: u64) -> Arc<Publication> {
        Arc::new(wire::Publication { channel: "c_news".into(), seq, ..Default::default() }.into())
    }

    fn offer(session: &Session, seq: u64) -> bool {
        session.offer_publication(Seq(seq - 1), &publication(seq))
    }

    fn page(seqs: impl IntoIterator<Item = u64>, head: u64) -> Page {
        Page { publications: seqs.into_iter().map(publication).collect(), head: Seq(head) }
    }

    fn start(position: u64, head: u64, again: bool) -> Start {
        Start { position: Seq(position), head: Seq(head), again }
    }

    /// A session that reads its inbox live and has one subscription, after this.
    fn subscribed(position: u64) -> Session {
        let session = Session::new(
            UserId::parse("alice").unwrap(),
            DeviceId::parse("d").unwrap(),
            Proof::of(UserId::parse("alice").unwrap(), TokenEnd(u64::MAX)).into(),
            BOUND,
        );
        session.begin(Cursor::ORIGIN, Position(0), []);
        session.subscription_begins(&news(), 64).unwrap();
        assert!(session.subscribed(&news(), start(position, position, false), None));
        session
    }

    fn taken(session: &Session) -> Vec<u64> {
        let (seqs, resets) = told(session);
        assert_eq!(resets, [""; 0]);
        seqs
    }

    /// The publications given, and the resets.
    fn told(session: &Session) -> (Vec<u64>, Vec<String>) {
        let mut frames = Vec::new();
        while matches!(session.take(&mut frames, 100), NextStep::Frames) {}
        let seq = |frame: &Frame| match frame {
            Frame::Publication(publication) => Some(publication.seq().0),
            _ => None,
        };
        let reset = |frame: &Frame| match frame {
            Frame::ChannelReset(jump) => Some(format!("{} {}", jump.reason.as_str(), jump.seq.0)),
            _ => None,
        };
        (frames.iter().filter_map(seq).collect(), frames.iter().filter_map(reset).collect())
    }

    /// Reads a page of a log that has these.
    fn read(session: &Session, log: std::ops::RangeInclusive<u64>) -> usize {
        let missing = session.missing().unwrap();
        let head = *log.end();
        session.apply_publications(&missing, page(log.filter(|seq| *seq > missing.after.0), head))
    }

    #[test]
    fn a_live_subscription_takes_each_publication_once() {
        let session = subscribed(5);
        for seq in [5, 6, 6, 7] {
            offer(&session, seq);
        }
        assert_eq!(taken(&session), [6, 7]);
        assert_eq!(session.missing(), None);
    }

    #[test]
    fn what_the_log_no_longer_has_is_jumped_over_and_said() {
        let session = subscribed(5);
        session.offer_publication(Seq(5), &publication(9));
        assert_eq!(told(&session), (vec![9], vec!["trimmed 8".into()]));
        // So it is where nothing comes after it, and where the session is behind.
        session.channel_goes_on_at(&news(), Seq(12));
        session.channel_goes_on_at(&news(), Seq(12));
        assert_eq!(told(&session), (vec![], vec!["trimmed 12".into()]));
        session.subscribed(&news(), start(3, 12, true), None);
        session.channel_goes_on_at(&news(), Seq(12));
        assert_eq!(read(&session, 9..=12), 4);
        assert_eq!(told(&session), (vec![9, 10, 11, 12], vec!["trimmed 8".into()]));
    }

    #[test]
    fn what_was_said_of_a_hole_is_said_again_where_it_was_dropped() {
        let session = subscribed(5);
        session.offer_publication(Seq(5), &publication(9));
        session.catch_up(CatchUp::Behind);
        assert_eq!(read(&session, 9..=9), 1);
        assert_eq!(told(&session), (vec![9], vec!["trimmed 8".into()]));
    }

    #[test]
    fn what_is_passed_on_before_it_begins_is_read() {
        let session = subscribed(5);
        session.unsubscribe(&news());
        session.subscription_begins(&news(), 64).unwrap();
        offer(&session, 8);
        session.subscribed(&news(), start(7, 7, false), None);
        assert_eq!(taken(&session), [0_u64; 0]);
        assert_eq!(read(&session, 1..=8), 1);
        offer(&session, 9);
        assert_eq!(taken(&session), [8, 9]);
    }

    #[test]
    fn a_slow_reader_keeps_nothing_and_reads_on_from_what_it_has() {
        let session = subscribed(0);
        for seq in 1..=5 {
            assert_eq!(offer(&session, seq), seq <= 4);
        }
        assert_eq!(taken(&session), [0_u64; 0]);
        assert!(!offer(&session, 6));
        assert_eq!(read(&session, 1..=6), 6);
        assert_eq!(taken(&session), [1, 2, 3, 4, 5, 6]);
        assert_eq!(session.missing(), None);
        offer(&session, 7);
        assert_eq!(taken(&session), [7]);
    }

    #[test]
    fn an_inbox_that_falls_behind_takes_the_publications_with_it() {
        let session = subscribed(0);
        offer(&session, 1);
        assert_eq!(taken(&session), [1]);
        offer(&session, 2);
        session.catch_up(CatchUp::Behind);
        assert_eq!(taken(&session), [0_u64; 0]);
        assert_eq!(read(&session, 1..=2), 1);
        assert_eq!(taken(&session), [2]);
    }

    #[test]
    fn subscribing_again_changes_nothing_unless_it_says_where() {
        let session = subscribed(5);
        session.subscription_begins(&news(), 1).unwrap();
        offer(&session, 6);
        session.subscribed(&news(), start(6, 6, false), None);
        assert_eq!(taken(&session), [6]);
        session.subscribed(&news(), start(3, 6, true), None);
        assert_eq!(read(&session, 1..=6), 3);
        assert_eq!(taken(&session), [4, 5, 6]);
    }

    #[test]
    fn a_place_beyond_the_head_goes_on_from_the_head() {
        let session = subscribed(5);
        session.subscribed(&news(), start(50, 5, true), None);
        assert_eq!(read(&session, 1..=5), 0);
        offer(&session, 6);
        assert_eq!(told(&session), (vec![6], vec!["rewritten 5".into()]));
    }

    #[test]
    fn a_store_that_lost_its_last_publications_does_not_silence_the_channel() {
        let session = subscribed(5);
        for seq in 6..=8 {
            offer(&session, seq);
        }
        let mut frames = Vec::new();
        session.take(&mut frames, 1);
        // Nothing is lost of what it has been given.
        session.channel_ends_at(&news(), Seq(7));
        assert_eq!(read(&session, 1..=7), 1);
        offer(&session, 8);
        assert_eq!(taken(&session), [7, 8]);
        session.channel_ends_at(&news(), Seq(2));
        offer(&session, 3);
        assert_eq!(told(&session), (vec![3], vec!["rewritten 2".into()]));
    }

    #[test]
    fn a_page_of_another_place_is_not_taken() {
        let session = subscribed(5);
        session.subscribed(&news(), start(3, 5, true), None);
        let missing = session.missing().unwrap();
        session.subscribed(&news(), start(1, 5, true), None);
        assert_eq!(session.apply_publications(&missing, page(4..=5, 5)), 0);
        assert_eq!(read(&session, 1..=5), 4);
        session.unsubscribe(&news());
        assert_eq!(session.apply_publications(&missing, page(4..=5, 5)), 0);
    }

    #[test]
    fn nothing_comes_after_unsubscribe() {
        let session = subscribed(5);
        offer(&session, 6);
        assert!(session.unsubscribe(&news()));
        assert!(!offer(&session, 7));
        assert!(!session.unsubscribe(&news()));
        assert_eq!(taken(&session), [0_u64; 0]);
        assert!(!session.subscribed(&news(), start(7, 7, false), None));
    }

    #[test]
    fn subscriptions_are_bounded_and_end_with_the_session() {
        let session = subscribed(5);
        let other = ChannelId::parse("c_other").unwrap();
        let refused = session.subscription_begins(&other, 1).unwrap_err();
        assert_eq!(refused.code, proto::ErrorCode::Conflict);
        assert_eq!(session.end_subscriptions(), [news()]);
        assert!(session.subscription_begins(&other, 64).is_err());
        assert!(!offer(&session, 6));
    }

    #[test]
    fn a_session_without_subscriptions_has_a_pointer_for_them() {
        assert_eq!(size_of::<Option<Box<Subscriptions>>>(), size_of::<usize>());
        let session = subscribed(5);
        session.unsubscribe(&news());
        assert!(session.lock().subscriptions.is_none());
    }
}
