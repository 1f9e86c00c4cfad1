//! How far a reader of a log is: the one machine of inboxes (by [`Cursor`]) and
//! channels (by [`Seq`]).
//!
//! A reader is *live* when all that the log is known to have is queued: then each
//! entry that is announced must be exactly the next one. Otherwise it is *behind*,
//! and pages of the log are read after what is queued.

use proto::{Cursor, Position, Seq};

/// Where a reader is in a log.
pub(crate) trait LogPosition: Copy {
    /// What the log counts with.
    type Number: Copy + Ord;
    /// The number here.
    fn number(self) -> Self::Number;
}

impl LogPosition for Cursor {
    type Number = Position;
    fn number(self) -> Position {
        self.position
    }
}

impl LogPosition for Seq {
    type Number = Self;
    fn number(self) -> Self {
        self
    }
}

/// How far a log is known to reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogEnd<N>(N);

impl<N: Copy + Ord> LogEnd<N> {
    /// As far as nothing else is known.
    pub(crate) fn new(number: N) -> Self {
        Self(number)
    }

    /// The number of the last entry that is known of.
    pub(crate) fn number(self) -> N {
        self.0
    }

    /// The log has an entry of this number.
    pub(crate) fn reaches(&mut self, number: N) {
        self.0 = self.0.max(number);
    }

    /// The log was read, and ends at `head`; `asked` is how far it was known to reach
    /// when it was asked. What was announced before that and lies beyond `head` is
    /// no more: the store has lost its last writes. Says whether that was so.
    pub(crate) fn is_read(&mut self, head: N, asked: N) -> bool {
        let settled = self.0 <= asked;
        if settled {
            self.0 = head;
        }
        settled
    }
}

/// A reader of a log.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogReader<P: LogPosition> {
    /// The last entry that its transport has been given.
    pub(super) handed: P,
    /// The last entry in its outbox.
    pub(super) queued: P,
    /// How far the log is known to reach.
    pub(super) end: LogEnd<P::Number>,
}

impl<P: LogPosition> LogReader<P> {
    /// One that has been given everything up to here.
    pub(super) fn at(position: P) -> Self {
        Self { handed: position, queued: position, end: LogEnd::new(position.number()) }
    }

    /// It begins here, wherever it was. What is known of the log stays.
    pub(super) fn begin_at(&mut self, position: P) {
        (self.handed, self.queued) = (position, position);
    }

    /// Its log goes on after another position than the one that it has.
    pub(super) fn jump_to(&mut self, position: P) {
        self.queued = position;
        self.end = LogEnd::new(position.number());
    }

    /// Whether it has queued all that the log is known to have, `head` included.
    pub(super) fn has_all(&self, head: P::Number) -> bool {
        self.queued.number() >= head.max(self.end.number())
    }

    /// What is queued has been dropped: it is to be read again. Says whether there
    /// was anything.
    pub(super) fn drop_queued(&mut self) -> bool {
        let some = self.queued.number() != self.handed.number();
        self.queued = self.handed;
        some
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_is_live_when_it_has_all_that_is_known() {
        let mut reader = LogReader::at(Seq(4));
        assert!(reader.has_all(Seq(4)) && !reader.has_all(Seq(5)));
        reader.end.reaches(Seq(6));
        assert!(!reader.has_all(Seq(4)));
        reader.queued = Seq(6);
        assert!(reader.has_all(Seq(4)));
        assert!(reader.drop_queued() && !reader.has_all(Seq(4)) && !reader.drop_queued());
        reader.jump_to(Seq(9));
        assert!(reader.has_all(Seq(9)));
    }

    #[test]
    fn what_a_store_has_lost_is_not_waited_for_unless_it_was_announced_since() {
        let mut end = LogEnd::new(Seq(9));
        assert!(end.is_read(Seq(4), Seq(9)));
        assert_eq!(end.number(), Seq(4));
        end.reaches(Seq(5));
        assert!(!end.is_read(Seq(4), Seq(4)));
        assert_eq!(end.number(), Seq(5));
    }
}
