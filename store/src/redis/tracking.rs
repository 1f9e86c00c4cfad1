//! Tracks the numbers of envelopes: finds out whether one is missing, and
//! whether the store has a new incarnation.

use proto::StoreIncarnation;
use proto::wire::Envelope;
use rustc_hash::FxHashMap;

/// The most origins remembered. Beyond it all are forgotten, which makes
/// sessions read on from the log once.
const ORIGINS: usize = 1_024;

/// The numbers heard so far.
#[derive(Default)]
pub(super) struct Tracking {
    store: StoreIncarnation,
    numbers: FxHashMap<String, u64>,
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
        if self.numbers.len() >= ORIGINS && !self.numbers.contains_key(&envelope.origin) {
            self.numbers.clear();
        }
        let last = self.numbers.get(&envelope.origin).copied().unwrap_or(0);
        if envelope.number == 0 {
            if envelope.count <= last {
                return false;
            }
            self.numbers.insert(envelope.origin.clone(), envelope.count);
            return true;
        }
        self.numbers.insert(envelope.origin.clone(), envelope.number);
        envelope.number != last + 1
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
