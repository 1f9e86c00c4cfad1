//! Counts what users do, for all gateways together (ADR 0016). The name of a user
//! decides which router counts for that user. A gateway tells this router what it
//! has let through, and is told what the user has left. The counts are only in
//! memory: another router continues with what the gateways tell it.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use daemon::lock::{LEAF, Lock, LockGuard};
use proto::wire::{CountRates, Counted, Spending};
use proto::{Allowance, Rate, UserId};

use crate::error::{Error, Result};

/// How many pairs of user and class are counted, at about 150 bytes each. A new
/// pair beyond this is not remembered, and each gateway counts it alone.
const MOST: usize = 500_000;
/// Spendings in one request at most.
const MOST_ASKED: usize = 1_024;

/// The users whose allowance is not full again yet.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    /// Held while one request is counted.
    counted: Lock<LEAF, Users>,
}

type Key = (UserId, u32);

#[derive(Debug, Default)]
struct Users {
    left: HashMap<Key, Balance>,
    /// When each key can be forgotten if nothing more is spent. One entry for each
    /// key, in the order in which they are looked at.
    idle: VecDeque<(Instant, Key)>,
}

#[derive(Debug)]
struct Balance {
    allowance: Allowance,
    at: Instant,
    rate: Rate,
}

impl Balance {
    fn now(&self, now: Instant) -> Allowance {
        self.allowance.after(now.saturating_duration_since(self.at), self.rate)
    }
}

impl Rates {
    /// Counts these spendings, and answers what each user has left. Refuses a
    /// request that is too long or has a rate that is no number above zero.
    pub(crate) fn count(&self, asked: &CountRates, now: Instant) -> Result<Counted> {
        if asked.spendings.len() > MOST_ASKED {
            return Err(Error::BadRequest(format!("more than {MOST_ASKED} users are counted at once")));
        }
        let mut users = self.lock();
        users.forget(now);
        let left = asked.spendings.iter().map(|spending| users.spend(spending, now));
        Ok(Counted { left: left.collect::<Result<_>>()? })
    }

    fn lock(&self) -> LockGuard<'_, Users> {
        self.counted.lock()
    }
}

impl Users {
    fn spend(&mut self, spending: &Spending, now: Instant) -> Result<f32> {
        let user = UserId::parse(&spending.user).map_err(|invalid| Error::field("user", invalid))?;
        let rate = Rate { per_second: spending.per_second.into(), burst: spending.burst.into() };
        let sound = |number: f64| number.is_finite() && number > 0.0;
        if !sound(rate.per_second) || !sound(rate.burst) {
            return Err(Error::BadRequest("a limit must be above zero".to_owned()));
        }
        if !spending.spent.is_finite() || !spending.left.is_finite() {
            return Err(Error::BadRequest("`spent` and `left` must be numbers".to_owned()));
        }
        let key = (user, spending.class);
        let before = match self.left.get(&key) {
            Some(left) => Allowance::of(left.now(now).units(), rate),
            None => Allowance::of(spending.left.into(), rate),
        };
        let allowance = before.less(f64::from(spending.spent).max(0.0), rate);
        let left = Balance { allowance, at: now, rate };
        if let Some(known) = self.left.get_mut(&key) {
            *known = left;
        } else if self.left.len() < MOST {
            self.idle.push_back((now + allowance.until(rate.burst, rate).min(LONGEST), key.clone()));
            self.left.insert(key, left);
        }
        Ok(allowance.units() as f32)
    }

    /// Forgets the keys whose time has come and whose allowance is full.
    fn forget(&mut self, now: Instant) {
        while let Some((at, _)) = self.idle.front()
            && *at <= now
        {
            let Some((_, key)) = self.idle.pop_front() else { return };
            let Some(left) = self.left.get(&key) else { continue };
            let missing = left.now(now).until(left.rate.burst, left.rate);
            if missing.is_zero() {
                self.left.remove(&key);
            } else {
                self.idle.push_back((now + missing.min(LONGEST), key));
            }
        }
    }
}

/// An entry is looked at again after this time at the latest.
const LONGEST: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    fn spending(user: &str, spent: f32, left: f32) -> Spending {
        Spending { user: user.into(), class: 1, spent, left, per_second: 1.0, burst: 4.0 }
    }

    fn count(rates: &Rates, spendings: Vec<Spending>, now: Instant) -> Vec<f32> {
        rates.count(&CountRates { spendings }, now).unwrap().left
    }

    #[test]
    fn what_one_gateway_has_let_through_another_hears_of() {
        let (rates, now) = (Rates::default(), Instant::now());
        assert_eq!(
            count(&rates, vec![spending("alice", 3.0, 4.0), spending("bob", 1.0, 4.0)], now),
            [1.0, 3.0]
        );
        let later = now + Duration::from_secs(1);
        assert_eq!(count(&rates, vec![spending("alice", 1.0, 4.0)], later), [1.0], "one came back");
        let other = Spending { class: 2, ..spending("alice", 1.0, 4.0) };
        assert_eq!(count(&rates, vec![other], later), [3.0], "each class by itself");
    }

    #[test]
    fn a_router_that_knows_nothing_yet_goes_on_from_what_the_gateway_knew() {
        let (rates, now) = (Rates::default(), Instant::now());
        assert_eq!(count(&rates, vec![spending("alice", 1.0, 1.5)], now), [0.5]);
        assert_eq!(count(&rates, vec![spending("alice", 1.0, 4.0)], now), [-0.5], "what it knows counts");
    }

    #[test]
    fn who_misses_nothing_is_forgotten_and_who_does_is_not() {
        let (rates, now) = (Rates::default(), Instant::now());
        for n in 0..100 {
            count(&rates, vec![spending(&format!("idle{n}"), 1.0, 4.0)], now);
        }
        for second in 0..=10 {
            count(&rates, vec![spending("busy", 1.0, 4.0)], now + Duration::from_secs(second));
        }
        let users = rates.lock();
        assert_eq!((users.left.len(), users.idle.len()), (1, 1));
    }

    #[test]
    fn memory_is_bounded() {
        let (rates, now) = (Rates::default(), Instant::now());
        for chunk in 0..=MOST / MOST_ASKED {
            let spendings = (0..MOST_ASKED).map(|n| spending(&format!("u{chunk}.{n}"), 1.0, 4.0));
            assert_eq!(count(&rates, spendings.collect(), now)[0], 3.0);
        }
        let users = rates.lock();
        assert_eq!((users.left.len(), users.idle.len()), (MOST, MOST));
    }

    #[test]
    fn what_cannot_be_counted_is_refused() {
        let (rates, now) = (Rates::default(), Instant::now());
        let one = |spending| rates.count(&CountRates { spendings: vec![spending] }, now).is_err();
        assert!(one(spending("a b", 1.0, 4.0)));
        assert!(one(Spending { per_second: 0.0, ..spending("alice", 1.0, 4.0) }));
        assert!(one(spending("alice", f32::NAN, 4.0)) && one(spending("alice", 1.0, f32::INFINITY)));
        assert!(one(Spending { burst: f32::NAN, ..spending("alice", 1.0, 4.0) }));
        let many = vec![spending("alice", 1.0, 4.0); MOST_ASKED + 1];
        assert!(rates.count(&CountRates { spendings: many }, now).is_err());
    }
}
