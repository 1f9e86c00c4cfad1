//! Users in pairs on different nodes who write to one another at a steady
//! rate, whether or not the cluster keeps up.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::cost::CpuLook;
use super::person::{self, Plan, Shared};
use super::{Servers, Settings, user_name};
use crate::history::{Allowed, History};
use crate::summary::{Latency, Messages, Summary};

/// For what is still on its way when the sending ends.
const SETTLE: Duration = Duration::from_secs(15);

/// Runs it and judges it.
pub async fn run(servers: &Servers, settings: &Settings) -> Result<Summary> {
    let settings = Settings { users: settings.users / 2 * 2, ..settings.clone() };
    let clients = servers.connect_all(&settings, 0..settings.users).await?;
    let shared = Arc::new(shared(&settings)?);
    let mut people = JoinSet::new();
    let mut random = StdRng::seed_from_u64(settings.seed);
    for (user, client) in clients.into_iter().enumerate() {
        let plan = plan(&settings, user, shared.start, &mut random);
        let log = shared.history.device(&plan.name, "load");
        let shared = Arc::clone(&shared);
        people.spawn(async move {
            let name = plan.name.clone();
            person::run(client, log, plan, &shared).await.with_context(|| format!("{name} was cut off"))
        });
    }
    let (before, after) = tokio::select! {
        looks = measure(servers, &shared) => looks?,
        ended = people.join_next() => bail!(why(ended)),
    };
    tokio::select! {
        () = settle(&shared) => {}
        ended = people.join_next() => bail!(why(ended)),
    }
    shared.stop.cancel();
    people.join_all().await.into_iter().collect::<Result<()>>()?;
    Ok(judge(&settings, &shared, &before, &after))
}

fn shared(settings: &Settings) -> Result<Shared> {
    // A moment for the tasks to begin.
    let start = Instant::now() + Duration::from_millis(200);
    let measure_from = start + settings.warmup;
    Ok(Shared {
        history: History::new(),
        start,
        measure_from,
        measure_to: measure_from + settings.duration,
        body: settings.body,
        latency: Mutex::new(Histogram::new_with_bounds(1, 120_000_000, 3)?),
        delivered: 0.into(),
        received: 0.into(),
        refused: 0.into(),
        refusals: Mutex::default(),
        stop: CancellationToken::new(),
    })
}

fn plan(settings: &Settings, user: usize, start: Instant, random: &mut StdRng) -> Plan {
    let (name, peer) = (user_name(user), user_name(user ^ 1));
    let (one, other) = if name <= peer { (&name, &peer) } else { (&peer, &name) };
    let conversation = format!("{one}~{other}");
    let every = Duration::from_secs_f64(settings.users as f64 / settings.rate);
    let first = start + every.mul_f64(random.random::<f64>());
    Plan { name, peer, conversation, first, every }
}

/// Looks at the CPU at both ends of the measured time.
async fn measure(servers: &Servers, shared: &Shared) -> Result<(CpuLook, CpuLook)> {
    let bar =
        ProgressBar::new_spinner().with_style(ProgressStyle::with_template("{spinner} {elapsed} {msg}")?);
    let mut before = None;
    let mut seen = 0;
    loop {
        let now = Instant::now();
        let tick = now + Duration::from_secs(1);
        let end = if now < shared.measure_from { shared.measure_from } else { shared.measure_to };
        sleep_until(tick.min(end)).await;
        if before.is_none() && Instant::now() >= shared.measure_from {
            before = Some(CpuLook::now(servers)?);
        }
        if Instant::now() >= shared.measure_to {
            let after = CpuLook::now(servers)?;
            bar.finish_and_clear();
            return Ok((before.unwrap_or(after), after));
        }
        let received = shared.received.load(Ordering::Relaxed);
        bar.set_message(format!("{} delivered, {}/s", received, received - seen));
        bar.tick();
        seen = received;
    }
}

/// Until all that was acknowledged has arrived, or it never will.
async fn settle(shared: &Shared) {
    // What is still missing then is in the report.
    let _ = testbed::wait::until_true(SETTLE, "everything has arrived", async || {
        // The whole judgement is slow: not before it can be good.
        if shared.received.load(Ordering::Relaxed) < shared.history.acknowledged_count() as u64 {
            return false;
        }
        let report = shared.history.check(Allowed::default());
        let answered = report.acknowledged + shared.refused.load(Ordering::Relaxed);
        report.is_clean() && answered >= report.sent
    })
    .await;
}

fn judge(settings: &Settings, shared: &Shared, before: &CpuLook, after: &CpuLook) -> Summary {
    let report = shared.history.check(Allowed::default());
    let delivered = shared.delivered.load(Ordering::Relaxed);
    let seconds = settings.duration.as_secs_f64();
    let messages = Messages {
        rate: settings.rate,
        delivered_rate: delivered as f64 / seconds,
        refused: shared.refused.load(Ordering::Relaxed),
        delivered,
        refusals: shared.refusals.lock().expect("no holder panics").clone(),
        ..Messages::of(&report)
    };
    Summary {
        scenario: "direct",
        seed: settings.seed,
        users: settings.users,
        seconds,
        messages: Some(messages),
        latency: Some(Latency::of(&shared.latency.lock().expect("no holder panics"))),
        cpu: Some(after.since(before, delivered)),
        memory: None,
        violations: report.violations.iter().take(20).map(ToString::to_string).collect(),
    }
}

fn why(ended: Option<Result<Result<()>, tokio::task::JoinError>>) -> anyhow::Error {
    match ended {
        Some(Ok(Err(error))) => error,
        Some(Err(error)) => error.into(),
        _ => anyhow::anyhow!("a user stopped before its time"),
    }
}
