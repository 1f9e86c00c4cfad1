//! The long run: faults one after another, drawn at random. A turn is on a single
//! Redis with a proxy on each way, with Sentinel, or on a Redis Cluster. The
//! seed says which, in which order, for how long and who says what; it does not
//! say when a thread of a process runs.

use std::time::Duration;

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use testbed::Direction;
use tokio::time::Instant;

use super::{Fault, Outcome, Part, Scene, Stage, StoreFault, Trial};
use crate::{Between, Cluster};

/// Faults that the same people suffer. Then others come, and what was written down
/// of the first is forgotten: the memory of a run does not grow with its length.
const A_TURN: usize = 5;

/// Runs until the time is over; gives a line for each turn. `say` is given what is
/// going on. Ends with the first turn in which a promise was broken.
pub async fn run(duration: Duration, seed: u64, mut say: impl FnMut(&str)) -> Result<Vec<Outcome>> {
    let begun = Instant::now();
    let mut random = StdRng::seed_from_u64(seed);
    let mut stage = Stage::Single;
    let mut last: Option<Cluster> = None;
    let mut outcomes = Vec::new();
    for turn in 0.. {
        let cluster = match last.take() {
            Some(cluster) => cluster,
            None => stage.builder().start().await?,
        };
        let may_reset = stage != Stage::Single;
        let mut scene = Scene::begin(cluster, turn, may_reset, random.random()).await?;
        let (mut longest, mut failure) = (Duration::ZERO, None);
        for number in 0..A_TURN {
            let trial = drawn(&mut random, stage, number == 0);
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
        let name = format!("turn {} ({})", turn + 1, named(stage));
        let outcome = scene.outcome(&name, longest, failure);
        let ends = outcome.failure.is_some() || begun.elapsed() >= duration;
        outcomes.push(outcome);
        if ends {
            break;
        }
        let before = std::mem::replace(&mut stage, next_stage(&mut random));
        // Servers that have failed over are left: what is drawn next is for such as began.
        last = (before == stage && stage == Stage::Single).then_some(scene.cluster);
    }
    Ok(outcomes)
}

/// Most turns are on a single Redis.
fn next_stage(random: &mut StdRng) -> Stage {
    match random.random_range(0..5) {
        0 => Stage::Sentinel,
        1 => Stage::Replicated,
        _ => Stage::Single,
    }
}

fn named(stage: Stage) -> &'static str {
    match stage {
        Stage::Sentinel => "Sentinel",
        Stage::Replicated => "Cluster",
        _ => "single Redis",
    }
}

/// One fault, or now and then two at once, for up to 12 seconds; `first` of a turn.
fn drawn(random: &mut StdRng, stage: Stage, first: bool) -> Trial {
    let lasts = Duration::from_millis(random.random_range(100..12_000));
    let of_store = |fault| Trial { fault: Fault::Store(fault), also: None, lasts, least: 0 };
    let choice = random.random_range(0..8);
    match (stage, choice) {
        (Stage::Single, 0) => return of_store(StoreFault::MemoryFull),
        (Stage::Single, _) => {}
        // Slots are moved from the server that began with them.
        (Stage::Replicated, 0..=3) if first => return of_store(StoreFault::SlotsMove),
        (Stage::Replicated, 0..=3) => return of_store(StoreFault::ClusterFailover),
        (_, 0 | 1) => return of_store(StoreFault::Failover),
        (_, 2 | 3) => return of_store(StoreFault::IsolatedPrimary),
        // There are no proxies.
        _ => return Trial { fault: ours(random), also: None, lasts, least: 0 },
    }
    let way = way(random);
    let (fault, also) = match random.random_range(0..4) {
        0 => (process(random), Some(way)),
        1 => (process(random), None),
        _ => (way, None),
    };
    Trial { fault, also, lasts, least: 0 }
}

/// A process that dies or stands still.
fn process(random: &mut StdRng) -> Fault {
    match random.random_range(0..6) {
        0 => Fault::Kill(Part::Redis),
        1 => Fault::Freeze(Part::Redis),
        _ => ours(random),
    }
}

/// The same of a gateway or router.
fn ours(random: &mut StdRng) -> Fault {
    let index = random.random_range(0..2);
    let part = [Part::Gateway(index), Part::Router(index)][random.random_range(0..2)];
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
            for number in 0..50 {
                let stage = next_stage(&mut random);
                let trial = drawn(&mut random, stage, number % 5 == 0);
                all += &format!("{trial} {:?}\n", trial.lasts);
            }
            all
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
