//! Tracks the numbers of envelopes: finds out whether one is missing, and
//! whether the store has a new incarnation.

use proto::StoreIncarnation;
use proto::wire::Envelope;
use rustc_hash::FxHashMap;

/// The most origins remembered. Beyond it all are forgotten, which makes
/// sessions read on from the log once.
const ORIGINS: usize = 1_024;

/// An origin that is not heard for more than this many rounds (one a second) is
/// gone without a word: it may have written something that it told nobody.
const SILENT: u32 = 2;

/// After this many rounds without a word an origin is forgotten.
const FORGOTTEN: u32 = 60;

/// The numbers heard so far.
#[derive(Default)]
pub(super) struct Tracking {
    store: StoreIncarnation,
    origins: FxHashMap<String, Origin>,
}

/// What was heard of one origin.
#[derive(Default)]
struct Origin {
    /// The newest number, or the newest count.
    number: u64,
    /// Rounds in a row in which it was not heard.
    silent: u32,
    /// It has said that it ends.
    ended: bool,
}

impl Tracking {
    /// The store's incarnation, if this envelope is the first one with it.
    pub(super) fn store(&mut self, envelope: &Envelope) -> Option<StoreIncarnation> {
        let store = StoreIncarnation::of(&envelope.store);
        let another = store != StoreIncarnation::default() && store != self.store;
        another.then(|| {
            self.store = store;
            store
        })
    }

    /// Whether envelopes before this one are missing.
    pub(super) fn hole(&mut self, envelope: &Envelope) -> bool {
        // A node's own nonce is of no origin.
        if envelope.origin.is_empty() && envelope.number == 0 && envelope.count == 0 {
            return false;
        }
        if self.origins.len() >= ORIGINS && !self.origins.contains_key(&envelope.origin) {
            self.origins.clear();
        }
        let heard = self.origins.entry(envelope.origin.clone()).or_default();
        (heard.silent, heard.ended) = (0, envelope.farewell);
        if envelope.number == 0 {
            let hole = envelope.count > heard.number;
            heard.number = heard.number.max(envelope.count);
            return hole;
        }
        let last = std::mem::replace(&mut heard.number, envelope.number);
        // A number that nothing can follow is followed by a hole.
        last.checked_add(1) != Some(envelope.number)
    }

    /// A round is over in which this node has heard itself. Whether an origin is
    /// gone that did not say so; each is told once.
    pub(super) fn round(&mut self) -> bool {
        let mut gone = false;
        self.origins.retain(|_, heard| {
            heard.silent += 1;
            gone |= heard.silent == SILENT + 1 && !heard.ended;
            heard.silent < FORGOTTEN
        });
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(origin: &str, number: u64) -> Envelope {
        Envelope { origin: origin.into(), number, store: "a.1".into(), ..Envelope::default() }
    }

    fn count(origin: &str, count: u64) -> Envelope {
        Envelope { count, ..envelope(origin, 0) }
    }

    #[test]
    fn numbers_without_a_hole_are_quiet_and_origins_count_apart() {
        let mut tracking = Tracking::default();
        for (origin, number) in [("", 1), ("", 2), ("r1", 1), ("", 3), ("r1", 2)] {
            assert!(!tracking.hole(&envelope(origin, number)));
        }
    }

    #[test]
    fn a_skipped_number_is_a_hole_once() {
        let mut tracking = Tracking::default();
        assert!(!tracking.hole(&envelope("", 1)));
        assert!(tracking.hole(&envelope("", 3)));
        assert!(!tracking.hole(&envelope("", 4)));
    }

    #[test]
    fn a_number_that_goes_back_is_a_hole() {
        let mut tracking = Tracking::default();
        tracking.hole(&envelope("", 1));
        tracking.hole(&envelope("", 2));
        assert!(tracking.hole(&envelope("", 1)));
        assert!(!tracking.hole(&envelope("", 2)));
    }

    #[test]
    fn the_largest_number_is_followed_by_a_hole() {
        let mut tracking = Tracking::default();
        tracking.hole(&count("r1", u64::MAX));
        assert!(tracking.hole(&envelope("r1", 1)));
    }

    #[test]
    fn an_origin_that_is_first_heard_with_a_later_number_has_lost_some() {
        assert!(Tracking::default().hole(&envelope("r1", 2)));
        assert!(Tracking::default().hole(&count("r1", 1)));
    }

    #[test]
    fn a_count_that_was_heard_is_quiet_and_a_higher_one_is_a_hole_once() {
        let mut tracking = Tracking::default();
        tracking.hole(&envelope("r1", 1));
        assert!(!tracking.hole(&count("r1", 1)));
        assert!(tracking.hole(&count("r1", 2)));
        assert!(!tracking.hole(&count("r1", 2)));
        assert!(!tracking.hole(&envelope("r1", 3)));
    }

    #[test]
    fn an_origin_that_falls_silent_is_told_once() {
        let mut tracking = Tracking::default();
        tracking.hole(&envelope("r1", 1));
        tracking.hole(&count("r2", 0));
        let rounds: Vec<_> = (0..6).map(|_| tracking.round()).collect();
        assert_eq!(rounds, [false, false, true, false, false, false]);
        assert!(!tracking.hole(&count("r1", 1)), "nothing is missing when it is heard again");
        for _ in 0..6 {
            assert!(!tracking.hole(&count("r1", 1)));
            assert!(!tracking.round());
        }
    }

    #[test]
    fn an_origin_that_says_farewell_is_not_missed() {
        let mut tracking = Tracking::default();
        tracking.hole(&envelope("r1", 1));
        assert!(!tracking.hole(&Envelope { farewell: true, ..count("r1", 1) }));
        assert!((0..70).all(|_| !tracking.round()));
    }

    #[test]
    fn a_nonce_is_of_no_origin() {
        let mut tracking = Tracking::default();
        let nonce = Envelope { nonce: 7, ..count("", 0) };
        assert!((0..6).all(|_| !tracking.hole(&nonce) && !tracking.round()));
        assert!(tracking.origins.is_empty());
    }

    #[test]
    fn an_incarnation_of_the_store_is_told_once() {
        let mut tracking = Tracking::default();
        let mut heard = |store: &str| {
            let envelope = Envelope { store: store.into(), ..Envelope::default() };
            tracking.store(&envelope).map(|store| store.0)
        };
        assert_eq!(heard("a.1"), Some(10));
        assert_eq!(heard("a.1"), None);
        assert_eq!(heard(""), None);
        assert_eq!(heard("b.2"), Some(11));
        assert_eq!(heard("b.2"), None);
    }

    #[test]
    fn many_origins_are_forgotten_together() {
        let mut tracking = Tracking::default();
        for origin in 0..ORIGINS {
            assert!(!tracking.hole(&envelope(&origin.to_string(), 1)));
        }
        assert!(!tracking.hole(&envelope("one more", 1)));
        assert!(tracking.hole(&envelope("0", 2)));
    }
}
