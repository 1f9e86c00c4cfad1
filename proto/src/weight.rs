//! Limits for whatever is put together: a batch, a page, a frame, an envelope,
//! a queue. Each has a limit in bytes and one in entries.

/// The limits of one batch. A single entry that is heavier goes alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// The most bytes of all entries together.
    pub bytes: usize,
    /// The most entries.
    pub entries: usize,
}

/// The bytes and entries of a batch so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    bound: Bound,
    bytes: usize,
    entries: usize,
}

/// The most bytes of one gRPC message. A larger one ends the stream; both sides
/// set this limit.
pub const FRAME_LIMIT: usize = 16 << 20;

/// The most requests of one frame that a router reads; more end the stream.
pub const MOST_REQUESTS: usize = 16 * FRAME.entries;

/// One frame between gateway and router. Far below [`FRAME_LIMIT`], so that
/// small requests do not wait long behind large ones.
pub const FRAME: Bound = Bound::new(1 << 20, 1_024);

/// One page of anything that is read for a client: an inbox, a conversation, a
/// channel, a list.
pub const PAGE: Bound = Bound::new(1 << 20, 1_000);

/// The most bytes of all pages that one call of the store returns.
pub const PAGES: usize = 8 << 20;

/// The limit of a page in bytes never goes below this, however many readers
/// there are.
pub const LEAST_PAGE: usize = 128 << 10;

/// The limit of each page in bytes, where one call reads for this many readers.
pub fn page_of(readers: usize) -> usize {
    (PAGES / readers.max(1)).clamp(LEAST_PAGE, PAGE.bytes)
}

// A page travels in one reply together with marks and names whose size is not
// counted: half of a frame is left for those.
const _: () = assert!(FRAME.bytes <= FRAME_LIMIT / 2 && PAGE.bytes <= FRAME_LIMIT / 2);

/// The bytes that a protobuf message of this size takes as an element of a
/// repeated field: with its tag and its length.
pub const fn in_list(message: usize) -> usize {
    // At most two bytes for the tag and ten for the length.
    message + 12
}

impl Bound {
    /// A limit of this many bytes and entries.
    pub const fn new(bytes: usize, entries: usize) -> Self {
        Self { bytes, entries }
    }

    /// An empty batch under this limit.
    pub const fn load(self) -> Load {
        Load { bound: self, bytes: 0, entries: 0 }
    }

    /// How many entries from the start fit together: at least one if there is
    /// one.
    pub fn fitting(self, weights: impl IntoIterator<Item = usize>) -> usize {
        let mut load = self.load();
        weights.into_iter().take_while(|bytes| load.add(*bytes)).count()
    }

    /// Cuts a list into consecutive runs, each within the limit.
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
    /// Adds an entry of this many bytes if it fits, and says whether it did.
    /// The first one always does.
    pub fn add(&mut self, bytes: usize) -> bool {
        let total = self.bytes.saturating_add(bytes);
        let fits = total <= self.bound.bytes && self.entries < self.bound.entries;
        if fits || self.entries == 0 {
            (self.bytes, self.entries) = (total, self.entries + 1);
            return true;
        }
        false
    }

    /// Adds entries, whether they fit or not.
    pub fn take(&mut self, bytes: usize, entries: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.entries = self.entries.saturating_add(entries);
    }

    /// Takes away one entry that was added.
    pub fn remove(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.entries = self.entries.saturating_sub(1);
    }

    /// Whether not even an empty entry would fit.
    pub fn is_full(&self) -> bool {
        self.bytes >= self.bound.bytes || self.entries >= self.bound.entries
    }

    /// Whether it is beyond its limit with more than one entry.
    pub fn is_over(&self) -> bool {
        self.entries > self.bound.entries || (self.bytes > self.bound.bytes && self.entries > 1)
    }

    /// The bytes added so far.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The entries added so far.
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
