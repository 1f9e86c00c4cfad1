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
                "after {} s: {} for {:.1} s",
                begun.elapsed().as_secs(),
                trial.fault,
                trial.lasts.as_secs_f64()
            ));
            match scene.suffer(&trial).await {
                Ok(healed) => longest = longest.max(healed),
                Err(error) => failure = Some(format!("{}: {error:#}", trial.fault)),
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

/// A fault that heals by itself or by being mended, for up to 12 seconds.
fn drawn(random: &mut StdRng) -> Trial {
    let (index, other) = (random.random_range(0..2), random.random_range(0..2));
    let part = [Part::Gateway(index), Part::Router(index), Part::Redis][random.random_range(0..3)];
    let between = [
        Between::GatewayAndRouter(index, other),
        Between::GatewayAndRouters(index),
        Between::GatewayAndStore(index),
        Between::RouterAndStore(index),
        Between::RouterAndAll(index),
        Between::All,
    ][random.random_range(0..6)];
    let direction = [Direction::Both, Direction::Up, Direction::Down][random.random_range(0..3)];
    let fault = match random.random_range(0..8) {
        0 => Fault::Kill(part),
        1 => Fault::Freeze(part),
        2 => Fault::Partition(between, direction),
        3 => Fault::Refuse(between),
        4 => Fault::HalfOpen(between),
        5 => Fault::Lag(between, Duration::from_millis(random.random_range(1..100))),
        6 => Fault::Drip(between),
        _ => Fault::Bus(random.random_range(1..=30)),
    };
    Trial { fault, lasts: Duration::from_millis(random.random_range(100..12_000)), least: 0 }
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
                all += &format!("{} {:?}\n", trial.fault, trial.lasts);
            }
            all
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
