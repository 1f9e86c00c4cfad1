//! A cluster, and people on every transport who write to one another while
//! something breaks.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use loadtest::client::Transport;
use loadtest::client::http::Http;
use loadtest::fleet::Fleet;
use loadtest::history::Allowed;
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::presence::{Ghost, green, red};
use super::{Outcome, Part, Row, Trial};
use crate::{Builder, Cluster, Person, Talk};

/// One person on each; their names.
const TRANSPORTS: [(&str, Transport); 12] = [
    ("websocket", Transport::WebSocket),
    ("sse", Transport::Sse),
    ("long-poll", Transport::LongPoll),
    ("stream", Transport::Stream),
    ("socketio", Transport::SocketIoWebSocket),
    ("iframe", Transport::Iframe),
    ("short-poll", Transport::ShortPoll),
    ("websocket-protobuf", Transport::WebSocketProtobuf),
    ("long-poll-protobuf", Transport::LongPollProtobuf),
    ("socketio-polling", Transport::SocketIoPolling),
    ("sockjs", Transport::SockJsWebSocket),
    ("sockjs-polling", Transport::SockJsPolling),
];

/// Between two things that somebody says.
const EVERY: Duration = Duration::from_millis(25);
/// How often that is an edit or a reaction, from 0 to 1.
const AMENDS: f64 = 0.15;
/// Acknowledged before something breaks.
const BEFORE: usize = 20;

/// The people of one history, on a cluster.
#[derive(Debug)]
pub struct Scene {
    /// What is broken.
    pub cluster: Cluster,
    people: Vec<Arc<Person>>,
    /// Groups and a channel.
    groups: Vec<String>,
    allowed: Allowed,
    seed: u64,
}

impl Scene {
    /// People of new names, told apart by `turn`, in a history of their own.
    pub async fn begin(mut cluster: Cluster, turn: u64, may_reset: bool, seed: u64) -> Result<Self> {
        cluster.begin_history();
        let allowed = Allowed { reset: may_reset };
        let mut scene = Self { cluster, people: Vec::new(), groups: Vec::new(), allowed, seed };
        let channel = format!("c_turn-{turn}");
        for (index, (name, transport)) in TRANSPORTS.into_iter().enumerate() {
            let user = format!("{name}-{turn}");
            let mut account =
                scene.cluster.account(&user, "d1", index).with_channels(&format!("{channel}:0"));
            account.token = Fleet::issuer().token_with_scope(&user, "publish");
            let person = scene.cluster.person_as(transport, &user, account).await?;
            scene.people.push(Arc::new(person));
        }
        let users: Vec<String> = scene.people.iter().map(|person| person.user().to_owned()).collect();
        let users: Vec<&str> = users.iter().map(String::as_str).collect();
        scene.groups.push(scene.cluster.group(&users).await?);
        scene.groups.push(scene.cluster.group(&users[3..7]).await?);
        scene.cluster.history.group(&channel, &users);
        scene.groups.push(channel);
        Ok(scene)
    }

    /// One fault of a row, and who must notice it.
    async fn suffer_row(&mut self, row: &Row, trial: &Trial) -> Result<Duration> {
        let ghost = match row.has_ghost {
            true => Some(Ghost::enter(&self.cluster, self.watcher(), &self.people).await?),
            false => None,
        };
        let healed = self.suffer_seen(trial, &row.red, ghost).await?;
        if row.stage.waits() {
            self.all_is_kept().await?;
        }
        Ok(healed)
    }

    /// Somebody at the second gateway.
    fn watcher(&self) -> &Person {
        &self.people[7]
    }

    /// One fault, from before to after; gives how long it took to heal: until
    /// everything that was said is answered and with everybody, and a fresh word of
    /// each person's, too.
    pub async fn suffer(&mut self, trial: &Trial) -> Result<Duration> {
        self.suffer_seen(trial, &[], None).await
    }

    async fn suffer_seen(&mut self, trial: &Trial, seen: &[Part], ghost: Option<Ghost>) -> Result<Duration> {
        // Who speaks in the second of two groups must be its member.
        let small: Vec<_> = self.people[3..7].to_vec();
        let everywhere = [self.groups[0].clone(), self.groups[2].clone()];
        let talks = [
            Talk::seeded(&self.people, &everywhere, EVERY, AMENDS, self.seed),
            Talk::seeded(&small, &self.groups[1..2], EVERY * 4, AMENDS, self.seed + 1),
        ];
        self.seed += 2;
        // What a store may lose begins with what was written just before.
        let moment = self.cluster.history.moment();
        self.cluster.progress(BEFORE).await.context("before the fault")?;
        let before = self.cluster.history.acknowledged_count();
        let broken = Instant::now();
        let held =
            trial.fault.begin(&mut self.cluster, self.seed).await.context("the fault does not begin")?;
        if let Some(also) = &trial.also {
            also.begin(&mut self.cluster, self.seed).await.context("the second fault does not begin")?;
        }
        red(&mut self.cluster, seen, broken).await?;
        // How long the fault lasts; nothing is waited for.
        sleep_until(broken + trial.lasts).await;
        if let Some(ghost) = &ghost {
            ghost.has_gone(broken, self.watcher(), &self.people).await?;
        }
        let meanwhile = self.cluster.history.acknowledged_count() - before;
        // Before the other: what is started again must be reached to be ready.
        if let Some(also) = &trial.also {
            also.end(&mut self.cluster).await.context("the second fault does not end")?;
        }
        trial.fault.end(&mut self.cluster).await.context("the fault does not end")?;
        drop(held);
        let mended = Instant::now();
        for talk in talks {
            talk.stop().await?;
        }
        green(&mut self.cluster, seen).await?;
        if trial.fault.loses_writes() {
            // Before anybody has said a word to the store that goes on: what was
            // answered by the one that was lost.
            self.cluster.history.forgotten_since(moment);
        }
        for (index, person) in self.people.iter().enumerate() {
            person.say_to(self.people[(index + 1) % self.people.len()].user()).await?;
        }
        self.settle().await?;
        let healed = mended.elapsed();
        ensure!(
            meanwhile >= trial.least,
            "only {meanwhile} messages were acknowledged during the fault, not {}",
            trial.least
        );
        Ok(healed)
    }

    /// Whatever was acknowledged is in the log of its conversation.
    async fn all_is_kept(&self) -> Result<()> {
        for (conversation, sent) in self.cluster.history.acknowledged_by_conversation() {
            // Channels have no resource that reads them.
            if conversation.starts_with("c_") {
                continue;
            }
            let member = match conversation.split_once('~') {
                Some((one, _)) => one,
                None => self.people[4].user(),
            };
            let kept = log_of(&self.cluster, member, &conversation).await?;
            for id in sent {
                ensure!(kept.contains(&id), "{id} was acknowledged, and {conversation} has it no more");
            }
        }
        Ok(())
    }

    async fn settle(&mut self) -> Result<()> {
        let people: Vec<&Person> = self.people.iter().map(Arc::as_ref).collect();
        self.cluster.settle(&people, self.allowed).await?;
        Ok(())
    }

    /// Fails where somebody saw an error, or a connection that ended by itself.
    pub fn unfelt(&self) -> Result<()> {
        for person in &self.people {
            let standing = person.standing();
            ensure!(standing.closes.is_empty() && standing.refusals.is_empty(), "{person}");
        }
        Ok(())
    }

    /// What the history says, and how it went.
    pub fn outcome(&self, name: &str, heal: Duration, failure: Option<String>) -> Outcome {
        Outcome::new(name, &self.cluster.history.check(self.allowed), heal, failure)
    }
}

/// The ids of all messages of a conversation, as a member reads them.
async fn log_of(cluster: &Cluster, member: &str, conversation: &str) -> Result<HashSet<String>> {
    let mut http = Http::new(&cluster.account(member, "reader", 0))?;
    let (mut after, mut ids) = (0, HashSet::new());
    loop {
        let command = json!({"type": "history", "conversation": conversation, "after": after, "limit": 200});
        let page = http.command(&command).await?;
        let messages = page.0["messages"].as_array().cloned().unwrap_or_default();
        ids.extend(
            messages.iter().filter_map(|message| message["client_msg_id"].as_str().map(str::to_owned)),
        );
        match messages.last().and_then(|last| last["seq"].as_u64()) {
            Some(seq) => after = seq,
            None => return Ok(ids),
        }
    }
}

/// One row from its cluster's start to its end.
pub async fn run(row: &Row, seed: u64) -> Outcome {
    run_on(row.stage.builder(), row, seed).await
}

/// The same on a cluster of one's own.
pub async fn run_on(builder: Builder, row: &Row, seed: u64) -> Outcome {
    let cluster = match builder.start().await {
        Ok(cluster) => cluster,
        Err(error) => return Outcome::failed(&row.name, format!("{error:#}")),
    };
    let mut scene = match Scene::begin(cluster, 0, row.may_reset, seed).await {
        Ok(scene) => scene,
        Err(error) => return Outcome::failed(&row.name, format!("{error:#}")),
    };
    let mut longest = Duration::ZERO;
    for trial in &row.trials {
        match scene.suffer_row(row, trial).await {
            Ok(healed) => longest = longest.max(healed),
            Err(error) => {
                let failure = format!("{}: {error:#}", trial.fault);
                return scene.outcome(&row.name, longest, Some(failure));
            }
        }
    }
    let felt = if row.is_unfelt { scene.unfelt() } else { Ok(()) };
    scene.outcome(&row.name, longest, felt.err().map(|error| format!("{error:#}")))
}
