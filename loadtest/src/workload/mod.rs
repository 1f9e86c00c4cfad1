//! What users do in a load test, and what is measured meanwhile.
//!
//! In reading order: [`Servers`] and [`Settings`]; [`mix`] (who connects how);
//! `line` (one user's connection), `plan` and `person` (what one user does), `tally` (what
//! all users share), `stage` (the course of a run: warm-up, measured time,
//! settling, judgement), `witness` (where a message is that is missing), `record`, `cost` and `probe` (what is measured), `slowest` (Redis' longest call), `stored` (what takes Redis' memory); then a file a
//! scenario: [`direct`], [`groups`], [`room`], [`slow`], [`mixed`], [`restless`], [`idle`],
//! and [`storm`] and [`catchup`], which share `absence`.

mod absence;
pub mod catchup;
pub(crate) mod cost;
pub mod direct;
pub mod groups;
pub mod idle;
mod line;
pub mod mix;
pub mod mixed;
mod person;
mod plan;
mod probe;
pub(crate) mod progress;
pub(crate) mod record;
pub mod restless;
pub mod room;
pub mod slow;
mod slowest;
mod stage;
pub mod stored;
pub mod storm;
mod tally;
mod witness;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use testbed::resp::{self, Reply};

pub use mix::Mix;
pub use record::Sample;

use crate::client::{Account, Carrier, Client, Transport};
use crate::foreign::Foreign;
use crate::token::Issuer;
use line::Line;

/// Sessions that begin at once; more would measure the queue for beginning.
const CONNECTING: usize = 64;

/// The receive buffer of a reader that is to fall behind, in bytes.
const SMALL_BUFFER: u32 = 8192;

/// What is under load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Gateways and routers of this project.
    Switchboard,
    /// Socket.IO with the Redis adapter.
    SocketIo,
    /// Socketioxide with its Redis adapter.
    Socketioxide,
    /// Centrifugo with its Redis engine; channels have no history.
    Centrifugo,
    /// The same; channels have a history, and readers recover from it.
    CentrifugoHistory,
    /// The bare relay: the floor.
    Relay,
}

/// Servers that run.
#[derive(Debug, Clone)]
pub struct Servers {
    /// What they are.
    pub kind: Kind,
    /// Where clients connect.
    pub gateways: Vec<String>,
    /// Signs tokens that they believe.
    pub issuer: Issuer,
    /// As far as they are known.
    pub processes: Vec<ServerProcess>,
    /// Of the Redis that was started with them, on loopback.
    pub redis_port: Option<u16>,
}

/// A process whose cost is counted.
#[derive(Debug, Clone)]
pub struct ServerProcess {
    /// What it does.
    pub role: Role,
    /// What reports call it.
    pub name: String,
    /// Its process id.
    pub pid: u32,
}

/// What a server process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Holds clients' connections.
    Gateway,
    /// Decides and writes.
    Router,
    /// Stores, and announces to gateways.
    Redis,
    /// Not told apart.
    Other,
}

/// How much of what. A scenario takes what it needs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Users who are connected.
    pub users: usize,
    /// Messages a second, of all users together.
    pub rate: f64,
    /// Instead of a rate: each user sends its next message when the one before
    /// is answered, and, in direct conversations, with its reader.
    pub closed: bool,
    /// What is measured.
    pub duration: Duration,
    /// The same load before.
    pub warmup: Duration,
    /// Bytes of a message's body.
    pub body: usize,
    /// How clients connect.
    pub transports: Mix,
    /// Decides who writes what when.
    pub seed: u64,
    /// Members of each group.
    pub members: usize,
    /// Users who publish to a room.
    pub publishers: usize,
    /// Messages that wait for each user who comes back.
    pub backlog: usize,
}

/// Asks the Redis at this port of the loopback; fails on an error reply.
async fn ask_redis(port: u16, words: &[&str], patience: Duration) -> Result<Reply> {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    resp::command(port, &words, patience).await?.ok()
}

/// How one user connects, beyond who it is.
#[derive(Debug, Clone, Default)]
struct Seat {
    cursor: Option<String>,
    /// A channel to subscribe to.
    channel: Option<String>,
    publishes: bool,
    /// With a small receive buffer.
    slow: bool,
}

impl Kind {
    /// What reports call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Switchboard => "switchboard",
            Self::SocketIo => "socket.io",
            Self::Socketioxide => "socketioxide",
            Self::Centrifugo => "centrifugo",
            Self::CentrifugoHistory => "centrifugo with history",
            Self::Relay => "relay",
        }
    }

    /// Whether it keeps messages for readers who are away.
    pub fn keeps(self) -> bool {
        match self {
            Self::Switchboard | Self::CentrifugoHistory => true,
            Self::SocketIo | Self::Socketioxide | Self::Centrifugo | Self::Relay => false,
        }
    }

    /// The log that a direct message is in. The others have none: there each
    /// sender's messages to one target are taken for one, by their numbers.
    fn direct(self, from: &str, to: &str) -> String {
        match self {
            Self::Switchboard if from <= to => format!("{from}~{to}"),
            Self::Switchboard => format!("{to}~{from}"),
            _ => format!("{from}>{to}"),
        }
    }

    /// The log that a publication is in.
    fn channel(self, from: &str, channel: &str) -> String {
        match self {
            Self::Switchboard => channel.to_owned(),
            _ => format!("{from}>{channel}"),
        }
    }
}

impl Servers {
    /// Users 0 and 1 are on different nodes, 2 and 3 too, and so on; each node
    /// gets as many as any other.
    fn gateway(&self, user: usize) -> &str {
        &self.gateways[(user / 2 + user % 2) % self.gateways.len()]
    }

    /// Connects a user; returns when it would hear what is for it.
    async fn connect(&self, settings: &Settings, user: usize, name: &str, seat: &Seat) -> Result<Line> {
        let gateway = self.gateway(user);
        let line: Result<Line> = match self.kind {
            Kind::Switchboard => self.session(settings.transports.transport(user), gateway, name, seat).await,
            kind => {
                let polls = settings.transports.transport(user) == Transport::SocketIoPolling;
                let carrier = if polls { Carrier::Polling } else { Carrier::WebSocket };
                let mut account = Account::new(gateway, "", name);
                account.cursor.clone_from(&seat.cursor);
                let foreign = Foreign::connect(kind, &account, carrier, seat.channel.as_deref()).await;
                foreign.map(|foreign| Line::Foreign(Box::new(foreign))).map_err(Into::into)
            }
        };
        line.with_context(|| format!("{name} could not connect to {gateway}"))
    }

    async fn session(&self, transport: Transport, gateway: &str, name: &str, seat: &Seat) -> Result<Line> {
        let scope = if seat.publishes { Some("publish") } else { None };
        let token = match scope {
            Some(scope) => self.issuer.token_with_scope(name, scope),
            None => self.issuer.token(name),
        };
        let mut account = Account::new(gateway, &token, "load");
        account.cursor.clone_from(&seat.cursor);
        account.receive_buffer = seat.slow.then_some(SMALL_BUFFER);
        let two_way = transport.is_two_way();
        if !two_way {
            account.channels.clone_from(&seat.channel);
        }
        let mut client = Client::connect(transport, &account).await?;
        if let Some(channel) = seat.channel.as_ref().filter(|_| two_way) {
            client.command(serde_json::json!({"type": "subscribe", "channel": channel})).await?;
        }
        Ok(Line::Switchboard(client))
    }

    /// Connects users in their order, a bounded number at a time.
    async fn connect_all(&self, settings: &Settings, seats: Vec<(usize, String, Seat)>) -> Result<Vec<Line>> {
        let bar = progress::count("connecting", seats.len());
        let lines = stream::iter(seats).map(async |(user, name, seat)| {
            let line = self.connect(settings, user, &name, &seat).await;
            bar.inc(1);
            line
        });
        let lines = lines.buffered(CONNECTING).try_collect().await;
        bar.finish_and_clear();
        lines
    }
}

impl Settings {
    /// Of users who only stay connected, over WebSocket; the rest as little as it
    /// may be.
    pub fn idle(users: usize) -> Self {
        Self {
            users,
            rate: 1.0,
            closed: false,
            duration: Duration::ZERO,
            warmup: Duration::ZERO,
            body: 0,
            transports: Mix::only(Transport::WebSocket),
            seed: 0,
            members: 2,
            publishers: 1,
            backlog: 1,
        }
    }

    /// Refuses what no scenario can do.
    pub fn check(&self) -> Result<()> {
        ensure!(self.users >= 2, "--users: at least 2");
        ensure!(self.rate > 0.0 && self.rate.is_finite(), "--rate: more than nothing");
        ensure!((2..=500).contains(&self.members), "--members: 2 to 500");
        ensure!(self.publishers >= 1, "--publishers: at least 1");
        ensure!((1..=9_000).contains(&self.backlog), "--backlog: 1 to 9000, less than an inbox keeps");
        ensure!(self.duration > Duration::ZERO, "--duration: more than nothing");
        Ok(())
    }

    /// How long one of so many writers waits from message to message.
    fn every(&self, writers: usize) -> Duration {
        Duration::from_secs_f64(writers as f64 / self.rate)
    }
}

fn user_name(user: usize) -> String {
    format!("user{user}")
}

/// Seats of ordinary users.
fn users(range: std::ops::Range<usize>) -> Vec<(usize, String, Seat)> {
    range.map(|user| (user, user_name(user), Seat::default())).collect()
}
