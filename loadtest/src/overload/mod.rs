//! What becomes of a cluster that is asked for many times what it can do: how soon
//! what is refused is refused, how long what is let in takes, what the others feel
//! of it, what memory it takes, and when it is over. Then of everybody who returns at
//! once, and of readers who are too slow for what is written to them.
//!
//! In reading order: [`Plan`], [`run`] (the course), `caller` (one connection that
//! asks), `crowds` (who return, who are slow), `watch` (memory), [`table`] (what is said
//! at the end).

mod caller;
mod crowds;
pub mod table;
mod watch;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::caller::{Caller, Outcomes, Pace};
use self::table::{Figures, Table, TooMuch};
use crate::client::{Account, Client, Transport};
use crate::versus::Running;
use crate::workload::Servers;

/// Messages of one quiet user in a second.
const QUIET_RATE: f64 = 4.0;
/// Commands that one user has under way who goes as fast as it can.
const FULL_SPEED: usize = 64;
/// Members of the conversation that is written in at full speed, and how many of
/// them write.
const MEMBERS: usize = 50;
const WRITERS: usize = 8;
/// Commands that each has under way where it is looked how much can be done.
const SUSTAINED: usize = 4;

/// How much of what.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Users who ask for too much.
    pub users: usize,
    /// Users who write now and then, and whose latency is measured.
    pub quiet: usize,
    /// How many times what can be done is asked for.
    pub times: f64,
    /// Seconds of that.
    pub overload: Duration,
    /// Seconds of each other part.
    pub part: Duration,
    /// Users who return at once.
    pub returning: usize,
    /// Messages that have come for each of them meanwhile.
    pub missed: usize,
    /// Readers who are too slow.
    pub slow: usize,
    /// How long they are.
    pub slow_for: Duration,
}

/// Runs all parts, one after the other: who ask for too much, who return, and who are
/// slow, each at servers of their own.
pub async fn run(start: impl AsyncFn() -> Result<Running>, plan: &Plan) -> Result<Table> {
    ensure!(plan.users >= 2 && plan.quiet >= 2, "there must be two users of each kind");
    // It takes minutes, so that each part is shown when it is done.
    let asked = asked_for_too_much(&start().await?.servers, plan).await?;
    eprintln!("{asked}");
    let returning = crowds::returning(&start().await?.servers, plan).await?;
    eprintln!("{returning}");
    let slow = crowds::slow(&start().await?.servers, plan).await?;
    Ok(Table { plan: plan.clone(), asked, returning, slow })
}

async fn asked_for_too_much(servers: &Servers, plan: &Plan) -> Result<TooMuch> {
    let stage = Stage { servers, plan };
    let before = watch::memory(servers)?;
    let alone = stage.with(plan.part, Vec::new()).await?;
    let user = stage.crowd(0..1, |_| Pace::AtOnce(FULL_SPEED), plan.part)?;
    let user = stage.with(plan.part, user).await?;
    let conversation = stage.conversation().await?;
    let conversation = stage.with(plan.part, conversation).await?;
    // As many as are answered when each waits for its answers: without quiet users.
    let sustained = stage.crowd(0..plan.users, |_| Pace::AtOnce(SUSTAINED), plan.part)?;
    let sustained = all(sustained).await?;
    let rate = sustained.sent.len() as f64 / plan.part.as_secs_f64();
    ensure!(rate > 0.0, "nothing can be done: {sustained:?}");
    let every = Duration::from_secs_f64(plan.users as f64 / (rate * plan.times));
    let crowd = stage.crowd(0..plan.users, |_| Pace::Every(every), plan.overload)?;
    let overload = stage.with(plan.overload, crowd).await?;
    let names = servers.processes.iter().map(|process| process.name.clone());
    let memory = names.zip(before).zip(overload.memory).map(|((name, from), to)| (name, from, to)).collect();
    Ok(TooMuch {
        rate,
        alone: Figures::of(&alone.quiet),
        user: Figures::of(&user.quiet),
        conversation: Figures::of(&conversation.quiet),
        overload: Figures::of(&overload.quiet),
        crowd: Figures::of(&overload.crowd),
        recovered: overload.recovered,
        memory,
    })
}

struct Stage<'a> {
    servers: &'a Servers,
    plan: &'a Plan,
}

/// What a part has shown.
struct Part {
    /// What became of what quiet users asked while the crowd did.
    quiet: Outcomes,
    crowd: Outcomes,
    /// How long after the crowd's end something was last refused or late.
    recovered: Duration,
    /// The most of each process.
    memory: Vec<u64>,
}

/// A command of a quiet user that takes longer is late.
const LATE: Duration = Duration::from_millis(100);

impl Stage<'_> {
    /// Quiet users beside this crowd, which asks for so long, and then alone.
    async fn with(&self, lasts: Duration, crowd: Vec<Caller>) -> Result<Part> {
        let plan = self.plan;
        let end = Instant::now() + lasts;
        let every = Duration::from_secs_f64(1.0 / QUIET_RATE);
        let quiet = (0..plan.quiet)
            .map(|user| {
                self.caller(
                    &format!("quiet{user}"),
                    &to(&format!("quiet{}", user ^ 1)),
                    Pace::Every(every),
                    end + plan.part,
                )
            })
            .collect::<Result<Vec<_>>>()?;
        let asking = async { tokio::try_join!(all(quiet), all(crowd)) };
        let ((quiet, crowd), memory) = watch::beside(self.servers, asking).await?;
        let bad = quiet.sent.iter().filter(|(_, took)| *took > LATE).chain(&quiet.refused);
        let bad = bad.map(|(at, took)| *at + *took).chain(quiet.lost.iter().copied());
        let recovered = bad.max().map_or(Duration::ZERO, |last| last.saturating_duration_since(end));
        Ok(Part { quiet: quiet.before(end), crowd, recovered, memory })
    }

    /// Users of the crowd, each of whom writes to another one.
    fn crowd(
        &self,
        users: std::ops::Range<usize>,
        pace: impl Fn(usize) -> Pace,
        lasts: Duration,
    ) -> Result<Vec<Caller>> {
        let end = Instant::now() + lasts;
        let one = |user: usize| {
            self.caller(&format!("user{user}"), &to(&format!("user{}", user ^ 1)), pace(user), end)
        };
        users.map(one).collect()
    }

    /// Some members of a group, who all write in it.
    async fn conversation(&self) -> Result<Vec<Caller>> {
        let members: Vec<_> = (0..MEMBERS).map(|user| format!("member{user}")).collect();
        let mut owner = Client::connect(Transport::WebSocket, &self.account(&members[0], 0)).await?;
        let created =
            owner.command(json!({ "type": "create_group", "name": "busy", "members": members })).await?;
        let group = created.text("conversation").context("a group has a name")?.to_owned();
        owner.close().await;
        let end = Instant::now() + self.plan.part;
        let command = json!({ "type": "send", "conversation": group });
        members[..WRITERS]
            .iter()
            .map(|member| self.caller(member, &command, Pace::AtOnce(FULL_SPEED / 4), end))
            .collect()
    }

    fn caller(&self, user: &str, command: &serde_json::Value, pace: Pace, end: Instant) -> Result<Caller> {
        let number = user.trim_start_matches(char::is_alphabetic).parse::<usize>()?;
        let account = self.account(user, number);
        Ok(Caller { account, command: command.clone(), pace, end })
    }

    fn account(&self, user: &str, number: usize) -> Account {
        let gateways = &self.servers.gateways;
        let gateway = &gateways[number % gateways.len()];
        Account::new(gateway, &self.servers.issuer.token(user), "d1")
    }
}

fn to(user: &str) -> serde_json::Value {
    json!({ "type": "send", "to": user })
}

/// Lets all ask, and returns what became of it.
async fn all(callers: Vec<Caller>) -> Result<Outcomes> {
    let mut tasks = JoinSet::new();
    for caller in callers {
        tasks.spawn(caller.run());
    }
    let mut asked = Outcomes::default();
    while let Some(one) = tasks.join_next().await {
        asked.add(one?);
    }
    Ok(asked)
}
