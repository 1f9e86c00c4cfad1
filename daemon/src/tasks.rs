//! Tasks that one part of a process owns: told to end together, and waited for.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long [`Tasks::end`] waits.
const END: Duration = Duration::from_secs(2);

/// Tasks, and the token that tells them to end. Dropping it tells them, too,
/// but waits for nobody.
#[derive(Debug)]
pub struct Tasks {
    owner: &'static str,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// None yet. `owner` names the part of the process in a warning.
    pub fn new(owner: &'static str) -> Self {
        Self { owner, tracker: TaskTracker::new(), stop: CancellationToken::new() }
    }

    /// To spawn tasks on. Each should end soon after [`Self::stop`] is cancelled.
    pub fn tracker(&self) -> &TaskTracker {
        &self.tracker
    }

    /// Cancelled when the tasks are to end.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Spawns a task that is dropped where it waits when the tasks are to end.
    pub fn spawn_until_stop(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tracker.spawn(async move { stop.run_until_cancelled(task).await });
    }

    /// Tells the tasks to end and waits for them, two seconds at most; a warning
    /// says how many have not ended by then.
    pub async fn end(&self) {
        self.stop.cancel();
        self.tracker.close();
        if tokio::time::timeout(END, self.tracker.wait()).await.is_err() {
            tracing::warn!(owner = self.owner, tasks = self.tracker.len(), "tasks did not end in time");
        }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn the_end_waits_for_what_tasks_still_do() {
        let (tasks, done) = (Tasks::new("a test"), Arc::new(AtomicBool::new(false)));
        let (stop, doing) = (tasks.stop().clone(), done.clone());
        tasks.tracker().spawn(async move {
            stop.cancelled().await;
            tokio::task::yield_now().await;
            doing.store(true, Ordering::Relaxed);
        });
        tasks.spawn_until_stop(std::future::pending());
        tasks.end().await;
        assert!(done.load(Ordering::Relaxed) && tasks.tracker().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_does_not_wait_for_ever() {
        let tasks = Tasks::new("a test");
        tasks.tracker().spawn(std::future::pending::<()>());
        tasks.end().await;
        assert_eq!(tasks.tracker().len(), 1);
    }

    #[tokio::test]
    async fn dropping_it_tells_the_tasks_to_end() {
        let tasks = Tasks::new("a test");
        let (stop, tracker) = (tasks.stop().clone(), tasks.tracker().clone());
        tasks.spawn_until_stop(std::future::pending());
        drop(tasks);
        assert!(stop.is_cancelled());
        tracker.close();
        tracker.wait().await;
    }
}
