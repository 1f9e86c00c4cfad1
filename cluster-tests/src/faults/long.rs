//! The long run: faults one after another, drawn at random, on one cluster. The
//! seed says which, in which order, for how long and who says what; it does not
//! say when a thread of a process runs.

use std::time::Duration;

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use testbed::Direction;
use tokio::time::Instant;

use super::{Fault, Outcome, Part, Scene, Stage, Trial};
use crate::Between;

/// Faults that the same people suffer. Then others come, and what was written down
/// of the first is forgotten: the memory of a run does not grow with its length.
const A_TURN: usize = 5;

/// Runs until the time is over; gives a line for each turn. `say` is given what is
/// going on. Ends with the first turn in which a promise was broken.
pub async fn run(duration: Duration, seed: u64, mut say: impl FnMut(&str)) -> Result<Vec<Outcome>> {
    let begun = Instant::now();
    let mut random = StdRng::seed_from_u64(seed);
    let mut cluster = Stage::Single.builder().start().await?;
    let mut outcomes = Vec::new();
    for turn in 0.. {
        let mut scene = Scene::begin(cluster, turn, false, random.random()).await?;
        let (mut longest, mut failure) = (Duration::ZERO, None);
        for _ in 0..A_TURN {
            let trial = drawn(&mut random);
            say(&format!(
                "after {} s: {trial} for {:.1} s",
                begun.elapsed().as_secs(),
                trial.lasts.as_secs_f64()
            ));
            match scene.suffer(&trial).await {
                Ok(healed) => longest = longest.max(healed),
                Err(error) => failure = Some(format!("{trial}: {error:#}")),
            }
            if failure.is_some() || begun.elapsed() >= duration {
                break;
            }
        }
        let outcome = scene.outcome(&format!("turn {}", turn + 1), longest, failure);
        let ends = outcome.failure.is_some() || begun.elapsed() >= duration;
        outcomes.push(outcome);
        if ends {
            break;
        }
        cluster = scene.cluster;
    }
    Ok(outcomes)
}

/// One fault, or now and then two at once, for up to 12 seconds.
fn drawn(random: &mut StdRng) -> Trial {
    let way = way(random);
    let (fault, also) = match random.random_range(0..4) {
        0 => (process(random), Some(way)),
        1 => (process(random), None),
        _ => (way, None),
    };
    Trial { fault, also, lasts: Duration::from_millis(random.random_range(100..12_000)), least: 0 }
}

/// A process that dies or stands still.
fn process(random: &mut StdRng) -> Fault {
    let index = random.random_range(0..2);
    let part = [Part::Gateway(index), Part::Router(index), Part::Redis][random.random_range(0..3)];
    if random.random() { Fault::Kill(part) } else { Fault::Freeze(part) }
}

/// A way that breaks or is bad.
fn way(random: &mut StdRng) -> Fault {
    let (index, other) = (random.random_range(0..2), random.random_range(0..2));
    let between = [
        Between::GatewayAndRouter(index, other),
        Between::GatewayAndRouters(index),
        Between::GatewayAndStore(index),
        Between::RouterAndStore(index),
        Between::RouterAndAll(index),
        Between::All,
    ][random.random_range(0..6)];
    let direction = [Direction::Both, Direction::Up, Direction::Down][random.random_range(0..3)];
    match random.random_range(0..6) {
        0 => Fault::Partition(between, direction),
        1 => Fault::Refuse(between),
        2 => Fault::HalfOpen(between),
        3 => Fault::Lag(between, Duration::from_millis(random.random_range(1..100))),
        4 => Fault::Drip(between),
        _ => Fault::Bus(random.random_range(1..=30)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_draws_the_same_faults_again_and_another_seed_others() {
        let draw = |seed| {
            let mut random = StdRng::seed_from_u64(seed);
            let mut all = String::new();
            for _ in 0..50 {
                let trial = drawn(&mut random);
                all += &format!("{trial} {:?}\n", trial.lasts);
            }
            all
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
