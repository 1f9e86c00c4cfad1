//! A channel with many subscribers and few who publish.

use anyhow::{Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use super::plan::{Bodies, Habits, Plan, Target, Writes};
use super::stage::Stage;
use super::{Kind, Mix, Seat, Servers, Settings, user_name};
use crate::client::Transport;
use crate::history::History;
use crate::summary::Summary;

/// Runs it and judges it. The rate is that of publications: each is delivered
/// to every user.
pub async fn run(servers: &Servers, settings: &Settings) -> Result<Summary> {
    ensure!(!settings.closed, "a room has no closed loop: publishers do not wait for their readers");
    // A log that was never written to before.
    let channel = format!("c_room.{:x}", rand::random::<u64>());
    let seat = Seat { channel: Some(channel.clone()), ..Seat::default() };
    let readers = (0..settings.users).map(|user| (user, user_name(user), seat.clone()));
    let lines = servers.connect_all(settings, readers.collect()).await?;
    let publishers: Vec<usize> = (settings.users..settings.users + settings.publishers).collect();
    let desk = Seat { publishes: true, ..Seat::default() };
    let desks = publishers.iter().map(|user| (*user, user_name(*user), desk.clone())).collect();
    // Publishers use a WebSocket: it is the readers' way that
    // is measured.
    let two_way = Settings { transports: Mix::only(Transport::WebSocket), ..settings.clone() };
    let writers = servers.connect_all(&two_way, desks).await?;

    let history = History::bounded();
    let names: Vec<_> = (0..settings.users).map(user_name).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let logs = publishers.iter().map(|user| servers.kind.channel(&user_name(*user), &channel));
    let mut logs: Vec<_> = logs.collect();
    logs.dedup();
    for log in &logs {
        history.group(log, &names);
    }
    let people = settings.users + settings.publishers;
    let mut stage = Stage::new(servers, settings, history, people);
    let mut random = StdRng::seed_from_u64(settings.seed);
    let habits = Habits { acknowledges: servers.kind == Kind::Switchboard, ..Habits::default() };
    for (user, line) in lines.into_iter().enumerate() {
        let plan = Plan { seat: seat.clone(), habits: habits.clone(), ..Plan::new(user_name(user), user) };
        stage.enter(line, plan);
    }
    for (user, line) in publishers.into_iter().zip(writers) {
        let every = settings.every(settings.publishers);
        let name = user_name(user);
        let writes = Writes {
            first: stage.tally.start + every.mul_f64(random.random::<f64>()),
            every,
            usual: vec![Target {
                log: servers.kind.channel(&name, &channel),
                command: json!({"type": "publish", "channel": channel}),
                has_reader: false,
            }],
            other_share: 0.0,
            other: Vec::new(),
            bodies: Bodies::Fixed(settings.body),
        };
        stage.enter(line, Plan { writes: Some(writes), ..Plan::new(name, user) });
    }
    stage.play("room").await
}
