//! The nodes of the simulation and what happens between them, event by event.

use std::collections::{HashMap, VecDeque};

use hdrhistogram::Histogram;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::Plan;
use super::outcome::{Outcome, WARM};
use super::prices::{Prices, wakes};
use super::work::{Batch, Call, Duty, Envelope, Event, Message, Step, Task};
use crate::capacity::agenda::Agenda;
use crate::capacity::costs as cost;
use crate::capacity::station::{self, Station};
use crate::capacity::{Busy, Times, record, times};

/// Messages of one batch at most, as in a router.
const BATCH: usize = 256;
/// Pieces of work that a process takes together at most.
const AT_ONCE: usize = 1_024;
/// Seconds for which a router gathers acknowledgements.
const ACKNOWLEDGE: f64 = 0.025;

/// All nodes, and the messages that are under way.
pub(super) struct Cluster {
    plan: Plan,
    prices: Prices,
    agenda: Agenda<Event>,
    random: StdRng,
    gateways: Vec<Station<Task>>,
    routers: Vec<Station<Duty>>,
    primaries: Vec<Station<Call>>,
    /// For each router the messages that wait, and whether a batch is under way.
    queues: Vec<VecDeque<Message>>,
    posting: Vec<bool>,
    /// For each router the gateways whose acknowledgements wait.
    acks: Vec<Vec<usize>>,
    batches: Vec<Option<Batch>>,
    free: Vec<usize>,
    latency: Histogram<u64>,
    /// All messages, and those that count.
    sent: u64,
    messages: u64,
    deliveries: u64,
    envelopes: u64,
    enveloped: u64,
    batch_count: u64,
    batched: u64,
}

impl Cluster {
    /// A cluster before its first message.
    pub(super) fn new(plan: &Plan) -> Self {
        let [gateway, router, primary] = wakes(plan);
        let mut cluster = Self {
            plan: *plan,
            prices: Prices::new(plan),
            agenda: Agenda::new(),
            random: StdRng::seed_from_u64(plan.seed),
            gateways: (0..plan.gateways).map(|_| Station::new(gateway, AT_ONCE)).collect(),
            routers: (0..plan.routers).map(|_| Station::new(router, AT_ONCE)).collect(),
            primaries: (0..plan.primaries).map(|_| Station::new(primary, AT_ONCE)).collect(),
            queues: (0..plan.routers).map(|_| VecDeque::new()).collect(),
            posting: vec![false; plan.routers],
            acks: vec![Vec::new(); plan.routers],
            batches: Vec::new(),
            free: Vec::new(),
            latency: times(),
            sent: 0,
            messages: 0,
            deliveries: 0,
            envelopes: 0,
            enveloped: 0,
            batch_count: 0,
            batched: 0,
        };
        cluster.begin();
        cluster
    }

    /// Lets the next event happen. Returns its time in seconds, or nothing after the
    /// last one.
    pub(super) fn goes_on(&mut self) -> Option<f64> {
        let event = self.agenda.next()?;
        let now = self.agenda.now();
        (now <= self.plan.seconds).then(|| {
            self.happens(event);
            now
        })
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
            Event::ToGateway(gateway, task) => self.gateway_gets(gateway, task),
            Event::ToRouter(router, duty) => self.router_gets(router, duty),
            Event::ToPrimary(primary, call, seconds) => self.primary_gets(primary, call, seconds),
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
        self.sent += 1;
        self.messages += u64::from(counted);
        self.gateway_gets(from, Task::Send(Message { born, from, counted }));
        let pause = -(1.0 - self.random.random::<f64>()).ln() / self.plan.rate;
        self.agenda.after(pause, Event::Sends);
    }

    fn gateway_gets(&mut self, gateway: usize, task: Task) {
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

    fn router_gets(&mut self, router: usize, duty: Duty) {
        let seconds = if matches!(duty, Duty::Take(_)) { self.prices.take } else { 0.0 };
        if self.routers[router].give(duty, seconds) {
            self.router_begins(router);
        }
    }

    fn primary_gets(&mut self, primary: usize, call: Call, seconds: f64) {
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
                    // Once a second, each at another moment of it.
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

    /// Begins a router's next batch, with all messages that wait.
    fn post(&mut self, router: usize) {
        self.posting[router] = true;
        let count = self.queues[router].len().min(BATCH);
        let messages: Vec<Message> = self.queues[router].drain(..count).collect();
        self.batch_count += 1;
        self.batched += count as u64;
        let step = if self.plan.primaries == 1 { Step::Post } else { Step::Number };
        self.do_batch(Batch { router, messages, step, open: 0 });
    }

    /// Begins a call with all acknowledgements that wait at a router.
    fn acks_due(&mut self, router: usize) {
        let (born, counted) = (self.agenda.now(), false);
        let gateways = std::mem::take(&mut self.acks[router]);
        let messages = gateways.into_iter().map(|from| Message { born, from, counted }).collect();
        self.do_batch(Batch { router, messages, step: Step::Acknowledge, open: 0 });
    }

    fn do_batch(&mut self, batch: Batch) {
        let index = match self.free.pop() {
            Some(index) => {
                self.batches[index] = Some(batch);
                index
            }
            None => {
                self.batches.push(Some(batch));
                self.batches.len() - 1
            }
        };
        self.do_step(index);
    }

    fn do_step(&mut self, index: usize) {
        let Some(batch) = self.batches[index].take() else { return };
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
                    // The primary with the slot of the gateway's channel.
                    let work = work.entry(envelope.gateway % self.plan.primaries).or_default();
                    work.0 += cost::PUBLISH.value / 1e6;
                    work.1.push(envelope);
                }
            }
        }
        let mut calls: Vec<_> = work.into_iter().collect();
        // The order of a map differs from run to run; a seed must give the same run.
        calls.sort_unstable_by_key(|(primary, _)| *primary);
        let open = calls.len();
        let router = batch.router;
        self.batches[index] = Some(Batch { open, ..batch });
        if open == 0 {
            // None of these users has a session.
            return self.router_gets(router, Duty::GoOn(index));
        }
        for (primary, (seconds, envelopes)) in calls {
            self.travel(Event::ToPrimary(primary, Call::Step(index, envelopes), seconds));
        }
    }

    /// The envelopes of a batch, one for each gateway with readers, and the seconds
    /// that it takes to publish them.
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

    fn answered(&mut self, index: usize) {
        let Some(batch) = &mut self.batches[index] else { return };
        batch.open -= 1;
        if batch.open == 0 {
            let router = batch.router;
            self.router_gets(router, Duty::GoOn(index));
        }
    }

    fn go_on(&mut self, index: usize) {
        let Some(batch) = &mut self.batches[index] else { return };
        batch.step = match batch.step {
            Step::Number => Step::File,
            Step::File => Step::Announce,
            Step::Post | Step::Announce | Step::Acknowledge => return self.answers(index),
        };
        self.do_step(index);
    }

    fn answers(&mut self, index: usize) {
        let Some(batch) = self.batches[index].take() else { return };
        self.free.push(index);
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

    /// A router's second: it looks at Redis, and in a Cluster sends each gateway a
    /// count.
    fn router_beats(&mut self, router: usize) {
        let gateways = self.plan.gateways as f64;
        self.travel(Event::ToPrimary(0, Call::Upkeep, cost::LOOKS.value / 1e6));
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

    /// A random whole number with this mean.
    fn draw(&mut self, mean: f64) -> usize {
        let whole = mean.floor();
        whole as usize + usize::from(self.random.random::<f64>() < mean - whole)
    }

    /// The result of the run.
    pub(super) fn outcome(self) -> Outcome {
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
            // At a low rate chance sends some percent more or fewer than the plan says.
            cpu: cores * 1e6 * plan.seconds / (self.sent as f64).max(1.0),
            batch: self.batched as f64 / (self.batch_count as f64).max(1.0),
            envelopes: self.envelopes as f64 / plan.seconds,
            per_envelope: self.enveloped as f64 / (self.envelopes as f64).max(1.0),
            leases: (g * cost::LEASE.value + r * cost::LOOKS.value) / 1e6,
            counts: if plan.primaries > 1 { r * g } else { 0.0 },
            links: plan.gateways * plan.routers,
        }
    }
}
