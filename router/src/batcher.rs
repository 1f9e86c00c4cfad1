//! Batches of items for one call of the store. While the store works on a batch,
//! items gather; they become the next batch, in the order in which they came.
//! Each item gets its own answer.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use daemon::Tasks;
use daemon::trace::{self, KeyValue, Span};
use proto::{Bound, weight};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::metrics;
use crate::pace::{Pace, Pause};

/// Items that wait at most, and their bytes. One more is answered `unavailable`
/// at once.
const QUEUE: Bound = Bound::new(64 << 20, 16_384);
/// An item that has waited longer is answered `unavailable`, and the store is not
/// asked: its gateway has given it up, or soon will. So a store that comes back
/// does not begin with work that nobody waits for.
const MAX_WAIT: Duration = Duration::from_secs(5);
/// Links of one span at most; OpenTelemetry's own limit.
const MAX_LINKS: usize = 128;

/// How much goes into one call of the store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchLimits {
    /// Items, and their bytes with those of the answers.
    pub(crate) bound: Bound,
    /// Bytes of one item's answer, as they count for `bound`.
    pub(crate) answer: usize,
}

impl BatchLimits {
    /// For items that are large and have small answers.
    pub(crate) const WRITES: Self = Self { bound: Bound::new(1 << 20, 256), answer: 0 };
    /// For items that are answered with pages.
    pub(crate) const PAGES: Self = Self { bound: Bound::new(weight::PAGES, 256), answer: weight::LEAST_PAGE };
}

/// The handle: cheap to clone. The loop ends when the last one is gone, or when
/// its tasks are to end and nothing waits.
#[derive(Debug)]
pub(crate) struct Batcher<I, O> {
    queue: mpsc::Sender<Job<I, O>>,
    /// Bytes of the items that wait.
    waiting: Arc<AtomicUsize>,
}

struct Job<I, O> {
    item: I,
    bytes: usize,
    since: Instant,
    /// The trace that it belongs to, if any.
    trace: Option<Box<trace::SpanContext>>,
    answer: Box<dyn FnOnce(Result<O>) + Send>,
}

impl<I, O> Clone for Batcher<I, O> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), waiting: self.waiting.clone() }
    }
}

impl<I, O> Batcher<I, O>
where
    I: Clone + Send + Sync + 'static,
    O: Send + 'static,
{
    /// Starts a loop that gives batches to `call`. Its answers have the order of
    /// the items.
    ///
    /// A batch begins when the `pause` since the last one began is over, or sooner
    /// when it is full. Large batches cost less CPU for each item.
    pub(crate) fn start<F, Fut>(
        name: &'static str,
        pause: Pause,
        batch: BatchLimits,
        tasks: &Tasks,
        call: F,
    ) -> Self
    where
        F: Fn(Vec<I>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = store::Result<Vec<O>>> + Send + 'static,
    {
        let (queue, jobs) = mpsc::channel(QUEUE.entries);
        let (weak, waiting) = (queue.downgrade(), Arc::new(AtomicUsize::new(0)));
        metrics::QUEUE_DEPTH.observe(&[name], move || {
            let queue = weak.upgrade()?;
            Some((queue.max_capacity() - queue.capacity()) as f64)
        });
        let queued = JobQueue { jobs, bytes: waiting.clone() };
        let working = work(name, pause, batch, queued, tasks.stop().clone(), call);
        tasks.tracker().spawn(working);
        Self { queue, waiting }
    }

    /// Queues an item of `bytes` bytes. `answer` is called once, perhaps before
    /// this returns, and must not block.
    pub(crate) fn submit(&self, item: I, bytes: usize, answer: impl FnOnce(Result<O>) + Send + 'static) {
        let trace = trace::current().map(Box::new);
        let job = Job { item, bytes, since: Instant::now(), trace, answer: Box::new(answer) };
        let full = self.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes > QUEUE.bytes;
        let refused = match full {
            true => Some(job),
            false => self.queue.try_send(job).err().map(mpsc::error::TrySendError::into_inner),
        };
        if let Some(job) = refused {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
            (job.answer)(Err(Error::Unavailable("too much waits for the store")));
        }
    }
}

/// The queue, as the loop has it.
struct JobQueue<I, O> {
    jobs: mpsc::Receiver<Job<I, O>>,
    bytes: Arc<AtomicUsize>,
}

async fn work<I, O, F, Fut>(
    name: &'static str,
    pause: Pause,
    batch: BatchLimits,
    JobQueue { jobs: mut waiting, bytes }: JobQueue<I, O>,
    stop: CancellationToken,
    call: F,
) where
    I: Clone + Send + Sync + 'static,
    F: Fn(Vec<I>) -> Fut,
    Fut: Future<Output = store::Result<Vec<O>>>,
{
    let most = batch.bound.entries;
    // Out of the queue, in its order.
    let mut jobs = Vec::new();
    let (mut pace, mut next) = (Pace::new(pause), Instant::now());
    loop {
        if jobs.is_empty() {
            let count = tokio::select! {
                biased;
                count = waiting.recv_many(&mut jobs, most) => count,
                () = stop.cancelled() => 0,
            };
            if count == 0 {
                return;
            }
            next = next.max(Instant::now() + pace.gathers());
        }
        // One timer for the whole pause. It may fire a millisecond late, so an item
        // that comes after the pause ends the pause, too.
        let mut over = pin!(tokio::time::sleep_until(next));
        while jobs.len() < most && Instant::now() < next {
            let room = most - jobs.len();
            tokio::select! {
                biased;
                () = &mut over => break,
                count = waiting.recv_many(&mut jobs, room) => if count == 0 { break },
            }
        }
        let room = most - jobs.len();
        if room > 0 && !waiting.is_empty() {
            waiting.recv_many(&mut jobs, room).await;
        }
        let count = batch.bound.fitting(jobs.iter().map(|job| job.bytes + batch.answer));
        let mut taken: Vec<_> = jobs.drain(..count).collect();
        bytes.fetch_sub(taken.iter().map(|job| job.bytes).sum(), Ordering::Relaxed);
        let now = Instant::now();
        next = now + pace.begun(count, now);
        let late: Vec<_> = taken.extract_if(.., |job| now - job.since > MAX_WAIT).collect();
        refuse(late, &Error::Unavailable("waited too long for the store"));
        if !taken.is_empty() {
            metrics::BATCH_SIZE.record(&[name], taken.len() as f64);
            process(name, taken, &call).await;
        }
    }
}

async fn process<I, O, F, Fut>(name: &'static str, jobs: Vec<Job<I, O>>, call: &F)
where
    I: Clone,
    F: Fn(Vec<I>) -> Fut,
    Fut: Future<Output = store::Result<Vec<O>>>,
{
    let items = jobs.iter().map(|job| job.item.clone()).collect();
    let outcome = span_of(name, &jobs).hold(call(items)).await;
    match outcome {
        Ok(answers) if answers.len() == jobs.len() => {
            for (job, answer) in jobs.into_iter().zip(answers) {
                (job.answer)(Ok(answer));
            }
        }
        Ok(answers) => {
            tracing::error!(
                queue = name,
                asked = jobs.len(),
                answered = answers.len(),
                "the store lost count of a batch"
            );
            refuse(jobs, &Error::Internal);
        }
        // One record that cannot be read, or that only an archive has which is away,
        // must not fail the other items of its batch. Each is tried alone; that is
        // safe, as every call of `store::Store` may be repeated.
        Err(store::Error::Corrupt(_) | store::Error::Archive(_)) if jobs.len() > 1 => {
            for job in jobs {
                let answer = match call(vec![job.item]).await {
                    Ok(mut answers) => answers.pop().ok_or(Error::Internal),
                    Err(error) => Err(error.into()),
                };
                (job.answer)(answer);
            }
        }
        Err(error) => refuse(jobs, &error.into()),
    }
}

/// The span of a call to the store. It belongs to the trace of the first item that
/// has one, with links to those of the others.
fn span_of<I, O>(name: &'static str, jobs: &[Job<I, O>]) -> Span {
    let mut traced = jobs.iter().filter_map(|job| job.trace.as_deref().cloned());
    let Some(parent) = traced.next() else { return Span::NONE };
    let links = traced.take(MAX_LINKS).collect();
    Span::of(parent, name, trace::Kind::Client, links, || {
        vec![
            KeyValue::new("db.system.name", "switchboard.store"),
            KeyValue::new("db.operation.name", name),
            KeyValue::new("db.operation.batch.size", i64::try_from(jobs.len()).unwrap_or(i64::MAX)),
        ]
    })
}

fn refuse<I, O>(jobs: Vec<Job<I, O>>, error: &Error) {
    for job in jobs {
        (job.answer)(Err(error.clone()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::sync::{Semaphore, oneshot};

    use super::*;

    async fn ask(batcher: &Batcher<u64, u64>, item: u64, bytes: usize) -> oneshot::Receiver<Result<u64>> {
        let (sender, receiver) = oneshot::channel();
        batcher.submit(item, bytes, move |answer| {
            // The asker may be gone.
            let _ = sender.send(answer);
        });
        receiver
    }

    type Seen = Arc<Mutex<Vec<Vec<u64>>>>;

    /// A store that works when `gate` lets it, and the batches that it saw.
    fn gated(gate: Arc<Semaphore>, tasks: &Tasks) -> (Batcher<u64, u64>, Seen) {
        paused(gate, Pause::NONE, tasks)
    }

    fn paused(gate: Arc<Semaphore>, pause: Pause, tasks: &Tasks) -> (Batcher<u64, u64>, Seen) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let batcher = Batcher::start("test", pause, BatchLimits::WRITES, tasks, move |items: Vec<u64>| {
            let (gate, log) = (gate.clone(), log.clone());
            async move {
                gate.acquire().await.expect("the gate stays").forget();
                log.lock().unwrap().push(items.clone());
                if items.contains(&13) {
                    return Err(store::Error::Corrupt("thirteen".into()));
                }
                Ok(items.iter().map(|item| item * 2).collect())
            }
        });
        (batcher, seen)
    }

    #[tokio::test]
    async fn what_gathers_goes_together_and_in_order() {
        let tasks = Tasks::new("a test");
        let gate = Arc::new(Semaphore::new(0));
        let (batcher, seen) = gated(gate.clone(), &tasks);
        let mut answers = Vec::new();
        for item in 1_000..1_600 {
            answers.push(ask(&batcher, item, 10).await);
        }
        gate.add_permits(1_000);
        for (item, answer) in (1_000..).zip(answers) {
            assert_eq!(answer.await.unwrap().unwrap(), item * 2);
        }
        let seen = seen.lock().unwrap();
        assert_eq!(seen.concat(), (1_000..1_600).collect::<Vec<_>>());
        assert!(seen.len() < 10, "{} batches", seen.len());
        assert!(seen.iter().all(|batch| batch.len() <= 256));
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_waits_for_gathers_from_the_first_on() {
        let tasks = Tasks::new("a test");
        let (batcher, seen) =
            paused(Arc::new(Semaphore::new(100)), Pause::Gather(Duration::from_secs(1)), &tasks);
        let first = ask(&batcher, 1, 1).await;
        let second = ask(&batcher, 2, 1).await;
        // The loop has taken it, and would be done with it.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        let third = ask(&batcher, 3, 1).await;
        for (answer, doubled) in [(first, 2), (second, 4), (third, 6)] {
            assert_eq!(answer.await.unwrap().unwrap(), doubled);
        }
        assert_eq!(*seen.lock().unwrap(), [[1, 2, 3]]);
    }

    #[tokio::test]
    async fn a_batch_has_a_bound_of_bytes() {
        let tasks = Tasks::new("a test");
        let gate = Arc::new(Semaphore::new(100));
        let (batcher, seen) = gated(gate, &tasks);
        let mut answers = Vec::new();
        for item in 0..6 {
            answers.push(ask(&batcher, item, BatchLimits::WRITES.bound.bytes / 2).await);
        }
        for answer in answers {
            answer.await.unwrap().unwrap();
        }
        assert!(seen.lock().unwrap().iter().all(|batch| batch.len() <= 2));
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let tasks = Tasks::new("a test");
        let gate = Arc::new(Semaphore::new(0));
        let (batcher, _seen) = gated(gate, &tasks);
        let mut waiting = Vec::new();
        for item in 0..(QUEUE.entries + BatchLimits::WRITES.bound.entries) as u64 {
            waiting.push(ask(&batcher, item, 1).await);
        }
        let answer = ask(&batcher, 0, 1).await.await.unwrap();
        assert!(matches!(answer, Err(Error::Unavailable(_))), "{answer:?}");
    }

    #[tokio::test]
    async fn a_queue_is_full_by_what_it_carries_too_and_has_room_again() {
        let tasks = Tasks::new("a test");
        let gate = Arc::new(Semaphore::new(0));
        let (batcher, _seen) = gated(gate.clone(), &tasks);
        let mut waiting = Vec::new();
        for item in 0..4 {
            waiting.push(ask(&batcher, item, QUEUE.bytes / 4).await);
        }
        let more = ask(&batcher, 9, QUEUE.bytes / 2).await.await.unwrap();
        assert!(matches!(more, Err(Error::Unavailable(_))), "{more:?}");
        gate.add_permits(100);
        for answer in waiting {
            answer.await.unwrap().unwrap();
        }
        assert!(ask(&batcher, 9, QUEUE.bytes / 2).await.await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn what_is_answered_with_pages_goes_a_few_at_a_time() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let call = move |items: Vec<u64>| {
            log.lock().unwrap().push(items.len());
            async move { Ok(items) }
        };
        let tasks = Tasks::new("a test");
        let batcher = Batcher::start("test", Pause::NONE, BatchLimits::PAGES, &tasks, call);
        let mut answers = Vec::new();
        for item in 0..200 {
            answers.push(ask(&batcher, item, 0).await);
        }
        for answer in answers {
            answer.await.unwrap().unwrap();
        }
        let most = weight::PAGES / weight::LEAST_PAGE;
        assert!(seen.lock().unwrap().iter().all(|count| *count <= most));
    }

    #[tokio::test]
    async fn whoever_has_waited_too_long_is_refused_and_the_store_is_not_asked() {
        let tasks = Tasks::new("a test");
        let (batcher, seen) = gated(Arc::new(Semaphore::new(100)), &tasks);
        let (sender, late) = oneshot::channel();
        let answer = Box::new(|answer| drop(sender.send(answer)));
        let job = Job { item: 1, bytes: 0, since: Instant::now() - MAX_WAIT * 2, trace: None, answer };
        assert!(batcher.queue.try_send(job).is_ok());
        let fresh = ask(&batcher, 2, 1).await;
        assert!(matches!(late.await.unwrap(), Err(Error::Unavailable(_))));
        assert!(matches!(fresh.await.unwrap(), Ok(4)));
        assert_eq!(*seen.lock().unwrap(), [[2]]);
    }

    #[tokio::test]
    async fn a_record_that_cannot_be_read_fails_nobody_else() {
        let tasks = Tasks::new("a test");
        let gate = Arc::new(Semaphore::new(0));
        let (batcher, _seen) = gated(gate.clone(), &tasks);
        let mut answers = Vec::new();
        for item in 10..16 {
            answers.push(ask(&batcher, item, 1).await);
        }
        gate.add_permits(100);
        for (answer, item) in answers.into_iter().zip(10..16) {
            match answer.await.unwrap() {
                Ok(answer) => assert_eq!(answer, item * 2),
                Err(error) => assert!(item == 13 && matches!(error, Error::Internal)),
            }
        }
    }

    #[tokio::test]
    async fn the_end_waits_for_what_was_queued_before_it() {
        let tasks = Tasks::new("a test");
        let gate = Arc::new(Semaphore::new(0));
        let (batcher, _seen) = gated(gate.clone(), &tasks);
        let answer = ask(&batcher, 1, 1).await;
        tasks.stop().cancel();
        gate.add_permits(1);
        assert!(matches!(answer.await.unwrap(), Ok(2)));
        tasks.end().await;
        assert!(tasks.tracker().is_empty(), "although the handle is there");
        assert!(ask(&batcher, 2, 1).await.await.unwrap().is_err());
    }
}
