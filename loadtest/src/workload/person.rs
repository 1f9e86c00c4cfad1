//! One user of a load test: writes on a schedule that does not wait for
//! answers (or, in a closed loop, only for its own), reads, acknowledges, and
//! has habits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep, sleep_until};

use super::Seat;
use super::line::Line;
use super::plan::Plan;
use super::tally::{Letter, Tally};
use crate::client::http::Http;
use crate::client::{Account, Frame};
use crate::history::DeviceLog;

/// How often a reader says how far it is.
const ACKNOWLEDGE: Duration = Duration::from_secs(1);

/// Time for a user of `restless` to be connected again.
const PATIENCE: Duration = Duration::from_secs(120);

/// Messages without an answer, of somebody who sends them again.
const MOST_PENDING: usize = 16;

/// After a refusal in a closed loop, or of a connection.
const BREATH: Duration = Duration::from_millis(100);

/// A user who does what its plan says.
pub(super) struct Person {
    line: Line,
    log: DeviceLog,
    plan: Plan,
    tally: Arc<Tally>,
    random: StdRng,
    /// Sent and not answered, by `ref`.
    pending: BTreeMap<u64, SentCommand>,
    /// Other commands whose answers matter only when they are refusals.
    asked: BTreeMap<u64, &'static str>,
    /// The last of those numbers in `pending` that stand for no `ref`.
    waiting: u64,
    count: u64,
    due: Instant,
    in_flight: InFlight,
    acknowledged: String,
    /// The newest message of others, and the one that was marked.
    newest: Option<(String, u64)>,
    marked: Option<(String, u64)>,
    reads_again: Instant,
}

#[derive(Debug)]
struct SentCommand {
    id: String,
    command: Value,
}

/// What a closed loop waits for.
#[derive(Debug, Default, PartialEq, Eq)]
struct InFlight {
    answer: bool,
    reader: bool,
}

impl Person {
    pub(super) fn new(line: Line, log: DeviceLog, plan: Plan, tally: Arc<Tally>) -> Self {
        log.began(&line.cursor());
        let random = StdRng::seed_from_u64(tally.settings.seed ^ (plan.user as u64) << 20);
        let due = plan.writes.as_ref().map_or(tally.measure_to, |writes| writes.first);
        let acknowledged = line.cursor().into_owned();
        let reads_again = tally.start;
        Self {
            line,
            log,
            plan,
            tally,
            random,
            pending: BTreeMap::new(),
            asked: BTreeMap::new(),
            waiting: 1 << 63,
            count: 0,
            due,
            in_flight: InFlight::default(),
            acknowledged,
            newest: None,
            marked: None,
            reads_again,
        }
    }

    /// Runs until `stop`; an error is the end of the connection.
    pub(super) async fn run(mut self) -> Result<()> {
        let name = self.plan.name.clone();
        self.live().await.with_context(|| format!("{name} was cut off"))
    }

    async fn live(&mut self) -> Result<()> {
        let tally = Arc::clone(&self.tally);
        let mut clock = ticking(tally.start, ACKNOWLEDGE, &mut self.random);
        // Without the habit it never ticks before the end.
        let often = self.plan.habits.reconnects.unwrap_or(Duration::from_secs(365 * 24 * 3600));
        let mut leaving = ticking(tally.start, often, &mut self.random);
        loop {
            tokio::select! {
                () = tally.stop.cancelled() => return Ok(()),
                frame = read(&mut self.line, self.reads_again) => match frame {
                    Ok(frame) => self.hear(&frame),
                    Err(_) if self.plan.habits.insists => self.reconnect().await?,
                    Err(error) => return Err(error.into()),
                },
                () = sleep_until(self.due), if self.may_write() => match self.write().await {
                    Err(_) if self.plan.habits.insists => self.reconnect().await?,
                    written => written?,
                },
                () = tally.my_turn(self.plan.user), if self.in_flight.reader => {
                    self.in_flight.reader = false;
                    self.due = Instant::now();
                }
                _ = clock.tick() => match self.say_how_far().await {
                    // What has ended the connection is often noticed by writing.
                    Err(_) if self.plan.habits.insists => self.reconnect().await?,
                    said => said?,
                },
                _ = leaving.tick(), if self.may_leave() => self.reconnect().await?,
            }
        }
    }

    fn may_write(&self) -> bool {
        let free = !self.tally.settings.closed || self.in_flight == InFlight::default();
        // Whoever sends again what has no answer writes nothing more behind too much of it.
        let follows = !self.plan.habits.insists || self.pending.len() < MOST_PENDING;
        self.plan.writes.is_some() && free && follows && self.due < self.tally.measure_to
    }

    /// Whoever insists also comes again for what has no answer.
    fn may_leave(&self) -> bool {
        let insists = self.plan.habits.insists && !self.pending.is_empty();
        insists || Instant::now() < self.tally.measure_to
    }

    async fn write(&mut self) -> Result<()> {
        let Some(writes) = &self.plan.writes else { return Ok(()) };
        let targets = if self.random.random_bool(writes.other_share) { &writes.other } else { &writes.usual };
        let target = targets[self.random.random_range(0..targets.len())].clone();
        let (every, bytes) = (writes.every, writes.bodies.bytes(&mut self.random));
        if self.plan.habits.types > 0.0 && self.random.random_bool(self.plan.habits.types) {
            self.ask(json!({"type": "typing", "conversation": target.log}), "typing").await?;
        }
        let closed = self.tally.settings.closed;
        if self.tally.is_measured(self.due) {
            self.tally.recorder.sent(self.plan.user, Instant::now() - self.due);
        }
        self.count += 1;
        let time = if closed { Instant::now() } else { self.tally.counts_from(self.due) };
        let letter = Letter { sender: &self.plan.name, number: self.count, time, bytes };
        let id = self.tally.id(&self.plan.name, self.count);
        let mut command = target.command;
        command["body"] = self.tally.body(letter);
        command["client_msg_id"] = json!(id);
        self.tally.history.sending(&target.log, &id);
        self.tally.sent.fetch_add(1, Ordering::Relaxed);
        self.in_flight = InFlight { answer: true, reader: closed && target.has_reader };
        // On its way before its answer can be read: this task reads.
        let started = self.start(SentCommand { id, command }).await;
        if !closed {
            self.due += every;
        }
        started
    }

    /// Sends it. Where that fails it waits for the next connection.
    async fn start(&mut self, sent: SentCommand) -> Result<()> {
        match self.line.start(sent.command.clone()).await {
            Ok(reference) => {
                self.pending.insert(reference, sent);
                Ok(())
            }
            Err(error) => {
                self.waits(sent);
                Err(error.into())
            }
        }
    }

    /// It waits for the next connection, under a number that no `ref` has.
    fn waits(&mut self, sent: SentCommand) {
        self.waiting += 1;
        self.pending.insert(self.waiting, sent);
    }

    fn hear(&mut self, frame: &Frame) {
        if let Some(rest) = self.plan.habits.rests
            && Instant::now() < self.tally.measure_to
        {
            self.reads_again = Instant::now() + rest;
        }
        let answered = frame.answers().and_then(|reference| self.pending.remove(&reference));
        if let Some(sent) = answered {
            return self.answer(frame, sent);
        }
        let asked = frame.answers().and_then(|reference| self.asked.remove(&reference));
        match frame.kind() {
            // A guest who was shown out while saying how far it had read.
            "error" if asked == Some("read") && frame.text("code") == Some("not_found") => {}
            // Said again within a second.
            "error" if self.plan.habits.insists && asked.is_some() && is_for_later(frame) => {}
            "error" => self.tally.refuse(frame, asked.unwrap_or("unasked")),
            "message" if frame.text("from") != Some(&self.plan.name) => {
                self.arrived(frame);
                let conversation = frame.text("conversation").unwrap_or_default();
                self.newest = Some((conversation.to_owned(), frame.number("seq").unwrap_or_default()));
                self.log.frame(frame);
            }
            "publication" => {
                self.arrived(frame);
                self.log.publication(frame, self.tally.id_of(&frame.0["body"]).as_deref());
            }
            _ => self.log.frame(frame),
        }
    }

    fn arrived(&self, frame: &Frame) {
        self.tally.arrived(frame, self.plan.user, self.plan.habits.rests.is_none());
        let log = frame.text("conversation").or(frame.text("channel")).unwrap_or_default();
        let is_direct = log.contains('~') || log.contains('>') && !log.contains(">c_");
        if self.tally.settings.closed
            && is_direct
            && let Some(sender) = frame.0["body"]["f"].as_str()
            && let Some(user) = sender.strip_prefix("user").and_then(|number| number.parse().ok())
        {
            self.tally.turn(user);
        }
    }

    fn answer(&mut self, frame: &Frame, sent: SentCommand) {
        if self.plan.habits.insists && is_for_later(frame) {
            self.waits(sent);
            return;
        }
        self.in_flight.answer = false;
        self.due = if self.tally.settings.closed { Instant::now() } else { self.due };
        if frame.kind() == "error" {
            self.tally.refuse(frame, "send");
            self.in_flight.reader = false;
            if self.tally.settings.closed {
                self.due += BREATH;
            }
        } else {
            self.log.sent_as(frame, &sent.id);
        }
    }

    async fn ask(&mut self, command: Value, kind: &'static str) -> Result<()> {
        let reference = self.line.start(command).await?;
        self.asked.insert(reference, kind);
        Ok(())
    }

    async fn say_how_far(&mut self) -> Result<()> {
        if self.plan.habits.acknowledges && self.line.cursor() != self.acknowledged {
            self.acknowledged = self.line.cursor().into_owned();
            self.ask(json!({"type": "ack", "cursor": self.acknowledged}), "ack").await?;
        }
        if self.plan.habits.reads && self.newest != self.marked {
            self.marked.clone_from(&self.newest);
            if let Some((conversation, seq)) = self.newest.clone() {
                self.ask(json!({"type": "read", "conversation": conversation, "seq": seq}), "read").await?;
            }
        }
        Ok(())
    }

    /// Drops the connection and goes on, perhaps elsewhere, where it was. What
    /// was not answered is sent again under its own id.
    async fn reconnect(&mut self) -> Result<()> {
        let seat = Seat { cursor: Some(self.line.cursor().into_owned()), ..self.plan.seat.clone() };
        let tally = Arc::clone(&self.tally);
        let elsewhere = self.plan.user + self.random.random_range(0..tally.servers.gateways.len() * 2);
        let insists = self.plan.habits.insists;
        // By habit the old connection stays open meanwhile, as that of a client
        // does that has lost its network: the new session replaces it.
        let closed_first = insists && self.random.random();
        let (line, insisted) = {
            let old = &mut self.line;
            let connecting = async {
                if closed_first {
                    old.cut();
                }
                match insists {
                    true => come_again(&tally, elsewhere, &self.plan.name, &seat).await,
                    false => tally.servers.connect(&tally.settings, elsewhere, &self.plan.name, &seat).await,
                }
            };
            let insisting = async {
                match insists {
                    true => insist(&tally, &self.plan.name, elsewhere + 1, &self.pending).await,
                    false => Ok(Vec::new()),
                }
            };
            tokio::try_join!(connecting, insisting)?
        };
        self.line = line;
        self.tally.reconnects.fetch_add(1, Ordering::Relaxed);
        self.log.began(&self.line.cursor());
        self.asked.clear();
        for (id, seq) in insisted {
            self.tally.history.acknowledged(&id, seq);
        }
        let mut gone = None;
        for (_, sent) in std::mem::take(&mut self.pending) {
            match gone {
                None => gone = self.start(sent).await.err(),
                Some(_) => self.waits(sent),
            }
        }
        match gone {
            // It is noticed by reading, too.
            Some(_) if insists => Ok(()),
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

/// Connects, however often it takes: servers out of breath are not what is
/// looked for.
async fn come_again(tally: &Tally, user: usize, name: &str, seat: &Seat) -> Result<Line> {
    let end = Instant::now() + PATIENCE;
    for try_at in user.. {
        match tally.servers.connect(&tally.settings, try_at, name, seat).await {
            Err(_) if Instant::now() < end => sleep(BREATH).await,
            line => return line,
        }
    }
    unreachable!("users are fewer than numbers")
}

/// Sends what is not answered once more, over HTTP at another gateway; gives
/// the numbers that the answers say.
async fn insist(
    tally: &Tally,
    name: &str,
    gateway: usize,
    pending: &BTreeMap<u64, SentCommand>,
) -> Result<Vec<(String, u64)>> {
    let token = tally.servers.issuer.token(name);
    let mut http = Http::new(&Account::new(tally.servers.gateway(gateway), &token, "insists"))?;
    let mut answers = Vec::new();
    for sent in pending.values() {
        match http.command(&sent.command).await {
            Ok(answer) => answers.extend(answer.number("seq").map(|seq| (sent.id.clone(), seq))),
            // It is under way on the other way, too.
            Err(_) => break,
        }
    }
    Ok(answers)
}

/// Whether it was refused for the moment only.
fn is_for_later(frame: &Frame) -> bool {
    matches!(frame.text("code"), Some("unavailable" | "rate_limited"))
}

/// Not before `from`.
async fn read(line: &mut Line, from: Instant) -> crate::client::Result<Frame> {
    if from > Instant::now() {
        sleep_until(from).await;
    }
    line.next_frame().await
}

/// Not all at the same moment.
fn ticking(start: Instant, every: Duration, random: &mut StdRng) -> Interval {
    let mut clock = interval_at(start + every.mul_f64(random.random_range(0.5..1.5)), every);
    clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
    clock
}
