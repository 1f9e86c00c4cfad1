//! Messages through gateways, routers and primaries, as many of each as one
//! likes: how busy each is, what gathers into a batch, how long a message
//! takes, and what the bus and the heartbeats take of it.
//!
//! A message goes from its sender's gateway to a router, waits there for the
//! batch before it, is posted (one call on a single primary; numbered, filed
//! and announced in three rounds on several), and reaches its readers'
//! gateways in one envelope for each (batch, gateway). Processes are those of
//! `station`; a process of several cores is one that is as much faster.

use std::collections::{HashMap, VecDeque};
use std::fmt;

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;

use super::agenda::Agenda;
use super::costs as cost;
use super::need::{Habits, Machines, Need, SHORT};
use super::station::{self, Station};
use super::{Busy, Times, record, times};
use crate::workload::progress;

/// Messages of one batch, as the router has it.
const BATCH: usize = 256;
/// What a process takes at once.
const TAKEN: usize = 1_024;
/// Origins that a gateway's ear remembers: with more routers than that it
/// forgets, and every session catches up.
pub const ORIGINS: usize = 1_024;
/// Seconds for which acknowledgements gather in a router.
const ACKNOWLEDGE: f64 = 0.025;
/// Of the time; what comes before is not looked at.
const WARM: f64 = 0.2;

/// What is simulated.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Plan {
    /// How many.
    pub gateways: usize,
    /// How many.
    pub routers: usize,
    /// How many; one takes a batch in one call.
    pub primaries: usize,
    /// Messages a second of all together.
    pub rate: f64,
    /// Members for whom a message is filed, the mean.
    pub filings: f64,
    /// Devices that get it, the mean.
    pub readers: f64,
    /// Acknowledgements of devices for each copy that they get.
    pub acks: f64,
    /// Of each gateway and router.
    pub cores: f64,
    /// Seconds from one process to another and back.
    pub round_trip: f64,
    /// Simulated time.
    pub seconds: f64,
    /// Repeats the run.
    pub seed: u64,
}

/// What it has shown.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// What was simulated.
    pub plan: Plan,
    /// Messages that were looked at.
    pub messages: u64,
    /// Copies handed to sockets in that time.
    pub deliveries: u64,
    /// From the sender's socket to the readers'.
    pub latency: Times,
    /// As much was delivered as was sent.
    pub keeps_up: bool,
    /// Gateways.
    pub gateways: Busy,
    /// Routers.
    pub routers: Busy,
    /// Primaries.
    pub primaries: Busy,
    /// CPU of all processes for a message, in microseconds.
    pub cpu: f64,
    /// Messages of a router's batch.
    pub batch: f64,
    /// Published a second.
    pub envelopes: f64,
    /// Deliveries in one.
    pub per_envelope: f64,
    /// Share of the primary that has the list of nodes, for leases and lists.
    pub list: f64,
    /// Bytes a second of lists of nodes from that primary.
    pub list_bytes: f64,
    /// Counts published a second, routers to gateways.
    pub counts: f64,
    /// Streams between gateways and routers.
    pub links: usize,
}

#[derive(Debug, Clone, Copy)]
struct Message {
    born: f64,
    from: usize,
    counted: bool,
}

/// What a gateway has to do.
#[derive(Debug, Clone, Copy)]
enum Task {
    Send(Message),
    Answer,
    Deliver(Message),
    Acknowledge,
    /// Counts of routers.
    Hear,
}

/// What a router has to do.
#[derive(Debug, Clone, Copy)]
enum Duty {
    Take(Message),
    /// Of a device at this gateway; waits for others.
    Acknowledge(usize),
    /// All answers to a step of this batch are there.
    GoOn(usize),
}

/// What a primary has to do: a step of a batch, or something of its own.
#[derive(Debug, Clone)]
enum Call {
    /// The batch, and what it publishes from here.
    Step(usize, Vec<Envelope>),
    Upkeep,
}

#[derive(Debug, Clone)]
struct Envelope {
    gateway: usize,
    messages: Vec<Message>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// All in one call.
    Post,
    Number,
    File,
    Announce,
    Acknowledge,
}

#[derive(Debug)]
struct Batch {
    router: usize,
    messages: Vec<Message>,
    step: Step,
    /// Primaries that have not answered.
    open: usize,
}

enum Event {
    Sends,
    GatewayDone(usize, Vec<Task>),
    RouterDone(usize, Vec<Duty>),
    PrimaryDone(usize, Vec<Call>),
    ToGateway(usize, Task),
    ToRouter(usize, Duty),
    ToPrimary(usize, Call, f64),
    Answered(usize),
    AcksDue(usize),
    GatewayBeats(usize),
    RouterBeats(usize),
}

/// Seconds.
struct Prices {
    send: f64,
    deliver: f64,
    take: f64,
    number: f64,
    file: f64,
    post: f64,
}

struct Cluster {
    plan: Plan,
    prices: Prices,
    agenda: Agenda<Event>,
    random: StdRng,
    gateways: Vec<Station<Task>>,
    routers: Vec<Station<Duty>>,
    primaries: Vec<Station<Call>>,
    /// Of each router: what waits for the batch under way, and whether one is.
    queues: Vec<VecDeque<Message>>,
    posting: Vec<bool>,
    /// Of each router: the gateways of acknowledgements that wait.
    acks: Vec<Vec<usize>>,
    batches: Vec<Option<Batch>>,
    free: Vec<usize>,
    latency: Histogram<u64>,
    messages: u64,
    deliveries: u64,
    envelopes: u64,
    enveloped: u64,
    batch_count: u64,
    batched: u64,
}

impl Plan {
    /// The nodes that so many users take, at their peak.
    pub fn of(users: f64) -> Self {
        // Older messages are elsewhere, or memory decides alone.
        let habits = Habits { kept: SHORT, ..Habits::default() };
        let machines = Machines::default();
        let need = Need::of(users, &habits, &machines);
        Self {
            gateways: need.gateways as usize,
            routers: need.routers as usize,
            // Of those that memory asks for, a bucket each at most has work.
            primaries: need.primaries.min(1_024.0) as usize,
            rate: need.messages,
            filings: habits.filed_for(),
            readers: habits.heard_by(),
            acks: (need.sessions / need.deliveries).min(1.0),
            cores: machines.gateway_cores,
            round_trip: 0.0003,
            seconds: 1.0,
            seed: 1,
        }
    }

    /// Refuses what cannot be simulated.
    pub fn check(&self) -> Result<()> {
        ensure!(self.gateways > 0 && self.routers > 0 && self.primaries > 0, "at least one of each");
        ensure!(self.primaries <= 1_024, "there are 1,024 buckets: no more primaries have work");
        let positive = [self.rate, self.filings, self.cores, self.seconds];
        ensure!(positive.iter().all(|number| number.is_finite() && *number > 0.0), "more than nothing");
        ensure!(self.acks >= 0.0 && self.readers >= 0.0 && self.round_trip >= 0.0, "not less than nothing");
        Ok(())
    }
}

/// Runs it.
pub fn run(plan: &Plan) -> Result<Outcome> {
    plan.check()?;
    let mut cluster = Cluster::new(plan);
    cluster.begin();
    let bar = progress::count("simulating", (plan.seconds * 1000.0) as usize);
    let mut looked = 0.0;
    while let Some(event) = cluster.agenda.next() {
        let now = cluster.agenda.now();
        if now > plan.seconds {
            break;
        }
        if now > looked {
            bar.set_position((now * 1000.0) as u64);
            looked = now + plan.seconds / 200.0;
        }
        cluster.happens(event);
    }
    bar.finish_and_clear();
    Ok(cluster.outcome())
}

impl Prices {
    fn new(plan: &Plan) -> Self {
        let micros = |cost: cost::Cost| cost.value / 1e6;
        let steps = cost::REDIS_STEPS.value / cost::REDIS_MESSAGE.value;
        // A third for the number and a third for each of two filings.
        let third = micros(cost::REDIS_BATCHED) / 3.0;
        Self {
            send: micros(cost::GATEWAY_BATCHED) / 2.0 / plan.cores,
            deliver: micros(cost::GATEWAY_BATCHED) / 2.0 / plan.cores,
            take: micros(cost::ROUTER_BATCHED) / plan.cores,
            number: third * steps,
            file: third * steps,
            post: third,
        }
    }
}

/// What it costs to wake, from what a message costs alone and among many, and
/// how often it wakes a kind of process: gateways for the message, its answer
/// and its delivery, for the acknowledgement and its answer; routers for the
/// message and the acknowledgement, and for what Redis answers to both; Redis
/// for both.
fn wakes(plan: &Plan) -> [f64; 3] {
    let wake = |alone: cost::Cost, batched: cost::Cost, times: f64| {
        (alone.value - batched.value).max(0.0) / 1e6 / times
    };
    [
        wake(cost::GATEWAY_ALONE, cost::GATEWAY_BATCHED, 5.0) / plan.cores,
        wake(cost::ROUTER_ALONE, cost::ROUTER_BATCHED, 4.0) / plan.cores,
        wake(cost::REDIS_ALONE, cost::REDIS_BATCHED, 2.0),
    ]
}

impl Cluster {
    fn new(plan: &Plan) -> Self {
        let [gateway, router, primary] = wakes(plan);
        Self {
            plan: *plan,
            prices: Prices::new(plan),
            agenda: Agenda::new(),
            random: StdRng::seed_from_u64(plan.seed),
            gateways: (0..plan.gateways).map(|_| Station::new(gateway, TAKEN)).collect(),
            routers: (0..plan.routers).map(|_| Station::new(router, TAKEN)).collect(),
            primaries: (0..plan.primaries).map(|_| Station::new(primary, TAKEN)).collect(),
            queues: (0..plan.routers).map(|_| VecDeque::new()).collect(),
            posting: vec![false; plan.routers],
            acks: vec![Vec::new(); plan.routers],
            batches: Vec::new(),
            free: Vec::new(),
            latency: times(),
            messages: 0,
            deliveries: 0,
            envelopes: 0,
            enveloped: 0,
            batch_count: 0,
            batched: 0,
        }
    }

    fn begin(&mut self) {
        self.agenda.after(0.0, Event::Sends);
        for gateway in 0..self.plan.gateways {
            let at = self.random.random::<f64>();
            self.agenda.after(at, Event::GatewayBeats(gateway));
        }
        for router in 0..self.plan.routers {
            let at = self.random.random::<f64>();
            self.agenda.after(at, Event::RouterBeats(router));
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Sends => self.sends(),
            Event::ToGateway(gateway, task) => self.to_gateway(gateway, task),
            Event::ToRouter(router, duty) => self.to_router(router, duty),
            Event::ToPrimary(primary, call, seconds) => self.to_primary(primary, call, seconds),
            Event::GatewayDone(gateway, tasks) => {
                tasks.into_iter().for_each(|task| self.gateway_did(gateway, task));
                self.gateway_begins(gateway);
            }
            Event::RouterDone(router, duties) => {
                duties.into_iter().for_each(|duty| self.router_did(router, duty));
                self.router_begins(router);
            }
            Event::PrimaryDone(primary, calls) => {
                calls.into_iter().for_each(|call| self.primary_did(call));
                self.primary_begins(primary);
            }
            Event::Answered(batch) => self.answered(batch),
            Event::AcksDue(router) => self.acks_due(router),
            Event::GatewayBeats(gateway) => self.gateway_beats(gateway),
            Event::RouterBeats(router) => self.router_beats(router),
        }
    }

    fn sends(&mut self) {
        let born = self.agenda.now();
        let from = self.random.random_range(0..self.plan.gateways);
        let counted = born >= self.plan.seconds * WARM;
        self.messages += u64::from(counted);
        self.to_gateway(from, Task::Send(Message { born, from, counted }));
        let pause = -(1.0 - self.random.random::<f64>()).ln() / self.plan.rate;
        self.agenda.after(pause, Event::Sends);
    }

    fn to_gateway(&mut self, gateway: usize, task: Task) {
        let seconds = match task {
            Task::Send(_) => self.prices.send,
            Task::Deliver(_) => self.prices.deliver,
            Task::Answer | Task::Acknowledge => 0.0,
            Task::Hear => self.plan.routers as f64 * cost::HEAR.value / 1e6 / self.plan.cores,
        };
        if self.gateways[gateway].give(task, seconds) {
            self.gateway_begins(gateway);
        }
    }

    fn to_router(&mut self, router: usize, duty: Duty) {
        let seconds = if matches!(duty, Duty::Take(_)) { self.prices.take } else { 0.0 };
        if self.routers[router].give(duty, seconds) {
            self.router_begins(router);
        }
    }

    fn to_primary(&mut self, primary: usize, call: Call, seconds: f64) {
        if self.primaries[primary].give(call, seconds) {
            self.primary_begins(primary);
        }
    }

    fn gateway_begins(&mut self, gateway: usize) {
        if let Some((tasks, seconds)) = self.gateways[gateway].begin() {
            self.agenda.after(seconds, Event::GatewayDone(gateway, tasks));
        }
    }

    fn router_begins(&mut self, router: usize) {
        if let Some((duties, seconds)) = self.routers[router].begin() {
            self.agenda.after(seconds, Event::RouterDone(router, duties));
        }
    }

    fn primary_begins(&mut self, primary: usize) {
        if let Some((calls, seconds)) = self.primaries[primary].begin() {
            self.agenda.after(seconds, Event::PrimaryDone(primary, calls));
        }
    }

    fn gateway_did(&mut self, gateway: usize, task: Task) {
        match task {
            Task::Send(message) => {
                let router = self.random.random_range(0..self.plan.routers);
                self.travel(Event::ToRouter(router, Duty::Take(message)));
            }
            Task::Deliver(message) => {
                if self.agenda.now() >= self.plan.seconds * WARM {
                    self.deliveries += 1;
                }
                if message.counted {
                    record(&mut self.latency, self.agenda.now() - message.born);
                }
                for _ in 0..self.draw(self.plan.acks) {
                    // Once a second: at any time in it.
                    let pause = self.random.random::<f64>();
                    self.agenda.after(pause, Event::ToGateway(gateway, Task::Acknowledge));
                }
            }
            Task::Acknowledge => {
                let router = self.random.random_range(0..self.plan.routers);
                self.travel(Event::ToRouter(router, Duty::Acknowledge(gateway)));
            }
            Task::Answer | Task::Hear => {}
        }
    }

    fn router_did(&mut self, router: usize, duty: Duty) {
        match duty {
            Duty::Take(message) => self.queues[router].push_back(message),
            Duty::Acknowledge(gateway) => {
                if self.acks[router].is_empty() {
                    self.agenda.after(ACKNOWLEDGE, Event::AcksDue(router));
                }
                self.acks[router].push(gateway);
            }
            Duty::GoOn(batch) => self.go_on(batch),
        }
        if !self.posting[router] && !self.queues[router].is_empty() {
            self.post(router);
        }
    }

    /// The next batch of a router: all that has gathered.
    fn post(&mut self, router: usize) {
        self.posting[router] = true;
        let count = self.queues[router].len().min(BATCH);
        let messages: Vec<Message> = self.queues[router].drain(..count).collect();
        self.batch_count += 1;
        self.batched += count as u64;
        let step = if self.plan.primaries == 1 { Step::Post } else { Step::Number };
        self.do_batch(Batch { router, messages, step, open: 0 });
    }

    /// What devices have said meanwhile, in one go.
    fn acks_due(&mut self, router: usize) {
        let (born, counted) = (self.agenda.now(), false);
        let gateways = std::mem::take(&mut self.acks[router]);
        let messages = gateways.into_iter().map(|from| Message { born, from, counted }).collect();
        self.do_batch(Batch { router, messages, step: Step::Acknowledge, open: 0 });
    }

    fn do_batch(&mut self, batch: Batch) {
        let place = match self.free.pop() {
            Some(place) => {
                self.batches[place] = Some(batch);
                place
            }
            None => {
                self.batches.push(Some(batch));
                self.batches.len() - 1
            }
        };
        self.do_step(place);
    }

    fn do_step(&mut self, place: usize) {
        let Some(batch) = self.batches[place].take() else { return };
        let mut work: HashMap<usize, (f64, Vec<Envelope>)> = HashMap::new();
        match batch.step {
            Step::Post => {
                let files: f64 = batch.messages.iter().map(|_| self.draw(self.plan.filings) as f64).sum();
                let (published, envelopes) = self.envelopes(&batch.messages);
                let seconds = self.prices.post * (batch.messages.len() as f64 + files) + published;
                work.insert(0, (seconds, envelopes));
            }
            // The work of an acknowledgement is in the cost of its message.
            Step::Number | Step::Acknowledge => {
                let price = if batch.step == Step::Number { self.prices.number } else { 0.0 };
                for _ in &batch.messages {
                    let primary = self.random.random_range(0..self.plan.primaries);
                    work.entry(primary).or_default().0 += price;
                }
            }
            Step::File => {
                for _ in 0..batch.messages.len() {
                    for _ in 0..self.draw(self.plan.filings) {
                        let primary = self.random.random_range(0..self.plan.primaries);
                        work.entry(primary).or_default().0 += self.prices.file;
                    }
                }
            }
            Step::Announce => {
                for envelope in self.envelopes(&batch.messages).1 {
                    // The slot of the gateway's channel.
                    let work = work.entry(envelope.gateway % self.plan.primaries).or_default();
                    work.0 += cost::PUBLISH.value / 1e6;
                    work.1.push(envelope);
                }
            }
        }
        let mut calls: Vec<_> = work.into_iter().collect();
        // A map's order is no seed's.
        calls.sort_unstable_by_key(|(primary, _)| *primary);
        let open = calls.len();
        let router = batch.router;
        self.batches[place] = Some(Batch { open, ..batch });
        if open == 0 {
            // Nobody is there who could be told.
            return self.to_router(router, Duty::GoOn(place));
        }
        for (primary, (seconds, envelopes)) in calls {
            self.travel(Event::ToPrimary(primary, Call::Step(place, envelopes), seconds));
        }
    }

    /// One for each gateway that has readers, and what publishing them takes.
    fn envelopes(&mut self, messages: &[Message]) -> (f64, Vec<Envelope>) {
        let mut by_gateway: HashMap<usize, Vec<Message>> = HashMap::new();
        for message in messages {
            for _ in 0..self.draw(self.plan.readers) {
                let gateway = self.random.random_range(0..self.plan.gateways);
                by_gateway.entry(gateway).or_default().push(*message);
            }
        }
        let mut envelopes: Vec<_> =
            by_gateway.into_iter().map(|(gateway, messages)| Envelope { gateway, messages }).collect();
        envelopes.sort_unstable_by_key(|envelope| envelope.gateway);
        (envelopes.len() as f64 * cost::PUBLISH.value / 1e6, envelopes)
    }

    fn primary_did(&mut self, call: Call) {
        let Call::Step(batch, envelopes) = call else { return };
        for envelope in envelopes {
            self.envelopes += 1;
            self.enveloped += envelope.messages.len() as u64;
            for message in envelope.messages {
                self.travel(Event::ToGateway(envelope.gateway, Task::Deliver(message)));
            }
        }
        self.travel(Event::Answered(batch));
    }

    fn answered(&mut self, place: usize) {
        let Some(batch) = &mut self.batches[place] else { return };
        batch.open -= 1;
        if batch.open == 0 {
            let router = batch.router;
            self.to_router(router, Duty::GoOn(place));
        }
    }

    fn go_on(&mut self, place: usize) {
        let Some(batch) = &mut self.batches[place] else { return };
        batch.step = match batch.step {
            Step::Number => Step::File,
            Step::File => Step::Announce,
            Step::Post | Step::Announce | Step::Acknowledge => return self.answers(place),
        };
        self.do_step(place);
    }

    fn answers(&mut self, place: usize) {
        let Some(batch) = self.batches[place].take() else { return };
        self.free.push(place);
        if batch.step != Step::Acknowledge {
            self.posting[batch.router] = false;
        }
        let mut gateways: Vec<usize> = batch.messages.iter().map(|message| message.from).collect();
        gateways.sort_unstable();
        gateways.dedup();
        for gateway in gateways {
            self.travel(Event::ToGateway(gateway, Task::Answer));
        }
    }

    fn gateway_beats(&mut self, gateway: usize) {
        self.travel(Event::ToPrimary(0, Call::Upkeep, cost::LEASE.value / 1e6));
        if self.plan.primaries > 1 {
            let primary = gateway % self.plan.primaries;
            self.travel(Event::ToPrimary(primary, Call::Upkeep, cost::PUBLISH.value / 1e6));
            self.travel(Event::ToGateway(gateway, Task::Hear));
        }
        self.agenda.after(1.0, Event::GatewayBeats(gateway));
    }

    /// Two looks at the list of nodes, and in a Cluster a count to each.
    fn router_beats(&mut self, router: usize) {
        let gateways = self.plan.gateways as f64;
        let look = (cost::LOOKS.value + 2.0 * gateways * cost::NODE_NAME.value) / 1e6;
        self.travel(Event::ToPrimary(0, Call::Upkeep, look));
        if self.plan.primaries > 1 {
            let counts = gateways / self.plan.primaries as f64 * cost::PUBLISH.value / 1e6;
            for primary in 0..self.plan.primaries {
                self.travel(Event::ToPrimary(primary, Call::Upkeep, counts));
            }
        }
        self.agenda.after(1.0, Event::RouterBeats(router));
    }

    fn travel(&mut self, event: Event) {
        self.agenda.after(self.plan.round_trip / 2.0, event);
    }

    /// A whole number whose mean is this.
    fn draw(&mut self, mean: f64) -> usize {
        let whole = mean.floor();
        whole as usize + usize::from(self.random.random::<f64>() < mean - whole)
    }

    fn outcome(self) -> Outcome {
        let plan = self.plan;
        let busy = |mean: Busy, count: usize, cores: f64| mean.mean * count as f64 * cores;
        let (gateways, routers, primaries) = (
            station::busy(&self.gateways, plan.seconds),
            station::busy(&self.routers, plan.seconds),
            station::busy(&self.primaries, plan.seconds),
        );
        let cores = busy(gateways.clone(), plan.gateways, plan.cores)
            + busy(routers.clone(), plan.routers, plan.cores)
            + busy(primaries.clone(), plan.primaries, 1.0);
        let (g, r) = (plan.gateways as f64, plan.routers as f64);
        let expected = self.messages as f64 * plan.readers;
        Outcome {
            plan,
            messages: self.messages,
            deliveries: self.deliveries,
            latency: Times::of(&self.latency),
            keeps_up: expected == 0.0 || self.deliveries as f64 >= expected * 0.95,
            gateways,
            routers,
            primaries,
            cpu: cores * 1e6 / plan.rate,
            batch: self.batched as f64 / (self.batch_count as f64).max(1.0),
            envelopes: self.envelopes as f64 / plan.seconds,
            per_envelope: self.enveloped as f64 / (self.envelopes as f64).max(1.0),
            list: (g * cost::LEASE.value + r * (cost::LOOKS.value + 2.0 * g * cost::NODE_NAME.value)) / 1e6,
            list_bytes: 2.0 * r * g * NAME_BYTES,
            counts: if plan.primaries > 1 { r * g } else { 0.0 },
            links: plan.gateways * plan.routers,
        }
    }
}

/// Of a node's name in a list, with what Redis puts before it.
const NAME_BYTES: f64 = 40.0;

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let p = &self.plan;
        writeln!(
            f,
            "bus: {} gateways, {} routers, {} primaries, {:.0} messages/s, each filed for {:.1} and heard by {:.1}; {:.1} s, seed {}",
            p.gateways, p.routers, p.primaries, p.rate, p.filings, p.readers, p.seconds, p.seed
        )?;
        let verdict = if self.keeps_up { "keeps up" } else { "DOES NOT KEEP UP" };
        writeln!(
            f,
            "  {verdict}: {:.0} deliveries/s, latency p50 {:.2} ms, p99 {:.2}, max {:.2}",
            self.deliveries as f64 / (p.seconds * (1.0 - WARM)),
            self.latency.p50,
            self.latency.p99,
            self.latency.max
        )?;
        for (name, busy) in
            [("gateways", &self.gateways), ("routers", &self.routers), ("primaries", &self.primaries)]
        {
            writeln!(
                f,
                "  {name:10} {:.0} % busy, the busiest {:.0} %; {:.1} at once",
                busy.mean * 100.0,
                busy.most * 100.0,
                busy.batch
            )?;
        }
        writeln!(
            f,
            "  a message  {:.0} µs of CPU in all; a router's batch {:.1}; {:.0} envelopes/s of {:.2} deliveries",
            self.cpu, self.batch, self.envelopes, self.per_envelope
        )?;
        writeln!(
            f,
            "  heartbeats {:.1} % of the primary with the list of nodes, {:.1} MB/s of lists, {:.0} counts/s, {} links",
            self.list * 100.0,
            self.list_bytes / 1e6,
            self.counts,
            self.links
        )?;
        if p.routers > ORIGINS {
            writeln!(
                f,
                "  NOTE       more than {ORIGINS} routers: gateways forget their numbers, and sessions catch up for nothing"
            )?;
        }
        if self.list > 0.6 {
            writeln!(f, "  NOTE       the list of nodes alone is too much for its primary")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Plan {
        Plan {
            gateways: 2,
            routers: 2,
            primaries: 1,
            rate: 4_000.0,
            filings: 2.0,
            readers: 1.0,
            acks: 0.5,
            cores: 1.0,
            round_trip: 0.0001,
            seconds: 2.0,
            seed: 3,
        }
    }

    #[test]
    fn every_message_is_delivered_to_as_many_as_hear_it() {
        for plan in [
            small(),
            Plan { primaries: 4, readers: 2.5, filings: 5.0, rate: 1_000.0, ..small() },
            Plan { gateways: 50, routers: 20, primaries: 30, rate: 10_000.0, seconds: 1.0, ..small() },
        ] {
            let outcome = run(&plan).unwrap();
            assert!(outcome.keeps_up, "{outcome}");
            let each = outcome.deliveries as f64 / outcome.messages as f64;
            assert!((each / plan.readers - 1.0).abs() < 0.03, "{outcome}");
        }
    }

    #[test]
    fn alone_a_message_costs_what_one_alone_was_measured_to_cost() {
        let outcome = run(&Plan { rate: 10.0, acks: 1.0, seconds: 200.0, ..small() }).unwrap();
        let beats =
            (2.0 * cost::LEASE.value + 2.0 * (cost::LOOKS.value + 4.0 * cost::NODE_NAME.value)) / 10.0;
        // Two gateways and two routers wake Redis each second.
        let wakes = 4.0 / 10.0 * (cost::REDIS_ALONE.value - cost::REDIS_BATCHED.value) / 2.0;
        let alone = cost::GATEWAY_ALONE.value + cost::ROUTER_ALONE.value + cost::REDIS_ALONE.value;
        let expected = alone + cost::PUBLISH.value + beats + wakes;
        assert!((outcome.cpu / expected - 1.0).abs() < 0.03, "{} for {expected}: {outcome}", outcome.cpu);
    }

    #[test]
    fn under_load_it_costs_less_and_no_less_than_in_large_batches() {
        let alone = run(&Plan { rate: 100.0, acks: 1.0, seconds: 10.0, ..small() }).unwrap().cpu;
        let loaded = run(&Plan { rate: 8_000.0, ..small() }).unwrap();
        let batched = cost::GATEWAY_BATCHED.value + cost::ROUTER_BATCHED.value + cost::REDIS_BATCHED.value;
        assert!(loaded.cpu < alone * 0.8 && loaded.cpu > batched, "{loaded}");
        assert!(loaded.batch > 1.0 && loaded.per_envelope >= 1.0);
    }

    #[test]
    fn more_than_the_primary_can_do_does_not_keep_up() {
        let most = 1e6 / cost::REDIS_BATCHED.value;
        let plan = Plan { cores: 16.0, seconds: 1.0, ..small() };
        assert!(!run(&Plan { rate: most * 2.0, ..plan }).unwrap().keeps_up);
        assert!(run(&Plan { rate: most * 0.5, ..plan }).unwrap().keeps_up);
    }

    #[test]
    fn a_seed_repeats_a_run() {
        let plan = Plan { gateways: 20, routers: 10, primaries: 6, seconds: 0.3, ..small() };
        let text = |plan: &Plan| serde_json::to_string(&run(plan).unwrap()).unwrap();
        assert_eq!(text(&plan), text(&plan));
        assert_ne!(text(&plan), text(&Plan { seed: 4, ..plan }));
    }
}
