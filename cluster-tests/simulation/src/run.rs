//! One seed: the world is put together, and people write while things break, in some
//! rounds. After each all is well again and nobody writes, and what is there must be with
//! everybody: a later message would show what is missing. Then everybody says a last
//! word, and the history is judged.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use loadtest::history::{Allowed, History};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde::{Deserialize, Serialize};

use crate::faults::{Badness, Loss, Plan, RedisFaults};
use crate::hosts::{self, GATEWAYS, PEOPLE, REDIS, ROUTERS, Writing};
use crate::person::{self, Crowd, Person, Phase};
use crate::world::World;
use crate::{machine, network};

/// Before anything breaks.
const BEGIN: Duration = Duration::from_secs(2);
/// How often people write for a while.
const ROUNDS: usize = 3;
/// How long they write in each round.
const TALK: Duration = Duration::from_secs(5);
/// How long nobody writes then, while nothing breaks: longer than a lease, and any pause
/// before another attempt.
const QUIET: Duration = Duration::from_secs(25);
/// How long after them everything must be where it belongs: more than any lease, and
/// any pause before another attempt.
const SETTLE: Duration = Duration::from_secs(90);

/// How a seed went.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Messages that somebody wanted to send.
    pub sent: usize,
    /// Messages of these that were acknowledged.
    pub acknowledged: usize,
    /// What was promised and not kept; nothing in a run that went well.
    pub violations: Vec<String>,
    /// What broke, and how often.
    pub faults: BTreeMap<String, u64>,
    /// Milliseconds of simulated time from the last fault until all had arrived.
    pub healed_ms: u64,
    /// Milliseconds of simulated time in all.
    pub simulated_ms: u64,
    /// Over every byte that has gone from host to host, with its time.
    pub trace: String,
}

/// Runs one seed. Once in a process: clock and chance of the whole process are its.
pub fn run(seed: u64) -> Outcome {
    machine::begin(seed);
    network::begin(seed);
    let mut chance = StdRng::seed_from_u64(seed);
    let writing = if chance.random() { Writing::AtOnce } else { Writing::StepByStep };
    // As shipped, or so short that whoever reads on from the log meets it.
    let queue = if chance.random() { 256 } else { 4 };
    let badness = Rc::new(Badness::default());
    let crowd = Rc::new(Crowd {
        history: History::new(),
        users: ["alice", "bob", "carol"].map(str::to_owned).to_vec(),
        group: RefCell::new(None),
        phase: Cell::new(Phase::Talk),
        seen: RefCell::default(),
        logged: RefCell::default(),
        losses: Cell::new(0),
        unanswered: RefCell::default(),
        pace: chance.random_range(40..400),
        given_up: *[0.0, 0.2, 1.0].choose(&mut chance).unwrap_or(&0.0),
    });
    let mut world = World::new();
    let (database, shared) = (hosts::database(), badness.clone());
    world.host(REDIS, hosts::redis(database.clone(), move || Box::new(RedisFaults::new(shared.clone()))));
    for router in ROUTERS {
        world.host(router, hosts::router(router, writing));
    }
    for gateway in GATEWAYS {
        world.host(gateway, hosts::gateway(gateway, writing, queue));
    }
    let (people, seeds) = (crowd.clone(), chance.random::<u64>());
    world.host(PEOPLE, move || {
        let mut seeds = StdRng::seed_from_u64(seeds);
        let people = people.clone();
        Box::pin(async move {
            let devices = [("alice", "a"), ("alice", "b"), ("bob", "a"), ("carol", "a")];
            let mut lives = Vec::new();
            for (index, (user, device)) in devices.iter().enumerate() {
                lives.push(
                    Person::new(people.clone(), user, device, seeds.random(), index).live().boxed_local(),
                );
            }
            for user in &people.users {
                lives.push(person::read_all(people.clone(), user, seeds.random()).boxed_local());
            }
            join_all(lives).await;
        })
    });
    while world.now() < BEGIN {
        world.step();
    }
    let mut loss = chance.random_bool(0.3).then(|| Loss::new(&mut chance, world.now()));
    let mut violations = Vec::new();
    for _ in 0..ROUNDS {
        let mut plan = Plan::new(chance.random(), badness.clone(), world.now());
        crowd.phase.set(Phase::Talk);
        let silence = world.now() + TALK;
        while world.now() < silence {
            plan.step(&mut world);
            if let Some(loss) = &mut loss {
                loss.step(&mut world, &crowd, &database, &badness);
            }
            world.step();
        }
        crowd.phase.set(Phase::Quiet);
        plan.last_strike(&mut world);
        plan.end(&mut world);
        while world.now() < silence + QUIET {
            world.step();
        }
        violations.extend(crowd.differences());
    }
    let allowed = Allowed { reset: crowd.losses.get() > 0 };
    crowd.phase.set(Phase::LastWord);
    let over = world.now();
    let settled = loop {
        for _ in 0..50 {
            world.step();
        }
        let answered = crowd.unanswered.borrow().values().all(|count| *count == 0);
        if answered && crowd.differences().is_empty() && crowd.history.settled(allowed) {
            break true;
        }
        if world.now() >= over + SETTLE {
            break false;
        }
    };
    let healed = world.now() - over;
    let report = crowd.history.check(allowed);
    violations.extend(report.violations.iter().map(|violation| format!("{violation:?}")));
    if !settled {
        violations.push(format!(
            "after {SETTLE:?}: unanswered {:?}, or not with everybody",
            crowd.unanswered.borrow()
        ));
        violations.extend(crowd.differences());
    }
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let simulated_ms = millis(world.now());
    let (trace, pieces) = network::trace();
    drop(world);
    let acknowledged = crowd.history.acknowledged_count();
    if acknowledged < 3 {
        violations.push(format!("only {acknowledged} messages were acknowledged"));
    }
    let faults = badness.counts.borrow().iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect();
    Outcome {
        seed,
        sent: acknowledged + crowd.history.unanswered(),
        acknowledged,
        violations,
        faults,
        healed_ms: millis(healed),
        simulated_ms,
        trace: format!("{trace:016x}/{pieces}"),
    }
}
