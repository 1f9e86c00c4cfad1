//! What an overload has shown, as a table for `docs/RELIABILITY.md`.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::Instant;

use super::Plan;
use super::caller::Outcomes;
use super::crowds::{GatewayMemory, Returning, Slow, Verdict};
use crate::capacity::page::put;
use crate::results::{self, Machine};
use crate::summary::{Messages, Returns};

/// All figures of a run.
#[derive(Debug)]
pub struct Table {
    pub(super) plan: Plan,
    pub(super) asked: TooMuch,
    pub(super) returning: Returning,
    pub(super) slow: Slow,
}

/// What asking for too much has shown.
#[derive(Debug)]
pub(super) struct TooMuch {
    /// Messages a second that can be done.
    pub(super) rate: f64,
    /// What became of quiet users' commands: with nobody else; beside one user, one
    /// conversation, and a crowd.
    pub(super) alone: Figures,
    pub(super) user: Figures,
    pub(super) conversation: Figures,
    pub(super) overload: Figures,
    /// What became of the crowd's commands.
    pub(super) crowd: Figures,
    pub(super) recovered: Duration,
    /// Of each process: its name, and its bytes before and at most.
    pub(super) memory: Vec<(String, u64, u64)>,
}

/// Of one kind of users in one part.
#[derive(Debug)]
pub(super) struct Figures {
    sent: Times,
    refused: Times,
    unavailable: usize,
    lost: usize,
    ended: usize,
}

/// How long answers took.
#[derive(Debug)]
struct Times {
    count: usize,
    half: Duration,
    most: Duration,
    max: Duration,
}

impl Times {
    fn of(answers: &[(Instant, Duration)]) -> Self {
        let mut took: Vec<_> = answers.iter().map(|(_, took)| *took).collect();
        took.sort_unstable();
        let at = |share: f64| {
            let index = (took.len() as f64 * share) as usize;
            took.get(index.min(took.len().saturating_sub(1))).copied().unwrap_or_default()
        };
        Self { count: took.len(), half: at(0.5), most: at(0.99), max: at(1.0) }
    }
}

impl Figures {
    pub(super) fn of(asked: &Outcomes) -> Self {
        Self {
            sent: Times::of(&asked.sent),
            refused: Times::of(&asked.refused),
            unavailable: asked.unavailable,
            lost: asked.lost.len(),
            ended: asked.ended,
        }
    }
}

impl Table {
    /// Whether nothing was lost, repeated or out of order.
    pub fn is_clean(&self) -> bool {
        [&self.returning.verdict, &self.slow.verdict].iter().all(|verdict| verdict.violations.is_empty())
    }

    /// Puts it into a page, in place of the one that is there.
    pub fn record(&self, page: &Path) -> Result<()> {
        let text = std::fs::read_to_string(page).with_context(|| page.display().to_string())?;
        let table = format!("Measured on {} on {}.\n\n{self}", results::today(), Machine::this());
        let text = put(&text, "overload", &table).with_context(|| page.display().to_string())?;
        Ok(std::fs::write(page, text)?)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { users, quiet, times, overload, .. } = &self.plan;
        writeln!(
            f,
            "{users} users ask for {times} times what can be done ({:.0} messages a second), for {} s;",
            self.asked.rate,
            overload.as_secs()
        )?;
        writeln!(f, "{quiet} quiet users write four messages a second each.\n")?;
        write!(f, "{}\n{}\n{}", self.asked, self.returning, self.slow)
    }
}

impl fmt::Display for TooMuch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| who | sent | p50 | p99 | max | refused | p50 | p99 | max | of those `unavailable` | without an answer | connections ended |"
        )?;
        writeln!(f, "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")?;
        for (who, figures) in [
            ("quiet users, nobody else there", &self.alone),
            ("quiet users beside one user at full speed", &self.user),
            ("quiet users beside one conversation at full speed", &self.conversation),
            ("quiet users in the overload", &self.overload),
            ("those who ask for too much", &self.crowd),
        ] {
            write!(f, "| {who} |")?;
            for times in [&figures.sent, &figures.refused] {
                let Times { count, half, most, max } = times;
                match count {
                    0 => write!(f, " 0 | | | |")?,
                    count => {
                        write!(f, " {count} | {} | {} | {} |", Millis(*half), Millis(*most), Millis(*max))?
                    }
                }
            }
            writeln!(f, " {} | {} | {} |", figures.unavailable, figures.lost, figures.ended)?;
        }
        writeln!(
            f,
            "\nThe last late or refused command of a quiet user came back {} after the end of it.\n",
            Millis(self.recovered)
        )?;
        writeln!(f, "| process | MiB before | MiB at most |")?;
        writeln!(f, "| --- | ---: | ---: |")?;
        for (name, before, most) in &self.memory {
            writeln!(f, "| {name} | {} | {} |", before >> 20, most >> 20)?;
        }
        Ok(())
    }
}

impl fmt::Display for Returning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Returns { users, backlog, retries, back, caught_up, .. } = &self.returns;
        writeln!(f, "{users} users return at once, and {backlog} messages wait for each.\n")?;
        writeln!(f, "| | |\n| --- | ---: |")?;
        writeln!(f, "| half are back, all are back | {:.1} s, {:.1} s |", back.p50 / 1e3, back.max / 1e3)?;
        let (half, all) = (caught_up.p50 / 1e3, caught_up.max / 1e3);
        writeln!(f, "| half have everything, all have everything | {half:.1} s, {all:.1} s |")?;
        writeln!(f, "| tries beyond the first | {retries} |")?;
        write!(f, "{}", self.verdict)
    }
}

impl fmt::Display for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Slow { alone, beside, caught_up, verdict } = self;
        writeln!(f, "Readers take a frame of some 1,200 bytes in four seconds, and sixteen come.\n")?;
        writeln!(f, "| | |\n| --- | ---: |")?;
        writeln!(
            f,
            "| the others' messages when nobody is slow: p50, p99 | {:.1} ms, {:.1} ms |",
            alone.p50, alone.p99
        )?;
        writeln!(f, "| the same beside the slow ones | {:.1} ms, {:.1} ms |", beside.p50, beside.p99)?;
        writeln!(f, "| connections of slow readers that were ended | {} |", verdict.messages.reconnects)?;
        writeln!(f, "| all have everything after they read quickly again | {caught_up:.1} s |")?;
        write!(f, "{verdict}")
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Messages { acknowledged, missing, repeated, reordered, .. } = &self.messages;
        let GatewayMemory { before, most } = self.memory;
        writeln!(f, "| messages acknowledged | {acknowledged} |")?;
        writeln!(f, "| lost, repeated, out of order | {missing}, {repeated}, {reordered} |")?;
        writeln!(f, "| all gateways, MiB before and at most | {}, {} |", before >> 20, most >> 20)?;
        self.violations.iter().try_for_each(|violation| writeln!(f, "\nBROKEN: {violation}"))
    }
}

struct Millis(Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} ms", self.0.as_secs_f64() * 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_from_the_quickest_to_the_slowest() {
        let now = Instant::now();
        let answers: Vec<_> = (1..=100).rev().map(|millis| (now, Duration::from_millis(millis))).collect();
        let Times { count, half, most, max } = Times::of(&answers);
        assert_eq!((count, half.as_millis(), most.as_millis(), max.as_millis()), (100, 51, 100, 100));
        assert_eq!(Times::of(&[]).max, Duration::ZERO);
    }
}
