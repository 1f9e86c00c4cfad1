//! What goes to a router: requests gather in a link's queue while their thread has
//! other things to do, and leave a frame at a time.

use std::future::Future as _;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use daemon::lock::Lock;
use proto::weight::{FRAME, in_list};
use proto::wire::Requests;
use tokio::task::yield_now;
use tokio::time::Instant;
use tokio_stream::Stream;

use super::encoded::{EncodedRequest, RequestId};
use super::lateness::Punctuality;
use crate::order;

/// Requests that are not urgent leave with the next that is, or when the link
/// has been quiet for so long. [`super::Routers`] looks after it.
const QUIET: Duration = Duration::from_millis(25);
/// An open stream to a router. Each stream has its own, also those that follow one
/// another to the same router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct LinkId(u64);

impl LinkId {
    /// One that this process has not had yet.
    fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// An open stream, as the chooser sees it.
pub(super) struct Link {
    pub(super) id: LinkId,
    pub(super) name: String,
    /// How its router answers.
    pub(super) punctuality: Punctuality,
    queue: Arc<Lock<{ order::REQUESTS }, Queue>>,
}

#[derive(Default)]
struct Queue {
    /// Bounded by the requests without an answer, of which these are some.
    requests: std::collections::VecDeque<EncodedRequest>,
    /// One of them does not wait for company.
    urgent: bool,
    /// When the last frame left.
    left: Option<Instant>,
    waker: Option<Waker>,
    closed: bool,
}

impl Queue {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn quiet(&self) -> bool {
        self.left.is_none_or(|left| left.elapsed() >= QUIET)
    }
}

/// The requests of a stream, a frame at a time: each takes what has gathered
/// until all else that the thread could do was done.
pub struct Outbound {
    queue: Arc<Lock<{ order::REQUESTS }, Queue>>,
    /// The rest has had its turn.
    waited: bool,
}

impl Link {
    pub(super) fn new(name: String) -> (Self, Outbound) {
        let queue = Arc::new(Lock::new(Queue::default()));
        let outbound = Outbound { queue: queue.clone(), waited: false };
        (Self { id: LinkId::next(), name, punctuality: Punctuality::default(), queue }, outbound)
    }

    /// Adds a request to the next frame; false when the stream has ended.
    pub(super) fn push(&self, request: EncodedRequest) -> bool {
        let mut queue = self.queue.lock();
        if queue.closed {
            return false;
        }
        let urgent = request.urgent;
        queue.requests.push_back(request);
        // The stream is awake already for those after the first.
        if !queue.urgent && (urgent || queue.quiet()) {
            queue.urgent = true;
            queue.wake();
        }
        true
    }

    /// Lets go what has waited for company in vain.
    pub(super) fn flush(&self) {
        let mut queue = self.queue.lock();
        if !queue.requests.is_empty() && queue.quiet() {
            queue.urgent = true;
            queue.wake();
        }
    }

    /// Takes these, in the order of their ids, out of what has not left yet.
    pub(super) fn take_back(&self, ids: &[RequestId]) {
        if !ids.is_empty() {
            self.queue.lock().requests.retain(|request| ids.binary_search(&request.id).is_err());
        }
    }

    /// Ends the outbound half after what it still holds.
    pub(super) fn finish(&self) {
        let mut queue = self.queue.lock();
        queue.closed = true;
        queue.wake();
    }

    /// Ends the outbound half at once: what it still holds goes elsewhere.
    pub(super) fn close(&self) {
        self.queue.lock().requests.clear();
        self.finish();
    }
}

impl Stream for Outbound {
    type Item = Requests;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Requests>> {
        let this = self.get_mut();
        let mut queue = this.queue.lock();
        if queue.requests.is_empty() && queue.closed {
            return Poll::Ready(None);
        }
        if !queue.urgent && !queue.closed {
            queue.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        if !this.waited && !queue.closed {
            // The sockets that are read in the same round add theirs.
            queue.waker = Some(context.waker().clone());
            this.waited = true;
            if pin!(yield_now()).poll(context).is_pending() {
                return Poll::Pending;
            }
        }
        this.waited = false;
        let count = FRAME.fitting(queue.requests.iter().map(|request| in_list(request.bytes.len())));
        let frame =
            Requests { requests: queue.requests.drain(..count).map(|request| request.bytes).collect() };
        queue.urgent = !queue.requests.is_empty();
        queue.left = Some(Instant::now());
        Poll::Ready(Some(frame))
    }
}
