//! What this gateway knows of each user's limits.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use daemon::lock::{LEAF, Lock, LockGuard};
use proto::wire::Spending;
use proto::{Allowance, Rate};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::config::RateLimitConfig;
use crate::link::count::{RateKey, UserSpending};
use proto::Class;

/// The most pairs of user and class that are remembered, some 250 bytes each.
/// Beyond it a new user passes uncounted: with so many users at once one user's
/// limit does not matter.
const MOST: usize = 500_000;
/// A gateway lets through this fraction of a burst (an eighth) before the
/// counting router must have answered.
const PART: f64 = 8.0;
/// How long the gateway decides alone after a counting router has not answered.
const ALONE: Duration = Duration::from_secs(1);
/// The longest time after which an entry is checked for removal.
const LONGEST: Duration = Duration::from_secs(600);

/// All users who have done something recently.
pub(super) struct Table {
    limits: RateLimitConfig,
    /// LockGuard for one user, or for the users of one report, at a time.
    users: Lock<LEAF, Users>,
}

#[derive(Default)]
struct Users {
    known: HashMap<RateKey, Balance>,
    /// When each can be removed, if nothing more is done: one entry for each
    /// key.
    idle: VecDeque<(Instant, RateKey)>,
    /// Keys whose spending must be reported now.
    urgent: Vec<RateKey>,
    /// Keys whose spending is part of the next report: each once.
    later: Vec<RateKey>,
}

/// What is known about one user and class.
struct Balance {
    /// The units left, as far as this gateway knows, without those that are not
    /// reported or not answered yet.
    left: Allowance,
    at: Instant,
    /// Units let through since the last report.
    untold: f64,
    /// Units that were reported and not answered yet.
    told: Option<f64>,
    /// Whether it is in `urgent`.
    is_urgent: bool,
    /// Whether it is in `later`.
    is_later: bool,
    /// Until then the gateway decides alone.
    alone: Option<Instant>,
    /// Connections and requests that wait for the answer.
    waiting: Vec<oneshot::Sender<()>>,
}

/// The decision about something.
#[derive(Debug)]
pub(super) enum Decision {
    /// It passes. `tell`: the spending must be reported now.
    Passes { tell: bool },
    /// It is refused for this long.
    Refused(Duration),
    /// The counting router is asked.
    Waits(oneshot::Receiver<()>),
}

impl Table {
    pub(super) fn new(limits: RateLimitConfig) -> Self {
        Self { limits, users: Lock::default() }
    }

    pub(super) fn decide(&self, key: RateKey, units: f64, now: Instant) -> Decision {
        let Some(rate) = self.limits.of(key.1) else { return Decision::Passes { tell: false } };
        let mut users = self.lock();
        let users = &mut *users;
        let Some(known) = users.known(&key, rate, now) else { return Decision::Passes { tell: false } };
        // Something that costs more than a burst needs a full burst.
        let needs = units.min(rate.burst);
        if known.left.units() < needs {
            return Decision::Refused(known.left.until(needs, rate));
        }
        let part = part(key.1, rate);
        let open = known.untold + known.told.unwrap_or(0.0);
        if open > 0.0 && open + units > part && known.alone.is_none_or(|until| until <= now) {
            let (sender, answer) = oneshot::channel();
            known.waiting.retain(|waiting| !waiting.is_closed());
            known.waiting.push(sender);
            if known.told.is_none() && !known.is_urgent {
                known.is_urgent = true;
                users.urgent.push(key);
            }
            return Decision::Waits(answer);
        }
        known.left = known.left.less(units, rate);
        known.untold += units;
        let tell = known.untold * 2.0 >= part && known.told.is_none() && !known.is_urgent;
        if tell {
            known.is_urgent = true;
            users.urgent.push(key);
        } else if !known.is_later {
            known.is_later = true;
            users.later.push(key);
        }
        Decision::Passes { tell }
    }

    /// The spending to report now; `all`: also of users who did little.
    pub(super) fn tell(&self, all: bool, now: Instant) -> Vec<UserSpending> {
        let mut users = self.lock();
        users.forget(&self.limits, now);
        let mut keys = std::mem::take(&mut users.urgent);
        for key in &keys {
            if let Some(known) = users.known.get_mut(key) {
                known.is_urgent = false;
            }
        }
        if all {
            for key in std::mem::take(&mut users.later) {
                if let Some(known) = users.known.get_mut(&key) {
                    known.is_later = false;
                }
                keys.push(key);
            }
        }
        let tell = |key: RateKey| {
            let rate = self.limits.of(key.1)?;
            let known = users.known.get_mut(&key)?;
            if known.told.is_some() || known.untold <= 0.0 && known.waiting.is_empty() {
                return None;
            }
            known.refresh(rate, now);
            let spent = std::mem::take(&mut known.untold);
            known.told = Some(spent);
            let spending = Spending {
                user: key.0.to_string(),
                class: key.1.number(),
                spent: spent as f32,
                left: (known.left.units() + spent) as f32,
                per_second: rate.per_second as f32,
                burst: rate.burst as f32,
            };
            Some((key, spending))
        };
        keys.into_iter().filter_map(tell).collect()
    }

    /// A report was answered with what is `left`, or not answered. Returns true
    /// when more must be reported at once.
    pub(super) fn heard(&self, told: &[UserSpending], left: Option<&[f32]>, now: Instant) -> bool {
        let mut users = self.lock();
        let users = &mut *users;
        let mut again = false;
        for (index, (key, _)) in told.iter().enumerate() {
            let Some(rate) = self.limits.of(key.1) else { continue };
            let Some(known) = users.known.get_mut(key) else { continue };
            known.told = None;
            match left.and_then(|left| left.get(index)) {
                Some(left) => {
                    known.left = Allowance::of(f64::from(*left), rate).less(known.untold, rate);
                    known.at = now;
                    known.alone = None;
                }
                None => known.alone = Some(now + ALONE),
            }
            for waiting in known.waiting.drain(..) {
                // The waiter may have gone.
                let _ = waiting.send(());
            }
            if known.untold * 2.0 >= part(key.1, rate) && !known.is_urgent {
                known.is_urgent = true;
                users.urgent.push(key.clone());
                again = true;
            }
        }
        again
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().known.len()
    }

    fn lock(&self) -> LockGuard<'_, Users> {
        self.users.lock()
    }
}

/// The units that are let through before the counting router must have
/// answered.
fn part(class: Class, rate: Rate) -> f64 {
    match class {
        // Each one is asked for: they are few, and other users feel them.
        Class::Invite => 1.0,
        _ => (rate.burst / PART).max(1.0),
    }
}

impl Users {
    /// What is known about a key, up to date; `None` when there is no room for
    /// a new one.
    fn known(&mut self, key: &RateKey, rate: Rate, now: Instant) -> Option<&mut Balance> {
        if !self.known.contains_key(key) {
            if self.known.len() >= MOST {
                return None;
            }
            // Not before its present spending was reported.
            self.idle.push_back((now + super::TELL_EVERY * 2, key.clone()));
            let known = Balance {
                left: Allowance::full(rate),
                at: now,
                untold: 0.0,
                told: None,
                is_urgent: false,
                is_later: false,
                alone: None,
                waiting: Vec::new(),
            };
            self.known.insert(key.clone(), known);
        }
        let known = self.known.get_mut(key)?;
        known.refresh(rate, now);
        Some(known)
    }

    /// Removes keys whose time has come and whose bucket is full.
    fn forget(&mut self, limits: &RateLimitConfig, now: Instant) {
        while self.idle.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, key)) = self.idle.pop_front() else { return };
            let (Some(rate), Some(known)) = (limits.of(key.1), self.known.get_mut(&key)) else { continue };
            known.refresh(rate, now);
            let busy = known.untold > 0.0 || known.told.is_some() || known.is_later || known.is_urgent;
            if !busy && known.left.is_full(rate) {
                self.known.remove(&key);
            } else {
                let missing = known.left.until(rate.burst, rate).clamp(super::TELL_EVERY, LONGEST);
                self.idle.push_back((now + missing, key));
            }
        }
    }
}

impl Balance {
    fn refresh(&mut self, rate: Rate, now: Instant) {
        self.left = self.left.after(now.saturating_duration_since(self.at), rate);
        self.at = now;
    }
}
