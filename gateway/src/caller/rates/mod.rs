//! The limits of users, over all gateways together (ADR 0016). In reading
//! order: `payer` (whose limit counts), [`RateLimits`] (the handle), [`table`]
//! (what this gateway knows of each user), [`refusals`] (what one connection
//! was refused, and why).
//!
//! A gateway lets a part of a burst through by itself and tells the router that
//! counts for the user; its answer says what is left. Beyond that part it waits
//! for the answer. If the router does not answer in time, the gateway decides
//! by what it knows.

mod payer;
mod refusals;
mod table;

pub use payer::Payer;
pub use refusals::{Refusals, Why};

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, MissedTickBehavior};

use self::table::{Decision, Table};
use crate::config::RateLimitConfig;
use crate::link::count::UserSpending;
use crate::link::{Bottleneck, Routers};
use crate::metrics::{RATE_LIMITED, SHED};
use crate::protocol::failure::Failure;
use proto::{Class, UserId};

/// The time between two reports about users who did little.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// The least wait after a refusal: by then the commands that the connection had
/// under way have arrived; and `Retry-After` has no smaller unit.
const LEAST_WAIT: Duration = Duration::from_secs(1);

/// The limits of all users.
#[derive(Clone)]
pub struct RateLimits {
    shared: Arc<Shared>,
}

/// Says where a command of a user would wait for too long.
type Overloaded = dyn Fn(&UserId) -> Option<Bottleneck> + Send + Sync;

struct Shared {
    limits: RateLimitConfig,
    /// Whether a command of this user would wait for too long at the moment, and where.
    overloaded: Box<Overloaded>,
    table: Table,
    /// Notified when a user's spending must be reported now.
    urgent: Notify,
}

/// The decision about a command or request.
#[derive(Debug)]
pub enum Admission {
    /// It may be done.
    Passes,
    /// It may not, for this reason; the failure says when to retry.
    Refused(Failure, Why),
    /// The counting router is asked: decide again when this resolves.
    Waits(oneshot::Receiver<()>),
}

impl RateLimits {
    /// Without any user yet. `overloaded` says whether a command of a user would wait for
    /// too long at the moment, and where.
    pub fn new(
        limits: RateLimitConfig,
        overloaded: impl Fn(&UserId) -> Option<Bottleneck> + Send + Sync + 'static,
    ) -> Self {
        let (table, overloaded) = (Table::new(limits), Box::new(overloaded));
        Self { shared: Arc::new(Shared { limits, overloaded, table, urgent: Notify::new() }) }
    }

    /// Decides about a command or request of this class that costs `units`.
    /// Does not wait.
    pub fn admit(&self, payer: Payer<'_>, class: Class, units: u32) -> Admission {
        // Before it costs the user anything. What begins sessions has a line of its own,
        // and signals are cheap.
        let waits = matches!(class, Class::Write | Class::Invite | Class::Read);
        if waits && let Some(bottleneck) = (self.shared.overloaded)(payer.user) {
            let wait = LEAST_WAIT + rand::random_range(Duration::ZERO..LEAST_WAIT);
            return Admission::Refused(shed(class, bottleneck, wait), Why::Overload(bottleneck));
        }
        let class = payer.class(class);
        let Some(rate) = self.shared.limits.of(class) else { return Admission::Passes };
        match self.shared.table.decide((payer.user.clone(), class), f64::from(units), Instant::now()) {
            Decision::Passes { tell } => {
                if tell {
                    self.shared.urgent.notify_one();
                }
                Admission::Passes
            }
            Decision::Refused(wait) => {
                Admission::Refused(self.refuse(class, rate, wait.max(LEAST_WAIT)), Why::Rate)
            }
            Decision::Waits(answer) => {
                self.shared.urgent.notify_one();
                Admission::Waits(answer)
            }
        }
    }

    /// The same for an HTTP request, which waits for the decision. Fails with
    /// `rate_limited`.
    pub async fn enter(&self, payer: Payer<'_>, class: Class, units: u32) -> Result<(), Failure> {
        loop {
            match self.admit(payer, class, units) {
                Admission::Passes => return Ok(()),
                Admission::Refused(failure, _) => return Err(failure),
                // In either case it is decided again.
                Admission::Waits(answer) => drop(answer.await),
            }
        }
    }

    /// The refusal for a connection that was refused a command of the same
    /// class before for this reason, and may not go on yet.
    pub fn refuse_still(
        &self,
        payer: Payer<'_>,
        class: Class,
        (wait, why): (Duration, Why),
    ) -> Option<Failure> {
        if let Why::Overload(bottleneck) = why {
            return Some(shed(class, bottleneck, wait));
        }
        let class = payer.class(class);
        Some(self.refuse(class, self.shared.limits.of(class)?, wait))
    }

    fn refuse(&self, class: Class, rate: proto::Rate, wait: Duration) -> Failure {
        RATE_LIMITED.add(&[class.as_str()], 1);
        let milliseconds = milliseconds(wait);
        let (name, burst) = (class.as_str(), rate.burst);
        let most = match class {
            Class::Invite => format!("{burst} a minute"),
            _ => format!("{} a second, {burst} at once", rate.per_second),
        };
        Failure::rate_limited(format!("too much of the kind `{name}`: at most {most}"), milliseconds)
    }

    /// Reports to the routers what users do, while it is polled.
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

    /// Handles a router's answer about what users have left; `None`: no answer
    /// in time.
    fn heard(&self, told: &[UserSpending], left: Option<Vec<f32>>) {
        let left = left.filter(|left| left.len() == told.len());
        if self.shared.table.heard(told, left.as_deref(), Instant::now()) {
            self.shared.urgent.notify_one();
        }
    }
}

/// The refusal of a command that would wait for too long.
fn shed(class: Class, bottleneck: Bottleneck, wait: Duration) -> Failure {
    SHED.add(&[class.as_str(), bottleneck.as_str()], 1);
    Failure::rate_limited("more is asked at the moment than can be done in time", milliseconds(wait))
}

fn milliseconds(wait: Duration) -> u64 {
    u64::try_from(wait.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX)
}

impl std::fmt::Debug for RateLimits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimits").field("limits", &self.shared.limits).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
