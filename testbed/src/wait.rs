//! Waiting for a condition with a deadline: what tests do instead of sleeping.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

/// Asks `probe` again and again until it gives a value; after `limit` an error
/// that names `what` was waited for.
pub async fn until<T, F>(limit: Duration, what: &str, mut probe: F) -> Result<T>
where
    F: AsyncFnMut() -> Option<T>,
{
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(2);
    loop {
        if let Some(value) = probe().await {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("waited {limit:?} in vain: {what}");
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// As [`until`], for a condition that is true or false.
pub async fn until_true<F>(limit: Duration, what: &str, mut probe: F) -> Result<()>
where
    F: AsyncFnMut() -> bool,
{
    until(limit, what, async || probe().await.then_some(())).await
}
