//! Which numbers of a conversation were seen: ranges, so that a run of any
//! length takes a few bytes as long as there are few holes.

/// Disjoint ranges without neighbours, both ends included, ascending.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct SeqRanges {
    ranges: Vec<(u64, u64)>,
}

impl SeqRanges {
    /// All up to this one: they are taken for seen.
    pub(super) fn up_to(seq: u64) -> Self {
        Self { ranges: if seq == 0 { Vec::new() } else { vec![(1, seq)] } }
    }

    /// Adds one; false if it was there.
    pub(super) fn insert(&mut self, seq: u64) -> bool {
        // The usual case: one more than the last.
        if let Some(last) = self.ranges.last_mut()
            && last.1.checked_add(1) == Some(seq)
        {
            last.1 = seq;
            return true;
        }
        let index = self.ranges.partition_point(|range| range.1 < seq);
        if self.ranges.get(index).is_some_and(|range| range.0 <= seq) {
            return false;
        }
        let joins_next = self.ranges.get(index).is_some_and(|next| next.0 == seq + 1);
        let joins_previous = index > 0 && self.ranges[index - 1].1 + 1 == seq;
        match (joins_previous, joins_next) {
            (true, true) => {
                self.ranges[index - 1].1 = self.ranges[index].1;
                self.ranges.remove(index);
            }
            (true, false) => self.ranges[index - 1].1 = seq,
            (false, true) => self.ranges[index].0 = seq,
            (false, false) => self.ranges.insert(index, (seq, seq)),
        }
        true
    }

    /// Whether this one was seen.
    pub(super) fn has(&self, seq: u64) -> bool {
        let index = self.ranges.partition_point(|range| range.1 < seq);
        self.ranges.get(index).is_some_and(|range| range.0 <= seq)
    }

    /// The highest number that was seen.
    pub(super) fn head(&self) -> Option<u64> {
        self.ranges.last().map(|range| range.1)
    }

    /// Those of this one that are not in the other, ascending.
    pub(super) fn without<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = u64> + 'a {
        self.ranges
            .iter()
            .filter(|range| !other.covers(**range))
            .flat_map(|range| range.0..=range.1)
            .filter(|seq| !other.has(*seq))
    }

    fn covers(&self, range: (u64, u64)) -> bool {
        let index = self.ranges.partition_point(|own| own.1 < range.0);
        self.ranges.get(index).is_some_and(|own| own.0 <= range.0 && range.1 <= own.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: &[u64]) -> SeqRanges {
        let mut seen = SeqRanges::default();
        for number in numbers {
            seen.insert(*number);
        }
        seen
    }

    #[test]
    fn numbers_in_any_order_are_kept_as_few_ranges_and_known_again() {
        let mut seen = of(&[1, 2, 3, 7, 5, 9]);
        assert_eq!(seen.ranges, [(1, 3), (5, 5), (7, 7), (9, 9)]);
        assert!(seen.insert(6) && seen.insert(4) && seen.insert(8));
        assert_eq!(seen.ranges, [(1, 9)]);
        assert!(!seen.insert(1) && !seen.insert(9) && !seen.insert(5));
        assert_eq!(seen.head(), Some(9));
        assert!(seen.has(4) && !seen.has(10) && !seen.has(0));
    }

    #[test]
    fn what_one_has_and_the_other_has_not_is_found() {
        let all = of(&[1, 2, 3, 4, 8, 9]);
        assert_eq!(all.without(&of(&[2, 3, 9])).collect::<Vec<_>>(), [1, 4, 8]);
        assert_eq!(all.without(&of(&[0, 1, 2, 3, 4, 5, 8, 9])).count(), 0);
        assert_eq!(all.without(&SeqRanges::default()).count(), 6);
    }
}
