//! Groups whose members all write: each message has many readers.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tokio::time::timeout;

use super::line::Line;
use super::plan::{Bodies, Habits, Plan, Target, Writes};
use super::stage::Stage;
use super::{CONNECTING, Kind, Seat, Servers, Settings, progress, user_name};
use crate::history::History;
use crate::summary::Summary;

/// To make a group.
const PATIENCE: Duration = Duration::from_secs(30);

/// A group that was made.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) conversation: String,
    /// The first is the owner.
    pub(super) members: Vec<usize>,
}

/// As many groups of `members` as there are users for.
pub async fn run(servers: &Servers, settings: &Settings) -> Result<Summary> {
    let stage = stage(servers, settings, |_, _| Habits::default()).await?;
    stage.play("groups").await
}

/// Everybody in their groups. `habits` of a user, given how long it is from
/// one message for it to the next, are added to what all do.
pub(super) async fn stage(
    servers: &Servers,
    settings: &Settings,
    habits: impl Fn(usize, Duration) -> Habits,
) -> Result<Stage> {
    ensure!(servers.kind == Kind::Switchboard, "{} has no groups", servers.kind.name());
    let size = settings.members.min(settings.users);
    let count = settings.users / size * size;
    // To a member comes what its group gets.
    let hears_every = settings.every(count).div_f64(size as f64);
    let seats = (0..count).map(|user| {
        let slow = habits(user, hears_every).rests.is_some();
        (user, user_name(user), Seat { slow, ..Seat::default() })
    });
    let mut lines = servers.connect_all(settings, seats.collect()).await?;
    let history = History::bounded();
    let members: Vec<Vec<usize>> =
        (0..count).step_by(size).map(|first| (first..first + size).collect()).collect();
    let groups = make(&mut lines, members, &history).await?;
    let mut stage = Stage::new(servers, settings, history, count);
    let mut random = StdRng::seed_from_u64(settings.seed);
    for (user, line) in lines.into_iter().enumerate() {
        let every = settings.every(count);
        let writes = Writes {
            first: stage.tally.start + every.mul_f64(random.random::<f64>()),
            every,
            usual: vec![groups[user / size].target()],
            other_share: 0.0,
            other: Vec::new(),
            bodies: Bodies::Fixed(settings.body),
        };
        let habits = Habits { acknowledges: true, ..habits(user, hears_every) };
        stage.enter(line, Plan { writes: Some(writes), habits, ..Plan::new(user_name(user), user) });
    }
    Ok(stage)
}

/// Makes groups of these users, whose first one asks for it on its own
/// connection; the history knows them.
pub(super) async fn make(
    lines: &mut [Line],
    members: Vec<Vec<usize>>,
    history: &Arc<History>,
) -> Result<Vec<Group>> {
    let bar = progress::count("groups", members.len());
    let mut groups = vec![None; members.len()];
    let mut owned: Vec<Vec<usize>> = vec![Vec::new(); lines.len()];
    for (group, members) in members.iter().enumerate() {
        let Some(&owner) = members.first() else { bail!("a group without members") };
        owned[owner].push(group);
    }
    // An owner's requests go one after another, those of owners side by side.
    let making =
        lines.iter_mut().zip(&owned).filter(|(_, owned)| !owned.is_empty()).map(async |(line, owned)| {
            let mut made = Vec::new();
            for &group in owned {
                let others: Vec<_> = members[group][1..].iter().map(|member| user_name(*member)).collect();
                let command =
                    json!({"type": "create_group", "name": format!("group {group}"), "members": others});
                let answer =
                    timeout(PATIENCE, line.command(command)).await.context("no answer to create_group")??;
                let conversation = answer.text("conversation").context("a new group has an id")?;
                made.push((group, conversation.to_owned()));
                bar.inc(1);
            }
            anyhow::Ok(made)
        });
    let made: Vec<_> = stream::iter(making).buffer_unordered(CONNECTING).try_collect().await?;
    for (group, conversation) in made.into_iter().flatten() {
        let names: Vec<_> = members[group].iter().map(|member| user_name(*member)).collect();
        history.group(&conversation, &names.iter().map(String::as_str).collect::<Vec<_>>());
        groups[group] = Some(Group { conversation, members: members[group].clone() });
    }
    bar.finish_and_clear();
    groups.into_iter().collect::<Option<Vec<_>>>().context("a group was not made")
}

impl Group {
    /// A message to all of it.
    pub(super) fn target(&self) -> Target {
        Target {
            command: json!({"type": "send", "conversation": self.conversation}),
            log: self.conversation.clone(),
            has_reader: false,
        }
    }
}
