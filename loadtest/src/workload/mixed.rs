//! A day of chat: nine messages of ten direct, one to a group, bodies from 256
//! bytes to 16 KiB, receipts, typing, joins and leaves, and reconnects.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::time::{Instant, interval, sleep_until};

use super::groups::{self, Group, ask};
use super::plan::{Bodies, Habits, Plan, Writes};
use super::stage::Stage;
use super::tally::Tally;
use super::{Kind, Servers, Settings, direct, user_name, users};
use crate::client::Account;
use crate::client::http::Http;
use crate::history::History;
use crate::summary::Summary;

/// Friends of each user: pairs who write to one another.
const FRIENDS: usize = 5;

/// How often somebody drops the connection, when the run is long enough.
const RECONNECTS: Duration = Duration::from_secs(60);

/// How often somebody joins a group, and somebody leaves one.
const JOINS: Duration = Duration::from_millis(500);

/// Runs it and judges it.
pub async fn run(servers: &Servers, settings: &Settings) -> Result<Summary> {
    let often = RECONNECTS.min(settings.duration / 2);
    let habits =
        Habits { acknowledges: true, reads: true, types: 0.2, reconnects: Some(often), ..Habits::default() };
    let (mut stage, door) = stage(servers, settings, History::bounded(), habits).await?;
    stage.beside(door.keep());
    stage.play("mixed").await
}

/// Everybody among friends and in groups, with these habits, and who lets guests in.
pub(super) async fn stage(
    servers: &Servers,
    settings: &Settings,
    history: Arc<History>,
    habits: Habits,
) -> Result<(Stage, Door)> {
    ensure!(servers.kind == Kind::Switchboard, "{} has no groups", servers.kind.name());
    let count = settings.users;
    let lines = servers.connect_all(settings, users(0..count)).await?;
    let size = settings.members.min(count);
    let members: Vec<Vec<usize>> =
        (0..count / size).map(|group| (group * size..(group + 1) * size).collect()).collect();
    let groups = groups::make(servers, members, &history).await?;
    let mut stage = Stage::new(servers, settings, history, count);
    let mut random = StdRng::seed_from_u64(settings.seed);
    for (user, line) in lines.into_iter().enumerate() {
        let every = settings.every(count);
        let friends = friends(user, count);
        let own = groups.get(user / size);
        let writes = Writes {
            first: stage.tally.start + every.mul_f64(random.random::<f64>()),
            every,
            usual: friends.into_iter().map(|friend| direct::target(servers.kind, user, friend)).collect(),
            other_share: if own.is_some() { 0.1 } else { 0.0 },
            other: own.into_iter().map(Group::target).collect(),
            bodies: Bodies::Day,
        };
        let habits = habits.clone();
        stage.enter(line, Plan { writes: Some(writes), habits, ..Plan::new(user_name(user), user) });
    }
    let door = Door { tally: Arc::clone(&stage.tally), groups, count };
    Ok((stage, door))
}

/// The users who are so far around the circle, in both directions.
fn friends(user: usize, count: usize) -> Vec<usize> {
    let steps = (1..=FRIENDS).flat_map(|step| [(user + step) % count, (user + count - step % count) % count]);
    let mut friends: Vec<_> = steps.filter(|friend| *friend != user).collect();
    friends.sort_unstable();
    friends.dedup();
    friends
}

/// Lets guests into groups and sees them out, each guest into a group once.
pub(super) struct Door {
    tally: Arc<Tally>,
    groups: Vec<Group>,
    count: usize,
}

impl Door {
    pub(super) async fn keep(self) -> Result<()> {
        sleep_until(self.tally.start).await;
        let mut clock = interval(JOINS);
        let mut guests: Vec<(usize, usize)> = Vec::new();
        for visit in 0.. {
            tokio::select! {
                () = self.tally.stop.cancelled() => return Ok(()),
                _ = clock.tick() => {}
            }
            let over = Instant::now() >= self.tally.measure_to;
            let Some(visitor) = self.visitor(visit).filter(|_| !over) else { continue };
            self.join(visitor).await.context("a guest could not join")?;
            guests.push(visitor);
            if guests.len() > 2 {
                self.leave(guests.remove(0)).await.context("a guest could not leave")?;
            }
        }
        Ok(())
    }

    /// The group and the user of a visit; nothing when all have been everywhere.
    fn visitor(&self, visit: usize) -> Option<(usize, usize)> {
        let group = visit % self.groups.len().max(1);
        let members = &self.groups.get(group)?.members;
        let round = visit / self.groups.len();
        let strangers = self.count - members.len();
        let user = (members.last()? + 1 + round) % self.count;
        (round < strangers).then_some((group, user))
    }

    async fn join(&self, (group, guest): (usize, usize)) -> Result<()> {
        let group = &self.groups[group];
        let conversation = &group.conversation;
        let mut owner = self.owner(group)?;
        let name = user_name(guest);
        ask(&mut owner, &json!({"type": "add_members", "conversation": conversation, "members": [name]}))
            .await?;
        let answer = ask(&mut owner, &json!({"type": "members", "conversation": conversation})).await?;
        let members = answer.0["members"].as_array().context("members have a list")?;
        let own = members.iter().find(|member| member["user"] == name.as_str());
        let since = own.and_then(|member| member["since"].as_u64()).context("a member has `since`")?;
        self.tally.history.joined(conversation, &name, since);
        Ok(())
    }

    async fn leave(&self, (group, guest): (usize, usize)) -> Result<()> {
        let group = &self.groups[group];
        let conversation = &group.conversation;
        let mut owner = self.owner(group)?;
        let name = user_name(guest);
        let query = json!({"type": "history", "conversation": conversation, "limit": 1});
        let last = ask(&mut owner, &query).await?;
        // What was there before the leaving is for the guest; what is numbered
        // meanwhile may be or not.
        let head =
            last.0["messages"].as_array().and_then(|messages| messages.last()).map(|m| m["seq"].as_u64());
        let head = head.flatten().unwrap_or(0);
        let command: Value = json!({"type": "remove_member", "conversation": conversation, "user": name});
        ask(&mut owner, &command).await?;
        self.tally.history.left(conversation, &name, head);
        Ok(())
    }

    /// The owner, on a connection of its own.
    fn owner(&self, group: &Group) -> Result<Http> {
        let owner = *group.members.first().context("a group has an owner")?;
        let servers = &self.tally.servers;
        let token = servers.issuer.token(&user_name(owner));
        Ok(Http::new(&Account::new(servers.gateway(owner), &token, "door"))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn friendship_goes_both_ways_and_nobody_is_their_own_friend() {
        for count in [2, 3, 7, 100] {
            for user in 0..count {
                let its = friends(user, count);
                assert!(!its.is_empty() && !its.contains(&user), "{user} of {count}: {its:?}");
                assert!(its.iter().all(|friend| friends(*friend, count).contains(&user)));
            }
        }
    }
}
