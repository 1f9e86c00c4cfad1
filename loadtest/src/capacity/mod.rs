//! What many users take, and what one machine cannot run: arithmetic and
//! simulation from measured costs. Nothing here connects to anything.
//!
//! In reading order: [`costs`] (what was measured, and how), [`need`] (from
//! users to machines), [`page`] (the tables of `docs/CAPACITY.md`); then
//! `agenda` and `station` (events in time, and processes that take what has
//! gathered), [`bus`] (messages through thousands of nodes), [`storm`]
//! (everybody of a zone coming back).

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

/// Milliseconds of many waits.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Times {
    /// Half of all are below.
    pub p50: f64,
    /// 99 of 100 are below.
    pub p99: f64,
    /// The longest of all.
    pub max: f64,
}

/// How busy the processes of one kind were.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Busy {
    /// Shares of their time, 0 to 1, the mean of all.
    pub mean: f64,
    /// Of the busiest.
    pub most: f64,
    /// What they took at once, the mean.
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
