//! What the processes of the simulation give each other to do.

/// A message on its way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message {
    pub(super) born: f64,
    pub(super) from: usize,
    pub(super) counted: bool,
}

/// What a gateway has to do.
#[derive(Debug, Clone, Copy)]
pub(super) enum Task {
    Send(Message),
    Answer,
    Deliver(Message),
    Acknowledge,
    /// Counts of routers.
    Hear,
}

/// What a router has to do.
#[derive(Debug, Clone, Copy)]
pub(super) enum Duty {
    Take(Message),
    /// Of a device at this gateway; waits for others.
    Acknowledge(usize),
    /// All answers to a step of this batch are there.
    GoOn(usize),
}

/// What a primary has to do: a step of a batch, or something of its own.
#[derive(Debug, Clone)]
pub(super) enum Call {
    /// The batch, and what it publishes from here.
    Step(usize, Vec<Envelope>),
    Upkeep,
}

#[derive(Debug, Clone)]
pub(super) struct Envelope {
    pub(super) gateway: usize,
    pub(super) messages: Vec<Message>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// All in one call.
    Post,
    Number,
    File,
    Announce,
    Acknowledge,
}

#[derive(Debug)]
pub(super) struct Batch {
    pub(super) router: usize,
    pub(super) messages: Vec<Message>,
    pub(super) step: Step,
    /// Primaries that have not answered.
    pub(super) open: usize,
}

pub(super) enum Event {
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
