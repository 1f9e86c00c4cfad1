//! The requests to a router. They gather in a link's queue while their thread has other
//! work, and leave together in a frame.

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

/// A request that is not urgent leaves with the next urgent one, or when the link has
/// sent nothing for so long. The clock of [`super::Routers`] sees to that.
const QUIET: Duration = Duration::from_millis(25);
/// A link on which nothing is asked sends an empty frame at once when it opens, and
/// then this often: routers end links that are silent.
const BEAT: Duration = Duration::from_secs(5);

/// Names an open stream to a router. A new stream to the same router has a new id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct LinkId(u64);

impl LinkId {
    /// An id that this process has not used yet.
    fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// An open stream to a router, to which requests are added.
pub(super) struct Link {
    pub(super) id: LinkId,
    pub(super) name: String,
    /// Whether its router answers in time.
    pub(super) punctuality: Punctuality,
    queue: Arc<Lock<{ order::REQUESTS }, Queue>>,
}

#[derive(Default)]
struct Queue {
    /// The requests that have not left. Bounded, as they count as requests without an
    /// answer.
    requests: std::collections::VecDeque<EncodedRequest>,
    /// Whether a frame is to leave: one of the requests is urgent.
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

/// The frames of a stream. A frame takes the requests that have gathered until the
/// thread had no other work.
pub struct Outbound {
    queue: Arc<Lock<{ order::REQUESTS }, Queue>>,
    /// Whether the thread's other tasks have had their turn.
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
        // The first urgent request has woken the stream; later ones need not.
        if !queue.urgent && (urgent || queue.quiet()) {
            queue.urgent = true;
            queue.wake();
        }
        true
    }

    /// Sends requests that are not urgent, if the link has been quiet.
    pub(super) fn flush(&self) {
        let mut queue = self.queue.lock();
        if !queue.requests.is_empty() && queue.quiet() {
            queue.urgent = true;
            queue.wake();
        }
    }

    /// Sends empty frames while nothing is asked. Does not end.
    pub(super) async fn beat(&self) {
        let mut beats = tokio::time::interval(BEAT);
        loop {
            beats.tick().await;
            let mut queue = self.queue.lock();
            if queue.left.is_none_or(|left| left.elapsed() >= BEAT) {
                queue.urgent = true;
                queue.wake();
            }
        }
    }

    /// Takes requests with these ids, which are sorted, out of the queue.
    pub(super) fn take_back(&self, ids: &[RequestId]) {
        if !ids.is_empty() {
            self.queue.lock().requests.retain(|request| ids.binary_search(&request.id).is_err());
        }
    }

    /// Ends the outbound half once the queue is empty.
    pub(super) fn finish(&self) {
        let mut queue = self.queue.lock();
        queue.closed = true;
        queue.wake();
    }

    /// Ends the outbound half at once. Requests in the queue go to other routers.
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
            // Sockets that the thread reads in this round add their requests first.
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
