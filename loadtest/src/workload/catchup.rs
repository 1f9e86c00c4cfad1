//! Readers who were away come back to what was written to each meanwhile.

use anyhow::{Result, ensure};

use super::absence::{self, Absence};
use super::{Servers, Settings};
use crate::summary::Summary;

/// Runs it and judges it.
pub async fn run(servers: &Servers, settings: &Settings) -> Result<Summary> {
    ensure!(servers.kind.keeps(), "{} keeps nothing to catch up with", servers.kind.name());
    absence::run(servers, settings, Absence { scenario: "catchup", backlog: settings.backlog }).await
}
