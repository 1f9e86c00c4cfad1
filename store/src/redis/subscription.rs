//! One node's subscription to the bus: two connections (an ear, which has subscribed,
//! and one for the lease), a task that takes what the ear hears, and a task that each
//! second renews the lease and publishes a nonce.
//!
//! ```text
//!   lease task ──lease, then nonce────▶ Redis ──channel──▶ ear ──▶ reading task ──▶ next()
//!        └───────────────────────── ticks ──────────────────────────────┘
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use prost::Message as _;
use proto::NodeIncarnation;
use proto::wire::Envelope;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::address::Address;
use super::connection::Connection;
use super::ear::{Ear, Heard};
use super::tracking::Tracking;
use super::{script, write};
use crate::{BusItem, Error, Loss, Result, Subscription, trouble};

const LEASE: Duration = Duration::from_secs(10);
const RENEW: Duration = Duration::from_secs(1);
/// After this many nonces that did not come back the subscription counts as
/// deaf.
const DEAF: u32 = 2;
/// The most items that wait to be taken by `next`; beyond it envelopes are
/// dropped and the reader is told `Lagged`.
const UNTAKEN: usize = 8_192;
/// How long a new subscription waits for Redis at least.
const CONNECT: Duration = Duration::from_secs(4);
/// How long a new subscription waits for a nonce before it sends another.
const FIRST: Duration = Duration::from_millis(100);

pub(super) struct RedisSubscription {
    heard: mpsc::Receiver<BusItem>,
    healthy: Arc<AtomicBool>,
    _end: DropGuard,
}

#[async_trait]
impl Subscription for RedisSubscription {
    async fn next(&mut self) -> BusItem {
        match self.heard.recv().await {
            Some(heard) => heard,
            // The process is shutting down: nothing more will come.
            None => std::future::pending().await,
        }
    }

    fn health(&self) -> Arc<dyn Fn() -> bool + Send + Sync> {
        let healthy = self.healthy.clone();
        Arc::new(move || healthy.load(Ordering::Relaxed))
    }
}

impl RedisSubscription {
    pub(super) async fn begin(
        address: &Address,
        node: NodeIncarnation,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) -> Result<Self> {
        let end = shutdown.child_token();
        let guard = end.clone().drop_guard();
        // Not `end`: the lease is given back on this connection after that.
        let connection = CancellationToken::new();
        let mut lease = Lease {
            connection: Connection::open(address, &trouble::BUS, tasks, &connection),
            _connection: connection.drop_guard(),
            node: node.clone(),
            salt: rand::random(),
            number: 0,
            unbroken: Unbroken::since(Instant::now()),
        };
        let mut ear = Ear::open(address, node.as_str(), &lease.connection, tasks);
        let healthy = Arc::new(AtomicBool::new(true));
        let (give, heard) = mpsc::channel(UNTAKEN);
        let mut hearing = Hearing {
            give,
            tracking: Tracking::default(),
            waiting: VecDeque::new(),
            nonces: Nonces { salt: lease.salt, heard: 0, published: 0 },
            healthy: healthy.clone(),
        };
        let begun = timeout(address.timeout().max(CONNECT), async {
            lease.connection.connected(CONNECT).await?;
            // Only a nonce that comes back proves that the ear hears.
            while hearing.nonces.heard == 0 {
                lease.renew().await?;
                if let Ok(Heard::Message(message)) = timeout(FIRST, ear.next()).await {
                    hearing.message(message);
                }
            }
            // That there was none before is no loss.
            lease.unbroken = Unbroken::since(Instant::now());
            Ok(())
        });
        let begun = begun.await.unwrap_or_else(|_| {
            Err(Error::Unavailable(
                trouble::BUS.now().unwrap_or_else(|| "could not subscribe in time".into()),
            ))
        });
        begun?;
        let (tick, ticks) = mpsc::channel(4);
        tasks.spawn(hear(ear, ticks, hearing, end.clone()));
        tasks.spawn(hold(lease, tick, end));
        Ok(Self { heard, healthy, _end: guard })
    }
}

/// Hears one message that is published to a channel of its own; nothing is
/// written. Fails when none is heard in time.
pub(super) async fn hear_once(address: &Address, connection: &Connection) -> Result<()> {
    let node = format!("check-{:016x}", rand::random::<u64>());
    let mut ear = Ear::open(address, &node, connection, &TaskTracker::new());
    let heard = timeout(address.timeout().max(CONNECT), async {
        loop {
            connection.publish(&node, Bytes::from_static(b"check")).await?;
            if let Ok(Heard::Message(_)) = timeout(FIRST, ear.next()).await {
                return Ok(());
            }
        }
    });
    heard.await.unwrap_or_else(|_| {
        let why = trouble::BUS.now();
        Err(Error::Unavailable(why.unwrap_or_else(|| "what is published is not heard".into())))
    })
}

/// The lease and the nonces, on the connection that is not subscribed: the
/// subscribed one may be deaf.
struct Lease {
    connection: Connection,
    /// Ends the connection.
    _connection: DropGuard,
    node: NodeIncarnation,
    /// Distinguishes the nonces of this subscription from those of an earlier
    /// one of the same node.
    salt: u32,
    number: u32,
    unbroken: Unbroken,
}

/// Whether the lease may have ended since its reader was last told that it has.
/// Redis says so once, and that reply may be lost, as may the tick that passes it
/// on. A lease outlives the last renewal that was answered by its full time: one
/// that is answered later than that may follow an unanswered one that began the
/// lease anew.
#[derive(Debug)]
struct Unbroken {
    /// When the last renewal that was answered had begun.
    since: Instant,
    ended: bool,
}

impl Unbroken {
    fn since(now: Instant) -> Self {
        Self { since: now, ended: false }
    }

    /// A renewal that had begun then was answered now.
    fn answered(&mut self, begun: Instant, now: Instant, ended: bool) {
        self.ended |= ended || now.duration_since(self.since) >= LEASE;
        self.since = begun;
    }
}

/// The result of a renewal.
struct Tick {
    /// The number of the nonce, which should come back.
    nonce: u32,
    ended: bool,
}

impl Lease {
    async fn renew(&mut self) -> Result<Tick> {
        self.number += 1;
        let nonce = u64::from(self.salt) << 32 | u64::from(self.number);
        let args = vec![write::text(self.node.as_str()), write::number(LEASE.as_millis() as u64)];
        let begun = Instant::now();
        let mut row = self.connection.run_common(&script::LEASE, args).await?;
        let (ended, store) = (row.number()? == 1, row.text()?);
        self.unbroken.answered(begun, Instant::now(), ended);
        let envelope = Envelope { store: store.to_string(), nonce, ..Envelope::default() };
        self.connection.publish(self.node.as_str(), envelope.encode_to_vec().into()).await?;
        Ok(Tick { nonce: self.number, ended: self.unbroken.ended })
    }
}

/// Renews the lease each second, and ends it at the end.
async fn hold(mut lease: Lease, ticks: mpsc::Sender<Option<Tick>>, end: CancellationToken) {
    let mut interval = tokio::time::interval_at(Instant::now() + RENEW, RENEW);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = end.cancelled() => break,
            _ = interval.tick() => {}
        }
        let renewed = tokio::select! {
            () = end.cancelled() => break,
            renewed = timeout(RENEW * 2, lease.renew()) => renewed.ok().and_then(|renewed| {
                renewed.inspect_err(|error| tracing::debug!(%error, "could not renew the node's lease")).ok()
            }),
        };
        let tells = renewed.is_some();
        // Full when the reading task is stuck.
        if ticks.try_send(renewed).is_ok() && tells {
            lease.unbroken.ended = false;
        }
    }
    let node = write::text(lease.node.as_str());
    let _ = timeout(RENEW, lease.connection.run_common(&script::RELEASE, vec![node])).await;
}

/// Which of our nonces have come back.
struct Nonces {
    salt: u32,
    heard: u32,
    /// How many were published since the last one that came back.
    published: u32,
}

struct Hearing {
    give: mpsc::Sender<BusItem>,
    tracking: Tracking,
    /// Given to the reader as soon as there is room, before anything else.
    waiting: VecDeque<BusItem>,
    nonces: Nonces,
    healthy: Arc<AtomicBool>,
}

impl Hearing {
    fn message(&mut self, bytes: Bytes) {
        let envelope = match Envelope::decode(bytes) {
            Ok(envelope) => envelope,
            Err(error) => {
                tracing::warn!(%error, "heard what is no envelope");
                self.lost(Loss::Hole);
                return;
            }
        };
        if envelope.nonce != 0 && (envelope.nonce >> 32) as u32 == self.nonces.salt {
            self.nonces.heard = envelope.nonce as u32;
            self.nonces.published = 0;
            self.healthy.store(true, Ordering::Relaxed);
        }
        if self.tracking.hole(&envelope) {
            self.lost(Loss::Hole);
        }
        if let Some(store) = self.tracking.store(&envelope) {
            // Only the newest counts.
            self.waiting.retain(|heard| !matches!(heard, BusItem::Store(_)));
            self.tell_first(BusItem::Store(store));
        }
        // Counts and nonces are only for this task.
        if envelope.number > 0 {
            self.tell();
            if !self.waiting.is_empty() || self.give.try_send(BusItem::Envelope(envelope)).is_err() {
                self.lost(Loss::Lagged);
            }
        }
    }

    fn lost(&mut self, loss: Loss) {
        // One of each kind is enough.
        if !self.waiting.contains(&BusItem::Lost(loss)) {
            self.tell_first(BusItem::Lost(loss));
        }
    }

    /// Gives an item to the reader before any further envelope.
    fn tell_first(&mut self, heard: BusItem) {
        self.waiting.push_back(heard);
        self.tell();
    }

    fn tell(&mut self) {
        while let Some(heard) = self.waiting.pop_front() {
            if let Err(full) = self.give.try_send(heard) {
                self.waiting.push_front(full.into_inner());
                return;
            }
        }
    }

    /// Handles a tick; `None`: the lease could not be renewed. Returns whether
    /// the subscription is deaf.
    fn tick(&mut self, tick: Option<Tick>) -> bool {
        self.tell();
        let Some(tick) = tick else {
            self.healthy.store(false, Ordering::Relaxed);
            return false;
        };
        if tick.ended {
            self.lost(Loss::Lease);
        }
        if tick.nonce > self.nonces.heard {
            self.nonces.published += 1;
        }
        // This nonce may still be on its way. A node that hears nothing at all
        // is deaf, whoever is silent.
        if tick.nonce <= self.nonces.heard + 1 && self.tracking.round() {
            self.lost(Loss::Silent);
        }
        let deaf = self.nonces.published > DEAF;
        if deaf {
            self.healthy.store(false, Ordering::Relaxed);
        }
        deaf
    }
}

/// The reading task. In order of priority: the end; a tick, which may find the ear
/// deaf; what the ear hears.
async fn hear(
    mut ear: Ear,
    mut ticks: mpsc::Receiver<Option<Tick>>,
    mut hearing: Hearing,
    end: CancellationToken,
) {
    loop {
        tokio::select! {
            biased;
            () = end.cancelled() => break,
            tick = ticks.recv() => {
                if hearing.tick(tick.flatten()) {
                    tracing::warn!("the bus is not heard: subscribing anew");
                    ear.renew();
                    hearing.nonces.published = 0;
                    // It may stay deaf for long, and what was announced can be read.
                    hearing.lost(Loss::Deaf);
                }
            }
            heard = ear.next() => match heard {
                Heard::Message(message) => hearing.message(message),
                Heard::Deaf => hearing.lost(Loss::Deaf),
                Heard::Lagged => hearing.lost(Loss::Lagged),
            },
        }
    }
    hearing.healthy.store(false, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_that_ended_is_said_to_have_even_if_the_reply_that_said_so_was_lost() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut unbroken = Unbroken::since(start);
        unbroken.answered(at(1), at(2), false);
        assert!(!unbroken.ended);
        // One that was sent at 3 began the lease anew, and its reply is lost.
        unbroken.answered(at(10), at(11), false);
        assert!(unbroken.ended, "eleven seconds after one that began at 1");
    }

    #[test]
    fn it_is_said_until_somebody_was_told() {
        let start = Instant::now();
        let mut unbroken = Unbroken::since(start);
        unbroken.answered(start, start, true);
        unbroken.answered(start, start, false);
        assert!(unbroken.ended);
    }
}
