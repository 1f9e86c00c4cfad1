//! A load while things are broken: people write to one another at a steady
//! rate until told to stop.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::Person;

/// A running load.
#[derive(Debug)]
pub struct Talk {
    stop: CancellationToken,
    task: JoinSet<Result<usize>>,
}

impl Talk {
    /// Someone says something every `every`: to another person, or in one of
    /// `groups`. The seed is printed.
    pub fn start(people: &[Arc<Person>], groups: &[String], every: Duration) -> Self {
        let seed: u64 = rand::random();
        println!("seed {seed}");
        Self::seeded(people, groups, every, 0.0, seed)
    }

    /// The same with a seed that is known; so often, from 0 to 1, the speaker
    /// edits its last message, or reacts to it, instead of writing another.
    pub fn seeded(
        people: &[Arc<Person>],
        groups: &[String],
        every: Duration,
        amends: f64,
        seed: u64,
    ) -> Self {
        let (people, groups) = (people.to_vec(), groups.to_vec());
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn({
            let stop = stop.clone();
            async move { talk(people, groups, every, amends, StdRng::seed_from_u64(seed), stop).await }
        });
        Self { stop, task }
    }

    /// Ends it; gives how many messages were said.
    pub async fn stop(mut self) -> Result<usize> {
        self.stop.cancel();
        match self.task.join_next().await {
            Some(said) => said?,
            None => Ok(0),
        }
    }
}

async fn talk(
    people: Vec<Arc<Person>>,
    groups: Vec<String>,
    every: Duration,
    amends: f64,
    mut random: StdRng,
    stop: CancellationToken,
) -> Result<usize> {
    let mut clock = interval(every);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = 0;
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(said),
            _ = clock.tick() => {}
        }
        let speaker = &people[random.random_range(0..people.len())];
        if amends > 0.0 && random.random_bool(amends) {
            match random.random() {
                true => speaker.edit_last().await?,
                false => speaker.react_to_last().await?,
            }
            continue;
        }
        let listener = random.random_range(0..people.len() + groups.len());
        match people.get(listener) {
            Some(listener) => speaker.say_to(listener.user()).await?,
            None => speaker.say_in(&groups[listener - people.len()]).await?,
        };
        said += 1;
    }
}
