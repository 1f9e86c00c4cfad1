//! What is measured while a run goes on: latencies in shards that are added
//! up exactly, and a sample of everything at each tick.

use std::sync::Mutex;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Users share these by number: a lock is held for one addition.
const SHARDS: usize = 8;

/// Microseconds: 1 to two minutes, three digits.
const HIGHEST: u64 = 120_000_000;

/// Written by every user at once.
#[derive(Debug)]
pub(crate) struct Recorder {
    shards: Vec<Mutex<Shard>>,
}

/// The sum of all shards.
#[derive(Debug, Clone)]
pub(crate) struct Shard {
    /// What was meant to be sent in the measured time, to its arrival.
    pub(crate) latency: Histogram<u64>,
    /// What arrived since the last tick.
    pub(crate) tick: Histogram<u64>,
    /// From when something should have been sent to when it was, in the
    /// measured time.
    pub(crate) lag: Histogram<u64>,
}

/// One interval of a run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Sample {
    /// Seconds from the start to its end.
    pub at: f64,
    /// Seconds that it covers.
    pub seconds: f64,
    /// Messages sent in it.
    pub sent: u64,
    /// Copies that reached readers in it.
    pub delivered: u64,
    /// Refusals in it.
    pub errors: u64,
    /// Milliseconds; 0 when nothing arrived.
    pub p50: f64,
    /// Milliseconds that 99 of 100 are below.
    pub p99: f64,
    /// Milliseconds of the slowest.
    pub max: f64,
    /// Cores that each process kept busy, in the order of
    /// [`Summary::processes`](crate::summary::Summary::processes).
    pub cores: Vec<f64>,
    /// Resident bytes of each.
    pub resident: Vec<u64>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::new(Shard::new())).collect() }
    }

    /// A message arrived at this user; `counts` when it belongs to the
    /// measured time.
    pub(crate) fn arrived(&self, user: usize, took: Duration, counts: bool) {
        let micros = micros(took);
        let mut shard = self.shards[user % SHARDS].lock().expect("no holder panics");
        shard.tick.saturating_record(micros);
        if counts {
            shard.latency.saturating_record(micros);
        }
    }

    /// A message of the measured time was sent so much later than it should.
    pub(crate) fn sent(&self, user: usize, late: Duration) {
        let mut shard = self.shards[user % SHARDS].lock().expect("no holder panics");
        shard.lag.saturating_record(micros(late));
    }

    /// Everything so far; what was for the tick begins anew.
    pub(crate) fn tick(&self) -> Shard {
        let mut sum = Shard::new();
        for shard in &self.shards {
            let mut shard = shard.lock().expect("no holder panics");
            sum.add(&shard);
            shard.tick.reset();
        }
        sum
    }
}

impl Shard {
    fn new() -> Self {
        Self { latency: histogram(), tick: histogram(), lag: histogram() }
    }

    fn add(&mut self, other: &Self) {
        merge(&mut self.latency, &other.latency);
        merge(&mut self.tick, &other.tick);
        merge(&mut self.lag, &other.lag);
    }
}

/// An empty histogram of microseconds.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, HIGHEST, 3).expect("the bounds are constants that hdrhistogram takes")
}

/// Adds one to another: exact, because all have the same bounds.
pub(crate) fn merge(to: &mut Histogram<u64>, from: &Histogram<u64>) {
    to.add(from).expect("all histograms have the same bounds");
}

/// Milliseconds at a quantile.
pub(crate) fn millis(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1000.0
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_added_up_have_the_percentiles_of_all_their_values() {
        let recorder = Recorder::new();
        let mut all = histogram();
        for value in 1..=50_000_u64 {
            let took = Duration::from_micros(value * value % 90_001 + 1);
            recorder.arrived(usize::try_from(value).unwrap(), took, true);
            all.record(u64::try_from(took.as_micros()).unwrap()).unwrap();
        }
        let sum = recorder.tick();
        assert_eq!(sum.latency, all);
        for quantile in [0.1, 0.5, 0.9, 0.99, 0.999, 1.0] {
            assert_eq!(millis(&sum.latency, quantile), millis(&all, quantile));
        }
    }

    #[test]
    fn a_tick_begins_anew_and_the_whole_goes_on() {
        let recorder = Recorder::new();
        recorder.arrived(0, Duration::from_millis(5), true);
        assert_eq!(recorder.tick().tick.len(), 1);
        recorder.arrived(1, Duration::from_millis(5), false);
        let second = recorder.tick();
        assert_eq!((second.tick.len(), second.latency.len()), (1, 1));
    }

    #[test]
    fn what_takes_longer_than_the_highest_counts_as_the_highest() {
        let recorder = Recorder::new();
        recorder.arrived(0, Duration::from_secs(1000), true);
        assert!(millis(&recorder.tick().latency, 0.5) >= 119_000.0);
    }
}
