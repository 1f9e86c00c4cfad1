//! The work that the processes of the simulation give each other.

/// A message on its way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message {
    pub(super) born: f64,
    pub(super) from: usize,
    pub(super) counted: bool,
}

/// A gateway's work.
#[derive(Debug, Clone, Copy)]
pub(super) enum Task {
    Send(Message),
    Answer,
    Deliver(Message),
    Acknowledge,
    /// Counts from routers.
    Hear,
}

/// A router's work.
#[derive(Debug, Clone, Copy)]
pub(super) enum Duty {
    Take(Message),
    /// An acknowledgement of a device at this gateway. It waits for others.
    Acknowledge(usize),
    /// All primaries have answered to a step of this batch.
    GoOn(usize),
}

/// A primary's work: a step of a batch, or work of another kind.
#[derive(Debug, Clone)]
pub(super) enum Call {
    /// The batch, and the envelopes that are published from this primary.
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
    /// All steps in one call.
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
    /// Primaries that have not answered yet.
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
