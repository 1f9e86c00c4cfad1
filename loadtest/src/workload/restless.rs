//! A day of chat in which nobody stays: everybody leaves for another gateway
//! and another transport of the mix again and again, with messages under way
//! that are then sent again, on two ways at once. Looks for losses, not for
//! speed.

use std::time::Duration;

use anyhow::Result;

use super::plan::Habits;
use super::{Servers, Settings, mixed};
use crate::history::History;
use crate::summary::Summary;

/// From one leaving to the next, of each user.
const LEAVES: Duration = Duration::from_millis(700);

/// The same where servers are broken meanwhile: connections end often enough.
const STAYS: Duration = Duration::from_secs(10);

/// Runs it and judges it; what is missing is said by name, so the history
/// grows with the run.
pub async fn run(servers: &Servers, settings: &Settings) -> Result<Summary> {
    let (mut stage, door) = mixed::stage(servers, settings, History::new(), leaving(LEAVES)).await?;
    stage.beside(door.keep());
    stage.play("restless").await
}

/// The same while somebody breaks the servers, for runs of any length: what is missing is
/// judged as it goes. Nobody joins groups or leaves them, which nobody would do again where
/// it failed.
pub async fn run_through_faults(servers: &Servers, settings: &Settings) -> Result<Summary> {
    let (stage, _) = mixed::stage(servers, settings, History::bounded(), leaving(STAYS)).await?;
    stage.play("through faults").await
}

fn leaving(often: Duration) -> Habits {
    Habits {
        acknowledges: true,
        reads: true,
        types: 0.2,
        reconnects: Some(often),
        insists: true,
        ..Habits::default()
    }
}
