//! Leaving, what is written meanwhile, and coming back all at once: how long
//! until everybody is back, and until everybody has it all.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use hdrhistogram::Histogram;
use rand::Rng;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::cost::{self, CpuLook};
use super::line::Line;
use super::probe::Probe;
use super::record::histogram;
use super::slowest::Slowest;
use super::tally::{Letter, Tally};
use super::{Kind, Seat, Servers, Settings, direct, progress, user_name, users};
use crate::client::Frame;
use crate::history::{Allowed, DeviceLog, History};
use crate::summary::{Generator, Latency, LongestCall, Messages, Returns, Summary};

/// Who write to those who are away.
const WRITERS: usize = 8;

/// Messages of one writer that are not answered yet.
const WINDOW: usize = 64;

/// For everybody to be back with everything.
const PATIENCE: Duration = Duration::from_secs(120);

/// Between two attempts to come back, at most.
const RETRY: Duration = Duration::from_millis(200);

/// What happens while everybody is away.
#[derive(Debug, Clone, Copy)]
pub(super) struct Absence {
    pub(super) scenario: &'static str,
    /// Messages for each.
    pub(super) backlog: usize,
}

/// One who is away.
struct Away {
    user: usize,
    name: String,
    cursor: String,
    log: DeviceLog,
}

/// How one return went, from the moment in which all began.
#[derive(Debug, Clone, Copy)]
struct Return {
    back: Duration,
    caught_up: Duration,
    retries: u64,
}

/// Runs it and judges it.
pub(super) async fn run(servers: &Servers, settings: &Settings, absence: Absence) -> Result<Summary> {
    let history = History::bounded();
    let lines = servers.connect_all(settings, users(0..settings.users)).await?;
    let writers =
        (settings.users..settings.users + WRITERS).map(|user| (user, user_name(user), Seat::default()));
    let writers = if absence.backlog > 0 { writers.collect() } else { Vec::new() };
    let writers = servers.connect_all(settings, writers).await?;
    let mut away = Vec::with_capacity(lines.len());
    for (user, line) in lines.iter().enumerate() {
        let name = user_name(user);
        let log = history.device(&name, "load");
        let cursor = line.cursor().into_owned();
        log.began(&cursor);
        away.push(Away { user, name, cursor, log });
    }
    // All sockets at once, without a goodbye.
    drop(lines);
    for user in 0..settings.users {
        // Who writes to whom: see `write`.
        direct::file(servers.kind, &history, settings.users + user % WRITERS, user);
    }

    let tally = Arc::new(Tally::new(servers, settings, Arc::clone(&history), settings.users));
    let mut staying = JoinSet::new();
    write(&tally, writers, absence.backlog, &mut staying).await?;
    let slowest = Slowest::begin(servers).await?;
    let (before, probe) = (CpuLook::now(servers)?, Probe::start());
    let returns = come_back(&tally, away, absence.backlog, &mut staying).await?;
    let (after, probe) = (CpuLook::now(servers)?, probe.finish().await?);
    let redis = match slowest {
        Some(slowest) => Some(slowest.finish().await?),
        None => None,
    };
    // A repeat would come after the last one that is expected.
    let settled = testbed::wait::until_true(Duration::from_secs(5), "everything has arrived", async || {
        history.settled(Allowed::default())
    });
    // What is missing then is in the report.
    let _ = settled.await;
    tally.stop.cancel();
    staying.join_all().await.into_iter().collect::<Result<()>>()?;
    Ok(judge(&tally, absence, &returns, Measured { before, after, probe, redis }))
}

/// Writes so many to each; returns when all are acknowledged. The writers stay
/// until `stop`: their own copies may come after the answers.
async fn write(
    tally: &Arc<Tally>,
    writers: Vec<Line>,
    backlog: usize,
    staying: &mut JoinSet<Result<()>>,
) -> Result<()> {
    let (users, count) = (tally.settings.users, writers.len());
    let bar = progress::count("writing", users * backlog);
    // As large as there are senders: never full.
    let (done, mut all_done) = mpsc::channel(count.max(1));
    for (index, line) in writers.into_iter().enumerate() {
        let name = user_name(users + index);
        let log = tally.history.device(&name, "load");
        log.began(&line.cursor());
        let (tally, bar, done) = (Arc::clone(tally), bar.clone(), done.clone());
        staying.spawn(async move {
            let mut writer = Writer { tally, line, log, name, open: 0 };
            for round in 0..backlog {
                for user in (index..users).step_by(WRITERS) {
                    writer.write(user, round as u64 + 1).await?;
                    bar.inc(1);
                }
            }
            writer.answers(0).await?;
            if writer.tally.servers.kind != Kind::Switchboard {
                writer.hears_itself().await?;
            }
            let _ = done.send(()).await;
            stay(writer.line, &mut writer.log, &writer.tally.stop).await
        });
    }
    for _ in 0..count {
        tokio::select! {
            Some(()) = all_done.recv() => {}
            Some(ended) = staying.join_next() => {
                ended??;
                bail!("a writer's task ended before all was written");
            }
        }
    }
    bar.finish_and_clear();
    Ok(())
}

struct Writer {
    tally: Arc<Tally>,
    line: Line,
    log: DeviceLog,
    name: String,
    open: usize,
}

impl Writer {
    /// `number` counts what this writer sends to this user.
    async fn write(&mut self, user: usize, number: u64) -> Result<()> {
        self.answers(WINDOW - 1).await?;
        let to = user_name(user);
        let id = self.tally.id(&format!("{}-{to}", self.name), number);
        let letter =
            Letter { sender: &self.name, number, time: Instant::now(), bytes: self.tally.settings.body };
        let body = self.tally.body(letter);
        self.tally.history.sending(&self.tally.servers.kind.direct(&self.name, &to), &id);
        let command = serde_json::json!({"type": "send", "to": to, "body": body, "client_msg_id": id});
        let reference = self.line.start(command).await?;
        self.log.expect_answer(reference, &id);
        self.open += 1;
        Ok(())
    }

    /// With a server that answers before it has written: a message to itself, the
    /// last one, comes when all before it are written.
    async fn hears_itself(&mut self) -> Result<()> {
        let command = serde_json::json!({"type": "send", "to": self.name, "body": {"f": self.name}});
        self.line.start(command).await?;
        loop {
            let frame =
                timeout(PATIENCE, self.line.next_frame()).await.context("a writer hears nothing")??;
            if frame.kind() == "publication" {
                return Ok(());
            }
        }
    }

    /// Reads until at most so many are open.
    async fn answers(&mut self, open: usize) -> Result<()> {
        while self.open > open {
            let frame =
                timeout(PATIENCE, self.line.next_frame()).await.context("no answer to a message")??;
            if frame.kind() == "error" {
                bail!("a message was refused: {}", frame.0);
            }
            if frame.kind() == "sent" {
                self.open -= 1;
            }
            self.log.frame(&frame);
        }
        Ok(())
    }
}

/// All come back at once, and stay until `stop`.
async fn come_back(
    tally: &Arc<Tally>,
    away: Vec<Away>,
    backlog: usize,
    staying: &mut JoinSet<Result<()>>,
) -> Result<Vec<Return>> {
    let bar = progress::count("returning", away.len());
    let (go, gone) = watch::channel(None::<Instant>);
    let (done, mut returns) = mpsc::channel(away.len().max(1));
    let users = away.len();
    for mut one in away {
        let (tally, mut gone, done) = (Arc::clone(tally), gone.clone(), done.clone());
        staying.spawn(async move {
            // The sender lives as long as this function.
            let start = gone.wait_for(Option::is_some).await?.context("a start")?;
            let name = one.name.clone();
            let (line, how) = one.come_back(&tally, start, backlog).await.with_context(|| name.clone())?;
            // As large as there are senders: never full.
            let _ = done.send(how).await;
            stay(line, &mut one.log, &tally.stop).await.with_context(|| format!("{name} was cut off"))
        });
    }
    go.send_replace(Some(Instant::now()));
    let mut all = Vec::with_capacity(users);
    while all.len() < users {
        tokio::select! {
            Some(how) = returns.recv() => all.push(how),
            Some(ended) = staying.join_next() => {
                ended??;
                bail!("a user's task ended before everybody was back");
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(all)
}

impl Away {
    async fn come_back(&mut self, tally: &Tally, start: Instant, backlog: usize) -> Result<(Line, Return)> {
        let deadline = start + PATIENCE;
        let seat = Seat { cursor: Some(self.cursor.clone()).filter(|c| !c.is_empty()), ..Seat::default() };
        let mut retries = 0;
        let mut line = loop {
            let attempt = tally.servers.connect(&tally.settings, self.user, &self.name, &seat);
            match timeout_at(deadline, attempt).await.context("not back in time")? {
                Ok(line) => break line,
                Err(error) if Instant::now() >= deadline => return Err(error),
                // Refused for the moment, or the queue of connections is full: try again, as a client does.
                Err(_) => retries += 1,
            }
            let pause = RETRY.mul_f64(rand::rng().random_range(0.5..1.0));
            sleep(pause).await;
        };
        let back = start.elapsed();
        self.log.began(&line.cursor());
        let mut got = 0;
        while got < backlog {
            let frame = timeout_at(deadline, line.next_frame()).await.context("not caught up in time")??;
            if matches!(frame.kind(), "message" | "publication") {
                got += 1;
            }
            heard(&mut self.log, &frame);
        }
        Ok((line, Return { back, caught_up: start.elapsed(), retries }))
    }
}

/// Writes down what a device was given.
fn heard(log: &mut DeviceLog, frame: &Frame) {
    match frame.kind() {
        "publication" => log.publication(frame, None),
        _ => log.frame(frame),
    }
}

/// Reads until `stop`.
async fn stay(mut line: Line, log: &mut DeviceLog, stop: &CancellationToken) -> Result<()> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            frame = line.next_frame() => heard(log, &frame?),
        }
    }
}

/// What the return has cost, and whether this program was late.
struct Measured {
    before: CpuLook,
    after: CpuLook,
    probe: Histogram<u64>,
    redis: Option<LongestCall>,
}

fn judge(tally: &Tally, absence: Absence, returns: &[Return], measured: Measured) -> Summary {
    let Measured { before, after, probe, redis } = measured;
    let servers = &tally.servers;
    let report = tally.history.check(Allowed::default());
    let times = |of: fn(&Return) -> Duration| -> Histogram<u64> {
        let mut all = histogram();
        for one in returns {
            all.saturating_record(u64::try_from(of(one).as_micros()).unwrap_or(u64::MAX));
        }
        all
    };
    let messages = (tally.settings.users * absence.backlog) as u64;
    let all = times(|one| one.caught_up);
    let (caught_up, percentiles) = (Latency::of(&all), crate::summary::percentiles(&all));
    let cores = after.cores(&before).last().copied().unwrap_or_default();
    let of_users = after.since(&before, servers, returns.len() as u64);
    Summary {
        messages: (messages > 0)
            .then(|| Messages { unanswered: tally.history.unanswered(), ..Messages::of(&report) }),
        returns: Some(Returns {
            users: returns.len(),
            backlog: absence.backlog,
            retries: returns.iter().map(|one| one.retries).sum(),
            messages_per_second: messages as f64 / (caught_up.max / 1000.0).max(0.001),
            cpu_per_user: of_users.servers,
            back: Latency::of(&times(|one| one.back)),
            caught_up,
        }),
        cpu: (messages > 0).then(|| after.since(&before, servers, messages)),
        percentiles,
        generator: Some(Generator::of(cores, &probe, &histogram())),
        processes: cost::processes(servers, &before, &after),
        redis,
        violations: report.violations.iter().take(20).map(ToString::to_string).collect(),
        ..Summary::new(absence.scenario, servers, &tally.settings, returns.len())
    }
}
