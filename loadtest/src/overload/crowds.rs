//! Everybody who returns at once to what was missed, and readers who take a few hundred
//! bytes a second of what is written to them. The history says whether each has it all.

use std::time::Duration;

use anyhow::Result;

use super::Plan;
use super::watch::{self, memory};
use crate::client::Transport;
use crate::summary::{Latency, Messages, Returns, Summary};
use crate::workload::{Mix, Role, Servers, Settings, slow, storm};

/// Bytes of a body, of those who return and of those who are slow.
const MISSED_BYTES: usize = 128;
const SLOW_BYTES: usize = 1_000;
/// Slow members of each group, beside members who read and write.
const SLOW_IN_GROUP: usize = 20;
const QUICK_IN_GROUP: usize = 2;
/// Messages to each group in a second.
const GROUP_RATE: f64 = 4.0;
/// A slow reader takes one of these frames, some 1,200 bytes, in this time.
const RESTS: Duration = Duration::from_secs(4);

/// Of all gateways together.
#[derive(Debug, Clone, Copy)]
pub(super) struct GatewayMemory {
    pub(super) before: u64,
    pub(super) most: u64,
}

/// What the history says of a crowd, and what it has cost.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) messages: Messages,
    pub(super) violations: Vec<String>,
    pub(super) memory: GatewayMemory,
}

/// What returning has shown.
#[derive(Debug)]
pub(super) struct Returning {
    pub(super) returns: Returns,
    pub(super) verdict: Verdict,
}

/// What slow readers have shown, against the same load without any.
#[derive(Debug)]
pub(super) struct Slow {
    pub(super) alone: Latency,
    pub(super) beside: Latency,
    /// Seconds until the slow ones had it all, once they read as fast as they can.
    pub(super) caught_up: f64,
    pub(super) verdict: Verdict,
}

/// All drop, are written to, and return at once.
pub(super) async fn returning(servers: &Servers, plan: &Plan) -> Result<Returning> {
    let settings = Settings {
        users: plan.returning,
        backlog: plan.missed,
        body: MISSED_BYTES,
        transports: Mix::only(Transport::WebSocket),
        ..Settings::idle(plan.returning)
    };
    let (summary, memory) = watched(servers, storm::run(servers, &settings)).await?;
    Ok(Returning {
        returns: summary.returns.unwrap_or_default(),
        verdict: Verdict {
            messages: summary.messages.unwrap_or_default(),
            violations: summary.violations,
            memory,
        },
    })
}

/// Everybody reads; then most of each group are slow.
pub(super) async fn slow(servers: &Servers, plan: &Plan) -> Result<Slow> {
    let groups = (plan.slow / SLOW_IN_GROUP).max(1);
    let members = SLOW_IN_GROUP + QUICK_IN_GROUP;
    let settings = |duration: Duration| Settings {
        users: groups * members,
        members,
        rate: groups as f64 * GROUP_RATE,
        duration,
        warmup: Duration::from_secs(2),
        body: SLOW_BYTES,
        ..Settings::idle(groups * members)
    };
    // The same who write, and nobody who rests.
    let alone = slow::run_many(servers, &settings(plan.part), SLOW_IN_GROUP, Duration::ZERO).await?;
    let longer = settings(plan.slow_for);
    let beside = slow::run_many(servers, &longer, SLOW_IN_GROUP, RESTS);
    let (beside, memory) = watched(servers, beside).await?;
    Ok(Slow {
        alone: alone.latency.unwrap_or_default(),
        beside: beside.latency.unwrap_or_default(),
        caught_up: beside.settled,
        verdict: Verdict {
            messages: beside.messages.unwrap_or_default(),
            violations: alone.violations.into_iter().chain(beside.violations).collect(),
            memory,
        },
    })
}

async fn watched(
    servers: &Servers,
    run: impl Future<Output = Result<Summary>>,
) -> Result<(Summary, GatewayMemory)> {
    let of_gateways = |bytes: Vec<u64>| -> u64 {
        let all = servers.processes.iter().zip(bytes);
        all.filter(|(process, _)| process.role == Role::Gateway).map(|(_, bytes)| bytes).sum()
    };
    let before = of_gateways(memory(servers)?);
    let (summary, most) = watch::beside(servers, run).await?;
    Ok((summary, GatewayMemory { before, most: of_gateways(most) }))
}
