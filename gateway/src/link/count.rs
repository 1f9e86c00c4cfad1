//! The way to the router that counts what a user does (ADR 0016). It is chosen among
//! all known routers by the user's name alone, so that all gateways ask the same one.
//! If it does not answer in time, no other router is asked.

use std::hash::Hasher as _;
use std::sync::Arc;
use std::time::Duration;

use daemon::trace::Span;
use proto::UserId;
use proto::wire::{self, Spending, reply, request};
use rustc_hash::FxHasher;
use tokio::time::Instant;

use super::Routers;
use super::cost;
use super::encoded::EncodedRequest;
use super::outbound::Link;
use super::pending::{Outcome, Pending};
use proto::Class;

/// How long an answer is waited for. It may be one tick of the clock more.
const TIMEOUT: Duration = Duration::from_millis(200);
/// Users in one request at most.
const MOST: usize = 1_024;

/// A user, and the class of commands that is counted.
pub(crate) type RateKey = (UserId, Class);
/// How much of it a gateway has let through, as the counting router is told.
pub(crate) type UserSpending = (RateKey, Spending);

impl Routers {
    /// Tells each user's spending to the router that counts for the user. `done` is
    /// called for each request, with the spendings that were told and with what is
    /// left of each, in the same order. It gets `None` if there was no answer in
    /// time.
    pub(crate) fn count(
        &self,
        told: Vec<UserSpending>,
        done: impl Fn(Vec<UserSpending>, Option<Vec<f32>>) + Clone + Send + 'static,
    ) {
        let mut by_link: Vec<(Option<Arc<Link>>, Vec<UserSpending>)> = Vec::new();
        for one in told {
            let link = self.counts_for(one.0.0.as_str());
            let id = link.as_ref().map(|link| link.id);
            let mut before = by_link.iter_mut();
            match before.find(|(of, told)| of.as_ref().map(|of| of.id) == id && told.len() < MOST) {
                Some((_, told)) => told.push(one),
                None => by_link.push((link, vec![one])),
            }
        }
        for (link, told) in by_link {
            match link {
                Some(link) => self.count_on(&link, told, done.clone()),
                None => done(told, None),
            }
        }
    }

    fn count_on(
        &self,
        link: &Arc<Link>,
        told: Vec<UserSpending>,
        done: impl FnOnce(Vec<UserSpending>, Option<Vec<f32>>) + Send + 'static,
    ) {
        let spendings = told.iter().map(|(_, spending)| spending.clone()).collect();
        let command = request::Command::CountRates(wire::CountRates { spendings });
        let kind = cost::of(&command);
        let id = self.shared.unanswered.next_id();
        // The request belongs to no user, but a router checks the form of the name.
        let request = EncodedRequest::from(wire::Request {
            id: id.0,
            user: "-".to_owned(),
            command: Some(command),
            trace: bytes::Bytes::new(),
        });
        let completion = move |outcome: Outcome| match outcome.result {
            Ok(reply::Result::Counted(counted)) => done(told, Some(counted.left)),
            _ => done(told, None),
        };
        let now = Instant::now();
        let pending = Pending {
            request: request.clone(),
            removal: false,
            // A hash of its own, so that it waits for no other request.
            hash: !id.0,
            kind,
            completion: Box::new(completion),
            span: Span::NONE,
            asked: now,
            deadline: now + TIMEOUT,
            sent: now,
            link: None,
            attempts: 0,
        };
        self.shared.unanswered.insert(pending, |_| Some(link.clone()));
        if !link.push(request) {
            self.shared.unanswered.give_up(link.id);
        }
    }

    /// The router whose name and the user's together make the highest number
    /// (rendezvous hashing): when one comes or goes, only its users move.
    fn counts_for(&self, user: &str) -> Option<Arc<Link>> {
        let open = self.open();
        open.iter().max_by_key(|link| (weight(&link.name, user), link.id)).cloned()
    }
}

fn weight(router: &str, user: &str) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(router.as_bytes());
    hasher.write(user.as_bytes());
    // The last bytes of both must reach every bit (splitmix64's finish).
    let mut bits = hasher.finish();
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_spread_evenly_and_few_move_when_a_router_goes() {
        let routers = ["10.0.0.1:7100", "10.0.0.2:7100", "10.0.0.3:7100"];
        let choose = |routers: &[&'static str], user: usize| {
            let user = format!("user{user}");
            *routers.iter().max_by_key(|router| weight(router, &user)).unwrap()
        };
        for router in routers {
            let count = (0..3_000).filter(|user| choose(&routers, *user) == router).count();
            assert!((850..1_150).contains(&count), "{router}: {count}");
        }
        for user in 0..3_000 {
            let before = choose(&routers, user);
            assert!(before == routers[2] || choose(&routers[..2], user) == before);
        }
    }
}
