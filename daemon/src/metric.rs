//! Metrics: what there is, declared as constants (docs/METRICS.md is compared
//! with them), and the instruments that count. Label values are words known
//! beforehand, so counting is one addition and allocates nothing.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use crate::lock::{INNERMOST, Lock};

/// With no more combinations of labels than this all are reported from the
/// start, so that a first increase is seen as one.
const FROM_THE_START: usize = 16;

/// One metric.
#[derive(Debug)]
pub struct Metric {
    /// As OpenTelemetry writes it, with dots.
    pub name: &'static str,
    /// What it does with numbers.
    pub kind: Kind,
    /// UCUM, as OpenTelemetry has it: `s`, `By`, `{message}`.
    pub unit: &'static str,
    /// In a few words.
    pub about: &'static str,
    /// Every combination of their values may occur.
    pub labels: &'static [Label],
}

/// What a metric does with numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts values between these boundaries.
    Histogram(&'static [f64]),
}

/// A label and all values that it may have.
#[derive(Debug)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// The frequent ones first: they are found first.
    pub values: &'static [&'static str],
}

/// Seconds, for what takes from half a millisecond to ten seconds.
pub const SECONDS: &[f64] = &[
    0.000_5, 0.001, 0.002, 0.003, 0.005, 0.007_5, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

impl Metric {
    /// One that only grows.
    pub const fn counter(name: &'static str, unit: &'static str, about: &'static str) -> Self {
        Self { name, kind: Kind::Counter, unit, about, labels: &[] }
    }

    /// One that goes up and down.
    pub const fn gauge(name: &'static str, unit: &'static str, about: &'static str) -> Self {
        Self { name, kind: Kind::Gauge, unit, about, labels: &[] }
    }

    /// One that counts values between boundaries.
    pub const fn histogram(
        name: &'static str,
        unit: &'static str,
        about: &'static str,
        boundaries: &'static [f64],
    ) -> Self {
        Self { name, kind: Kind::Histogram(boundaries), unit, about, labels: &[] }
    }

    /// With these labels.
    pub const fn labelled(self, labels: &'static [Label]) -> Self {
        Self { labels, ..self }
    }

    /// Its name at `/metrics`, which is also what the collector's Prometheus
    /// exporter makes of it.
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

    /// The place of a combination of values; nothing for one that was not
    /// declared.
    fn place(&self, values: &[&str]) -> Option<usize> {
        debug_assert_eq!(values.len(), self.labels.len(), "{}", self.name);
        let mut place = 0;
        for (label, value) in self.labels.iter().zip(values) {
            let index = label.values.iter().position(|known| known == value);
            debug_assert!(index.is_some(), "{}: {value} is not declared for {}", self.name, label.name);
            place = place * label.values.len() + index?;
        }
        Some(place)
    }

    fn attributes(&self, place: usize) -> Vec<KeyValue> {
        let mut rest = place;
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

/// Counts up. All that are made of one metric count together.
#[derive(Clone, Debug)]
pub struct Counter(Arc<Cells>);

/// Counts up and down. All that are made of one metric count together.
#[derive(Clone, Debug)]
pub struct Gauge(Arc<Cells>);

/// A number for each combination of labels.
struct Cells {
    metric: &'static Metric,
    numbers: Box<[AtomicI64]>,
}

impl Counter {
    /// Of this metric, whose kind must be the same.
    pub fn of(metric: &'static Metric) -> Self {
        debug_assert_eq!(metric.kind, Kind::Counter, "{}", metric.name);
        Self(Cells::of(metric))
    }

    /// Adds to the number for these values, in the order of the labels.
    #[inline]
    pub fn add(&self, values: &[&str], count: u64) {
        self.0.add(values, i64::try_from(count).unwrap_or(i64::MAX));
    }
}

impl Gauge {
    /// Of this metric, whose kind must be the same.
    pub fn of(metric: &'static Metric) -> Self {
        debug_assert_eq!(metric.kind, Kind::Gauge, "{}", metric.name);
        Self(Cells::of(metric))
    }

    /// Changes the number for these values, in the order of the labels.
    #[inline]
    pub fn add(&self, values: &[&str], change: i64) {
        self.0.add(values, change);
    }
}

impl Cells {
    /// Those of this metric: one set in a process, so that two parts that count
    /// the same are not two numbers of one name.
    fn of(metric: &'static Metric) -> Arc<Self> {
        static KNOWN: Lock<INNERMOST, Vec<Arc<Cells>>> = Lock::new(Vec::new());
        let mut known = KNOWN.lock();
        if let Some(cells) = known.iter().find(|cells| cells.metric.name == metric.name) {
            return cells.clone();
        }
        let numbers = (0..metric.combinations()).map(|_| AtomicI64::new(0)).collect();
        let cells = Arc::new(Self { metric, numbers });
        known.push(cells.clone());
        drop(known);
        cells.clone().register(&super::telemetry::meter());
        cells
    }

    fn add(&self, values: &[&str], change: i64) {
        if let Some(number) = self.metric.place(values).and_then(|place| self.numbers.get(place)) {
            number.fetch_add(change, Ordering::Relaxed);
        }
    }

    /// Reports the numbers whenever somebody reads metrics.
    fn register(self: Arc<Self>, meter: &Meter) {
        let metric = self.metric;
        let attributes: Vec<_> = (0..self.numbers.len()).map(|place| metric.attributes(place)).collect();
        let all = self.numbers.len() <= FROM_THE_START;
        let each = move |report: &mut dyn FnMut(i64, &[KeyValue])| {
            for (number, attributes) in self.numbers.iter().zip(&attributes) {
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

impl fmt::Debug for Cells {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.metric.name)
    }
}

/// Counts values between boundaries. About 100 ns each: for what happens once a
/// batch rather than once a message.
#[derive(Clone)]
pub struct Histogram {
    metric: &'static Metric,
    inner: opentelemetry::metrics::Histogram<f64>,
    /// The attributes of each combination, made once.
    attributes: Arc<[Vec<KeyValue>]>,
}

impl Histogram {
    /// Of this metric, whose kind must be the same.
    pub fn of(metric: &'static Metric) -> Self {
        let boundaries = match metric.kind {
            Kind::Histogram(boundaries) => boundaries.to_vec(),
            Kind::Counter | Kind::Gauge => Vec::new(),
        };
        let inner = super::telemetry::meter()
            .f64_histogram(metric.name)
            .with_unit(metric.unit)
            .with_description(metric.about)
            .with_boundaries(boundaries)
            .build();
        let attributes = (0..metric.combinations()).map(|place| metric.attributes(place)).collect();
        Self { metric, inner, attributes }
    }

    /// Counts a value for these values of the labels, in their order.
    #[inline]
    pub fn record(&self, values: &[&str], value: f64) {
        if let Some(attributes) = self.metric.place(values).and_then(|place| self.attributes.get(place)) {
            self.inner.record(value, attributes);
        }
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.metric.name)
    }
}

/// Asks for a number whenever somebody reads metrics, for these values of the
/// labels; nothing when there is none at the moment. What is asked for ever:
/// give it weak references.
pub fn observe(
    metric: &'static Metric,
    values: &[&'static str],
    read: impl Fn() -> Option<f64> + Send + Sync + 'static,
) {
    let Some(place) = metric.place(values) else { return };
    let attributes = metric.attributes(place);
    let meter = super::telemetry::meter();
    match metric.kind {
        Kind::Counter => {
            let builder = meter.f64_observable_counter(metric.name);
            builder
                .with_unit(metric.unit)
                .with_description(metric.about)
                .with_callback(move |observer| {
                    if let Some(number) = read() {
                        observer.observe(number, &attributes);
                    }
                })
                .build();
        }
        Kind::Gauge | Kind::Histogram(_) => {
            let builder = meter.f64_observable_gauge(metric.name);
            builder
                .with_unit(metric.unit)
                .with_description(metric.about)
                .with_callback(move |observer| {
                    if let Some(number) = read() {
                        observer.observe(number, &attributes);
                    }
                })
                .build();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: &[Label] =
        &[Label { name: "a", values: &["x", "y", "z"] }, Label { name: "b", values: &["ok", "error"] }];
    static METRIC: Metric =
        Metric::counter("switchboard.test.counts", "{thing}", "for tests").labelled(LABELS);

    #[test]
    fn every_combination_has_its_own_number() {
        let counter = Counter::of(&METRIC);
        counter.add(&["y", "error"], 2);
        Counter::of(&METRIC).add(&["y", "error"], 3);
        counter.add(&["z", "ok"], 1);
        let numbers: Vec<_> = counter.0.numbers.iter().map(|number| number.load(Ordering::Relaxed)).collect();
        assert_eq!(numbers, [0, 0, 0, 5, 1, 0]);
        assert_eq!(METRIC.attributes(3), [KeyValue::new("a", "y"), KeyValue::new("b", "error")]);
    }

    #[test]
    fn names_for_prometheus_have_the_unit_and_total() {
        assert_eq!(METRIC.prometheus(), "switchboard_test_counts_total");
        assert_eq!(
            Metric::gauge("process.memory.usage", "By", "").prometheus(),
            "process_memory_usage_bytes"
        );
        assert_eq!(Metric::histogram("a.duration", "s", "", SECONDS).prometheus(), "a_duration_seconds");
    }
}
