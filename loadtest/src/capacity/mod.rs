//! What many users need, reckoned and simulated from measured costs: clusters of this
//! size do not run on one machine. Nothing here opens a connection.
//!
//! In reading order: [`costs`] (what was measured, and how), [`need`] (from
//! users to machines), [`page`] (the tables of `docs/CAPACITY.md`); then
//! `agenda` and `station` (events in time, and processes that work in batches),
//! [`bus`] (messages through thousands of nodes), [`storm`] (the sessions of a zone
//! come back).

mod agenda;
pub mod bus;
pub mod costs;
pub mod need;
pub mod page;
mod station;
pub mod storm;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::workload::record::{histogram, millis};

/// Quantiles of many times, in milliseconds.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Times {
    /// Half of the times are shorter.
    pub p50: f64,
    /// 99 of 100 are shorter.
    pub p99: f64,
    /// The longest time.
    pub max: f64,
}

/// How busy the processes of one kind were.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Busy {
    /// The share of the time in which they worked, from 0 to 1: the mean of all.
    pub mean: f64,
    /// The same for the busiest one.
    pub most: f64,
    /// The mean size of their batches.
    pub batch: f64,
}

impl Times {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile: f64| millis(histogram, quantile);
        Self { p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }
}

fn record(times: &mut Histogram<u64>, seconds: f64) {
    times.saturating_record((seconds.max(0.0) * 1e6) as u64);
}

fn times() -> Histogram<u64> {
    histogram()
}
