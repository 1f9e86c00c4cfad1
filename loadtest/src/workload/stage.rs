//! The course of a run that all messaging scenarios share: everybody enters,
//! the load begins, the measured time passes, what is under way arrives, and
//! the history is judged.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Result, bail};
use hdrhistogram::Histogram;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::cost::{self, CpuLook};
use super::line::Line;
use super::person::Person;
use super::plan::Plan;
use super::probe::Probe;
use super::record::{Sample, millis};
use super::tally::Tally;
use super::{Kind, Servers, Settings, progress, witness};
use crate::history::{Allowed, History};
use crate::summary::{Generator, Latency, Messages, Summary};

/// For what is still on its way when the sending ends, from the last arrival.
const SETTLE: Duration = Duration::from_secs(20);

/// The same in all: beyond it servers do not keep up.
const SETTLE_AT_MOST: Duration = Duration::from_secs(300);

/// Samples of a run at most, so that a long one needs no more memory.
const SAMPLES: u32 = 600;

/// Everybody, ready to begin.
pub(super) struct Stage {
    pub(super) tally: Arc<Tally>,
    people: Vec<Person>,
    /// Tasks that do something beside; they end with `stop`.
    others: JoinSet<Result<()>>,
}

/// What the measured time has shown.
struct Measured {
    before: CpuLook,
    after: CpuLook,
    samples: Vec<Sample>,
    probe: Histogram<u64>,
}

impl Stage {
    /// `people` is how many will enter.
    pub(super) fn new(servers: &Servers, settings: &Settings, history: Arc<History>, people: usize) -> Self {
        let tally = Arc::new(Tally::new(servers, settings, history, people));
        Self { tally, people: Vec::new(), others: JoinSet::new() }
    }

    /// Somebody, with a connection.
    pub(super) fn enter(&mut self, line: Line, plan: Plan) {
        let log = self.tally.history.device(&plan.name, "load");
        self.people.push(Person::new(line, log, plan, Arc::clone(&self.tally)));
    }

    /// Something that goes on beside, until `stop`.
    pub(super) fn beside(&mut self, task: impl Future<Output = Result<()>> + Send + 'static) {
        self.others.spawn(task);
    }

    /// Runs it and judges it.
    pub(super) async fn play(self, scenario: &'static str) -> Result<Summary> {
        let Self { tally, people, others: mut tasks } = self;
        let users = people.len();
        for person in people {
            tasks.spawn(person.run());
        }
        let measured = tokio::select! {
            measured = measure(&tally) => measured?,
            ended = tasks.join_next() => bail!(why(ended)),
        };
        tokio::select! {
            () = settle(&tally) => {}
            ended = tasks.join_next() => bail!(why(ended)),
        }
        let settled = tally.measure_to.elapsed().as_secs_f64();
        tally.stop.cancel();
        tasks.join_all().await.into_iter().collect::<Result<()>>()?;
        let mut summary = Summary { settled, ..judge(scenario, users, &tally, measured) };
        if !summary.violations.is_empty() && tally.servers.kind == Kind::Switchboard {
            let report = tally.history.check(Allowed::default());
            summary.violations.extend(witness::testify(&tally.servers, &report.violations).await);
        }
        Ok(summary)
    }
}

/// Samples everything until the measured time is over.
async fn measure(tally: &Tally) -> Result<Measured> {
    let total = tally.settings.warmup + tally.settings.duration;
    let every = Duration::from_secs(1).max(total / SAMPLES);
    let bar = progress::time("", total);
    sleep_until(tally.start).await;
    let probe = Probe::start();
    let mut last = CpuLook::now(&tally.servers)?;
    let (mut before, mut samples, mut from) = (None, Vec::new(), Counts::default());
    let mut began = Instant::now();
    loop {
        // Ends exactly where the measured time begins and ends.
        let now = Instant::now();
        let border = if now < tally.measure_from { tally.measure_from } else { tally.measure_to };
        sleep_until(border.min(now + every)).await;
        let look = CpuLook::now(&tally.servers)?;
        let (counts, now) = (Counts::now(tally), Instant::now());
        let tick = tally.recorder.tick().tick;
        let sample = Sample {
            at: (now - tally.start).as_secs_f64(),
            seconds: (now - began).as_secs_f64(),
            sent: counts.sent - from.sent,
            delivered: counts.received - from.received,
            errors: counts.refused - from.refused,
            p50: millis(&tick, 0.5),
            p99: millis(&tick, 0.99),
            max: millis(&tick, 1.0),
            cores: look.cores(&last),
            resident: cost::resident(&tally.servers),
        };
        bar.set_position(u64::try_from((now - tally.start).as_millis()).unwrap_or(u64::MAX));
        bar.set_message(format!("{:.0}/s delivered, p99 {:.1} ms", per_second(&sample), sample.p99));
        samples.push(sample);
        if now >= tally.measure_from && before.is_none() {
            before = Some(look.clone());
        }
        if now >= tally.measure_to {
            bar.finish_and_clear();
            let before = before.unwrap_or_else(|| look.clone());
            let probe = probe.finish().await?;
            return Ok(Measured { before, after: look, samples, probe });
        }
        (last, from, began) = (look, counts, now);
    }
}

fn per_second(sample: &Sample) -> f64 {
    sample.delivered as f64 / sample.seconds.max(0.001)
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    sent: u64,
    received: u64,
    refused: u64,
}

impl Counts {
    fn now(tally: &Tally) -> Self {
        Self {
            sent: tally.sent.load(Ordering::Relaxed),
            received: tally.received.load(Ordering::Relaxed),
            refused: tally.refused.load(Ordering::Relaxed),
        }
    }
}

/// Until all that was acknowledged has arrived, or it never will: as long as
/// anything arrives, what is missing may be on its way.
async fn settle(tally: &Tally) {
    let (mut got, mut since) = (tally.received.load(Ordering::Relaxed), Instant::now());
    let settled = || {
        tally.history.unanswered() as u64 <= tally.refused.load(Ordering::Relaxed)
            && tally.history.settled(Allowed::default())
    };
    // What is still missing then is in the report.
    let _ = testbed::wait::until_true(SETTLE_AT_MOST, "everything has arrived", async || {
        let now = tally.received.load(Ordering::Relaxed);
        if now != got {
            (got, since) = (now, Instant::now());
        }
        settled() || since.elapsed() > SETTLE
    })
    .await;
}

fn judge(scenario: &'static str, users: usize, tally: &Tally, measured: Measured) -> Summary {
    let settings = &tally.settings;
    let report = tally.history.check(Allowed::default());
    let delivered = tally.delivered.load(Ordering::Relaxed);
    let all = tally.recorder.tick();
    let rate = if settings.closed { 0.0 } else { settings.rate };
    let messages = Messages {
        rate,
        sent_rate: all.lag.len() as f64 / settings.duration.as_secs_f64(),
        delivered_rate: delivered as f64 / settings.duration.as_secs_f64(),
        refused: usize::try_from(tally.refused.load(Ordering::Relaxed)).unwrap_or(usize::MAX),
        unanswered: tally.history.unanswered(),
        delivered,
        reconnects: tally.reconnects.load(Ordering::Relaxed),
        refusals: tally.refusals(),
        ..Messages::of(&report)
    };
    let cpu = || measured.after.since(&measured.before, &tally.servers, delivered);
    let cores = measured.after.cores(&measured.before).last().copied().unwrap_or_default();
    Summary {
        closed: settings.closed,
        seconds: settings.duration.as_secs_f64(),
        messages: Some(messages),
        latency: (!all.latency.is_empty()).then(|| Latency::of(&all.latency)),
        percentiles: crate::summary::percentiles(&all.latency),
        cpu: (delivered > 0).then(cpu),
        generator: Some(Generator::of(cores, &measured.probe, &all.lag)),
        processes: cost::processes(&tally.servers, &measured.before, &measured.after),
        series: measured.samples,
        violations: report.violations.iter().take(20).map(ToString::to_string).collect(),
        ..Summary::new(scenario, &tally.servers, settings, users)
    }
}

fn why(ended: Option<Result<Result<()>, JoinError>>) -> anyhow::Error {
    match ended {
        Some(Ok(Err(error))) => error,
        Some(Err(error)) => error.into(),
        _ => anyhow::anyhow!("a user stopped before its time"),
    }
}
