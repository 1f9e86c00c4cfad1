//! Groups whose members all write: each message has many readers.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::plan::{Bodies, Habits, Plan, Target, Writes};
use super::stage::Stage;
use super::{CONNECTING, Kind, Seat, Servers, Settings, progress, user_name};
use crate::client::http::Http;
use crate::client::{Account, Error, Frame};
use crate::history::History;
use crate::summary::Summary;

/// For an answer that is not `unavailable`.
const PATIENCE: Duration = Duration::from_secs(60);

/// After one that is.
const AGAIN: Duration = Duration::from_millis(500);

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
/// one message for it to the next, are added to what all do. Who rests only reads.
pub(super) async fn stage(
    servers: &Servers,
    settings: &Settings,
    habits: impl Fn(usize, Duration) -> Habits,
) -> Result<Stage> {
    let size = settings.members.min(settings.users);
    let count = settings.users / size * size;
    // To a member comes what its group gets.
    let hears_every = settings.every(count).div_f64(size as f64);
    let seat = |user: usize| {
        let slow = habits(user, hears_every).rests.is_some();
        // Others have channels that anybody writes to, and no groups.
        let channel = (servers.kind != Kind::Switchboard).then(|| channel_name(user / size));
        Seat { slow, channel, ..Seat::default() }
    };
    let seats = (0..count).map(|user| (user, user_name(user), seat(user)));
    let lines = servers.connect_all(settings, seats.collect()).await?;
    let writers = (0..count).filter(|user| habits(*user, hears_every).rests.is_none()).count();
    ensure!(writers > 0, "somebody must write");
    let history = History::bounded();
    let members: Vec<Vec<usize>> =
        (0..count).step_by(size).map(|first| (first..first + size).collect()).collect();
    let groups = match servers.kind {
        Kind::Switchboard => make(servers, members, &history).await?,
        kind => channels(kind, members, &history),
    };
    let mut stage = Stage::new(servers, settings, history, count);
    let mut random = StdRng::seed_from_u64(settings.seed);
    for (user, line) in lines.into_iter().enumerate() {
        let every = settings.every(writers);
        let start = stage.tally.start;
        let writes = |first: f64| Writes {
            first: start + every.mul_f64(first),
            every,
            usual: vec![groups[user / size].target_of(servers.kind, user)],
            other_share: 0.0,
            other: Vec::new(),
            bodies: Bodies::Fixed(settings.body),
        };
        let acknowledges = servers.kind == Kind::Switchboard;
        let habits = Habits { acknowledges, ..habits(user, hears_every) };
        let first = random.random::<f64>();
        let writes = habits.rests.is_none().then(|| writes(first));
        stage.enter(line, Plan { seat: seat(user), writes, habits, ..Plan::new(user_name(user), user) });
    }
    Ok(stage)
}

fn channel_name(group: usize) -> String {
    format!("c_group{group}")
}

/// What stands for groups with a server that has none: each sender's messages
/// to a channel are a log of their own.
fn channels(kind: Kind, members: Vec<Vec<usize>>, history: &Arc<History>) -> Vec<Group> {
    let groups = members.into_iter().enumerate().map(|(group, members)| {
        let conversation = channel_name(group);
        let names: Vec<_> = members.iter().map(|member| user_name(*member)).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        for sender in &names {
            history.group(&kind.channel(sender, &conversation), &names);
        }
        Group { conversation, members }
    });
    groups.collect()
}

/// Makes groups of these users, whose first one asks for it over HTTP; the
/// history knows them.
pub(super) async fn make(
    servers: &Servers,
    members: Vec<Vec<usize>>,
    history: &Arc<History>,
) -> Result<Vec<Group>> {
    let bar = progress::count("groups", members.len());
    let making = members.into_iter().enumerate().map(async |(group, members)| {
        let group = make_one(servers, group, members).await;
        bar.inc(1);
        group
    });
    let groups: Vec<Group> = stream::iter(making).buffered(CONNECTING).try_collect().await?;
    for Group { conversation, members } in &groups {
        let names: Vec<_> = members.iter().map(|member| user_name(*member)).collect();
        history.group(conversation, &names.iter().map(String::as_str).collect::<Vec<_>>());
    }
    bar.finish_and_clear();
    Ok(groups)
}

async fn make_one(servers: &Servers, number: usize, members: Vec<usize>) -> Result<Group> {
    let (&owner, others) = members.split_first().context("a group has a member")?;
    let token = servers.issuer.token(&user_name(owner));
    let mut http = Http::new(&Account::new(servers.gateway(owner), &token, "owner"))?;
    let others: Vec<_> = others.iter().map(|member| user_name(*member)).collect();
    let command = json!({"type": "create_group", "name": format!("group {number}"), "members": others});
    let answer = ask(&mut http, &command).await?;
    let conversation = answer.text("conversation").context("a new group has an id")?.to_owned();
    Ok(Group { conversation, members })
}

/// As a client does that is told to come again: servers that are overloaded
/// are no fault of the groups'.
pub(super) async fn ask(http: &mut Http, command: &Value) -> Result<Frame> {
    let end = Instant::now() + PATIENCE;
    loop {
        match http.command(command).await {
            Err(Error::Refused(refusal)) if refusal.code == "unavailable" && Instant::now() < end => {
                sleep(AGAIN).await;
            }
            answer => return Ok(answer?),
        }
    }
}

impl Group {
    /// The same from this member, of whichever server.
    fn target_of(&self, kind: Kind, from: usize) -> Target {
        match kind {
            Kind::Switchboard => self.target(),
            kind => Target {
                command: json!({"type": "publish", "channel": self.conversation}),
                log: kind.channel(&user_name(from), &self.conversation),
                has_reader: false,
            },
        }
    }

    /// A message to all of it.
    pub(super) fn target(&self) -> Target {
        Target {
            command: json!({"type": "send", "conversation": self.conversation}),
            log: self.conversation.clone(),
            has_reader: false,
        }
    }
}
