//! What a node knows of one channel: how far it has passed on, publications
//! that came early, and the last few for clients that come back.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use proto::{Bound, Load, Seq};

use crate::protocol::publication::Publication;
use crate::session::channel_page::Page;
use crate::session::log_reader::LogEnd;

/// The limits of publications that wait for an earlier one or to be passed on.
/// More are read from the log instead.
const EARLY: Bound = Bound::new(4 << 20, 1_024);

/// The limits of passed publications that are kept.
const RECENT: Bound = Bound::new(256 << 10, 64);

/// Publications that were announced and not passed on yet.
#[derive(Debug)]
pub(super) struct Early {
    waiting: BTreeMap<Seq, Arc<Publication>>,
    load: Load,
    /// How far the channel is known to reach.
    end: LogEnd<Seq>,
    /// Whether announcements may be missing, so that the log must be read.
    pub(super) doubted: bool,
}

/// The next thing to do.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// Pass this publication on.
    Pass(Arc<Publication>),
    /// The next publication is missing.
    Hole,
    /// Everything was passed on.
    Nothing,
}

impl Default for Early {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), load: EARLY.load(), end: LogEnd::new(Seq(0)), doubted: false }
    }
}

impl Early {
    /// Keeps a publication until it is next. Beyond the limit it is dropped,
    /// which leaves a hole that is read from the log.
    pub(super) fn add(&mut self, publication: Arc<Publication>) {
        self.end.reaches(publication.seq());
        if !self.waiting.contains_key(&publication.seq()) && self.load.add(publication.size()) {
            self.waiting.insert(publication.seq(), publication);
        }
    }

    /// Notes that the channel reaches at least this far.
    pub(super) fn reaches(&mut self, head: Seq) {
        self.end.reaches(head);
    }

    /// How far the channel is known to reach.
    pub(super) fn announced(&self) -> Seq {
        self.end.number()
    }

    /// Takes the publication after `passed`, and drops earlier ones.
    pub(super) fn next(&mut self, passed: Seq) -> Next {
        while let Some(entry) = self.waiting.first_entry() {
            let seq = *entry.key();
            if seq > passed.next() {
                break;
            }
            let publication = entry.remove();
            self.load.remove(publication.size());
            if seq > passed {
                return Next::Pass(publication);
            }
        }
        if self.end.number() > passed { Next::Hole } else { Next::Nothing }
    }

    /// The log ends at `head`. Publications beyond it that were announced
    /// before the log was read (up to `announced`) no longer exist: the store
    /// has lost its last writes.
    pub(super) fn log_ends_at(&mut self, head: Seq, announced: Seq) {
        if !self.end.is_read(head, announced) {
            return;
        }
        let gone = self.waiting.split_off(&head.next());
        gone.values().for_each(|publication| self.load.remove(publication.size()));
    }
}

/// Publications that were passed on.
#[derive(Debug)]
pub(super) struct Passed {
    /// The last one.
    upto: Seq,
    /// The last few; the first of them directly follows `before`.
    recent: VecDeque<Arc<Publication>>,
    load: Load,
    before: Seq,
}

impl Default for Passed {
    fn default() -> Self {
        Self { upto: Seq(0), recent: VecDeque::new(), load: RECENT.load(), before: Seq(0) }
    }
}

impl Passed {
    /// The last that was passed on.
    pub(super) fn upto(&self) -> Seq {
        self.upto
    }

    /// Goes on after another seq.
    pub(super) fn jump(&mut self, to: Seq) {
        *self = Self { upto: to, before: to, ..Self::default() };
    }

    /// Adds a publication that was passed on.
    pub(super) fn add(&mut self, publication: Arc<Publication>) {
        self.upto = publication.seq();
        self.load.take(publication.size(), 1);
        self.recent.push_back(publication);
        while self.load.is_over() {
            let Some(oldest) = self.recent.pop_front() else { break };
            self.load.remove(oldest.size());
            self.before = oldest.seq();
        }
    }

    /// The publications after `after`, if all of them are here and there is
    /// one.
    pub(super) fn page(&self, after: Seq, limit: u32) -> Option<Page> {
        if after < self.before || after >= self.upto {
            return None;
        }
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let publications = self.recent.iter().filter(|publication| publication.seq() > after);
        Some(Page { publications: publications.take(limit).cloned().collect(), head: self.upto })
    }
}

#[cfg(test)]
mod tests {
    use proto::wire;

    use super::*;

    fn publication(seq: u64) -> Arc<Publication> {
        let wire = wire::Publication { channel: "c_news".into(), seq, ..Default::default() };
        Arc::new(wire.into())
    }

    /// Passes on what there is after `passed`; what is to be done then.
    fn drain(early: &mut Early, passed: &mut Seq) -> (Vec<u64>, Next) {
        let mut seqs = Vec::new();
        loop {
            match early.next(*passed) {
                Next::Pass(publication) => {
                    *passed = publication.seq();
                    seqs.push(passed.0);
                }
                other => return (seqs, other),
            }
        }
    }

    #[test]
    fn publications_are_passed_on_once_in_order_whatever_order_they_come_in() {
        let (mut early, mut passed) = (Early::default(), Seq(4));
        for seq in [5, 3, 7, 5] {
            early.add(publication(seq));
        }
        assert_eq!(drain(&mut early, &mut passed), (vec![5], Next::Hole));
        early.add(publication(6));
        early.add(publication(7));
        assert_eq!(drain(&mut early, &mut passed), (vec![6, 7], Next::Nothing));
        assert_eq!(early.load, EARLY.load());
    }

    #[test]
    fn what_was_dropped_or_is_only_known_to_be_there_is_a_hole() {
        let (mut early, mut passed) = (Early::default(), Seq(0));
        early.reaches(Seq(2));
        assert_eq!(drain(&mut early, &mut passed), (vec![], Next::Hole));
        for seq in 1..=2_000 {
            early.add(publication(seq));
        }
        let (seqs, next) = drain(&mut early, &mut passed);
        assert_eq!((seqs.len(), next), (EARLY.entries, Next::Hole));
    }

    #[test]
    fn what_the_store_has_lost_is_not_waited_for() {
        let (mut early, mut passed) = (Early::default(), Seq(4));
        early.add(publication(9));
        let announced = early.announced();
        early.log_ends_at(Seq(4), announced);
        assert_eq!(drain(&mut early, &mut passed), (vec![], Next::Nothing));
        assert_eq!(early.load, EARLY.load());
        // Unless it was announced after the log was asked.
        early.add(publication(5));
        early.log_ends_at(Seq(4), announced.min(Seq(4)));
        assert_eq!(drain(&mut early, &mut passed), (vec![5], Next::Nothing));
    }

    #[test]
    fn those_who_come_back_are_served_from_the_last_few() {
        let mut passed = Passed::default();
        passed.jump(Seq(10));
        let seqs = |page: Option<Page>| {
            page.map(|page| page.publications.iter().map(|one| one.seq().0).collect::<Vec<_>>())
        };
        assert_eq!(seqs(passed.page(Seq(10), 9)), None);
        // The log had no 11: it was trimmed.
        for seq in [12, 13] {
            passed.add(publication(seq));
        }
        assert_eq!(seqs(passed.page(Seq(10), 9)), Some(vec![12, 13]));
        assert_eq!(seqs(passed.page(Seq(10), 1)), Some(vec![12]));
        assert_eq!(seqs(passed.page(Seq(12), 9)), Some(vec![13]));
        assert_eq!((seqs(passed.page(Seq(9), 9)), seqs(passed.page(Seq(13), 9))), (None, None));
        for seq in 14..200 {
            passed.add(publication(seq));
        }
        assert_eq!(passed.recent.len(), RECENT.entries);
        assert_eq!(seqs(passed.page(Seq(12), 9)), None);
        assert_eq!(seqs(passed.page(Seq(197), 9)), Some(vec![198, 199]));
    }
}
