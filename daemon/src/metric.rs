//! Instruments. Each is a `static` that says what it measures and is counted on
//! by its name: `LINKS.add(&[], 1)`. A crate lists its own in `METRICS`, which
//! docs/METRICS.md is compared with. The values of labels are words known
//! beforehand, so that counting is one addition and allocates nothing.
//!
//! An instrument begins to report when it is first used, or in [`report`]; both
//! come after [`crate::telemetry::start`], without which (tests) nothing is
//! reported.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Meter};

/// A metric with up to this many combinations of labels reports all of them
/// from the start, so that the first increase is seen as one.
const FROM_THE_START: usize = 16;

/// What an instrument measures, and how it is called.
#[derive(Debug)]
pub struct Metric {
    /// The name with dots, as OpenTelemetry has it.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// The unit in UCUM, as OpenTelemetry has it: `s`, `By`, `{message}`.
    pub unit: &'static str,
    /// A description of a few words, shown as `# HELP`.
    pub about: &'static str,
    /// The labels. Every combination of their values may occur.
    pub labels: &'static [Label],
}

/// The kinds of metrics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A sum that only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A histogram with these bucket boundaries.
    Histogram(&'static [f64]),
}

/// A label and all values that it may have.
#[derive(Debug)]
pub struct Label {
    /// The name of the label.
    pub name: &'static str,
    /// All values, frequent ones first: they are searched in this order.
    pub values: &'static [&'static str],
}

/// Bucket boundaries in seconds, from half a millisecond to ten seconds.
pub const SECONDS: &[f64] = &[
    0.000_5, 0.001, 0.002, 0.003, 0.005, 0.007_5, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

impl Metric {
    /// The name at `/metrics`. The collector's Prometheus exporter makes the
    /// same one.
    pub fn prometheus(&self) -> String {
        let mut name = self.name.replace('.', "_");
        name.push_str(match self.unit {
            "s" => "_seconds",
            "By" => "_bytes",
            _ => "",
        });
        if self.kind == Kind::Counter {
            name.push_str("_total");
        }
        name
    }

    fn combinations(&self) -> usize {
        self.labels.iter().map(|label| label.values.len()).product()
    }

    /// The index of a combination of values; `None` for one that was not declared.
    fn index(&self, values: &[&str]) -> Option<usize> {
        debug_assert_eq!(values.len(), self.labels.len(), "{}", self.name);
        let mut number = 0;
        for (label, value) in self.labels.iter().zip(values) {
            let index = label.values.iter().position(|known| known == value);
            debug_assert!(index.is_some(), "{}: {value} is not declared for {}", self.name, label.name);
            number = number * label.values.len() + index?;
        }
        Some(number)
    }

    fn attributes(&self, index: usize) -> Vec<KeyValue> {
        let mut rest = index;
        let mut attributes: Vec<_> = self
            .labels
            .iter()
            .rev()
            .map(|label| {
                let value = label.values[rest % label.values.len()];
                rest /= label.values.len();
                KeyValue::new(label.name, value)
            })
            .collect();
        attributes.reverse();
        attributes
    }
}

/// An instrument, as the list of a crate's metrics has it.
pub trait Instrument: Sync {
    /// What it measures.
    fn metric(&self) -> &Metric;

    /// Begins to report, before anything is counted. Called again it does nothing.
    fn report(&'static self);
}

/// Has all of these report from now on: with no more than sixteen combinations
/// of labels each is there with 0, so that its first increase is seen as one.
pub fn report(metrics: &[&'static dyn Instrument]) {
    metrics.iter().for_each(|instrument| instrument.report());
}

/// Counts up.
#[derive(Debug)]
pub struct Counter(Cells);

/// Counts up and down.
#[derive(Debug)]
pub struct Gauge(Cells);

/// The numbers of one metric, one for each combination of labels.
#[derive(Debug)]
struct Cells {
    metric: Metric,
    numbers: OnceLock<Box<[AtomicI64]>>,
}

impl Counter {
    /// For a `static`.
    pub const fn new(
        name: &'static str,
        unit: &'static str,
        about: &'static str,
        labels: &'static [Label],
    ) -> Self {
        Self(Cells::new(Metric { name, kind: Kind::Counter, unit, about, labels }))
    }

    /// Adds `count` for these label values, given in the order of the labels.
    #[inline]
    pub fn add(&'static self, values: &[&str], count: u64) {
        self.0.add(values, i64::try_from(count).unwrap_or(i64::MAX));
    }
}

impl Gauge {
    /// For a `static`.
    pub const fn new(
        name: &'static str,
        unit: &'static str,
        about: &'static str,
        labels: &'static [Label],
    ) -> Self {
        Self(Cells::new(Metric { name, kind: Kind::Gauge, unit, about, labels }))
    }

    /// Adds `change` for these label values, given in the order of the labels.
    #[inline]
    pub fn add(&'static self, values: &[&str], change: i64) {
        self.0.add(values, change);
    }
}

impl Instrument for Counter {
    fn metric(&self) -> &Metric {
        &self.0.metric
    }

    fn report(&'static self) {
        self.0.numbers();
    }
}

impl Instrument for Gauge {
    fn metric(&self) -> &Metric {
        &self.0.metric
    }

    fn report(&'static self) {
        self.0.numbers();
    }
}

impl Cells {
    const fn new(metric: Metric) -> Self {
        Self { metric, numbers: OnceLock::new() }
    }

    fn add(&'static self, values: &[&str], change: i64) {
        if let Some(number) = self.metric.index(values).and_then(|index| self.numbers().get(index)) {
            number.fetch_add(change, Ordering::Relaxed);
        }
    }

    fn numbers(&'static self) -> &'static [AtomicI64] {
        if let Some(numbers) = self.numbers.get() {
            return numbers;
        }
        let new = (0..self.metric.combinations()).map(|_| AtomicI64::new(0)).collect();
        // Whoever set them has them reported, once.
        let is_first = self.numbers.set(new).is_ok();
        let numbers = self.numbers.get().expect("they were set");
        if is_first {
            self.register(numbers, &meter());
        }
        numbers
    }

    /// Reports the numbers whenever metrics are read.
    fn register(&'static self, numbers: &'static [AtomicI64], meter: &Meter) {
        let metric = &self.metric;
        let attributes: Vec<_> = (0..numbers.len()).map(|index| metric.attributes(index)).collect();
        let all = numbers.len() <= FROM_THE_START;
        let each = move |report: &mut dyn FnMut(i64, &[KeyValue])| {
            for (number, attributes) in numbers.iter().zip(&attributes) {
                let number = number.load(Ordering::Relaxed);
                if all || number != 0 {
                    report(number, attributes);
                }
            }
        };
        match metric.kind {
            Kind::Counter => {
                let builder = meter.u64_observable_counter(metric.name);
                builder
                    .with_unit(metric.unit)
                    .with_description(metric.about)
                    .with_callback(move |observer| {
                        each(&mut |number, attributes| {
                            observer.observe(u64::try_from(number).unwrap_or(0), attributes);
                        });
                    })
                    .build();
            }
            Kind::Gauge | Kind::Histogram(_) => {
                let builder = meter.i64_observable_up_down_counter(metric.name);
                builder
                    .with_unit(metric.unit)
                    .with_description(metric.about)
                    .with_callback(move |observer| {
                        each(&mut |number, attributes| observer.observe(number, attributes));
                    })
                    .build();
            }
        }
    }
}

/// A histogram. Recording takes about 100 ns: use it once a batch rather than
/// once a message.
#[derive(Debug)]
pub struct Histogram {
    metric: Metric,
    inner: OnceLock<Sink>,
}

#[derive(Debug)]
struct Sink {
    histogram: opentelemetry::metrics::Histogram<f64>,
    /// The attributes of each combination of labels, made once.
    attributes: Vec<Vec<KeyValue>>,
}

impl Histogram {
    /// For a `static`; counts values between these boundaries.
    pub const fn new(
        name: &'static str,
        unit: &'static str,
        about: &'static str,
        boundaries: &'static [f64],
        labels: &'static [Label],
    ) -> Self {
        let metric = Metric { name, kind: Kind::Histogram(boundaries), unit, about, labels };
        Self { metric, inner: OnceLock::new() }
    }

    /// Records a value for these label values, given in the order of the
    /// labels.
    #[inline]
    pub fn record(&'static self, values: &[&str], value: f64) {
        let inner = self.inner.get_or_init(|| self.begin());
        if let Some(attributes) = self.metric.index(values).and_then(|index| inner.attributes.get(index)) {
            inner.histogram.record(value, attributes);
        }
    }

    fn begin(&self) -> Sink {
        let metric = &self.metric;
        let boundaries = match metric.kind {
            Kind::Histogram(boundaries) => boundaries.to_vec(),
            Kind::Counter | Kind::Gauge => Vec::new(),
        };
        let histogram = meter()
            .f64_histogram(metric.name)
            .with_unit(metric.unit)
            .with_description(metric.about)
            .with_boundaries(boundaries)
            .build();
        Sink {
            histogram,
            attributes: (0..metric.combinations()).map(|index| metric.attributes(index)).collect(),
        }
    }
}

impl Instrument for Histogram {
    fn metric(&self) -> &Metric {
        &self.metric
    }

    fn report(&'static self) {
        self.inner.get_or_init(|| self.begin());
    }
}

/// A number that somebody else keeps, and that is asked for whenever metrics are
/// read.
#[derive(Debug)]
pub struct Observable(Metric);

impl Observable {
    /// For a `static`: a number that only grows.
    pub const fn counter(
        name: &'static str,
        unit: &'static str,
        about: &'static str,
        labels: &'static [Label],
    ) -> Self {
        Self(Metric { name, kind: Kind::Counter, unit, about, labels })
    }

    /// For a `static`: a number that goes up and down.
    pub const fn gauge(
        name: &'static str,
        unit: &'static str,
        about: &'static str,
        labels: &'static [Label],
    ) -> Self {
        Self(Metric { name, kind: Kind::Gauge, unit, about, labels })
    }

    /// Asks `read` for the number for these values of the labels, for as long as
    /// the process lives: give it weak references. `None` when there is none at
    /// the moment.
    pub fn observe(
        &'static self,
        values: &[&'static str],
        read: impl Fn() -> Option<f64> + Send + Sync + 'static,
    ) {
        let metric = &self.0;
        let Some(index) = metric.index(values) else { return };
        let attributes = metric.attributes(index);
        let meter = meter();
        let report = move |observer: &dyn AsyncInstrument<f64>| {
            if let Some(number) = read() {
                observer.observe(number, &attributes);
            }
        };
        match metric.kind {
            Kind::Counter => {
                let builder = meter.f64_observable_counter(metric.name);
                builder.with_unit(metric.unit).with_description(metric.about).with_callback(report).build();
            }
            Kind::Gauge | Kind::Histogram(_) => {
                let builder = meter.f64_observable_gauge(metric.name);
                builder.with_unit(metric.unit).with_description(metric.about).with_callback(report).build();
            }
        }
    }
}

impl Instrument for Observable {
    fn metric(&self) -> &Metric {
        &self.0
    }

    /// Nothing: it reports what it is told to observe.
    fn report(&'static self) {}
}

/// Where instruments are made.
fn meter() -> Meter {
    opentelemetry::global::meter("switchboard")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: &[Label] =
        &[Label { name: "a", values: &["x", "y", "z"] }, Label { name: "b", values: &["ok", "error"] }];
    static COUNTS: Counter = Counter::new("switchboard.test.counts", "{thing}", "for tests", LABELS);
    static BYTES: Gauge = Gauge::new("process.memory.usage", "By", "", &[]);
    static SECONDS_TAKEN: Histogram = Histogram::new("a.duration", "s", "", SECONDS, &[]);

    #[test]
    fn every_combination_has_its_own_number() {
        COUNTS.add(&["y", "error"], 2);
        COUNTS.add(&["y", "error"], 3);
        COUNTS.add(&["z", "ok"], 1);
        let numbers: Vec<_> =
            COUNTS.0.numbers().iter().map(|number| number.load(Ordering::Relaxed)).collect();
        assert_eq!(numbers, [0, 0, 0, 5, 1, 0]);
        assert_eq!(COUNTS.metric().attributes(3), [KeyValue::new("a", "y"), KeyValue::new("b", "error")]);
    }

    #[test]
    fn names_for_prometheus_have_the_unit_and_total() {
        assert_eq!(COUNTS.metric().prometheus(), "switchboard_test_counts_total");
        assert_eq!(BYTES.metric().prometheus(), "process_memory_usage_bytes");
        assert_eq!(SECONDS_TAKEN.metric().prometheus(), "a_duration_seconds");
    }
}
