//! Users in pairs on different nodes who write to one another.

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use super::plan::{Bodies, Habits, Plan, Target, Writes};
use super::stage::Stage;
use super::{Kind, Servers, Settings, user_name, users};
use crate::history::History;
use crate::summary::Summary;

/// Runs it and judges it.
pub async fn run(servers: &Servers, settings: &Settings) -> Result<Summary> {
    let count = settings.users / 2 * 2;
    let lines = servers.connect_all(settings, users(0..count)).await?;
    let history = History::bounded();
    for user in 0..count {
        file(servers.kind, &history, user, user ^ 1);
    }
    let mut stage = Stage::new(servers, settings, history, count);
    let mut random = StdRng::seed_from_u64(settings.seed);
    for (user, line) in lines.into_iter().enumerate() {
        let every = settings.every(count);
        let writes = Writes {
            first: stage.tally.start + every.mul_f64(random.random::<f64>()),
            every,
            usual: vec![target(servers.kind, user, user ^ 1)],
            other_share: 0.0,
            other: Vec::new(),
            bodies: Bodies::Fixed(settings.body),
        };
        let habits = Habits { acknowledges: servers.kind == Kind::Switchboard, ..Habits::default() };
        stage.enter(line, Plan { writes: Some(writes), habits, ..Plan::new(user_name(user), user) });
    }
    stage.play("direct").await
}

/// A direct message from one user to another.
pub(super) fn target(kind: Kind, from: usize, to: usize) -> Target {
    let (from, to) = (user_name(from), user_name(to));
    Target { log: kind.direct(&from, &to), command: json!({"type": "send", "to": to}), has_reader: true }
}

/// Tells the history who reads it; a direct conversation's name says so.
pub(super) fn file(kind: Kind, history: &History, from: usize, to: usize) {
    if kind != Kind::Switchboard {
        let (from, to) = (user_name(from), user_name(to));
        history.group(&kind.direct(&from, &to), &[&to]);
    }
}
