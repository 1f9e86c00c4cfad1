//! What an ear on the bus can tell from the numbers of envelopes: whether one
//! is missing, and whether the store has become another.

use proto::wire::Envelope;
use rustc_hash::FxHashMap;

use crate::Loss;

/// Origins remembered; when there are more all are forgotten, which costs one
/// reading on from the log.
const ORIGINS: usize = 1_024;

/// The numbers heard so far.
#[derive(Default)]
pub(super) struct Tracking {
    store: String,
    numbers: FxHashMap<String, u64>,
}

impl Tracking {
    /// What may have been lost before this envelope, if anything.
    pub(super) fn heard(&mut self, envelope: &Envelope) -> Option<Loss> {
        let hole = self.number(envelope);
        let another = !envelope.store.is_empty() && envelope.store != self.store;
        if another {
            let first = self.store.is_empty();
            self.store.clone_from(&envelope.store);
            if !first {
                return Some(Loss::Store);
            }
        }
        hole.then_some(Loss::Hole)
    }

    fn number(&mut self, envelope: &Envelope) -> bool {
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
            assert_eq!(tracking.heard(&envelope(origin, number)), None);
        }
    }

    #[test]
    fn a_skipped_number_is_a_hole_once() {
        let mut tracking = Tracking::default();
        assert_eq!(tracking.heard(&envelope("", 1)), None);
        assert_eq!(tracking.heard(&envelope("", 3)), Some(Loss::Hole));
        assert_eq!(tracking.heard(&envelope("", 4)), None);
    }

    #[test]
    fn a_number_that_goes_back_is_a_hole() {
        let mut tracking = Tracking::default();
        tracking.heard(&envelope("", 1));
        tracking.heard(&envelope("", 2));
        assert_eq!(tracking.heard(&envelope("", 1)), Some(Loss::Hole));
        assert_eq!(tracking.heard(&envelope("", 2)), None);
    }

    #[test]
    fn an_origin_that_is_first_heard_with_a_later_number_has_lost_some() {
        assert_eq!(Tracking::default().heard(&envelope("r1", 2)), Some(Loss::Hole));
        assert_eq!(Tracking::default().heard(&count("r1", 1)), Some(Loss::Hole));
    }

    #[test]
    fn a_count_that_was_heard_is_quiet_and_a_higher_one_is_a_hole_once() {
        let mut tracking = Tracking::default();
        tracking.heard(&envelope("r1", 1));
        assert_eq!(tracking.heard(&count("r1", 1)), None);
        assert_eq!(tracking.heard(&count("r1", 2)), Some(Loss::Hole));
        assert_eq!(tracking.heard(&count("r1", 2)), None);
        assert_eq!(tracking.heard(&envelope("r1", 3)), None);
    }

    #[test]
    fn another_incarnation_of_the_store_is_told_once_and_the_first_one_not() {
        let mut tracking = Tracking::default();
        assert_eq!(tracking.heard(&envelope("", 1)), None);
        let other = Envelope { store: "b.2".into(), ..envelope("", 2) };
        assert_eq!(tracking.heard(&other), Some(Loss::Store));
        let other = Envelope { store: "b.2".into(), ..envelope("", 3) };
        assert_eq!(tracking.heard(&other), None);
        let unknown = Envelope { store: String::new(), ..envelope("", 4) };
        assert_eq!(tracking.heard(&unknown), None);
    }

    #[test]
    fn many_origins_are_forgotten_together() {
        let mut tracking = Tracking::default();
        for origin in 0..ORIGINS {
            assert_eq!(tracking.heard(&envelope(&origin.to_string(), 1)), None);
        }
        assert_eq!(tracking.heard(&envelope("one more", 1)), None);
        assert_eq!(tracking.heard(&envelope("0", 2)), Some(Loss::Hole));
    }
}
