//! The largest rate at which everything arrives, in time.

use anyhow::Result;

use super::{Board, Contender, Plan};
use crate::summary::Summary;
use crate::workload::{self, Servers, Settings};

/// Halvings between the last rate that was kept and the first that was not.
const HALVINGS: usize = 3;

/// Runs of a search, about: doublings first.
pub(super) const STEPS: u32 = 3 + HALVINGS as u32;

/// Of what should have been delivered in the measured time.
const SHARE: f64 = 0.97;

/// Milliseconds, at 99 of 100: later is a queue that grows.
const LATEST: f64 = 1000.0;

/// Doubles the rate until it is not kept, then halves the difference.
pub(super) async fn largest(
    plan: &Plan,
    contender: Contender,
    servers: &Servers,
    board: &mut Board,
) -> Result<f64> {
    let settings = plan.settings(contender);
    let name = contender.name();
    let first = plan.rates.iter().copied().fold(100.0, f64::max).min(plan.most);
    let mut kept = 0.0;
    let mut rate = first;
    while rate <= plan.most && keeps(&settings, servers, rate, name, board).await {
        kept = rate;
        rate *= 2.0;
    }
    if kept >= plan.most || rate > plan.most {
        board.note(format!("{name}: the largest rate may be above the highest tried, {kept:.0}/s"));
        return Ok(kept.max(first / 2.0));
    }
    let mut lost = rate;
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(kept, lost);
        if keeps(&settings, servers, middle, name, board).await {
            kept = middle;
        } else {
            lost = middle;
        }
    }
    Ok(kept.max(1.0))
}

async fn keeps(settings: &Settings, servers: &Servers, rate: f64, name: &str, board: &mut Board) -> bool {
    let settings = Settings { rate, ..settings.clone() };
    match workload::direct::run(servers, &settings).await {
        Ok(summary) => {
            let kept = is_kept(&summary, rate);
            if !kept && summary.is_generators() {
                board.note(format!("{name}: at its largest rate the generator was the limit"));
            }
            kept
        }
        // A server that cuts users off does not keep that rate.
        Err(_) => false,
    }
}

fn is_kept(summary: &Summary, rate: f64) -> bool {
    let delivered = summary.messages.as_ref().map_or(0.0, |messages| messages.delivered_rate);
    let p99 = summary.latency.as_ref().map_or(f64::INFINITY, |latency| latency.p99);
    summary.is_clean() && delivered >= rate * SHARE && p99 <= LATEST
}
