//! A process in the simulation. It takes a batch of what waits for it, works on all
//! of the batch, and then hands all of it on. A batch costs a fixed time (to wake
//! up, to read and write sockets) and a time for each piece of work in it.

use std::collections::VecDeque;

use super::Busy;

#[derive(Debug)]
pub(super) struct Station<T> {
    /// The work that waits, with the seconds that each piece takes.
    waiting: VecDeque<(T, f64)>,
    at_work: bool,
    /// Seconds that each batch takes in addition.
    wake: f64,
    /// Pieces of work in one batch at most.
    most: usize,
    busy: f64,
    batches: u64,
    taken: u64,
}

impl<T> Station<T> {
    pub(super) fn new(wake: f64, most: usize) -> Self {
        Self { waiting: VecDeque::new(), at_work: false, wake, most, busy: 0.0, batches: 0, taken: 0 }
    }

    /// Adds a piece of work, with the seconds that it takes. Returns true if the
    /// station was idle: then the caller calls [`begin`](Self::begin).
    pub(super) fn give(&mut self, what: T, seconds: f64) -> bool {
        self.waiting.push_back((what, seconds));
        !self.at_work
    }

    /// Begins with the next batch, and returns it with the seconds until it is done.
    /// Without work the station becomes idle, and this returns `None`.
    pub(super) fn begin(&mut self) -> Option<(Vec<T>, f64)> {
        let count = self.waiting.len().min(self.most);
        self.at_work = count > 0;
        if count == 0 {
            return None;
        }
        let mut seconds = self.wake;
        let batch = self
            .waiting
            .drain(..count)
            .map(|(what, takes)| {
                seconds += takes;
                what
            })
            .collect();
        self.busy += seconds;
        self.batches += 1;
        self.taken += count as u64;
        Some((batch, seconds))
    }
}

/// How busy the stations of one kind were, over so many seconds.
pub(super) fn busy<T>(stations: &[Station<T>], seconds: f64) -> Busy {
    let shares = || stations.iter().map(|station| station.busy / seconds.max(1e-9));
    let (taken, batches) = stations.iter().fold((0, 0), |(t, b), s| (t + s.taken, b + s.batches));
    Busy {
        mean: shares().sum::<f64>() / stations.len().max(1) as f64,
        most: shares().fold(0.0, f64::max),
        batch: taken as f64 / (batches as f64).max(1.0),
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::super::agenda::Agenda;
    use super::*;

    enum Event {
        Comes,
        Done(Vec<f64>),
    }

    /// For work that comes at random with this rate: the mean time until a piece is
    /// begun, and the mean size of a batch.
    fn run(mut station: Station<f64>, rate: f64, takes: f64, arrivals: usize) -> (f64, Busy, f64) {
        let mut random = StdRng::seed_from_u64(7);
        let mut agenda = Agenda::new();
        agenda.after(0.0, Event::Comes);
        let (mut waited, mut come, mut done) = (0.0, 0, 0usize);
        while let Some(event) = agenda.next() {
            let idle = match event {
                Event::Comes => {
                    come += 1;
                    if come < arrivals {
                        agenda.after(-(1.0 - random.random::<f64>()).ln() / rate, Event::Comes);
                    }
                    station.give(agenda.now(), takes)
                }
                Event::Done(batch) => {
                    done += batch.len();
                    true
                }
            };
            if idle && let Some((batch, seconds)) = station.begin() {
                waited += batch.iter().map(|since| agenda.now() - since).sum::<f64>();
                agenda.after(seconds, Event::Done(batch));
            }
        }
        assert_eq!(done, arrivals);
        let seconds = agenda.now();
        (waited / arrivals as f64, busy(&[station], seconds), seconds)
    }

    #[test]
    fn one_at_a_time_waits_as_long_as_pollaczek_and_khinchine_say() {
        // M/D/1: load * service / (2 (1 - load)).
        for load in [0.3, 0.6, 0.8] {
            let (service, rate) = (0.001, load / 0.001);
            let (waited, busy, _) = run(Station::new(0.0, 1), rate, service, 300_000);
            let expected = load * service / (2.0 * (1.0 - load));
            assert!((waited / expected - 1.0).abs() < 0.05, "load {load}: {waited} for {expected}");
            assert!((busy.mean - load).abs() < 0.01 && (busy.batch - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn batches_grow_until_the_fixed_part_is_paid_for() {
        // n = rate * (wake + n * item): n = rate * wake / (1 - rate * item).
        let (wake, item, rate) = (0.002, 0.0001, 8_000.0);
        let (_, busy, _) = run(Station::new(wake, 100_000), rate, item, 300_000);
        let expected = rate * wake / (1.0 - rate * item);
        assert!((busy.batch / expected - 1.0).abs() < 0.05, "{} for {expected}", busy.batch);
        assert!(busy.mean > 0.99);
    }

    #[test]
    fn more_than_can_be_done_takes_as_long_as_the_work() {
        // Twice as much work comes as can be done.
        let (_, busy, seconds) = run(Station::new(0.0, 64), 2_000.0, 0.001, 20_000);
        assert!((seconds - 20.0).abs() < 0.5, "{seconds}");
        assert!(busy.batch > 60.0);
    }
}
