//! One router's stream: requests gather in the outbound list while their thread
//! has other things to do, replies are completed as they are read.

use std::future::Future as _;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use daemon::Backoff;
use daemon::lock::Lock;
use proto::weight::{FRAME, FRAME_LIMIT, in_list};
use proto::wire::router_client::RouterClient;
use proto::wire::{Replies, Requests};
use tokio::task::yield_now;
use tokio::time::Instant;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Status, Streaming};

use super::Routers;
use super::lateness::Punctuality;
use super::pending::EncodedRequest;
use crate::order;

/// Requests that are not urgent leave with the next that is, or when the link
/// has been quiet for so long. [`super::Routers`] looks after it.
const QUIET: Duration = Duration::from_millis(25);
/// Pauses between tries to reach a router that is away.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// How to open a stream to one router.
#[async_trait]
pub trait Dial: Send + Sync + 'static {
    /// Names the router in logs, and orders it among the others.
    fn name(&self) -> String;

    /// Opens a stream. Called again and again, with growing pauses, for as
    /// long as the router is wanted.
    async fn dial(&self, outbound: Outbound) -> Result<Streaming<Replies>, Status>;
}

/// A router in the same process: the generated client over its service.
pub struct InProcess<S>(RouterClient<S>);

impl<S> InProcess<S>
where
    S: tonic::client::GrpcService<tonic::body::Body>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::ResponseBody: http_body_util::BodyExt<Data = bytes::Bytes> + Send + 'static,
    <S::ResponseBody as axum::body::HttpBody>::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    /// Over a `RouterServer`.
    pub fn new(service: S) -> Self {
        Self(
            RouterClient::new(service)
                .max_decoding_message_size(FRAME_LIMIT)
                .max_encoding_message_size(FRAME_LIMIT),
        )
    }
}

#[async_trait]
impl<S> Dial for InProcess<S>
where
    S: tonic::client::GrpcService<tonic::body::Body> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::ResponseBody: http_body_util::BodyExt<Data = bytes::Bytes> + Send + 'static,
    <S::ResponseBody as axum::body::HttpBody>::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    fn name(&self) -> String {
        "in process".into()
    }

    async fn dial(&self, outbound: Outbound) -> Result<Streaming<Replies>, Status> {
        Ok(self.0.clone().link(outbound).await?.into_inner())
    }
}

/// An open stream, as the chooser sees it.
pub(super) struct Link {
    /// Unique in this process, new with each stream.
    pub(super) id: u64,
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
        static LAST: AtomicU64 = AtomicU64::new(0);
        let queue = Arc::new(Lock::new(Queue::default()));
        let id = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        let outbound = Outbound { queue: queue.clone(), waited: false };
        (Self { id, name, punctuality: Punctuality::default(), queue }, outbound)
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
    pub(super) fn take_back(&self, ids: &[u64]) {
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

/// Keeps a stream to one router until `retire`: opens it, completes what is
/// answered, and opens it again when it ends (after a pause) or drains (beside
/// the old one, which is read to its end).
pub(super) async fn run(
    routers: Routers,
    dial: Arc<dyn Dial>,
    tasks: TaskTracker,
    retire: CancellationToken,
) {
    // So that a restarted router is not met by all gateways at once.
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    while !retire.is_cancelled() {
        let (link, outbound) = Link::new(dial.name());
        let link = Arc::new(link);
        let opened = tokio::select! {
            () = retire.cancelled() => break,
            opened = tokio::time::timeout(Duration::from_secs(3), dial.dial(outbound)) => opened,
        };
        match opened {
            Ok(Ok(mut replies)) => {
                tracing::info!(router = %link.name, "connected to a router");
                backoff.reset();
                routers.opened(&link);
                let ended = tokio::select! {
                    ended = read(&routers, &link, &mut replies, Until::Draining) => ended,
                    () = retire.cancelled() => None,
                };
                match ended {
                    Some(reason) => {
                        tracing::info!(router = %link.name, reason, "the stream to a router has ended");
                        routers.broke(&link);
                    }
                    // Other streams take what comes; this one answers what it has.
                    None => {
                        routers.draining(&link);
                        link.finish();
                        tasks.spawn(drain(routers.clone(), link, replies));
                    }
                }
            }
            Ok(Err(status)) => {
                tracing::warn!(router = %link.name, code = ?status.code(), reason = status.message(), "a router cannot be reached");
            }
            Err(_) => tracing::warn!(router = %link.name, "a router does not answer"),
        }
        tokio::select! {
            () = retire.cancelled() => break,
            () = tokio::time::sleep(backoff.pause()) => {}
        }
    }
}

/// Reads a stream that takes no more requests to its end.
async fn drain(routers: Routers, link: Arc<Link>, mut replies: Streaming<Replies>) {
    // What is not answered by then is sent to another router anyway.
    let ended = tokio::time::timeout(DRAIN, read(&routers, &link, &mut replies, Until::End)).await;
    let reason = ended.ok().flatten().unwrap_or_else(|| "no end in time".into());
    tracing::info!(router = %link.name, reason, "a draining stream to a router has ended");
    routers.closed(&link);
}

/// How long a draining stream is read on.
const DRAIN: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// The router asks for no more, or the end.
    Draining,
    End,
}

/// Completes replies until the stream ends, and says why; or until it drains.
async fn read(
    routers: &Routers,
    link: &Link,
    replies: &mut Streaming<Replies>,
    until: Until,
) -> Option<String> {
    loop {
        match replies.message().await {
            Ok(Some(frame)) => {
                routers.counted(frame.gateways);
                let now = Instant::now();
                link.punctuality.heard(now);
                for reply in frame.replies {
                    routers.answered(reply, now);
                }
                if frame.draining && until == Until::Draining {
                    return None;
                }
            }
            Ok(None) => return Some("closed by the router".into()),
            Err(status) => return Some(status.message().to_owned()),
        }
    }
}
