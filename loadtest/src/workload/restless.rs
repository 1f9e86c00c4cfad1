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

/// Runs it and judges it; what is missing is said by name, so the history
/// grows with the run.
pub async fn run(servers: &Servers, settings: &Settings) -> Result<Summary> {
    let habits = Habits {
        acknowledges: true,
        reads: true,
        types: 0.2,
        reconnects: Some(LEAVES),
        insists: true,
        ..Habits::default()
    };
    mixed::stage(servers, settings, History::new(), habits).await?.play("restless").await
}
