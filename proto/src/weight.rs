//! What may go together: a batch, a page, a frame, an envelope, a queue. Each
//! is bounded by what it weighs, in bytes, and by how many are in it.

/// The most that may go together. A single thing that is heavier goes alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// Bytes of all of them.
    pub bytes: usize,
    /// How many.
    pub entries: usize,
}

/// What has been put together so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    bound: Bound,
    bytes: usize,
    entries: usize,
}

/// Bytes that gRPC takes as one frame, both ways; one that is larger ends the
/// stream. Both sides set it.
pub const FRAME_LIMIT: usize = 16 << 20;

/// Requests or replies in one frame between gateway and router. Far below what
/// gRPC takes, so that what is small does not wait long behind what is large.
pub const FRAME: Bound = Bound::new(1 << 20, 1_024);

/// One page of anything that is read for a client: of an inbox, a
/// conversation, a channel, a list.
pub const PAGE: Bound = Bound::new(1 << 20, 1_000);

/// Bytes of all pages that one call of the store answers together.
pub const PAGES: usize = 8 << 20;

/// Bytes of a page when there are many readers at once, at most.
pub const LEAST_PAGE: usize = 128 << 10;

/// Bytes of a page at most where so many are read together.
pub fn page_of(readers: usize) -> usize {
    (PAGES / readers.max(1)).clamp(LEAST_PAGE, PAGE.bytes)
}

// A page is in one reply, beside marks, names and places that are not weighed
// with its entries: half of a frame is left for those.
const _: () = assert!(FRAME.bytes <= FRAME_LIMIT / 2 && PAGE.bytes <= FRAME_LIMIT / 2);

/// What a message of so many bytes takes as an item of a list: with the tag and
/// the length in front of it.
pub const fn in_list(message: usize) -> usize {
    // A tag of two bytes, and a length of ten at most.
    message + 12
}

impl Bound {
    /// Of so many bytes and so many entries.
    pub const fn new(bytes: usize, entries: usize) -> Self {
        Self { bytes, entries }
    }

    /// Nothing yet.
    pub const fn load(self) -> Load {
        Load { bound: self, bytes: 0, entries: 0 }
    }

    /// How many of these, from the first on, go together: at least one if there
    /// are any.
    pub fn fitting(self, weights: impl IntoIterator<Item = usize>) -> usize {
        let mut load = self.load();
        weights.into_iter().take_while(|bytes| load.add(*bytes)).count()
    }

    /// Cuts a list into runs that go together, in their order.
    pub fn runs<'a, T>(
        self,
        list: &'a [T],
        weight: impl Fn(&T) -> usize + 'a,
    ) -> impl Iterator<Item = &'a [T]> + 'a {
        let mut rest = list;
        std::iter::from_fn(move || {
            let (run, later) = rest.split_at(self.fitting(rest.iter().map(&weight)));
            rest = later;
            (!run.is_empty()).then_some(run)
        })
    }
}

impl Load {
    /// Adds one if it fits. The first always does.
    pub fn add(&mut self, bytes: usize) -> bool {
        let total = self.bytes.saturating_add(bytes);
        let fits = total <= self.bound.bytes && self.entries < self.bound.entries;
        if fits || self.entries == 0 {
            (self.bytes, self.entries) = (total, self.entries + 1);
            return true;
        }
        false
    }

    /// Adds so many, whether they fit or not.
    pub fn take(&mut self, bytes: usize, entries: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.entries = self.entries.saturating_add(entries);
    }

    /// Takes one off that was added.
    pub fn remove(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.entries = self.entries.saturating_sub(1);
    }

    /// Whether one that weighs nothing would not fit.
    pub fn is_full(&self) -> bool {
        self.bytes >= self.bound.bytes || self.entries >= self.bound.entries
    }

    /// Whether it is beyond its bound, other than by a single one that is.
    pub fn is_over(&self) -> bool {
        self.entries > self.bound.entries || (self.bytes > self.bound.bytes && self.entries > 1)
    }

    /// Bytes so far.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many so far.
    pub fn entries(&self) -> usize {
        self.entries
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_keep_the_bound_and_all_that_there_is(
            weights in proptest::collection::vec(0_usize..40, 0..60),
            bytes in 1_usize..50,
            entries in 1_usize..9,
        ) {
            let bound = Bound::new(bytes, entries);
            let runs: Vec<&[usize]> = bound.runs(&weights, |weight| *weight).collect();
            prop_assert_eq!(runs.concat(), weights.clone());
            for run in &runs {
                prop_assert!(run.len() <= entries);
                prop_assert!(run.len() == 1 || run.iter().sum::<usize>() <= bytes);
            }
            // No run could have had the next one, too.
            for pair in runs.windows(2) {
                let with_next = pair[0].iter().sum::<usize>() + pair[1][0];
                prop_assert!(pair[0].len() == entries || with_next > bytes);
            }
        }
    }

    #[test]
    fn what_is_too_heavy_goes_alone() {
        let bound = Bound::new(10, 9);
        assert_eq!(bound.fitting([11, 1]), 1);
        assert_eq!(bound.fitting([1, 11]), 1);
        assert_eq!(bound.fitting([]), 0);
        let mut load = bound.load();
        assert!(load.add(usize::MAX) && !load.add(1) && load.is_full());
    }

    #[test]
    fn what_is_taken_off_leaves_its_room() {
        let mut load = Bound::new(10, 2).load();
        assert!(load.add(6) && load.add(4) && !load.add(0));
        load.remove(6);
        assert_eq!((load.bytes(), load.entries(), load.is_full()), (4, 1, false));
        assert!(load.add(6) && !load.is_over());
        load.take(1, 1);
        assert!(load.is_over());
    }
}
