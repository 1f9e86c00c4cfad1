//! Which pushed messages of a Redis stream get lost, come twice, or come late.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::resp::Reply;

/// A message that a subscription pushes.
#[derive(Debug, Clone, Copy)]
pub struct Pushed<'a> {
    /// The name of the channel.
    pub channel: &'a [u8],
    /// What was published.
    pub payload: &'a [u8],
}

type Matches = Box<dyn Fn(&Pushed<'_>) -> bool + Send>;

/// What becomes of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Passes,
    Lost,
    Twice,
    /// Only after so many more pushed messages.
    After(usize),
}

/// The farthest that a message is moved back behind others.
const LATEST: usize = 5;

/// What is lost from now on, and what was lost so far.
#[derive(Default)]
pub(super) struct Losses {
    rule: Option<(Rule, Matches)>,
    /// Of each hundred so many lost, twice, late.
    random: Option<(u8, StdRng)>,
    dropped: u64,
    passed: u64,
}

enum Rule {
    /// Every n-th; `seen` since the last one.
    Every { n: u64, seen: u64 },
    /// So many more.
    Next(u64),
}

impl Losses {
    pub(super) fn none(&mut self) {
        (self.rule, self.random) = (None, None);
    }

    pub(super) fn at_random(&mut self, percent: u8, seed: u64) {
        self.random = Some((percent, StdRng::seed_from_u64(seed)));
    }

    pub(super) fn every(&mut self, n: u64, matches: Matches) {
        self.rule = Some((Rule::Every { n, seen: 0 }, matches));
    }

    pub(super) fn next(&mut self, count: u64, matches: Matches) {
        self.rule = Some((Rule::Next(count), matches));
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(super) fn passed(&self) -> u64 {
        self.passed
    }

    /// What becomes of this value. Only pushed messages do not just pass; the
    /// fate of one is nothing for anything else.
    pub(super) fn fate(&mut self, value: &Reply) -> Option<Fate> {
        let pushed = pushed(value)?;
        let lost = match &mut self.rule {
            Some((rule, matches)) if matches(&pushed) => rule.takes(),
            _ => false,
        };
        let fate = if lost { Fate::Lost } else { self.drawn() };
        match fate {
            Fate::Lost => self.dropped += 1,
            _ => self.passed += 1,
        }
        Some(fate)
    }

    fn drawn(&mut self) -> Fate {
        let Some((percent, random)) = &mut self.random else { return Fate::Passes };
        let (drawn, percent) = (random.random_range(0..100), *percent);
        match drawn {
            drawn if drawn < percent => Fate::Lost,
            drawn if drawn < percent * 2 => Fate::Twice,
            drawn if drawn < percent * 3 => Fate::After(random.random_range(1..=LATEST)),
            _ => Fate::Passes,
        }
    }
}

impl Rule {
    fn takes(&mut self) -> bool {
        match self {
            Self::Every { n, seen } => {
                *seen += 1;
                let takes = *seen >= *n;
                if takes {
                    *seen = 0;
                }
                takes
            }
            Self::Next(0) => false,
            Self::Next(left) => {
                *left -= 1;
                true
            }
        }
    }
}

impl std::fmt::Debug for Losses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Losses").field("dropped", &self.dropped).field("passed", &self.passed).finish()
    }
}

/// `message channel payload` or `smessage channel payload`, as an array
/// (RESP2) or a push (RESP3).
fn pushed(value: &Reply) -> Option<Pushed<'_>> {
    let [kind, channel, payload] = value.items() else { return None };
    if !matches!(kind.bytes()?, b"message" | b"smessage") {
        return None;
    }
    Some(Pushed { channel: channel.bytes()?, payload: payload.bytes()? })
}
