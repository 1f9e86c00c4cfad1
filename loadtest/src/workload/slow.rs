//! Groups in which one reader in a hundred is too slow for what comes: the
//! others' latencies are measured, and the slow ones must have it all in the
//! end.

use anyhow::{Result, ensure};

use super::groups;
use super::plan::Habits;
use super::{Kind, Servers, Settings};
use crate::summary::Summary;

/// Every so many users one is slow, the last of each row; at least one is.
const ONE_IN: usize = 100;

/// Runs it and judges it.
pub async fn run(servers: &Servers, settings: &Settings) -> Result<Summary> {
    ensure!(servers.kind == Kind::Switchboard, "{} has nothing for slow readers", servers.kind.name());
    let one_in = ONE_IN.min(settings.users / settings.members * settings.members).max(1);
    let stage = groups::stage(servers, settings, |user, hears_every| Habits {
        // Twice as long as it would take to keep up.
        rests: (user % one_in == one_in - 1).then_some(hears_every * 2),
        ..Habits::default()
    });
    stage.await?.play("slow").await
}
