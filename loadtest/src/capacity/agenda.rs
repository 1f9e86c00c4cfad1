//! Events in the order of their time. Events of the same time have the order in
//! which they were added, so that the same seed gives the same run.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// The events that are still to come.
#[derive(Debug)]
pub(super) struct Agenda<E> {
    entries: BinaryHeap<Entry<E>>,
    count: u64,
    now: f64,
}

#[derive(Debug)]
struct Entry<E> {
    at: f64,
    number: u64,
    event: E,
}

impl<E> Agenda<E> {
    pub(super) fn new() -> Self {
        Self { entries: BinaryHeap::new(), count: 0, now: 0.0 }
    }

    /// Seconds since the beginning.
    pub(super) fn now(&self) -> f64 {
        self.now
    }

    /// Adds an event, so many seconds from now.
    pub(super) fn after(&mut self, seconds: f64, event: E) {
        self.count += 1;
        self.entries.push(Entry { at: self.now + seconds.max(0.0), number: self.count, event });
    }

    /// Takes the next event out, and sets the clock to its time.
    pub(super) fn next(&mut self) -> Option<E> {
        let Entry { at, event, .. } = self.entries.pop()?;
        self.now = at;
        Some(event)
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    /// The earliest event is the greatest, as the heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.total_cmp(&self.at).then(other.number.cmp(&self.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_by_age() {
        let mut agenda = Agenda::new();
        agenda.after(2.0, "late");
        agenda.after(1.0, "first");
        agenda.after(1.0, "second");
        let order: Vec<_> = std::iter::from_fn(|| agenda.next().map(|event| (event, agenda.now()))).collect();
        assert_eq!(order, [("first", 1.0), ("second", 1.0), ("late", 2.0)]);
    }
}
