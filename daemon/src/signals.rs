//! When to stop: the first SIGTERM or SIGINT asks for a drain, a second one
//! ends the process at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The exit code after a second signal: as shells say "ended by SIGINT".
const ENDED_AT_ONCE: i32 = 130;

/// A token that is cancelled by the first signal. Fails when the process may
/// not listen for signals.
pub fn shutdown(tasks: &TaskTracker) -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    tasks.spawn(async move {
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            if token.is_cancelled() {
                tracing::warn!(signal = name, "told to stop again: ending at once");
                std::process::exit(ENDED_AT_ONCE);
            }
            tracing::info!(signal = name, "told to stop: draining");
            token.cancel();
        }
    });
    Ok(shutdown)
}
