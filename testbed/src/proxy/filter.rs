//! Which pushed messages of a Redis stream get lost.

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

/// What is lost from now on, and what was lost so far.
#[derive(Default)]
pub(super) struct Losses {
    rule: Option<(Rule, Matches)>,
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
        self.rule = None;
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

    /// Whether this value is lost. Only pushed messages ever are.
    pub(super) fn loses(&mut self, value: &Reply) -> bool {
        let Some(pushed) = pushed(value) else { return false };
        let lost = match &mut self.rule {
            Some((rule, matches)) if matches(&pushed) => rule.takes(),
            _ => false,
        };
        if lost {
            self.dropped += 1;
        } else {
            self.passed += 1;
        }
        lost
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
