//! Everybody drops at once and returns at once, each with the cursor of before;
//! messages have come for each meanwhile.

use anyhow::Result;

use super::absence::{self, Absence};
use super::{Servers, Settings};
use crate::summary::Summary;

/// Runs it and judges it.
pub async fn run(servers: &Servers, settings: &Settings) -> Result<Summary> {
    // Servers that keep nothing can only be returned to.
    let backlog = if servers.kind.keeps() { settings.backlog } else { 0 };
    absence::run(servers, settings, Absence { scenario: "storm", backlog }).await
}
