//! What goes wrong, by chance: at hosts and between them, and inside Redis at each of
//! its commands.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use loadtest::history::Moment;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use testbed::stand_in::{Database, DatabaseCopy, Fate, Faults};

use crate::hosts::{GATEWAYS, PEOPLE, REDIS, ROUTERS};
use crate::network::{self, HostId};
use crate::person::Crowd;
use crate::world::World;

/// How long every reply of Redis is lost before a gateway is lost, too.
const NO_REPLIES: Duration = Duration::from_millis(30);

/// How often things go wrong at Redis; shared with whoever ends it.
#[derive(Default)]
pub(crate) struct Badness {
    /// Of a thousand commands, how many end their connection, before or after.
    pub(crate) commands: Cell<u32>,
    /// Every reply to a script is lost.
    pub(crate) no_replies: Cell<bool>,
    /// Of a thousand announcements, how many are dropped, repeated or late.
    pub(crate) announcements: Cell<u32>,
    /// How many there were of each kind.
    pub(crate) counts: RefCell<BTreeMap<&'static str, u64>>,
}

impl Badness {
    fn count(&self, kind: &'static str) {
        *self.counts.borrow_mut().entry(kind).or_default() += 1;
    }
}

/// The faults of Redis.
pub(crate) struct RedisFaults {
    pub(crate) badness: Rc<Badness>,
    chance: StdRng,
    /// An announcement that is told after the next one.
    late: Option<Vec<u8>>,
}

impl RedisFaults {
    pub(crate) fn new(badness: Rc<Badness>) -> Self {
        Self { badness, chance: StdRng::seed_from_u64(rand::random()), late: None }
    }

    fn happens(&mut self, per_thousand: u32) -> bool {
        self.chance.random_range(0..1_000) < per_thousand
    }
}

impl Faults for RedisFaults {
    fn before(&mut self, _: &[Vec<u8>]) -> Fate {
        let often = self.badness.commands.get();
        if self.happens(often) {
            self.badness.count("a command of Redis not done");
            return Fate::Ends;
        }
        Fate::GoesOn
    }

    fn after(&mut self, command: &[Vec<u8>]) -> Fate {
        let often = self.badness.commands.get();
        let is_script = command.first().is_some_and(|name| name.eq_ignore_ascii_case(b"evalsha"));
        if self.happens(often) || is_script && self.badness.no_replies.get() {
            self.badness.count("a reply of Redis lost");
            return Fate::Ends;
        }
        Fate::GoesOn
    }

    fn published(&mut self, message: &[u8]) -> Vec<Vec<u8>> {
        let often = self.badness.announcements.get();
        let mut told = vec![message.to_vec()];
        if self.happens(often) {
            match self.chance.random_range(0..3) {
                0 => {
                    self.badness.count("an announcement dropped");
                    told.clear();
                }
                1 => {
                    self.badness.count("an announcement repeated");
                    told.push(message.to_vec());
                }
                _ => {
                    self.badness.count("an announcement late");
                    let before = self.late.replace(message.to_vec());
                    return before.into_iter().collect();
                }
            }
        }
        told.extend(self.late.take());
        told
    }
}

/// A copy of Redis' data, to which it goes back: it loses what it has written since, as
/// with a failover.
pub(crate) struct Loss {
    copy_at: Duration,
    lose_at: Duration,
    copy: Option<DatabaseCopy>,
    /// Everything that was said before was answered before the copy was made.
    answered: Option<Moment>,
}

impl Loss {
    pub(crate) fn new(chance: &mut StdRng, begin: Duration) -> Self {
        let mut after = |from, to| Duration::from_millis(chance.random_range(from..to));
        let copy_at = begin + after(500, 6_000);
        Self { copy_at, lose_at: copy_at + after(100, 4_000), copy: None, answered: None }
    }

    /// Copies, and loses, when it is time.
    pub(crate) fn step(
        &mut self,
        world: &mut World,
        crowd: &Crowd,
        database: &RefCell<Database>,
        badness: &Badness,
    ) {
        let is_answered = crowd.unanswered.borrow().values().all(|count| *count == 0);
        if self.copy.is_none() && is_answered && crowd.group.borrow().is_some() {
            self.answered = Some(crowd.history.moment());
        }
        if self.copy.is_none() && self.answered.is_some() && world.now() >= self.copy_at {
            self.copy = Some(database.borrow().copy());
        }
        if world.now() < self.lose_at || crowd.losses.get() > 0 {
            return;
        }
        if let (Some(copy), Some(answered)) = (self.copy.take(), self.answered) {
            world.kill(REDIS);
            database.borrow_mut().put_back(copy);
            crowd.history.forgotten_since(answered);
            crowd.losses.set(1);
            world.start(REDIS);
            badness.count("Redis lost its last writes");
        }
    }
}

/// Something that ends by itself.
struct Down {
    host: HostId,
    until: Duration,
}

/// Breaks hosts and ways as time goes by.
pub(crate) struct Plan {
    chance: StdRng,
    badness: Rc<Badness>,
    next: Duration,
    /// The mean time between two faults, in ms.
    every: u64,
    down: Vec<Down>,
}

impl Plan {
    pub(crate) fn new(seed: u64, badness: Rc<Badness>, begin: Duration) -> Self {
        let mut chance = StdRng::seed_from_u64(seed);
        let every = *[400, 900, 2_000].choose(&mut chance).unwrap_or(&900);
        badness.commands.set(*[0, 0, 1, 5, 20].choose(&mut chance).unwrap_or(&0));
        badness.announcements.set(*[0, 5, 50, 300].choose(&mut chance).unwrap_or(&0));
        Self { chance, badness, next: begin, every, down: Vec::new() }
    }

    /// Does what is due.
    pub(crate) fn step(&mut self, world: &mut World) {
        let now = world.now();
        self.raise(world, now);
        if now < self.next {
            return;
        }
        self.next = now + Duration::from_millis(self.chance.random_range(0..=2 * self.every));
        self.strike(world, now);
    }

    fn raise(&mut self, world: &mut World, now: Duration) {
        self.down.retain(|down| {
            let over = down.until <= now;
            if over {
                world.start(down.host);
            }
            !over
        });
    }

    fn strike(&mut self, world: &mut World, now: Duration) {
        let chance = &mut self.chance;
        let servers = [GATEWAYS[0], GATEWAYS[1], ROUTERS[0], ROUTERS[1]];
        let host = *servers.choose(chance).unwrap_or(&GATEWAYS[0]);
        let ways: Vec<(HostId, HostId)> = GATEWAYS
            .iter()
            .flat_map(|gateway| ROUTERS.iter().map(|router| (*gateway, *router)))
            .chain(servers.map(|server| (server, REDIS)))
            .chain(GATEWAYS.map(|gateway| (PEOPLE, gateway)))
            .collect();
        let (one, other) = *ways.choose(chance).unwrap_or(&(GATEWAYS[0], REDIS));
        let (one, other) = if chance.random() { (one, other) } else { (other, one) };
        // Shorter and longer than each time limit: 2 s of a hung Redis, 4 s of a call,
        // 10 s of a lease.
        let time = Duration::from_millis(*[100, 700, 2_500, 5_000, 12_000].choose(chance).unwrap_or(&700));
        let kind = match chance.random_range(0..12) {
            0..=2 => {
                world.kill(host);
                self.down.push(Down { host, until: now + time / 4 });
                "a process killed"
            }
            3 => {
                world.kill(REDIS);
                self.down.push(Down { host: REDIS, until: now + time.min(Duration::from_millis(2_500)) });
                "Redis killed"
            }
            4 | 5 => {
                world.stand_still(host, time);
                "a process standing still"
            }
            6 | 7 => {
                network::hold(one, other, time);
                network::hold(other, one, time);
                "a way held"
            }
            8 => {
                network::hold(one, other, time);
                "a way held in one direction"
            }
            9 => {
                network::slow(one, other, time.min(Duration::from_millis(700)), Duration::from_secs(5));
                "a way slow"
            }
            _ => {
                network::cut(one, other);
                "connections broken"
            }
        };
        self.badness.count(kind);
    }

    /// When people fall silent: often a gateway is lost just then, so that it says nothing
    /// again, and with it a router, or replies of Redis to routers.
    pub(crate) fn last_strike(&mut self, world: &mut World) {
        let (chance, now) = (&mut self.chance, world.now());
        if chance.random() {
            return;
        }
        let gateway = *GATEWAYS.choose(chance).unwrap_or(&GATEWAYS[0]);
        let router = *ROUTERS.choose(chance).unwrap_or(&ROUTERS[0]);
        let kind = if chance.random() {
            world.kill(router);
            self.down.push(Down { host: router, until: now });
            "a gateway and a router lost at once"
        } else {
            self.badness.no_replies.set(true);
            while world.now() < now + NO_REPLIES {
                world.step();
            }
            "a gateway and replies of Redis lost at once"
        };
        world.kill(gateway);
        self.down.push(Down { host: gateway, until: now });
        self.badness.count(kind);
    }

    /// From now on nothing goes wrong, and everybody runs again.
    pub(crate) fn end(&mut self, world: &mut World) {
        network::heal();
        self.badness.commands.set(0);
        self.badness.no_replies.set(false);
        self.badness.announcements.set(0);
        for down in std::mem::take(&mut self.down) {
            world.start(down.host);
        }
    }
}
