//! The longest call of the Redis that was started for a run: what its own slow
//! log says, from one moment to another.

use std::time::Duration;

use anyhow::{Context as _, Result};
use testbed::resp;

use super::{Servers, ask_redis};
use crate::summary::LongestCall;

/// What is shorter is not kept.
const LEAST: Duration = Duration::from_millis(5);
/// Calls that are kept; the newest of them.
const KEPT: &str = "1024";
/// What is wanted.
const WANTED: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(10);

/// A look at the slow log that has begun.
pub(super) struct Slowest(u16);

impl Slowest {
    /// From now on; nothing where no Redis is known.
    pub(super) async fn begin(servers: &Servers) -> Result<Option<Self>> {
        let Some(port) = servers.redis_port else { return Ok(None) };
        let least = LEAST.as_micros().to_string();
        let options = ["CONFIG", "SET", "slowlog-log-slower-than", &least, "slowlog-max-len", KEPT];
        ask_redis(port, &options, PATIENCE).await?;
        ask_redis(port, &["SLOWLOG", "RESET"], PATIENCE).await?;
        Ok(Some(Self(port)))
    }

    /// What was the longest since.
    pub(super) async fn finish(self) -> Result<LongestCall> {
        let log = ask_redis(self.0, &["SLOWLOG", "GET", KEPT], PATIENCE).await?;
        let mut longest = LongestCall::default();
        for call in log.items() {
            // Number, time, microseconds, arguments.
            let micros = call.items().get(2).and_then(resp::Reply::integer).context("a call's length")?;
            let millis = micros as f64 / 1e3;
            longest.beyond += usize::from(millis > WANTED.as_secs_f64() * 1e3);
            if millis > longest.millis {
                let words = call.items().get(3).map(resp::Reply::items).unwrap_or_default();
                let words = words.iter().take(2).filter_map(resp::Reply::text);
                longest.millis = millis;
                longest.command =
                    words.map(|word| word.chars().take(12).collect::<String>()).collect::<Vec<_>>().join(" ");
            }
        }
        Ok(longest)
    }
}
