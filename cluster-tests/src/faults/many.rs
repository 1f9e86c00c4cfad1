//! Many messages: the load test's day of chat, thousands of messages a second, while one
//! process after another is killed or stands still. What the matrix and the long run
//! lack is number; what is here is judged by the same checker.

use std::time::Duration;

use anyhow::Result;
use loadtest::fleet::Fleet;
use loadtest::summary::Summary;
use loadtest::workload::{Kind, Mix, Servers, Settings, restless};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::{Instant, sleep};

use super::{Fault, Outcome, Part};
use crate::Cluster;

/// How one piece connects.
const TRANSPORTS: &str =
    "websocket=60,websocket-protobuf=15,sse=5,stream=5,long-poll=5,socketio-websocket=5,sockjs-websocket=5";
const MEMBERS: usize = 12;
/// After everybody is connected.
const WARMUP: Duration = Duration::from_secs(3);

/// How much.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Messages that are acknowledged in the end, at least.
    pub messages: usize,
    /// Of a piece, which has a cluster and people of its own.
    pub lasts: Duration,
    /// Messages a second.
    pub rate: f64,
    /// People of a piece.
    pub users: usize,
}

/// Runs pieces until so many messages are acknowledged, or a promise is broken; `done` is
/// given all pieces so far after each.
pub async fn run(
    plan: &Plan,
    seed: u64,
    mut done: impl FnMut(&[Outcome]) -> Result<()>,
) -> Result<Vec<Outcome>> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    let mut seeds = StdRng::seed_from_u64(seed);
    while outcomes.iter().map(|outcome| outcome.acknowledged).sum::<usize>() < plan.messages {
        let outcome = piece(plan, outcomes.len() + 1, seeds.random()).await?;
        let failed = outcome.failure.is_some();
        outcomes.push(outcome);
        done(&outcomes)?;
        if failed {
            break;
        }
    }
    Ok(outcomes)
}

async fn piece(plan: &Plan, number: usize, seed: u64) -> Result<Outcome> {
    let mut cluster = Cluster::builder().start().await?;
    let servers = Servers {
        kind: Kind::Switchboard,
        gateways: cluster.fleet.gateway_urls(),
        issuer: Fleet::issuer(),
        // They are other processes after each fault: what they cost is not looked at.
        processes: Vec::new(),
        redis_port: None,
    };
    let transports: Mix = TRANSPORTS.parse().map_err(anyhow::Error::msg)?;
    let settings = Settings {
        users: plan.users,
        rate: plan.rate,
        duration: plan.lasts,
        warmup: WARMUP,
        transports,
        seed,
        members: MEMBERS,
        ..Settings::idle(plan.users)
    };
    let begun = Instant::now();
    let (summary, faults) = {
        let load = restless::run_through_faults(&servers, &settings);
        let mut faults = 0;
        let breaking = break_things(&mut cluster, plan.lasts, seed, &mut faults);
        let (summary, broken) = tokio::join!(load, breaking);
        broken?;
        (summary?, faults)
    };
    let name = format!("piece {number}, {faults} faults in {} s", begun.elapsed().as_secs());
    Ok(outcome(name, &summary))
}

/// One fault after another while the load lasts; each is over before the next.
async fn break_things(cluster: &mut Cluster, lasts: Duration, seed: u64, faults: &mut usize) -> Result<()> {
    let mut random = StdRng::seed_from_u64(seed);
    let end = Instant::now() + lasts;
    loop {
        sleep(Duration::from_millis(random.random_range(3_000..12_000))).await;
        if Instant::now() >= end {
            return Ok(());
        }
        let fault = drawn(&mut random);
        let _held = fault.begin(cluster, seed).await?;
        sleep(Duration::from_millis(random.random_range(100..3_000))).await;
        fault.end(cluster).await?;
        *faults += 1;
    }
}

fn drawn(random: &mut StdRng) -> Fault {
    let index = random.random_range(0..2);
    let part = match random.random_range(0..5) {
        0 => Part::Redis,
        1 | 2 => Part::Gateway(index),
        _ => Part::Router(index),
    };
    if random.random() { Fault::Kill(part) } else { Fault::Freeze(part) }
}

fn outcome(name: String, summary: &Summary) -> Outcome {
    let messages = summary.messages.clone().unwrap_or_default();
    Outcome {
        name,
        messages: messages.sent,
        acknowledged: messages.acknowledged,
        lost: messages.missing,
        repeated: messages.repeated,
        reordered: messages.reordered,
        other: summary
            .violations
            .len()
            .saturating_sub(messages.missing + messages.repeated + messages.reordered),
        heal: Duration::from_secs_f64(summary.settled),
        failure: (!summary.is_clean()).then(|| summary.to_string()),
    }
}
