//! SIGTERM and SIGINT: the first one starts the drain, a second one ends the
//! process at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The exit code after a second signal: 128 + SIGINT, as shells have it.
const ENDED_AT_ONCE: i32 = 130;

/// A token that the first signal cancels. Fails when the process cannot install
/// signal handlers.
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
