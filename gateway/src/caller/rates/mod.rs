//! How much users may do, over all gateways together (ADR 0016). In reading
//! order: `payer` (whose limits count), [`RateLimits`] (the handle),
//! [`table`] (what this gateway knows of each user), [`refusals`] (what one
//! connection has been refused).
//!
//! A gateway lets a part of a burst through on its own and tells the router that
//! counts for the user, which answers what is left; beyond that part it waits
//! for the answer. What the router does not answer in time is decided by what
//! the gateway itself knows.

mod payer;
mod refusals;
mod table;

pub use payer::Payer;
pub use refusals::Refusals;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, MissedTickBehavior};

use self::table::{Decision, Table};
use crate::config::RateLimitConfig;
use crate::link::Routers;
use crate::link::count::UserSpending;
use crate::metrics::RATE_LIMITED;
use crate::protocol::failure::Failure;
use proto::Class;

/// How often it is told what users have done who did little.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// Whoever is refused is told to wait for so long at least: whatever one
/// connection had under way behind it has come by then, and for HTTP
/// `Retry-After` has no smaller unit.
const LEAST_WAIT: Duration = Duration::from_secs(1);

/// The limits of all users.
#[derive(Clone)]
pub struct RateLimits {
    shared: Arc<Shared>,
}

struct Shared {
    limits: RateLimitConfig,
    table: Table,
    /// Somebody's spending is to be told now.
    urgent: Notify,
}

/// Whether something may be done now.
#[derive(Debug)]
pub enum Admission {
    /// It may.
    Passes,
    /// It may not, and when it may again.
    Refused(Failure),
    /// That is being asked: decide again when this resolves.
    Waits(oneshot::Receiver<()>),
}

impl RateLimits {
    /// With nobody in them yet.
    pub fn new(limits: RateLimitConfig) -> Self {
        let table = Table::new(limits);
        Self { shared: Arc::new(Shared { limits, table, urgent: Notify::new() }) }
    }

    /// Decides about something of this class that counts for `units`. Does not
    /// wait.
    pub fn admit(&self, payer: Payer<'_>, class: Class, units: u32) -> Admission {
        let class = payer.class(class);
        let Some(rate) = self.shared.limits.of(class) else { return Admission::Passes };
        match self.shared.table.decide((payer.user.clone(), class), f64::from(units), Instant::now()) {
            Decision::Passes { tell } => {
                if tell {
                    self.shared.urgent.notify_one();
                }
                Admission::Passes
            }
            Decision::Refused(wait) => Admission::Refused(self.refuse(class, rate, wait.max(LEAST_WAIT))),
            Decision::Waits(answer) => {
                self.shared.urgent.notify_one();
                Admission::Waits(answer)
            }
        }
    }

    /// The same for a request of its own, which waits for the decision.
    pub async fn enter(&self, payer: Payer<'_>, class: Class, units: u32) -> Result<(), Failure> {
        loop {
            match self.admit(payer, class, units) {
                Admission::Passes => return Ok(()),
                Admission::Refused(failure) => return Err(failure),
                // Either way it is decided anew.
                Admission::Waits(answer) => drop(answer.await),
            }
        }
    }

    /// For a connection that was refused something of the same class before,
    /// and may not go on yet.
    pub fn refuse_still(&self, payer: Payer<'_>, class: Class, wait: Duration) -> Option<Failure> {
        let class = payer.class(class);
        Some(self.refuse(class, self.shared.limits.of(class)?, wait))
    }

    fn refuse(&self, class: Class, rate: proto::Rate, wait: Duration) -> Failure {
        RATE_LIMITED.add(&[class.as_str()], 1);
        let milliseconds = u64::try_from(wait.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX);
        let (name, burst) = (class.as_str(), rate.burst);
        let most = match class {
            Class::Invite => format!("{burst} a minute"),
            _ => format!("{} a second, {burst} at once", rate.per_second),
        };
        Failure::rate_limited(format!("too much of the kind `{name}`: at most {most}"), milliseconds)
    }

    /// Tells the routers what users do, for as long as it is polled.
    pub(crate) async fn run(&self, routers: Routers) {
        let mut ticks = tokio::time::interval(TELL_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let all = tokio::select! {
                () = self.shared.urgent.notified() => false,
                _ = ticks.tick() => true,
            };
            let told = self.shared.table.tell(all, Instant::now());
            if !told.is_empty() {
                let to = self.clone();
                routers.count(told, move |told: Vec<UserSpending>, left| to.heard(&told, left));
            }
        }
    }

    /// A router has said what users have left, or has not in time.
    fn heard(&self, told: &[UserSpending], left: Option<Vec<f32>>) {
        let left = left.filter(|left| left.len() == told.len());
        if self.shared.table.heard(told, left.as_deref(), Instant::now()) {
            self.shared.urgent.notify_one();
        }
    }
}

impl std::fmt::Debug for RateLimits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimits").field("limits", &self.shared.limits).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
