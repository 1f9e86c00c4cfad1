//! The async runtime: how many threads it has, and how long a thread that is
//! often woken waits before it looks for work again.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

use crate::duration;

/// A thread that is woken within so long of the last time has much to do.
const OFTEN: Duration = Duration::from_millis(1);
/// So many times in a row: a message alone, with all that it sets in motion,
/// never waits.
const IN_A_ROW: u32 = 16;

/// The flags of the runtime.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "runtime")]
pub struct RuntimeArgs {
    /// Threads that do the work. By default as many as there are cores, or as
    /// the cgroup's CPU limit allows.
    #[arg(long, env = "SWITCHBOARD_WORKER_THREADS", value_name = "N")]
    pub worker_threads: Option<NonZeroUsize>,

    /// Under load, how long a thread that has done all there was waits before
    /// it looks for more: what comes meanwhile is done together, which saves
    /// CPU and costs each message so much at most on each node. A thread that
    /// is woken less than a thousand times a second never waits. 0s: none does.
    #[arg(long, env = "SWITCHBOARD_COALESCE", default_value = "500us", value_parser = duration::parse, value_name = "DURATION")]
    pub coalesce: Duration,
}

/// Starts it.
pub(crate) fn start(args: &RuntimeArgs) -> std::io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if let Some(threads) = args.worker_threads {
        builder.worker_threads(threads.get());
    }
    let wait = args.coalesce;
    if !wait.is_zero() {
        builder.on_thread_park(move || {
            if is_busy(Instant::now()) {
                // The thread has nothing to do; that is what it is to do.
                #[allow(clippy::disallowed_methods)]
                std::thread::sleep(wait);
            }
        });
    }
    builder.enable_all().build()
}

/// Whether this thread, which has nothing to do now, has been woken often.
fn is_busy(now: Instant) -> bool {
    thread_local! {
        /// When it last had nothing to do, and how many times in a row that
        /// was soon after the time before.
        static IDLE: Cell<Option<(Instant, u32)>> = const { Cell::new(None) };
    }
    let row = match IDLE.get() {
        Some((last, row)) if now.duration_since(last) < OFTEN => (row + 1).min(IN_A_ROW),
        _ => 0,
    };
    IDLE.set(Some((now, row)));
    row == IN_A_ROW
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_thread_that_is_woken_often_is_busy() {
        let mut now = Instant::now();
        let mut woken_after = |pause: Duration| {
            now += pause;
            is_busy(now)
        };
        let short = Duration::from_micros(900);
        assert!((0..=IN_A_ROW).all(|time| woken_after(short) == (time == IN_A_ROW)));
        assert!(woken_after(short));
        assert!(!woken_after(OFTEN), "a thousand times a second or less");
        assert!(!woken_after(short), "and from there on it is counted again");
    }
}
