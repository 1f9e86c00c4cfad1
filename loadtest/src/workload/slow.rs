//! Groups in which some readers are too slow for what comes: the others' latencies
//! are measured, and the slow ones must have it all in the end.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::groups;
use super::plan::Habits;
use super::{Kind, Servers, Settings};
use crate::summary::Summary;

/// Every so many users one is slow, the last of each row; at least one is.
const ONE_IN: usize = 100;

/// Runs it and judges it.
pub async fn run(servers: &Servers, settings: &Settings) -> Result<Summary> {
    let one_in = ONE_IN.min(settings.users / settings.members * settings.members).max(1);
    play(servers, settings, |user, hears_every| Habits {
        // Twice as long as it would take to keep up.
        rests: (user % one_in == one_in - 1).then_some(hears_every * 2),
        ..Habits::default()
    })
    .await
}

/// Of each group so many members take one frame in such a time. When a gateway ends
/// their connections they come back.
pub async fn run_many(
    servers: &Servers,
    settings: &Settings,
    slow: usize,
    rests: Duration,
) -> Result<Summary> {
    let is_slow = |user: usize| user % settings.members < slow;
    play(servers, settings, |user, _| Habits {
        rests: is_slow(user).then_some(rests),
        insists: is_slow(user),
        ..Habits::default()
    })
    .await
}

async fn play(
    servers: &Servers,
    settings: &Settings,
    habits: impl Fn(usize, Duration) -> Habits,
) -> Result<Summary> {
    ensure!(servers.kind == Kind::Switchboard, "{} has nothing for slow readers", servers.kind.name());
    groups::stage(servers, settings, habits).await?.play("slow").await
}
